"""The rate of a source, told by its stamps: measured, followed, said; the same for a stream and a file."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.recording import Recording
from runtime.specs import ClockSpec, Modality, Signal, WindowSpec
from runtime.window import Windower, cut_windows
from runtime.window.pieces import Counters, Piece
from runtime.window.rate import Rate
from tests.runtime.window import clock_reference

RATE_HZ = 50.0
SIGNAL = Signal((Modality("acc", "m/s^2", ("x",), RATE_HZ),))
WINDOW = WindowSpec(64, 32)
RATES = (12.5, 20.0, 49.3, 50.0, 62.0, 100.0, 200.0, 400.0)


def windower_of(clock=None, source_hz=None, window=WINDOW):
    return Windower(SIGNAL, window, clock, source_hz)


def pushed(windower, rows, t, chunk):
    windows = []
    for begin in range(0, len(rows), chunk):
        windows += windower.push(rows[begin : begin + chunk], t[begin : begin + chunk])
    return windows + windower.flush()


def bits(windows):
    return [(w.samples.tobytes(), *w[1:]) for w in windows]


def stamps_of(parts, rng, jitter=0.0, lost=0.0):
    """One stretch after the other, (rate, samples) each, with steps that jitter and samples that are lost."""
    steps = np.concatenate([np.full(n, 1 / hz) for hz, n in parts])
    t = np.cumsum(steps) + rng.uniform(-jitter, jitter, len(steps)) * steps
    return np.sort(t[rng.random(len(t)) >= lost])


def tone(t, hz=1.0):
    return np.sin(2 * np.pi * hz * t)[:, None].astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from(RATES), st.integers(1, 250)), min_size=1, max_size=4),
    jitter=st.sampled_from([0.0, 0.0, 0.1, 0.4]),
    lost=st.sampled_from([0.0, 0.0, 0.05, 0.3]),
    gap=st.sampled_from(["split", "hold", "mark"]),
    stamps=st.sampled_from(["measured", "measured", "arrival"]),
    chunk=st.sampled_from([1, 7, 16, 100]),
    seed=st.integers(0, 999),
)
def test_a_stream_is_its_file_whatever_the_rate_becomes(parts, jitter, lost, gap, stamps, chunk, seed):
    t = stamps_of(parts, np.random.default_rng(seed), jitter, lost)
    if stamps == "arrival":
        t = t[np.minimum(np.arange(len(t)) // 5 * 5 + 4, len(t) - 1)]  # five samples to a stamp
    rows, clock, window = tone(t), ClockSpec(gap=gap, stamps=stamps), WindowSpec(16, 8)
    live = windower_of(clock, window=window)
    windows = pushed(live, rows, t, chunk)
    for rate_hz in (RATE_HZ, 333.0):  # what the file says beside its times counts for nothing
        file = Recording(rows, ("acc_x",), rate_hz, t=t)
        assert bits(cut_windows(file, SIGNAL, window, clock)) == bits(windows)
    if stamps == "measured":
        cuts, counted = clock_reference.reference(
            rows.tolist(), t.tolist(), rate_hz=RATE_HZ, length=16, hop=8, spec=clock
        )
        assert {k: n for k, n in asdict(live.counters).items() if n} == {k: n for k, n in counted.items() if n}
        for window, cut in zip(windows, cuts, strict=True):
            np.testing.assert_allclose(window.samples, cut.values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("hz", RATES)
@pytest.mark.parametrize("epoch", [0.0, 1.7e9])
def test_even_stamps_of_any_rate_give_windows_of_the_signal(hz, epoch):
    """And those of a source that was told its rate, bit for bit: the rounding of stamps moves nothing."""
    t = epoch + np.arange(int(12 * hz)) / hz
    windows = pushed(windower_of(), tone(t - epoch), t, 16)
    assert len(windows) in (17, 18)
    for window in windows:
        at = window.start_s - epoch + np.arange(64) / RATE_HZ
        inside = (at > 0.2) & (at < 11.8)  # the low-pass repeats what stands at the ends
        np.testing.assert_allclose(window.samples[inside, 0], tone(at)[inside, 0], atol=0.05)
    if hz != 62.0:
        assert bits(pushed(windower_of(source_hz=hz), tone(t - epoch), t, 100)) == bits(windows)


@pytest.mark.parametrize("stamps", ["measured", "arrival"])
@pytest.mark.parametrize("hz", [100.0, 104.0, 400.0])
def test_what_is_above_the_models_nyquist_rate_is_gone_though_nobody_told_the_rate(stamps, hz):
    t = np.arange(int(10 * hz)) / hz
    rows = tone(t, 48.0)  # of a motor; as it is, 50 Hz would make 2 Hz of it
    windows = pushed(windower_of(ClockSpec(stamps=stamps)), rows, t, 16)
    assert max(abs(w.samples).max() for w in windows[1:-1]) < 0.02


def test_a_bad_start_settles_nothing():
    """Sixteen steps of a full buffer that is emptied, then 100 Hz."""
    t = np.concatenate([np.arange(17) * 1e-4, 0.5 + np.arange(1200) / 100])
    windower = windower_of()
    windows = pushed(windower, tone(t), t, 16)
    assert windower.counters.gaps == 1
    assert windower.counters.rate_changes == 0
    assert len(windows) == (600 - 64) // 32 + 1


@pytest.mark.parametrize(
    "rates", [(100.0, 20.0), (20.0, 100.0), (50.0, 400.0), (400.0, 12.5), (50.0, 60.5), (100.0, 75.0)]
)
@pytest.mark.parametrize("gap", ["split", "mark"])
def test_a_source_that_changes_its_rate_is_followed_and_said(rates, gap):
    t = stamps_of([(hz, int(12 * hz)) for hz in (*rates, *rates)], np.random.default_rng(0))
    windower = windower_of(ClockSpec(gap=gap))
    windows = pushed(windower, tone(t), t, 16)
    assert windower.counters.rate_changes == 3
    (note,) = windower.counters.notes
    assert note == f"the rate of the source changed 3 times: {rates[0]:g}, {rates[1]:g} Hz"
    assert windower.counters.gaps <= 3 * 24
    most = (48 * 50 - 64) // 32 + 1
    lost_s = 3 * (24 / min(rates) + 2 * 64 / 50)
    assert most - lost_s * 50 / 32 - 4 <= len(windows) <= most + 1


def test_a_rate_in_short_turns_is_followed():
    t = stamps_of([(100.0, 500), (20.0, 100)] * 10, np.random.default_rng(0))
    windower = windower_of()
    assert len(pushed(windower, tone(t), t, 16)) > 60
    assert windower.counters.rate_changes == 19


@pytest.mark.parametrize("lost", [0.1, 0.3])
def test_losses_are_no_other_rate(lost):
    t = stamps_of([(100.0, 4000)], np.random.default_rng(1), 0.1, lost)
    windower = windower_of()
    pushed(windower, tone(t), t, 16)
    assert windower.counters.rate_changes == 0
    assert abs(windower.counters.gaps / len(t) - lost) < 0.03


@pytest.mark.parametrize("burst", [1, 4, 25, 40])
@pytest.mark.parametrize("hz", [12.5, 50.0, 100.0, 400.0])
def test_bursts_of_any_rate_under_stamps_of_arrival(burst, hz):
    """Several samples to a stamp, of a source whose rate nobody told."""
    if burst / hz > 1:
        pytest.skip("longer than `back_s`")
    n = int(40 * hz) // burst * burst
    measured = np.arange(n) / hz
    arrived = measured[np.arange(n) // burst * burst + burst - 1]
    windower = windower_of(ClockSpec(stamps="arrival"))
    windows = pushed(windower, tone(measured, 0.1), arrived, 16)
    assert (windower.counters.gaps, windower.counters.rate_changes) == (0, 0)
    assert len(windows) == pytest.approx((n / hz * 50 - 64) / 32 + 1, abs=3 + burst / 4)
    for window in windows[len(windows) // 2 :]:
        assert window.quality.source_hz[0] == pytest.approx(hz, rel=0.15)


def test_arrivals_of_another_rate_are_followed():
    t = stamps_of([(100.0, 3000), (20.0, 1000), (100.0, 3000)], np.random.default_rng(0))
    windower = windower_of(ClockSpec(stamps="arrival"))
    assert len(pushed(windower, tone(t), t, 16)) > 120
    assert windower.counters.rate_changes == 2
    assert windower.counters.gaps < 128


def test_the_jitter_of_arrivals_is_that_of_the_stamps_as_they_came():
    rng = np.random.default_rng(2)
    t = np.arange(3000) / 50
    arrived = np.maximum.accumulate(t + rng.normal(0, 0.004, 3000))
    windows = pushed(windower_of(ClockSpec(stamps="arrival")), tone(t), arrived, 16)
    steps = arrived - np.polyval(np.polyfit(t, arrived, 1), t)
    assert np.median([w.quality.jitter_s for w in windows]) == pytest.approx(steps.std(), rel=0.1)


@pytest.mark.parametrize(("told", "true"), [(50.0, 25.0), (20.0, 80.0), (100.0, 50.0)])
@pytest.mark.parametrize("stamps", ["measured", "arrival"])
def test_a_told_rate_that_the_stamps_contradict_stays_and_is_said(told, true, stamps):
    t = np.arange(int(20 * true)) / true
    windower = windower_of(ClockSpec(stamps=stamps), told)
    pushed(windower, tone(t), t, 16)
    note = f"the source is said to have {told:g} Hz, its stamps say {true:g} Hz: correct its rate, or say none"
    assert windower.counters.notes[0] == note
    assert windower.counters.rate_changes == 0
    right = windower_of(ClockSpec(stamps=stamps), true)
    pushed(right, tone(t), t, 16)
    assert right.counters.notes == ()


def test_the_cure_is_named_where_a_tenth_of_the_stamps_repeat_or_follow_a_gap():
    t = np.round(stamps_of([(100.0, 2000)], np.random.default_rng(3), 0.9), 3)
    windower = windower_of()
    pushed(windower, tone(t), t, 16)
    (note,) = windower.counters.notes
    assert "stamps=arrival" in note
    assert "t=" in note
    assert "gap=hold" in note
    cured = windower_of(ClockSpec(stamps="arrival"))
    assert len(pushed(cured, tone(t), t, 16)) > 25
    assert cured.counters.notes == ()


def test_samples_wait_for_64_steps_or_a_window_and_no_longer():
    for length, hz, waits in ((128, 50.0, 64), (128, 400.0, 64), (20, 100.0, 37), (5, 50.0, 16), (128, 12.5, 32)):
        t = np.arange(200) / hz
        rate, n = Rate(50.0, (length - 1.5) / 50, None, None, Counters()), 0
        while not rate.take(Piece(t[n : n + 1], np.zeros((1, 1), np.float32), np.zeros(1, np.uint8))):
            n += 1
        assert n == waits


def test_a_clock_set_back_while_the_rate_is_measured():
    """What came before is too little to tell it; what comes after is held back anew."""
    t = np.concatenate([900 + np.arange(5) * 1.5e-4, np.arange(1000) / 100])
    windower = windower_of()
    windows = pushed(windower, tone(t), t, 1)
    assert (windower.counters.clock_back, windower.counters.gaps, windower.counters.rate_changes) == (1, 0, 0)
    assert len(windows) == (500 - 64) // 32 + 1


@pytest.mark.parametrize(("source_hz", "told"), [(5.0, "90.0%"), (12.5, None), (50.0, None)])
def test_a_source_of_which_most_rows_are_made_up_is_told(source_hz, told):
    windower = windower_of()
    n = int(source_hz * 20)
    windower.push(np.zeros((n, 1), np.float32), np.arange(n) / source_hz)
    notes = windower.counters.notes
    assert len(notes) == (told is not None)
    assert told is None or f"gives 5 samples per second, and the model takes 50 rows: {told} of them" in notes[0]
