"""Streams with clocks of their own against a reference that goes sample by sample, in any chunking, bit for bit."""

from dataclasses import asdict
from itertools import pairwise

import clock_reference
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundle import Bundle
from runtime.clock import ClockSpec, LowPass
from runtime.engine import open_engine
from runtime.errors import InputError
from runtime.manifest import Modality, Signal, WindowSpec
from runtime.recording import Recording
from runtime.stream import Stream
from runtime.window import Windower, cut_windows

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


@settings(max_examples=700, deadline=None)
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
    windower = Windower(SIGNAL, window, source_hz=RATE_HZ)
    windows = cut_windows(Recording(rows, ("acc_x", "acc_y"), RATE_HZ, t=t), SIGNAL, window)
    assert bits(pushed(windower, rows, t, cuts)) == bits(windows)


@settings(max_examples=100, deadline=None)
@given(first=streams(), second=streams(), clock=CLOCKS, window=WINDOWS, pad=PADS, timed=st.tuples(st.booleans(), st.booleans()), cuts=CUTS)
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
