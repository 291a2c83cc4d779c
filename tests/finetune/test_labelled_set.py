"""Sets of labelled windows by hand, without a bundle: what is counted, renamed, thinned and hashed."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from runtime.bundle import Manifest
from runtime.recording import Recording
from runtime.specs import Modality, Normalise, Signal, WindowSpec
from runtime.window import Quality, Window, Windower, cut_windows
from sdk.finetune.labels import (
    MOST_REST,
    SPARSE,
    LabelledSet,
    _inside,
    _made_up,
    _outside,
    renamed,
    spread_over,
    stretches,
    worth,
)
from sdk.finetune.spans import LabelSpan

EDGE_S = 1e-6


def a_set(labels, spans_s=None, **more):
    n = len(labels)
    spans_s = None if spans_s is None else np.array(spans_s, float).reshape(-1, 2)
    windows = np.arange(n * 6, dtype=np.float32).reshape(n, 3, 2)
    return LabelledSet(windows, np.array(labels), np.arange(1.0, n + 1), spans_s=spans_s, **more)


@pytest.mark.parametrize(
    ("labels", "spans_s", "n"),
    [
        ([0], [(0, 2)], 1),
        ([0, 0, 0], [(0, 2), (1, 3), (2, 4)], 1),
        ([0, 0], [(0, 2), (2, 4)], 1),  # they touch
        ([0, 0], [(0, 2), (2 + EDGE_S / 2, 4)], 1),
        ([0, 0], [(0, 2), (2 + 2 * EDGE_S, 4)], 2),
        ([0, 0, 0], [(0, 2), (1, 3), (4, 6)], 2),
        ([0, 1, 0], [(0, 2), (1, 3), (2, 4)], 3),
        ([0, 2, 2], [(0, 2), (1, 3), (2, 4)], 2),
        ([0, 0], [(5, 7), (0, 2)], 2),  # of another recording
        ([0, 0], [(5, 7), (5, 7)], 1),
    ],
)
def test_a_stretch_is_one_label_without_a_gap(labels, spans_s, n):
    assert worth(a_set(labels, spans_s)).sum() == pytest.approx(n)


def test_of_times_that_nobody_knows_each_window_counts():
    assert worth(a_set([0, 1])).tolist() == [1, 1]


def test_classes_are_renamed_and_those_dropped_go_with_all_that_is_theirs():
    data = a_set([0, 1, 2, 1], [(0, 1), (1, 2), (2, 3), (3, 4)], features=np.eye(4), rest=np.ones(2), notes=("a",))
    found = renamed(data, np.array([0, -1, 1]), ("x", "y"))
    assert (found.labels.tolist(), found.weights.tolist(), found.names) == ([0, 1], [1.0, 3.0], ("x", "y"))
    assert found.windows.tolist() == data.windows[[0, 2]].tolist()
    assert found.features.tolist() == np.eye(4)[[0, 2]].tolist()
    assert found.spans_s.tolist() == [[0, 1], [2, 3]]
    assert (found.rest is data.rest, found.notes) == (True, ("a",))
    bare = renamed(a_set([0, 1, 2]), np.array([1, 0, -1]), ("x", "y"))
    assert (bare.labels.tolist(), bare.features, bare.spans_s) == ([1, 0], None, None)
    only = replace(data, windows=data.windows[:0])
    assert len(renamed(only, np.array([0, 0, 0]), ("x",)).windows) == 0


def test_the_hash_is_of_windows_labels_weights_and_features():
    whole = a_set([0, 1], features=np.eye(2))
    others = [
        replace(whole, windows=whole.windows + 1), replace(whole, labels=whole.labels[::-1]),
        replace(whole, weights=whole.weights * 2), replace(whole, features=None),
        replace(whole, features=2 * np.eye(2)),
    ]  # fmt: skip
    assert len({one.sha256 for one in (whole, *others)}) == 6
    assert replace(whole, notes=("b",)).sha256 == whole.sha256
    assert replace(whole, windows=np.asfortranarray(whole.windows)).sha256 == whole.sha256


def test_of_many_windows_three_hundred_come_along_evenly():
    assert MOST_REST == 300
    assert spread_over([]) is None
    for n in (1, 299, 300):
        assert spread_over([np.array([i]) for i in range(n)]).ravel().tolist() == list(range(n))
    assert spread_over([np.array([i]) for i in range(599)]).ravel().tolist() == list(range(0, 599, 2))
    found = spread_over([np.array([i]) for i in range(3000)]).ravel()
    assert (len(found), found[0], found[-1]) == (300, 0, 2999)
    assert set(np.diff(found)) == {10, 11}


TWO = Signal((Modality("acc", "m/s^2", ("x",), 10.0), Modality("gyro", "rad/s", ("z",), 10.0)))


def test_sensors_with_times_of_their_own_are_cut_as_a_stream_cuts_them():
    """Rows hold one sensor each; the gyroscope is half a row late. As one clock all of them would be holes."""
    n = 60
    rows = np.full((2 * n, 2), np.nan, np.float32)
    rows[::2, 0], rows[1::2, 1] = np.arange(n), np.arange(n) + 100
    t = np.arange(2 * n) / 20
    manifest = Manifest("toy", TWO, WindowSpec(8, 4), ("a", "b"), Normalise((0.0, 0.0), (1.0, 1.0)))
    apart = Recording(rows, ("acc_x", "gyro_z"), 10.0, t=t, by_modality=True)
    windower = Windower(TWO, WindowSpec(8, 4), apart.clock(manifest.clock))
    expected = []
    for i in range(0, 2 * n, 10):
        part, at = rows[i : i + 10], t[i : i + 10]
        expected += windower.push(part[::2, :1], at[::2], "acc") + windower.push(part[1::2, 1:], at[1::2], "gyro")
    expected += windower.flush()
    cut = partial(cut_windows, signal=TWO, window=manifest.window, clock=manifest.clock)
    found = cut(apart)
    assert len(found) == len(expected) >= 13
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(found, expected, strict=True))
    joint = Recording(np.ones((n, 2), np.float32), ("acc_x", "gyro_z"), 10.0)
    assert len(cut(joint)) == 14
    assert len(cut(replace(joint, by_modality=True))) == 14  # without times there is but one clock


def at(start_s, end_s):
    return Window(np.array([[start_s]]), start_s, end_s, 0, None)


def test_a_window_is_of_the_span_that_the_whole_of_it_lies_in():
    spans = [LabelSpan(0, 10, 1, 0.5), LabelSpan(10, 12, None, 1.0), LabelSpan(20, 30, 0, 2.0)]
    inside = [(0, 2), (8, 10), (-EDGE_S / 2, 2), (8, 10 + EDGE_S / 2), (20, 22), (28, 30), (20, 30)]
    outside = [(-2 * EDGE_S, 2), (8, 10 + 2 * EDGE_S), (9, 11), (10, 12), (12, 14), (19, 21), (29, 31), (30, 32)]
    found = _inside([at(*times) for times in sorted(inside + outside)], spans)
    assert [(window.start_s, window.end_s) for window, _, _ in found] == sorted(inside)
    assert {(label, weight) for _, label, weight in found} == {(1, 0.5), (0, 2.0)}
    assert all((label == 1) == (window.start_s < 10) for window, label, _ in found)
    assert _inside([at(0, 2)], []) == []


def test_a_window_is_beside_the_labels_if_none_of_them_touches_it():
    spans = [LabelSpan(0, 10, 1, 1.0), LabelSpan(12, 20, None, 1.0)]
    free = [(-2, 0), (10, 12), (20, 22), (30, 32)]
    touched = [(-2, EDGE_S), (0, 2), (9, 11), (10, 12 + EDGE_S), (11, 13), (19, 21)]
    cuts = [at(*times) for times in sorted(free + touched)]
    assert [window[0, 0] for window in _outside(cuts, spans)] == [begin for begin, _ in free]
    assert len(_outside(cuts, [])) == len(cuts)


@pytest.mark.parametrize(("hz", "told"), [(SPARSE * 50, 0), (SPARSE * 50 - 0.01, 1)])
def test_rows_are_mostly_made_up_below_a_share_of_the_rate(hz, told):
    cut = Window(np.zeros((2, 1), np.float32), 0.0, 1.0, 0, Quality(source_hz=(hz,)))
    none = cut._replace(quality=Quality())
    assert len(_made_up([cut, none], 50.0)) == told


def test_stretches_of_time():
    spans = np.array([[0, 2], [1, 3], [3, 5], [9, 11], [4, 6], [5, 7]], float)
    data = LabelledSet(np.zeros((6, 2, 1), np.float32), np.array([0, 0, 0, 0, 0, 1]), np.ones(6), spans_s=spans)
    assert stretches(data).tolist() == [0, 0, 0, 1, 2, 3]
    assert worth(data).tolist() == pytest.approx([1 / 3] * 3 + [1.0] * 3)
    assert stretches(replace(data, spans_s=None)).tolist() == list(range(6))
