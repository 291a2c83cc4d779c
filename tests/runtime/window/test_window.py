"""Windows against a reference that sees the whole recording at once and knows nothing of buffers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import InputError
from runtime.recording import UNLABELLED, Recording
from runtime.specs import ClockSpec, Modality, Signal, WindowSpec
from runtime.window import Counters, Windower, cut_windows, label_of, labelled_windows
from tests.runtime.window import clock_reference

RATE_HZ = 32.0
SIGNAL = Signal((Modality("acc", "m/s^2", ("x", "y"), RATE_HZ),))


def samples_of(n, dtype=np.float32):
    return (np.arange(2 * n).reshape(n, 2) * 3 - n).astype(dtype)


def reference(rows, length, hop, origin=0.0):
    """Windows by definition."""
    rows, starts = np.asarray(rows, np.float32), range(0, max(len(rows) - length + 1, 0), hop)
    return [(rows[i : i + length].tolist(), origin + i / RATE_HZ, origin + (i + length) / RATE_HZ) for i in starts]


def found(windower, windows):
    assert windower.counters == Counters(samples=windower.counters.samples, windows=len(windows))
    return [(w.samples.tolist(), w.start_s, w.end_s) for w in windows]


def pushed(windower, rows, t, cuts):
    """Everything that comes out when the rows go in, cut at these places."""
    windows = []
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for begin, end in pairwise(bounds):
        windows += windower.push(rows[begin:end], None if t is None else t[begin:end])
    assert windower.counters.samples == len(rows)
    return found(windower, windows)


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(0, 120),
    timed=st.booleans(),
    length=st.integers(1, 9),
    hop=st.integers(1, 14),
    cuts=st.lists(st.integers(0, 120), max_size=12),
    dtype=st.sampled_from([np.float32, np.float64, np.float16, np.int16, np.int64, np.uint8]),
)
def test_any_chunking_gives_what_the_definition_says(n, timed, length, hop, cuts, dtype):
    t = 1e6 + np.arange(n) / RATE_HZ if timed else None
    rows = samples_of(n, dtype) if dtype != np.uint8 else np.abs(samples_of(n)).astype(dtype)
    windower = Windower(SIGNAL, WindowSpec(length, hop), source_hz=RATE_HZ)
    expected = reference(rows, length, hop, 1e6 if timed else 0.0)
    assert pushed(windower, rows, t, cuts) == expected
    windower.reset()
    assert pushed(windower, rows, t, range(len(rows))) == expected  # row by row


def test_a_long_stream_in_pieces_larger_than_the_buffer():
    rows = samples_of(5000)
    for length, hop, piece in ((3, 50, 700), (50, 3, 999), (7, 7, 4999), (10, 41, 1)):
        windower = Windower(SIGNAL, WindowSpec(length, hop))
        assert pushed(windower, rows, None, range(0, 5000, piece)) == reference(rows, length, hop)


def test_rounding_to_float32_is_numpys():
    rows = np.array([[0.1, 1e-60], [16777217, -2.5]])
    (window,) = Windower(SIGNAL, WindowSpec(2, 2)).push(rows)
    assert window.samples.dtype == np.float32
    assert window.samples.tolist() == [[float(np.float32(0.1)), 0.0], [16777216.0, -2.5]]


def test_a_window_stays_as_it_was_when_more_samples_come():
    windower, rows = Windower(SIGNAL, WindowSpec(4, 1)), samples_of(400)
    (first,) = windower.push(rows[:4])
    windower.push(rows[4:])
    assert first.samples.tolist() == rows[:4].tolist()


def test_the_pushed_array_is_neither_kept_nor_changed():
    windower, rows = Windower(SIGNAL, WindowSpec(4, 4)), samples_of(4)
    windower.push(rows[:2])
    before, rows[:2] = rows[:2].copy(), 99
    (window,) = windower.push(rows[2:])
    assert window.samples[:2].tolist() == before.tolist()


def test_a_single_row_may_lack_its_first_axis():
    rows = samples_of(20)
    t = np.arange(20) / RATE_HZ
    one, many = Windower(SIGNAL, WindowSpec(6, 4)), Windower(SIGNAL, WindowSpec(6, 4))
    windows = [window for row, at in zip(rows, t, strict=True) for window in one.push(row, at)]
    assert found(one, windows) == found(many, many.push(rows, t))
    assert len(windows) == 4


T4 = np.arange(4) / RATE_HZ
BAD_PUSHES = [
    (np.zeros((4, 3)), T4, r"samples: expected real numbers of shape \(n, 2\): acc_x, acc_y, got dtype float64, shape"),
    (np.zeros(4), T4, r"got dtype float64, shape \(4,\)\. Give one column per channel of the bundle's signal\."),
    (np.zeros((1, 4, 2)), T4, r"shape \(1, 4, 2\)"),
    (np.zeros((4, 2), complex), T4, "dtype complex128"),
    (np.zeros((4, 2), bool), T4, "dtype bool"),
    (np.array([["1", "2"]] * 4), T4, "dtype <U1"),
    (np.zeros((4, 2), object), T4, "dtype object"),
    (None, T4, "dtype object"),
    ([[1, 2], [3]], T4, "samples: expected real numbers of shape"),
    (
        np.zeros((4, 2)),
        T4[:3],
        r"t: expected 4 time stamps in s, one per sample, got dtype float64, shape \(3,\)",
    ),
    (
        np.zeros((4, 2)),
        T4[:, None],
        r"t: expected 4 time stamps in s, one per sample, got dtype float64, shape \(4, 1\)",
    ),
    (np.zeros((4, 2)), [0, 1, 2], r"t: expected 4 time stamps.* Give every sample its own time\."),
    (np.zeros((4, 2)), ["a", "b", "c", "d"], "t: expected 4 time stamps"),
    (np.zeros((4, 2)), [[0], [1, 2]], "t: expected 4 time stamps"),
    (np.zeros((4, 2)), np.zeros(4, complex), "t: expected 4 time stamps"),
    (np.zeros((4, 2)), np.zeros(4, "M8[s]"), "t: expected 4 time stamps"),
    (np.zeros((4, 2)), None, r"t: expected time stamps with every push or with none, got both ways in one stream\. C"),
]


@pytest.mark.parametrize(("samples", "t", "message"), BAD_PUSHES)
def test_a_refused_push_leaves_the_stream_as_it_was(samples, t, message):
    rows, times = samples_of(40), 5 + np.arange(40) / RATE_HZ
    spoilt, clean = (Windower(SIGNAL, WindowSpec(8, 3)) for _ in range(2))
    out = {id(w): w.push(rows[:21], times[:21]) for w in (spoilt, clean)}
    with pytest.raises(InputError, match=message):
        spoilt.push(samples, t)
    for w in (spoilt, clean):
        out[id(w)] += w.push(rows[21:], times[21:])
    assert found(spoilt, out[id(spoilt)]) == found(clean, out[id(clean)]) == reference(rows, 8, 3, 5.0)


def test_a_first_push_that_is_refused_decides_nothing():
    windower = Windower(SIGNAL, WindowSpec(2, 2))
    with pytest.raises(InputError, match="time stamps"):
        windower.push([[1, 1]], [0.0, 1.0])
    assert len(windower.push(samples_of(2))) == 1  # without times, though the refused push had some


def test_an_untimed_stream_refuses_times_until_it_is_reset():
    windower = Windower(SIGNAL, WindowSpec(2, 2))
    windower.push(samples_of(3))
    with pytest.raises(InputError, match=r"got both ways in one stream\. Call reset\(\) before you change\."):
        windower.push(samples_of(2), T4[:2])
    windower.reset()
    (window,) = windower.push(samples_of(2), 100 + T4[:2]) + windower.flush()
    assert (window.start_s, window.end_s) == (100.0, 100 + 2 / RATE_HZ)


@pytest.mark.parametrize(("n", "length", "hop"), [(100, 10, 4), (100, 10, 10), (100, 7, 13), (9, 10, 1), (0, 3, 3)])
def test_cut_windows_is_numpys_sliding_window_view(n, length, hop):
    samples = np.random.default_rng(n).normal(size=(n, 2)).astype(np.float32)
    windows = cut_windows(Recording(samples, ("acc_x", "acc_y"), RATE_HZ), SIGNAL, WindowSpec(length, hop))
    if n < length:
        assert windows == []
        return
    expected = np.lib.stride_tricks.sliding_window_view(samples, length, axis=0)[::hop].transpose(0, 2, 1)
    assert np.array_equal([window.samples for window in windows], expected)
    assert [window.start_s for window in windows] == [i / RATE_HZ for i in range(0, n - length + 1, hop)]


def test_cut_windows_takes_the_signals_columns_in_its_order():
    samples = np.arange(12, dtype=np.float32).reshape(4, 3)
    (window,) = cut_windows(Recording(samples, ("acc_y", "mag", "acc_x"), RATE_HZ), SIGNAL, WindowSpec(4, 4))
    assert window.samples.tolist() == samples[:, [2, 0]].tolist()


@pytest.mark.parametrize("bad", [[5, np.nan], [-np.inf, 4], [7, 1e39]])
def test_a_row_that_is_no_number_is_a_hole(bad):
    rows = samples_of(40, np.float64)
    rows[10] = bad
    for timed in (False, True):
        windower = Windower(SIGNAL, WindowSpec(8, 3))
        windows = windower.push(rows, np.arange(40) / RATE_HZ if timed else None) + windower.flush()
        assert [(w.samples.tolist(), w.start_s, w.end_s) for w in windows] == [
            *reference(rows[:10], 8, 3),
            *reference(rows[11:], 8, 3, 11 / RATE_HZ),
        ]
        assert (windower.counters.not_finite, windower.counters.gaps, windower.counters.rows_dropped) == (1, 1, 2)


NAMES = ("sit", "walk", "run")


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(st.sampled_from((1, 1, 1, 1, 1, 1, 1, 0.75, 1.25, 40, -90)), min_size=1, max_size=80),
    timed=st.booleans(),
    runs=st.lists(st.tuples(st.integers(UNLABELLED, 2), st.integers(1, 25)), min_size=1),
    length=st.integers(1, 9),
    hop=st.integers(1, 12),
    wanted=st.permutations(NAMES).flatmap(lambda names: st.integers(1, 3).map(lambda k: tuple(names[:k]))),
)
def test_labelled_windows_are_those_whose_rows_all_have_one_wanted_label(steps, timed, runs, length, hop, wanted):
    n = len(steps)
    t = 50 + np.cumsum(np.array(steps, np.float64)) / RATE_HZ if timed else None
    labels = np.resize(np.repeat([label for label, _ in runs], [count for _, count in runs]), n).astype(np.int16)
    rows = samples_of(n)
    recording = Recording(rows, ("acc_x", "acc_y"), RATE_HZ, t=t, labels=labels, label_names=NAMES)
    stamps = np.arange(n) / RATE_HZ if t is None else t
    expected = []
    cuts, _ = clock_reference.reference(
        rows.tolist(), None if t is None else t.tolist(), rate_hz=RATE_HZ, length=length, hop=hop
    )
    for cut in cuts:
        names = set(labels[(stamps >= cut.start_s) & (stamps < cut.end_s - 0.5 / RATE_HZ)].tolist())
        (label,) = names if len(names) == 1 else (UNLABELLED,)
        if label != UNLABELLED and NAMES[label] in wanted:
            expected.append((cut.values, wanted.index(NAMES[label]), cut.start_s))
    found = labelled_windows([recording, recording], SIGNAL, WindowSpec(length, hop), wanted)
    assert found.samples.shape[1:] == (length, 2)
    assert found.labels.tolist() == [label for _, label, _ in expected] * 2
    assert found.start_s.tolist() == [start_s for *_, start_s in expected] * 2
    assert found.source.tolist() == [0] * len(expected) + [1] * len(expected)
    if expected:
        np.testing.assert_allclose(found.samples, [values for values, *_ in expected] * 2, rtol=1e-6, atol=1e-5)


def test_labels_after_a_clock_that_jumped_back():
    t = np.concatenate([100 + np.arange(64) / RATE_HZ, np.arange(64) / RATE_HZ])
    labels = np.repeat([0, 1], 64).astype(np.int16)
    recording = Recording(samples_of(128), ("acc_x", "acc_y"), RATE_HZ, t=t, labels=labels, label_names=NAMES)
    cut = labelled_windows([recording], SIGNAL, WindowSpec(32, 32), NAMES)
    assert cut.labels.tolist() == [0, 0, 1, 1]
    assert label_of(recording, 0, 1) == "walk"
    assert label_of(recording, 100, 101) == "sit"


@pytest.mark.parametrize("timed", [False, True])
def test_label_of(timed):
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, UNLABELLED, 1, 1], np.int16)
    t = 7 + np.arange(11) / RATE_HZ if timed else None
    recording = Recording(samples_of(11), ("acc_x", "acc_y"), RATE_HZ, t=t, labels=labels, label_names=NAMES)

    def label(begin, end):
        return label_of(recording, *(row / RATE_HZ + (7 if timed else 0) for row in (begin, end)))

    assert label(0, 4) == "sit"
    assert label(4, 8) == "walk"
    assert label(3, 5) is None  # mixed
    assert label(6, 9) is None  # partly unknown
    assert label(8, 9) is None
    assert label(20, 30) is None  # outside
    assert label(9, 11) == "walk"
    unlabelled = Recording(samples_of(11), ("acc_x", "acc_y"), RATE_HZ, t=t)
    assert label_of(unlabelled, 0, 1) is None


def test_a_row_beside_a_hole_is_the_same_bit_for_bit_whether_samples_came_singly_or_at_once():
    """0.28 s * 50 Hz is 14.000000000000002 rows: the short way must not round it."""
    signal = Signal((Modality("acc", "m/s^2", ("x",), 50.0),))
    rows = np.linspace(-30, 31.7, 400, dtype=np.float32)[:, None] ** 2
    rows[1::3] = np.nan
    told = []
    for chunk in (1, 400):
        windower, windows = Windower(signal, WindowSpec(2, 1), ClockSpec(gap="mark")), []
        for begin in range(0, 400, chunk):
            windows += windower.push(rows[begin : begin + chunk])
        told.append([w.samples.tobytes() for w in windows + windower.flush()])
    assert told[0] == told[1]


@pytest.mark.parametrize("size", [1, 7, 16, 50, 10_000])
@pytest.mark.parametrize("epoch_s", [0.0, 12.34, 1_717_400_000.0])
def test_rows_with_even_stamps_are_the_rows_of_the_windows_bit_for_bit(size, epoch_s):
    """Their rate is measured, and stamps of 20 ms are none that floats have exactly."""
    signal, window, n = Signal((Modality("acc", "m/s^2", ("x", "y"), 50.0),)), WindowSpec(50, 25), 600
    rows, t = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32), epoch_s + np.arange(n) / 50
    windower, windows = Windower(signal, window), []
    for begin in range(0, n, size):
        windows += windower.push(rows[begin : begin + size], t[begin : begin + size])
    windows += windower.flush()
    assert len(windows) == 23
    for i, cut in enumerate(windows):
        np.testing.assert_array_equal(cut.samples, rows[25 * i : 25 * i + 50], strict=True)
        assert (cut.start_s, cut.row) == (epoch_s + 25 * i / 50, 25 * i)
        assert cut.quality[:4] == (1.0, 0, 0, 0)
        assert cut.quality.source_hz == pytest.approx((50.0,), rel=1e-6)


def test_what_a_recording_knows_of_its_stamps_wins_over_the_clock():
    """Stamps in bursts of ten: of measurement nine of them would be duplicates."""
    n, rate_hz = 640, RATE_HZ
    t = np.repeat(np.arange(n // 10) * 10 / rate_hz, 10)
    recording = Recording(samples_of(n), SIGNAL.channel_names, rate_hz, t, stamps="arrival")
    window = WindowSpec(32, 16)
    windower = Windower(SIGNAL, window, ClockSpec(stamps="arrival"))
    expected = windower.push(samples_of(n), t) + windower.flush()
    found = cut_windows(recording, SIGNAL, window)
    assert len(found) == len(expected) > 30
    assert [w.samples.tolist() for w in found] == [w.samples.tolist() for w in expected]
    (measured, *_) = cut_windows(Recording(samples_of(n), SIGNAL.channel_names, rate_hz, t), SIGNAL, window)
    assert measured.quality.source_hz < (rate_hz / 5,)


def test_a_recording_of_two_clocks_gives_the_windows_of_its_sensors():
    parts = tuple(Modality(name, "m/s^2", ("x", "y"), RATE_HZ) for name in ("a", "b"))
    signal, window, n = Signal(parts), WindowSpec(32, 16), 640
    own, late_s = samples_of(n), 0.25 / RATE_HZ
    rows = np.full((2 * n, 4), np.nan, np.float32)
    rows[::2, :2], rows[1::2, 2:] = own, -own
    t = np.stack([np.arange(n) / RATE_HZ, np.arange(n) / RATE_HZ + late_s], 1).ravel()
    labels = np.zeros(2 * n, np.int16)
    recording = Recording(rows, signal.channel_names, RATE_HZ, t, labels, ("walk",), by_modality=True)
    found = labelled_windows([recording], signal, window, ("walk",))
    assert len(found.labels) == 38
    shifted = own[:-1] + 0.25 * (own[1:] - own[:-1])  # the grid begins with the later of them
    for i, samples in enumerate(found.samples):
        np.testing.assert_allclose(samples[:, :2], shifted[16 * i : 16 * i + 32], rtol=1e-6, atol=1e-3)
        np.testing.assert_array_equal(samples[:, 2:], -own[16 * i : 16 * i + 32])
