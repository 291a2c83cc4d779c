"""Streams with clocks of their own against a reference that goes sample by sample, in any chunking, bit for bit."""

from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundle import Bundle
from runtime.engine import open_engine
from runtime.errors import BundleError
from runtime.recording import Recording
from runtime.specs import ClockSpec, Modality, Signal, WindowSpec
from runtime.stream import Stream
from runtime.window import Windower, cut_windows
from runtime.window.lowpass import LowPass
from runtime.window.order import Smoother
from runtime.window.pieces import Counters, Piece
from runtime.window.track import lies_within
from tests.runtime.window import clock_reference

RATE_HZ = 50.0
FULL_SCALE = 90.0
SIGNAL = Signal((Modality("acc", "m/s^2", ("x", "y"), RATE_HZ, FULL_SCALE),))
WITHOUT_SCALE = Signal((Modality("acc", "m/s^2", ("x", "y"), RATE_HZ),))

# What happens to a stream at one of its samples: (what, how much).
EVENTS = st.one_of(
    st.tuples(st.just("lose"), st.sampled_from([1, 1, 2, 3, 8, 30, 70])),
    st.tuples(st.just("nan"), st.just(0)),
    st.tuples(st.just("inf"), st.just(0)),
    st.tuples(st.just("no stamp"), st.sampled_from([np.nan, np.inf, -np.inf])),
    st.tuples(st.just("double"), st.integers(1, 3)),
    st.tuples(st.just("swap"), st.integers(1, 6)),
    st.tuples(st.just("step"), st.sampled_from([-40, -2, -1.01, -0.5, -0.03, 0.011, 0.5, 1, 9])),
    st.tuples(st.just("saturate"), st.just(0)),
    st.tuples(st.just("burst"), st.integers(2, 12)),
)
CLOCKS = st.builds(
    ClockSpec,
    gap=st.sampled_from(["split", "split", "hold", "mark"]),
    gap_s=st.sampled_from([None, None, 0.05, 0.3]),
    longest_hold_s=st.sampled_from([0.5, 0.1]),
    least_real=st.sampled_from([0.5, 0.9, 0.0]),
    reorder_s=st.sampled_from([0.0, 0.0, 0.03, 0.1]),
    back_s=st.sampled_from([1.0, 0.3]),
    unit=st.sampled_from(["s", "s", "ns"]),
)


@st.composite
def streams(draw, most=70):
    """Rows and stamps in seconds: an even clock, jitter, and then whatever else can happen to it."""
    n = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    hz = RATE_HZ * draw(st.sampled_from([1, 1, 1, 0.986, 1.02, 0.4, 1.2, 2, 4]))
    t = np.arange(n) / hz + rng.uniform(-1, 1, n) * draw(st.sampled_from([0, 0, 1e-6, 0.1, 0.3])) / hz
    rows = np.round(rng.normal(0, 20, (n, 2)), 2).clip(-80, 80)
    for what, much in draw(st.lists(EVENTS, max_size=5)):
        i = draw(st.integers(0, len(t) - 1))
        keep = np.arange(len(t))
        if what == "lose" and len(t) > much:
            keep = np.delete(keep, slice(i, i + much))
        elif what == "nan":
            rows[i, much] = np.nan
        elif what == "inf":
            rows[i] = np.inf
        elif what == "no stamp":
            t[i] = much
        elif what == "double":
            keep = np.insert(keep, i, [i] * much)
            rows = rows.copy()
        elif what == "swap":
            j = min(i + much, len(t) - 1)
            keep[i], keep[j] = j, i
        elif what == "step":
            t[i:] += much
        elif what == "saturate":
            rows[i] = -FULL_SCALE - i
        elif what == "burst":
            t[i : i + much] = t[min(i + much, len(t)) - 1] + 1e-4 * np.arange(len(t[i : i + much]))
        if len(keep):
            rows, t = rows[keep], t[keep]
    return rows.astype(np.float32), t + draw(st.sampled_from([0.0, -7.0, 1.7e9]))


def in_unit(t, unit):
    """Stamps as the driver of a sensor gives them; a stamp that is no number exists only as a float."""
    if unit == "s":
        return t
    ns = t * 1e9
    return ns.astype(np.int64) if np.isfinite(ns).all() else ns


def pieces_of(n, cuts):
    return pairwise([0, *sorted(min(cut, n) for cut in cuts), n])


def pushed(windower, rows, t, cuts, pad=None):
    """All windows when the rows go in cut at these places, and then the end."""
    windows = []
    for begin, end in pieces_of(len(rows), cuts):
        windows += windower.push(rows[begin:end], None if t is None else t[begin:end])
    return windows + windower.flush(pad)


def bits(windows):
    return [(w.samples.tobytes(), w.samples.shape, w.start_s, w.end_s, w.row, w.quality) for w in windows]


def assert_agrees(windows, counters, expected):
    """Values to the rounding of float32, times to a billionth, all numbers of rows exactly."""
    cuts, truth = expected
    assert {name: n for name, n in asdict(counters).items() if n} == {name: n for name, n in truth.items() if n}
    assert len(windows) == len(cuts)
    for window, cut in zip(windows, cuts, strict=True):
        assert (window.start_s, window.end_s) == pytest.approx((cut.start_s, cut.end_s), rel=1e-9, abs=1e-9)
        np.testing.assert_allclose(window.samples, cut.values, rtol=1e-5, atol=1e-5)
        quality = window.quality
        assert (quality.filled, quality.saturated, quality.padded) == (cut.filled, cut.saturated, cut.padded)
        assert quality.real == pytest.approx(cut.real, abs=1e-12)
        assert quality.source_hz == pytest.approx(cut.source_hz, rel=1e-6, abs=1e-6)
        assert (quality.jitter_s is None) == (cut.jitter_s is None)
        if cut.jitter_s is not None:
            assert quality.jitter_s == pytest.approx(cut.jitter_s, rel=1e-6, abs=1e-9)


PADS = st.sampled_from([None, None, "hold", "zero"])
CUTS = st.lists(st.integers(0, 80), max_size=10)
WINDOWS = st.builds(WindowSpec, st.integers(1, 9), st.integers(1, 14))


@settings(max_examples=400, deadline=None)
@given(stream=streams(), clock=CLOCKS, window=WINDOWS, cuts=CUTS, pad=PADS, source_hz=st.sampled_from([None, 50, 60]))
def test_any_chunking_of_stamped_samples_is_what_the_reference_says(stream, clock, window, cuts, pad, source_hz):
    rows, t = stream[0], in_unit(stream[1], clock.unit)
    expected = clock_reference.reference(
        rows.tolist(),
        t.tolist(),
        rate_hz=RATE_HZ,
        length=window.length_samples,
        hop=window.hop_samples,
        spec=clock,
        source_hz=source_hz,
        full_scale=FULL_SCALE,
        pad=pad,
    )
    whole = Windower(SIGNAL, window, clock, source_hz)
    windows = pushed(whole, rows, t, (), pad)
    assert_agrees(windows, whole.counters, expected)
    for places in (cuts, range(len(rows))):
        pieces = Windower(SIGNAL, window, clock, source_hz)
        assert bits(pushed(pieces, rows, t, places, pad)) == bits(windows)
        assert pieces.counters == whole.counters


@settings(max_examples=150, deadline=None)
@given(
    stream=streams(),
    clock=CLOCKS,
    window=WINDOWS,
    cuts=CUTS,
    pad=PADS,
    source_hz=st.sampled_from([None, 50, 25, 62, 200]),
    signal=st.sampled_from([SIGNAL, WITHOUT_SCALE]),
)
def test_any_chunking_without_stamps_is_what_the_reference_says(stream, clock, window, cuts, pad, source_hz, signal):
    rows, full_scale = stream[0], signal.modalities[0].full_scale or np.inf
    expected = clock_reference.reference(
        rows.tolist(),
        None,
        rate_hz=RATE_HZ,
        length=window.length_samples,
        hop=window.hop_samples,
        spec=clock,
        source_hz=source_hz,
        full_scale=full_scale,
        pad=pad,
    )
    whole = Windower(signal, window, clock, source_hz)
    windows = pushed(whole, rows, None, (), pad)
    assert_agrees(windows, whole.counters, expected)
    for places in (cuts, range(len(rows))):
        pieces = Windower(signal, window, clock, source_hz)
        assert bits(pushed(pieces, rows, None, places, pad)) == bits(windows)
        assert pieces.counters == whole.counters


@settings(max_examples=100, deadline=None)
@given(stream=streams(), window=WINDOWS, cuts=CUTS, timed=st.booleans())
def test_a_recording_is_cut_as_a_stream_of_it(stream, window, cuts, timed):
    rows, t = stream[0], stream[1] if timed else None
    windower = Windower(SIGNAL, window)
    windows = cut_windows(Recording(rows, ("acc_x", "acc_y"), RATE_HZ, t=t), SIGNAL, window)
    assert bits(pushed(windower, rows, t, cuts)) == bits(windows)


@settings(max_examples=100, deadline=None)
@given(
    first=streams(),
    second=streams(),
    clock=CLOCKS,
    window=WINDOWS,
    pad=PADS,
    timed=st.tuples(st.booleans(), st.booleans()),
    cuts=CUTS,
)
def test_after_flush_a_new_stream_begins(first, second, clock, window, pad, timed, cuts):
    windower, counts, expected, found = Windower(WITHOUT_SCALE, window, clock), [], [], []
    for (rows, t), stamped in zip((first, second), timed, strict=True):
        stamps = in_unit(t, clock.unit) if stamped else None
        alone = Windower(WITHOUT_SCALE, window, clock)
        expected += [(*b[:4], b[5]) for b in bits(pushed(alone, rows, stamps, (), pad))]
        found += [(*b[:4], b[5]) for b in bits(pushed(windower, rows, stamps, cuts, pad))]
        counts.append(asdict(alone.counters))
    assert found == expected
    assert asdict(windower.counters) == {name: counts[0][name] + counts[1][name] for name in counts[0]}


@settings(max_examples=60, deadline=None)
@given(stream=streams(), clock=CLOCKS, cuts=CUTS, jump=st.sampled_from([86400, 1.7e9, 9e10]), i=st.integers(0, 69))
def test_a_clock_that_leaps_ahead_costs_no_time_and_depends_on_no_chunking(stream, clock, cuts, jump, i):
    rows, t = stream[0], stream[1].copy()
    t[i:] += jump
    spec, window = ClockSpec(gap=clock.gap, reorder_s=clock.reorder_s), WindowSpec(5, 3)
    whole, pieces = Windower(SIGNAL, window, spec), Windower(SIGNAL, window, spec)
    windows = pushed(whole, rows, t, ())
    assert bits(pushed(pieces, rows, t, cuts)) == bits(windows)
    assert pieces.counters == whole.counters


# ---- predictions


@pytest.fixture(scope="module")
def bundle(exported):
    return Bundle.open(exported("fcn").path)


@settings(max_examples=60, deadline=None)
@given(stream=streams(most=150), clock=CLOCKS, cuts=st.lists(st.integers(0, 150), max_size=20), pad=PADS)
def test_any_chunking_gives_the_same_predictions_bit_for_bit(bundle, engine, stream, clock, cuts, pad):
    rows, t = np.repeat(stream[0], 2, axis=1)[:, :3], in_unit(stream[1], clock.unit)
    told = []
    for places in ((), cuts, range(len(rows))):
        live, predictions = Stream(bundle, engine, clock=clock, source_hz=RATE_HZ), []
        for begin, end in pieces_of(len(rows), places):
            predictions += live.push(rows[begin:end], t[begin:end])
        predictions += live.flush(pad)
        told.append(([(*p[:6],) for p in predictions], asdict(live.counters)))
    assert told[0] == told[1] == told[2]


@pytest.fixture(scope="module")
def engine(bundle):
    return open_engine(bundle)


# ---- another rate


@pytest.mark.parametrize("source_hz", [64, 100, 200, 400, 1000])
def test_the_low_pass_is_scipys_firwin(source_hz):
    half = round(5 * source_hz / RATE_HZ)
    expected = scipy.signal.firwin(2 * half + 1, 0.8 * RATE_HZ / source_hz, window="hamming")
    np.testing.assert_allclose(LowPass(source_hz, RATE_HZ, 1).taps, expected, rtol=1e-12, atol=1e-15)


ONE = Signal((Modality("acc", "m/s^2", ("x",), RATE_HZ),))


def resampled(t, values, source_hz=None, stamped=True):
    """Rows at the model's rate, with their times."""
    windower = Windower(ONE, WindowSpec(1, 1), source_hz=source_hz)
    windows = windower.push(values[:, None].astype(np.float32), t if stamped else None) + windower.flush()
    assert windower.counters.gaps == 0
    return np.array([w.start_s for w in windows]), np.array([w.samples[0, 0] for w in windows])


@pytest.mark.parametrize("hz", [200.0, 197.3])
@pytest.mark.parametrize("source_hz", [None, 200.0])
def test_a_faster_source_is_scipys_filter_read_by_numpys_interp(hz, source_hz):
    rng = np.random.default_rng(4)
    t = 3 + np.arange(1600) / hz
    values = np.cumsum(rng.normal(0, 1, 1600)).astype(np.float32)
    at, found = resampled(t, values, source_hz)
    half = round(5 * (source_hz or hz) / RATE_HZ)
    taps = scipy.signal.firwin(2 * half + 1, 0.8 * RATE_HZ / (source_hz or hz), window="hamming")
    smooth = scipy.signal.convolve(values.astype(np.float64), taps, mode="same")
    inside = slice(10, -10)
    np.testing.assert_allclose(at, 3 + np.arange(len(at)) / RATE_HZ, rtol=0, atol=1e-9)
    assert len(at) == int((t[-1] - 3) * RATE_HZ + 1e-3) + 1
    np.testing.assert_allclose(found[inside], np.interp(at, t, smooth)[inside], rtol=0, atol=2e-5 * abs(values).max())


@pytest.mark.parametrize("stamped", [True, False])
def test_what_is_above_the_models_nyquist_rate_does_not_come_back_as_something_slower(stamped):
    t = np.arange(2000) / 200
    for tone_hz, least, most in ((60, 0, 0.01), (45, 0, 0.01), (5, 0.99, 1.01), (1, 0.99, 1.01)):
        at, found = resampled(t, np.sin(2 * np.pi * tone_hz * t), 200.0, stamped)
        inside = slice(25, -25)  # 9 s: whole periods
        basis = np.exp(-2j * np.pi * tone_hz * at[inside])
        found = found[inside].astype(np.float64)
        amplitude = np.sqrt(2 * np.mean(found**2)) if tone_hz > 25 else 2 * abs(np.mean(found * basis))
        assert least <= amplitude <= most
        if tone_hz <= 5:  # linear phase: nothing is late
            np.testing.assert_allclose(found, np.sin(2 * np.pi * tone_hz * at[inside]), atol=0.015)


@pytest.mark.parametrize("hz", [20.0, 12.5, 49.0, 50.0, 60.0])
def test_a_slower_source_is_numpys_interp(hz):
    t = 100 + np.arange(400) / hz
    values = np.random.default_rng(2).normal(size=400).astype(np.float32)
    at, found = resampled(t, values)
    np.testing.assert_allclose(at, 100 + np.arange(len(at)) / RATE_HZ, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found, np.interp(at, t, values), rtol=0, atol=3e-3)  # a row is a sample within 20 us
    exact = np.abs((at * hz) - np.round(at * hz)) < 1e-6
    assert np.array_equal(found[exact], values[np.round((at[exact] - 100) * hz).astype(int)])


def test_a_delay_is_told():
    windower = Windower(ONE, WindowSpec(1, 1), ClockSpec(reorder_s=0.25), 200.0)
    t = np.arange(400) / 200
    windows = windower.push(np.ones((400, 1)), t)
    assert windower.delay_s == pytest.approx(0.25 + 0.1)
    assert t[-1] - windows[-1].start_s == pytest.approx(windower.delay_s, abs=1 / RATE_HZ)


# ---- times of arrival


@pytest.mark.parametrize("burst", [1, 5, 25])
@pytest.mark.parametrize("drift", [0.98, 1.0, 1.02])
def test_bursts_of_late_samples_come_out_at_an_even_beat(burst, drift):
    n, rng = 6000, np.random.default_rng(burst)
    measured = 1.7e9 + np.arange(n) / (RATE_HZ * drift)
    last = np.minimum(np.arange(n) // burst * burst + burst - 1, n - 1)
    arrived = (
        measured[last]
        + 0.05
        + (rng.uniform(0, 0.01, n) if burst == 1 else rng.uniform(0, 0.01, n // burst).repeat(burst))
    )
    windower = Windower(ONE, WindowSpec(50, 50), ClockSpec(stamps="arrival"))
    windows = windower.push(np.arange(n)[:, None].astype(np.float32), np.maximum.accumulate(arrived)) + windower.flush()
    counters = windower.counters
    assert (counters.gaps, counters.late, counters.duplicates, counters.clock_back) == (0, 0, 0, 0)
    settled = np.concatenate([w.samples[:, 0] for w in windows[len(windows) // 2 :]]).astype(np.float64)
    steps = np.diff(settled)  # samples per row: no sample is lost or doubled
    assert steps.mean() == pytest.approx(drift, rel=2e-3)
    assert abs(steps / drift - 1).max() < 0.03 + 0.015 * burst
    assert len(windows) * 50 == pytest.approx(n / drift, rel=0.01)
    hz = [w.quality.source_hz[0] for w in windows[len(windows) // 2 :]]
    assert np.mean(hz) == pytest.approx(RATE_HZ * drift, rel=2e-3)


def test_arrivals_when_the_clock_stands_still_never_run_backward():
    for hz in (50, 1000):
        signal = Signal((Modality("acc", "g", ("x",), hz),))
        windower = Windower(signal, WindowSpec(10, 10), ClockSpec(stamps="arrival"))
        windows = windower.push(np.arange(5000.0)[:, None], np.full(5000, 7.0)) + windower.flush()
        for window in windows:
            assert (np.diff(window.samples[:, 0]) >= 0).all()


def test_an_arrival_moves_the_line_by_a_fiftieth_and_its_slope_by_a_ten_thousandth():
    arrived = np.array([0.0, 0.02, 0.04 + 0.01, 0.0602 + 1e-6])
    (found,) = Smoother(0.02, ClockSpec(stamps="arrival"), Counters()).push(
        Piece(arrived, np.zeros((4, 1), np.float32), np.zeros(4, np.uint8))
    )
    np.testing.assert_allclose(found.t, [0.0, 0.02, 0.0402, 0.0602 + 1e-6], rtol=0, atol=1e-12)


def test_arrivals_that_fall_back_by_less_than_a_jump_never_run_backward():
    """The line is 0.5 s ahead when the clock steps back: 2 % of that are many periods of a fast source."""
    arrived = np.concatenate([np.arange(1000) / 1000, 0.5 + np.arange(1000) / 1000])
    counters = Counters()
    (found,) = Smoother(1e-3, ClockSpec(stamps="arrival", back_s=1.0), counters).push(
        Piece(arrived, np.zeros((2000, 1), np.float32), np.zeros(2000, np.uint8))
    )
    assert (np.diff(found.t) > 0).all()
    assert counters.clock_back == 0


@pytest.mark.parametrize("source_hz", [10.0, 50.0, 200.0, 1000.0])
def test_arrivals_of_a_source_whose_rate_is_told_make_all_windows(source_hz):
    t = np.arange(int(20 * source_hz)) / source_hz
    windower = Windower(ONE, WindowSpec(50, 50), ClockSpec(stamps="arrival"), source_hz)
    windows = windower.push(t[:, None].astype(np.float32), t) + windower.flush()
    assert len(windows) in (19, 20)
    assert (windower.counters.gaps, windower.counters.clock_back, windower.counters.late) == (0, 0, 0)


@pytest.mark.parametrize("stamps", ["measured", "arrival"])
@pytest.mark.parametrize("gap", ["split", "hold", "mark"])
def test_a_gap_of_a_source_whose_rate_is_told(stamps, gap):
    """2 s are lost of 20: one gap, whatever the stamps are of and whatever is done about it."""
    t = np.delete(np.arange(2000) / 100, slice(1000, 1200))
    windower = Windower(ONE, WindowSpec(50, 50), ClockSpec(stamps=stamps, gap=gap), 100.0)
    windows = windower.push(t[:, None].astype(np.float32), t) + windower.flush()
    assert (windower.counters.gaps, windower.counters.clock_back) == (1, 0)
    assert 17 <= len(windows) <= 18


@settings(max_examples=100, deadline=None)
@given(stream=streams(), clock=CLOCKS, window=WINDOWS, cuts=CUTS, pad=PADS, source_hz=st.sampled_from([None, 20, 200]))
def test_arrivals_with_every_other_option_depend_on_no_chunking(stream, clock, window, cuts, pad, source_hz):
    """And whatever else happens, windows begin in order and every sample is accounted for."""
    clock = replace(clock, stamps="arrival")
    rows, t = stream[0], in_unit(stream[1], clock.unit)
    whole = Windower(SIGNAL, window, clock, source_hz)
    windows = pushed(whole, rows, t, (), pad)
    for places in (cuts, range(len(rows))):
        pieces = Windower(SIGNAL, window, clock, source_hz)
        assert bits(pushed(pieces, rows, t, places, pad)) == bits(windows)
        assert pieces.counters == whole.counters
    assert whole.counters.samples == len(rows)
    good = np.isfinite(rows).all(axis=1) & np.isfinite(stream[1])
    assert whole.counters.not_finite == np.count_nonzero(~good)
    assert (whole.counters.late, whole.counters.duplicates, whole.counters.reordered) == (0, 0, 0)
    if not whole.counters.clock_back:
        assert all(a.start_s < b.start_s for a, b in pairwise(windows))


def test_a_sensor_at_its_limit_beside_one_whose_limit_nobody_knows():
    known, unknown = Modality("acc", "g", ("x",), RATE_HZ, 2.0), Modality("gyro", "rad/s", ("y",), RATE_HZ)
    for signal, rows in (
        (Signal((known, unknown)), [[2, 9], [1.99, 9]]),
        (Signal((unknown, known)), [[9, -2], [9, 1]]),
    ):
        windower = Windower(signal, WindowSpec(2, 2))
        windower.push(np.array(rows, np.float32))
        assert windower.counters.saturated == 1


@pytest.mark.parametrize("sign", [1, -1])
def test_a_stamp_after_the_year_5138_is_none(sign):
    windower = Windower(ONE, WindowSpec(1, 1))
    windower.push(np.zeros((2, 1), np.float32), sign * np.array([1e11, np.nextafter(1e11, 2e11)]))
    assert windower.counters.not_finite == 1


def test_even_samples_take_the_short_way_and_others_do_not():
    windower = Windower(WITHOUT_SCALE, WindowSpec(7, 3))
    for _ in range(3):
        windower.push(np.ones((5, 2), np.float32))
        assert windower._tracks[0].is_even
    assert windower._followed == 10  # all but the first push
    assert pushed_even(Windower(SIGNAL, WindowSpec(7, 3)))  # its range is looked at there, too
    assert not pushed_even(Windower(WITHOUT_SCALE, WindowSpec(7, 3), source_hz=49.0))


def pushed_even(windower):
    windower.push(np.ones((5, 2), np.float32))
    return windower._tracks[0].is_even


def test_a_push_keeps_nothing_of_the_callers_array():
    rng = np.random.default_rng(3)
    rows, t = rng.normal(size=(60, 2)).astype(np.float32), np.arange(60) / 49.0
    clean, reused = Windower(SIGNAL, WindowSpec(7, 3)), Windower(SIGNAL, WindowSpec(7, 3))
    buffer, stamps, found = np.zeros((4, 2), np.float32), np.zeros(4), []
    for i in range(0, 60, 4):
        buffer[:], stamps[:] = rows[i : i + 4], t[i : i + 4]
        found += reused.push(buffer, stamps)
        buffer[:], stamps[:] = 77, 88
    assert bits(found + reused.flush()) == bits(pushed(clean, rows, t, ()))


def test_a_clock_at_its_bounds():
    edges = {"gap_s": 0.0, "longest_hold_s": 0.0, "reorder_s": 0.0, "back_s": 0.0}
    assert ClockSpec(**edges, least_real=0.0).back_s == 0.0
    assert ClockSpec(least_real=1.0).least_real == 1.0
    for name in (*edges, "least_real"):
        for value in (-5e-324, np.inf, np.nan):
            with pytest.raises(BundleError, match=f"^clock: expected times of at least 0 seconds.*{name} {value}"):
                ClockSpec(**{name: value})
    with pytest.raises(BundleError, match="least_real from 0 to 1"):
        ClockSpec(least_real=np.nextafter(1, 2))


@pytest.mark.parametrize(("length", "hop"), [(1, 0), (0, 1), (-1, 1)])
def test_a_window_and_its_hop_are_one_sample_or_more(length, hop):
    assert WindowSpec(1, 1).hop_samples == 1
    with pytest.raises(BundleError, match=f"at least 1 sample, got length {length}, hop {hop}"):
        WindowSpec(length, hop)


@pytest.mark.parametrize(
    "changes",
    [{"gap": "spilt"}, {"unit": "ms"}, {"stamps": "late"}, {"gap_s": -1.0}, {"back_s": np.nan}, {"least_real": 1.1}],
)
def test_a_clock_that_makes_no_sense(changes):
    with pytest.raises(BundleError, match=f"clock: expected .*got .*{next(iter(changes))}"):
        ClockSpec(**changes)


def test_what_is_at_the_full_scale_is_not_within_it():
    for value, within in ((4.9, True), (5.0, False), (-4.9, True), (-5.0, False), (np.nan, False)):
        assert lies_within(np.array([1, value, -1], np.float32), 5.0) is within
