"""Modalities with clocks of their own: the same windows however their pushes interleave, and nothing grows."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.specs import ClockSpec, Modality, Signal, WindowSpec
from runtime.window import Windower

EVEN = Signal((Modality("acc", "m/s^2", ("x", "y"), 50.0), Modality("gyro", "rad/s", ("z",), 50.0)))
LENGTH, HOP = 12, 6


def signal(gyro_hz):
    return Signal((Modality("acc", "m/s^2", ("x", "y"), 50.0), Modality("gyro", "rad/s", ("z",), gyro_hz)))


def windower_of(made=EVEN, clock=None, length=LENGTH, hop=HOP, hz=None):
    return Windower(made, WindowSpec(length, hop), clock, hz or {m.name: m.rate_hz for m in made.modalities})


def rows_of(n, channels, seed):
    return np.random.default_rng(seed).normal(size=(n, channels)).astype(np.float32)


def bits(windows):
    return [(w.samples.tobytes(), w.samples.shape, w.start_s, w.end_s, w.row, w.quality) for w in windows]


def in_order_of(windower, streams, pieces):
    """Push {name: (rows, t)} in pieces (name, how many); what is left over comes last, in the order of its times."""
    windows, at = [], dict.fromkeys(streams, 0)

    def push(name, n):
        rows, t = streams[name]
        n = min(n, len(rows) - at[name])
        windows.extend(windower.push(rows[at[name] : at[name] + n], t[at[name] : at[name] + n], name))
        at[name] += n

    for name, n in pieces:
        push(name, n)
    while left := {name: t[at[name]] for name, (rows, t) in streams.items() if at[name] < len(rows)}:
        push(min(left, key=left.get), 5)
    return windows + windower.flush()


def test_clocks_that_agree_are_one_joint_clock():
    acc, gyro, t = rows_of(200, 2, 1), rows_of(200, 1, 2), 1.7e9 + np.arange(200) / 50
    apart = windower_of()
    windows = in_order_of(apart, {"acc": (acc, t), "gyro": (gyro, t)}, [])
    joint = windower_of(hz=50.0)
    expected = joint.push(np.hstack([acc, gyro]), t) + joint.flush()
    assert len(windows) == len(expected) == (200 - LENGTH) // HOP + 1
    for window, truth in zip(windows, expected, strict=True):
        assert np.array_equal(window.samples, truth.samples)
        assert (window.start_s, window.end_s, window.row) == (truth.start_s, truth.end_s, truth.row)
        assert window.quality.real == 1
        assert window.quality.source_hz == pytest.approx((50, 50), rel=1e-4)
    assert apart.counters.samples == 2 * joint.counters.samples


@pytest.mark.parametrize(("gyro_hz", "length", "hop"), [(25.0, 12, 6), (50 / 3, 12, 6), (100.0, 7, 3), (50.0, 9, 20)])
@pytest.mark.parametrize("late_s", [0.0, 0.35])
def test_two_rates_give_flat_windows_of_each_ones_own_rows(gyro_hz, length, hop, late_s):
    made = signal(gyro_hz)
    acc, gyro = rows_of(300, 2, 3), rows_of(round(300 * gyro_hz / 50), 1, 4)
    t_acc, t_gyro = 7 + np.arange(len(acc)) / 50, 7 + late_s + np.arange(len(gyro)) / gyro_hz
    windower = windower_of(made, length=length, hop=hop)
    windows = in_order_of(windower, {"acc": (acc, t_acc), "gyro": (gyro, t_gyro)}, [])
    long = round(length * gyro_hz / 50)
    last_s = min(t_acc[-1] - (length - 1) / 50, t_gyro[-1] - (long - 1) / gyro_hz)  # when a window may begin, at last
    assert len(windows) == int((last_s - 7 - late_s) * 50 / hop + 1e-3) + 1
    for k, window in enumerate(windows):
        start_s = 7 + late_s + k * hop / 50
        assert (window.start_s, window.end_s) == pytest.approx((start_s, start_s + length / 50), rel=1e-9)
        at_acc, at_gyro = start_s + np.arange(length) / 50, start_s + np.arange(long) / gyro_hz
        expected = [np.stack([np.interp(at_acc, t_acc, column) for column in acc.T], axis=1)]
        expected += [np.interp(at_gyro, t_gyro, gyro[:, 0])[:, None]]
        if gyro_hz == 50:
            np.testing.assert_allclose(window.samples, np.hstack(expected), atol=3e-3)
        else:
            assert window.samples.shape == (2 * length + long,)
            np.testing.assert_allclose(window.samples, np.concatenate([e.ravel() for e in expected]), atol=3e-3)
        assert window.quality.source_hz == pytest.approx((50, gyro_hz), rel=1e-3)


PIECES = st.lists(st.tuples(st.sampled_from(["acc", "gyro"]), st.integers(1, 9)), max_size=60)


@settings(max_examples=150, deadline=None)
@given(
    pieces=PIECES,
    gyro_hz=st.sampled_from([50.0, 25.0, 100.0]),
    gap=st.sampled_from(["split", "hold", "mark"]),
    lost=st.lists(st.tuples(st.sampled_from(["acc", "gyro"]), st.integers(0, 90), st.integers(1, 12)), max_size=1),
    offset=st.sampled_from([0.0, 0.013, -0.2]),
    pad=st.sampled_from([None, "hold", "zero"]),
)
def test_how_pushes_interleave_changes_nothing(pieces, gyro_hz, gap, lost, offset, pad):
    """As long as none runs ahead by more than four windows, which is why little is lost."""
    made, streams, ahead = signal(gyro_hz), {}, {"acc": 0.0, "gyro": 0.0}
    for m in made.modalities:
        n = round(90 * m.rate_hz / 50)
        rows, t = rows_of(n, len(m.channels), n), 3 + np.arange(n) / m.rate_hz + offset * (m.name == "gyro")
        for name, at, many in lost:
            if name == m.name:
                rows, t = np.delete(rows, slice(at, at + many), axis=0), np.delete(t, slice(at, at + many))
        streams[m.name] = rows, t
    fair = []
    for name, n in pieces:  # leave out those that would run too far ahead
        other = "gyro" if name == "acc" else "acc"
        if ahead[name] + n / dict(acc=50, gyro=gyro_hz)[name] - ahead[other] < 0.5 * LENGTH / 50:
            fair.append((name, n))
            ahead[name] += n / dict(acc=50, gyro=gyro_hz)[name]
    told = []
    for order in ([], fair):
        windower = windower_of(made, ClockSpec(gap=gap))
        told.append((bits(in_order_of(windower, streams, order)), windower.counters))
        told[-1][0].extend(bits(windower.flush(pad)))
    assert told[0] == told[1]


@settings(max_examples=150, deadline=None)
@given(
    pieces=st.lists(st.tuples(st.sampled_from(["acc", "gyro"]), st.integers(1, 120)), max_size=12),
    late=st.integers(-70, 70),
    lost=st.lists(st.tuples(st.sampled_from(["acc", "gyro"]), st.integers(1, 198), st.integers(1, 40)), max_size=1),
    gap=st.sampled_from(["split", "mark"]),
    hop=st.integers(1, LENGTH),
    told=st.booleans(),
)
def test_every_row_is_given_dropped_or_held_and_no_counter_falls(pieces, late, lost, gap, hop, told):
    """However far one runs ahead of the other. Rows are samples here, so both can be counted by hand."""
    windower = (
        windower_of(clock=ClockSpec(gap=gap, least_real=1.0), hop=hop)
        if told
        else Windower(EVEN, WindowSpec(LENGTH, hop), ClockSpec(gap=gap, least_real=1.0))
    )
    streams, at = {}, {"acc": 0, "gyro": 0}
    for name, first in (("acc", 0), ("gyro", late)):
        rows, t = rows_of(200, len(EVEN.names_of(name)), 1), (first + np.arange(200)) / 50
        for who, begin, many in lost:
            if who == name:
                rows, t = np.delete(rows, slice(begin, begin + many), axis=0), np.delete(t, slice(begin, begin + many))
        streams[name] = rows, t
    given, before = set(), asdict(windower.counters)

    def check(windows, *, ended=False):
        nonlocal before
        for window in windows:
            first = round(window.start_s * 50)
            given.update((name, row) for name in streams for row in range(first, first + LENGTH))
        counted = asdict(windower.counters)
        assert all(counted[name] >= before[name] for name in counted)
        before, pushed = counted, sum(at.values())
        held = pushed + counted["rows_filled"] - len(given) - counted["rows_dropped"]
        assert 0 <= held <= (0 if ended else 2 * (8 * LENGTH + 65)), (held, counted)

    left = [("acc", 200), ("gyro", 200)]
    for name, n in [*pieces, *left]:
        rows, t = streams[name]
        part = slice(at[name], min(at[name] + n, len(rows)))
        at[name] = part.stop
        check(windower.push(rows[part], t[part], name))
    check(windower.flush(), ended=True)
    assert windower.counters.samples == sum(len(rows) for rows, _ in streams.values())


@pytest.mark.parametrize("gap", ["split", "mark"])
def test_a_gap_in_one_leaves_out_the_windows_that_touch_it_and_moves_no_beat(gap):
    t = np.arange(300) / 50
    keep = np.r_[0:100, 109:300]  # two windows and a half have a row in it
    acc, gyro = rows_of(300, 2, 5), rows_of(300, 1, 6)
    windower = windower_of(clock=ClockSpec(gap=gap, least_real=1.0))
    windows = in_order_of(windower, {"acc": (acc, t), "gyro": (gyro[keep], t[keep])}, [])
    beats = range((300 - LENGTH) // HOP + 1)
    whole = [k for k in beats if not any(100 <= k * HOP + i < 109 for i in range(LENGTH))]
    assert [w.row for w in windows] == [k * HOP for k in whole]
    assert [w.start_s for w in windows] == pytest.approx([k * HOP / 50 for k in whole])
    for window in windows:
        assert np.array_equal(window.samples, np.hstack([acc, gyro])[window.row : window.row + LENGTH])
        assert window.quality.real == 1
    assert windower.counters.windows_skipped == len(beats) - len(whole)
    assert windower.counters.gaps == 1


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_one_clock_set_back_begins_all_anew(chunk):
    """Both are set back by 50 s, and the one notices some samples before the other."""
    t = np.concatenate([100 + np.arange(40) / 50, 50 + np.arange(60) / 50])
    acc, gyro = rows_of(100, 2, 7), rows_of(100, 1, 8)
    windower, windows = windower_of(), []
    for part in (slice(0, 40), slice(40, 80), slice(80, 100)):
        for begin in range(part.start, part.stop, chunk):
            for name, rows in (("acc", acc), ("gyro", gyro)):
                end = min(begin + chunk, part.stop)
                windows += windower.push(rows[begin:end], t[begin:end], name)
    windows += windower.flush()
    assert windower.counters.clock_back == 2
    starts = [w.start_s for w in windows]
    first = [s for s in starts if s >= 100]
    assert first == pytest.approx([100 + k * HOP / 50 for k in range(5)])
    second = [w for w in windows if w.start_s < 100]
    assert len(second) >= (2 if chunk == 1000 else 7)  # what came between the two set-backs is dropped
    joint = np.hstack([acc, gyro])
    for window in second:
        at = 40 + round((window.start_s - 50) * 50)
        np.testing.assert_allclose(window.samples, joint[at : at + LENGTH], atol=3e-3)


def test_a_set_back_within_one_push_loses_nothing_after_it():
    t = np.concatenate([100 + np.arange(30) / 50, 50 + np.arange(40) / 50])
    rows = rows_of(70, 2, 9)
    windower = windower_of()
    windower.push(rows, t, "acc")  # all of it at once
    windows = windower.push(rows[30:, :1], t[30:], "gyro")
    assert [w.start_s for w in windows] == pytest.approx([50 + k * HOP / 50 for k in range(5)])


def size_of(windower):
    held = sum(run.rows.nbytes for track in windower._tracks for _, run in track._held)
    return held + sum(stretch.rows.nbytes for buffer in windower._buffers for stretch in buffer.queue)


@pytest.mark.parametrize("silent", ["from the start", "after a while"])
@pytest.mark.parametrize("name", ["acc", "gyro"])
def test_a_modality_that_is_silent_costs_four_windows_of_the_other(silent, name):
    other, channels = ("gyro", 1) if name == "acc" else ("acc", 2)
    windower, sizes, dropped, given = windower_of(), [], [], 0
    if silent == "after a while":
        for who, n in ((other, channels), (name, 3 - channels)):
            given += len(windower.push(rows_of(24, n, 1), np.arange(24) / 50, who))
        assert given == 3
    for k in range(100):
        t = 0.48 + np.arange(10 * k, 10 * k + 10) / 50
        assert windower.push(rows_of(10, channels, k), t, other) == [] or k < 2
        sizes.append(size_of(windower))
        dropped.append(windower.counters.rows_dropped)
    assert max(sizes) <= (4 * LENGTH + 10) * channels * 4
    assert dropped[-1] - dropped[-11] == 100
    assert sum(dropped[-1:]) >= 1000 - 8 * LENGTH - 10
    t = 0.48 + np.arange(950, 1000) / 50  # it comes back, and so do windows
    back = windower.push(rows_of(50, 3 - channels, 3), t, name)
    assert len(back) > 0
    assert back[-1].start_s >= t[0]


@pytest.mark.parametrize(("share", "anew"), [(0.9, False), (1.1, True)])
def test_where_rows_are_too_many_to_be_told_apart_a_segment_begins(share, anew):
    """2^52 rows from the origin of a grid; only `mark` gets there, the others begin anew at any such gap."""
    made = Signal((Modality("acc", "m/s^2", ("x",), 1e6),))
    windower = Windower(made, WindowSpec(8, 8), ClockSpec(gap="mark"), 1e6)
    t = np.concatenate([np.arange(16), np.arange(40) + share * 2**52]) / 1e6
    windows = windower.push(np.ones((56, 1), np.float32), t) + windower.flush()
    assert (windows[-1].row < 2**20) == anew
    assert windows[-1].start_s == pytest.approx(t[-1], rel=1e-9)


def test_one_that_waits_for_the_other_to_begin_holds_so_many_samples():
    """Four windows, but 16,384 samples at most."""
    windower, n = windower_of(length=8000, hop=8000), 1 << 14
    windower.push(np.ones((n, 2), np.float32), np.arange(n) / 50, "acc")
    assert windower.counters.rows_dropped == 0
    windower.push(np.ones((3, 2), np.float32), (n + np.arange(3)) / 50, "acc")
    assert windower.counters.rows_dropped == 3
    windows = windower.push(np.ones((n, 1), np.float32), 0.06 + np.arange(n) / 50, "gyro")
    assert [round(window.start_s * 50) for window in windows] == [3, 8003]


@pytest.mark.parametrize("pad", ["hold", "zero"])
def test_the_end_of_one_that_is_ahead_of_the_other(pad):
    acc, gyro = rows_of(40, 2, 1), rows_of(16, 1, 2)
    windower = windower_of(hop=LENGTH)
    assert len(windower.push(acc, np.arange(40) / 50, "acc") + windower.push(gyro, np.arange(16) / 50, "gyro")) == 1
    (window,) = windower.flush(pad)
    assert np.array_equal(window.samples[:, :2], acc[12:24])
    assert np.array_equal(window.samples[:4, 2], gyro[12:, 0])
    assert (window.samples[4:, 2] == (gyro[-1, 0] if pad == "hold" else 0)).all()
    assert (window.quality.padded, window.quality.real) == (8, pytest.approx(4 / 12))
    assert windower.counters.rows_dropped == 40 - 24


def test_several_clocks_keep_nothing_of_the_callers_arrays():
    windower, rows = windower_of(), rows_of(30, 2, 1)
    given = rows.copy()
    windower.push(given, np.arange(30) / 50, "acc")
    given[:] = 99
    windows = windower.push(rows[:, :1], np.arange(30) / 50, "gyro")
    assert len(windows) == 4
    assert all(abs(window.samples).max() < 10 for window in windows)
