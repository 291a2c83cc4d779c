"""No setting of a clock and no stamp makes a stream grow or raise; afterwards it goes on as documented."""

import math
import tracemalloc
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import InputError
from runtime.specs import ClockSpec, Modality, Signal, WindowSpec
from runtime.window import Windower
from tests.runtime.window.clock_reference import reference

RATE_HZ = 50.0
SIGNAL = Signal((Modality("acc", "m/s^2", ("x", "y"), RATE_HZ),))
TWO = Signal((Modality("acc", "m/s^2", ("x", "y"), RATE_HZ), Modality("gyro", "rad/s", ("z",), RATE_HZ)))
WINDOW = WindowSpec(128, 64)
MOST_BYTES = 10_000_000
SECONDS = st.one_of(
    st.sampled_from([0.0, 1e-9, 0.5, 9.0, 20.0, 21.0, 3600.0, 86400.0, 1e10, 1e18, 1e300]),
    st.floats(0, 1e12),
)
CLOCKS = st.builds(
    ClockSpec,
    gap=st.sampled_from(["split", "hold", "mark"]),
    gap_s=st.one_of(st.none(), SECONDS),
    longest_hold_s=SECONDS,
    least_real=st.sampled_from([0.0, 0.5, 1.0]),
    reorder_s=SECONDS,
    back_s=SECONDS,
    stamps=st.sampled_from(["measured", "measured", "arrival"]),
    unit=st.sampled_from(["s", "s", "ns"]),
)
STEPS = st.one_of(
    st.sampled_from([0.0, 1e-12, 1e-9, 0.02, 5.0, 20.4, 20.5, 1e5, 1e10, 9e10, -1.5, -1e5]), st.floats(-1e11, 1e18)
)


def even(n=200):
    return np.random.default_rng(1).normal(0, 3, (n, 2)).astype(np.float32), np.arange(n) / RATE_HZ


def stamps_of(jumps):
    """Some even time after each jump."""
    t, now = [np.arange(40) / RATE_HZ], 40 / RATE_HZ
    for jump in jumps:
        now += jump
        t.append(now + np.arange(7) / RATE_HZ)
        now += 7 / RATE_HZ
    return np.concatenate(t)


def peak_of(act):
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@settings(max_examples=150, deadline=None)
@given(clock=CLOCKS, jumps=st.lists(STEPS, min_size=1, max_size=12), source_hz=st.sampled_from([None, 50.0, 200.0]))
def test_any_clock_and_any_stamps(clock, jumps, source_hz):
    t = stamps_of(jumps)
    t = t if clock.unit == "s" else t * 1e9
    rows, windower, n = np.ones((len(t), 2), np.float32), Windower(SIGNAL, WINDOW, clock, source_hz), 0

    def feed():
        nonlocal n
        for begin in range(0, len(t), 60):
            n += sum(1 for _ in windower.take(rows[begin : begin + 60], t[begin : begin + 60]))
        n += len(windower.flush("hold"))

    assert peak_of(feed) < MOST_BYTES
    counters = windower.counters
    assert (counters.samples, counters.windows) == (len(t), n)
    assert all(isinstance(count, int) and count >= 0 for count in asdict(counters).values())


@settings(max_examples=60, deadline=None)
@given(
    gap=st.sampled_from(["split", "hold", "mark"]),
    gap_s=st.sampled_from([None, 20.47, 20.48, 20.49, 86400.0, 1e9, 1e300]),
    longest_hold_s=st.sampled_from([0.5, 20.47, 20.48, 20.49, 1e10]),
    jumps=st.lists(st.sampled_from([0.3, 5.0, 20.46, 20.47, 20.5, 21.0, -3.0]), min_size=1, max_size=3),
    far=st.sampled_from([0.0, 86390.0, 5e8, 9e10]),
    cuts=st.sampled_from([1, 7, 1000]),
)
def test_the_counters_are_those_of_the_reference(gap, gap_s, longest_hold_s, jumps, far, cuts):
    clock = ClockSpec(gap=gap, gap_s=gap_s, longest_hold_s=longest_hold_s)
    jumps = jumps if gap == "mark" and far else [*jumps, far]  # the reference visits each row of a bridge
    t = np.round(stamps_of([jump for jump in jumps if gap != "mark" or jump < 1e6]), 6)
    rows = np.random.default_rng(1).normal(0, 3, (len(t), 2)).astype(np.float32)
    window = WindowSpec(128, 64)
    cuts_made, counted = reference(
        rows.tolist(), t.tolist(), rate_hz=RATE_HZ, length=128, hop=64, spec=clock, source_hz=RATE_HZ
    )
    windower, windows = Windower(SIGNAL, window, clock, RATE_HZ), []
    for begin in range(0, len(t), cuts):
        windows += windower.push(rows[begin : begin + cuts], t[begin : begin + cuts])
    windows += windower.flush()
    assert {name: n for name, n in asdict(windower.counters).items() if n} == {k: n for k, n in counted.items() if n}
    assert len(windows) == len(cuts_made)
    for made, cut in zip(windows, cuts_made, strict=True):
        np.testing.assert_allclose(made.samples, cut.values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("far", [86390.0, 5e8, 9.9e10])
@pytest.mark.parametrize(
    "clock",
    [
        ClockSpec(gap_s=86400.0),
        ClockSpec(gap_s=1e9),
        ClockSpec(gap="hold", longest_hold_s=86400.0),
        ClockSpec(gap="hold", longest_hold_s=1e10),
        ClockSpec(gap="hold", gap_s=1e300, longest_hold_s=1e300),
        ClockSpec(gap="mark", gap_s=1e9),
        ClockSpec(gap="mark", least_real=0.0),
    ],
)
def test_a_far_stamp_and_then_as_if_the_stream_had_begun_there(clock, far):
    rows, t = even(400)
    windower = Windower(SIGNAL, WINDOW, clock, RATE_HZ)
    assert len(windower.push(rows, t)) == 5

    def jump():
        assert len(windower.push(rows[:2], np.array([far, far + 0.02]))) <= 4  # what `mark` bridges

    assert peak_of(jump) < 1_000_000
    again = windower.push(rows, far + 0.04 + t)
    assert windower.counters.gaps == 1
    assert len(again) in (5, 6)
    if clock.gap != "mark":
        assert [w.start_s for w in again] == pytest.approx([far + 1.28 * k for k in range(5)])
        assert windower.counters.windows_skipped == 0
    assert all(w.quality.real == 1 for w in again[2:])


@pytest.mark.parametrize("policy", ["split", "hold", "mark"])
@pytest.mark.parametrize("step_s", [9.0, 20.0, 20.47, 21.0, 600.0])
def test_many_long_steps_in_one_push(policy, step_s):
    """Steps just below the ceiling are filled, piece by piece: of all that, a window is held at a time."""
    clock = ClockSpec(gap=policy, gap_s=86400.0, longest_hold_s=86400.0, least_real=0.0)
    windower, rows = Windower(SIGNAL, WINDOW, clock, RATE_HZ), np.ones((100, 2), np.float32)
    peak = peak_of(lambda: sum(1 for _ in windower.take(rows, step_s * np.arange(100))))
    assert peak < MOST_BYTES / 20  # all that is filled would be 800 kB of samples alone, and as much twice in windows


@pytest.mark.parametrize("step_s", [0.0, 1e-12, 1e-9, 1e-7])
@pytest.mark.parametrize("reorder_s", [0.0, 0.1, 1e9])
def test_a_clock_that_stands_nearly_still(step_s, reorder_s):
    """The line of samples since the last row, and of those to be put in order, is bounded."""
    windower = Windower(SIGNAL, WINDOW, ClockSpec(reorder_s=reorder_s), RATE_HZ)
    rows, block = np.ones((500, 2), np.float32), np.arange(500)

    def feed():
        for k in range(80):
            windower.push(rows, 100.0 + step_s * (500 * k + block))

    assert peak_of(feed) < 2_000_000
    windower.flush()
    assert windower.counters.samples == 40_000


@pytest.mark.parametrize("chunk", [1, 100, 997, 30_000])
def test_so_many_samples_are_put_in_order(chunk):
    """With `reorder_s` of years all that is known is the order of the last 4,096."""
    t = np.arange(3 * 4096) / RATE_HZ
    t[10], t[11] = t[11], t[10]
    windower, windows = Windower(SIGNAL, WINDOW, ClockSpec(reorder_s=1e9), RATE_HZ), []
    for begin in range(0, len(t), chunk):
        part = t[begin : begin + chunk]
        windows += windower.push(np.ones((len(part), 2), np.float32), part)
    assert len(windows) == (5 * 4096 // 2 - 128) // 64 + 1
    windows += windower.flush()
    assert len(windows) == (len(t) - 128) // 64 + 1
    counted = {name: n for name, n in asdict(windower.counters).items() if n}
    assert counted == {"samples": len(t), "reordered": 1, "windows": len(windows)}


@pytest.mark.parametrize("chunk", [1, 37, 2000])
def test_a_saturated_sample_among_thousands_within_one_row_is_told(chunk):
    signal = Signal((Modality("acc", "m/s^2", ("x",), RATE_HZ, 10.0),))
    t = np.concatenate([[0.0, 0.02], 0.02 + 1e-5 * np.arange(1, 1901), 0.04 + 0.02 * np.arange(8)])
    rows = np.ones((len(t), 1), np.float32)
    rows[40] = 11
    windower, windows = Windower(signal, WindowSpec(5, 5), None, RATE_HZ), []
    for begin in range(0, len(t), chunk):
        windows += windower.push(rows[begin : begin + chunk], t[begin : begin + chunk])
    assert [w.quality.saturated for w in windows + windower.flush()] == [1, 0]


@pytest.mark.parametrize("other", [None, 50.0])
@pytest.mark.parametrize("step_s", [1e-9, 0.02, 500.0, 9e10])
def test_one_modality_that_waits_for_another(step_s, other):
    windower = Windower(TWO, WINDOW, ClockSpec(gap="hold", gap_s=1e9, longest_hold_s=1e9), other)
    rows = np.ones((500, 2), np.float32)

    turns = 5 if step_s > 1e9 else 20  # where each row begins a grid of its own

    def feed():
        for k in range(turns):
            windower.push(rows, step_s * (500 * k + np.arange(500)) % 1e11, "acc")

    assert peak_of(feed) < MOST_BYTES * turns / 20
    windower.push(np.ones((2, 1), np.float32), np.array([0.0, 0.02]), "gyro")
    assert windower.counters.samples == 500 * turns + 2


@pytest.mark.parametrize("rate_hz", [1e-8, 1.0, 1e6, 9e8])
@pytest.mark.parametrize("gap", ["split", "hold", "mark"])
def test_models_of_any_rate(rate_hz, gap):
    signal = Signal((Modality("acc", "m/s^2", ("x",), rate_hz),))
    windower = Windower(signal, WindowSpec(4, 2), ClockSpec(gap=gap), rate_hz)
    for far in (0.0, 1e3, 5e10, 9.9e10):
        windower.push(np.ones((9, 1), np.float32), far + np.arange(9) / rate_hz)
    windower.flush("zero")
    assert windower.counters.samples == 36


@pytest.mark.parametrize("source_hz", [0.0, -1.0, math.nan, math.inf, 1e-300, 4e-3, 6e5, 1e300, {"acc": 1e9}])
def test_rates_that_no_source_has_are_refused(source_hz):
    with pytest.raises(InputError, match="source_hz"):
        Windower(SIGNAL, WINDOW, None, source_hz)
