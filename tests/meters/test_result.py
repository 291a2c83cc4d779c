"""What stands beside the joules: uncertainty, idle, timeline, the cost of metering. All numbers by hand."""

import math
import time

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from sdk.meters import Energy, Idle, NoMeter, idle_between, measure, measure_idle, open_meter, repeated
from sdk.meters.baseline import T_975
from sdk.meters.hwmon import open_hwmon
from sdk.meters.nvml import open_nvml
from sdk.meters.rapl import open_rapl
from sdk.meters.sampling import Power, SampledMeter
from sdk.meters.timeline import TimelineKeeper
from sdk.meters.uncertainty import CountSpread, PowerSpread, combined
from tests.board_trees import FakeNvml, agx_orin, ina226_on_a_pi, orin_nano, rapl, single
from tests.waiting import until


class Script(Power):
    """Watts as a function of the test's clock."""

    name = "script"

    def __init__(self, clock, watts):
        self._clock, self._watts, self._began_s = clock, watts, clock.now

    def read(self):
        return self._watts(self._clock.now - self._began_s)


def scripted(clock, watts, period_s=1.0, **more):
    rail = Script(clock, watts)
    return SampledMeter(
        *("test", [rail]), method="integrated power", period_s=period_s, clock=clock, background=False, **more
    )


def run(meter, clock, n):
    meter.start()
    for _ in range(n):
        clock.now += meter.period_s
        meter.sample()
    return meter.stop()


# ---- uncertainty


def test_of_a_steady_power_only_the_step_is_left():
    spread = PowerSpread(0.0625)
    for i in range(10):
        spread.add(5, 5, i, i + 1)
    assert spread.joules(50, 10) == pytest.approx(10 * 0.0625 / math.sqrt(12))


def test_of_a_power_that_jumps():
    """10 s at 0.1 s: the jump of 4 W fell anywhere into 0.1 s, the step is 0.01 W: sqrt((0.1^2 + 0.4^2) / 12)."""
    spread = PowerSpread(0.01)
    for i in range(100):
        spread.add(2 if i < 50 else 6, 2 if i < 49 else 6, i / 10, (i + 1) / 10)
    assert spread.joules(40, 10) == pytest.approx(math.sqrt((0.01 + 0.16) / 12), rel=1e-9)


def test_of_a_sensor_that_is_polled_five_times_too_often():
    """It has something new every 0.5 s; its five changes of 1 W count with that, not with the 0.1 s of the polls."""
    spread = PowerSpread(0.0)
    for i in range(30):
        spread.add(i // 5, (i + 1) // 5, i / 10, (i + 1) / 10)
    assert spread.joules(1, 3) == pytest.approx(math.sqrt(6 * 0.5**2 / 12), rel=1e-9)


def test_a_step_that_the_chip_does_not_tell():
    spread = PowerSpread(None)
    assert spread.joules(5.0, 10) is None
    assert spread.joules(0.0, 10) == 0  # a rail that is off
    spread.add(1, 1.5, 0, 1)
    spread.add(1.5, 1.25, 1, 2)
    assert spread.joules(5.0, 10) == pytest.approx(math.sqrt(((10 * 0.25) ** 2 + 0.5**2 + 0.25**2) / 12))


def test_of_a_counter():
    """Steps of 3 J, 4 W times 1 s of age, at both ends: 5 / sqrt(6)."""
    assert CountSpread(3.0, 1.0).joules(40, 10) == pytest.approx(5 / math.sqrt(6))
    assert CountSpread(None, 1.0).joules(40, 10) is None
    assert combined([3.0, 4.0]) == 5
    assert combined([3.0, None]) is None


def test_random_loads_err_as_much_as_is_said():
    """A load that is switched at random moments, sampled each second: errors in units of u have a spread of one."""
    rng = np.random.default_rng(7)
    errors = []
    for _ in range(400):
        switches = np.sort(rng.uniform(0, 60, 12))
        levels = rng.uniform(1, 9, 13)
        t = np.arange(61.0)
        watts = levels[np.searchsorted(switches, t)]
        spread = PowerSpread(0.0)
        for i in range(60):
            spread.add(watts[i], watts[i + 1], t[i], t[i + 1])
        truth = float(levels @ np.diff([0, *switches, 60]))
        errors.append((np.trapezoid(watts, t) - truth) / spread.joules(1, 60))
    assert 0.85 < np.std(errors) < 1.25
    assert abs(np.mean(errors)) < 0.2


def test_rails_add_as_independent(tree, clock):
    """AGX Orin: 2 mOhm give 20 mA at 19.688 and 4.968 V, and 8 mV at 160, 60 and 1000 mA."""
    energy = run(open_hwmon(tree(agx_orin()), clock=clock, background=False), clock, 99)
    steps_w = 19.688 * 0.020 + 0.160 * 0.008, 19.688 * 0.020 + 0.060 * 0.008, 4.968 * 0.020 + 1.0 * 0.008
    assert energy.uncertainty_j == pytest.approx(4.95 * math.hypot(*steps_w) / math.sqrt(12))


def test_of_rapl(tree, clock):
    """20 J in 2 s: 61 uJ, and 10 W that may be 1 ms old."""
    meter = open_rapl(tree(rapl(1000000)), clock=clock, background=False)
    meter.start()
    tree(rapl(21000000))
    clock.now += 2
    assert meter.stop().uncertainty_j == pytest.approx(math.hypot(61e-6, 0.010) / math.sqrt(6))


def test_repeats_and_a_stuck_sensor(tree, clock):
    meter = open_hwmon(tree(ina226_on_a_pi()), clock=clock, background=False)
    energy = run(meter, clock, 60)
    assert (energy.n_samples, energy.n_repeats) == (62, 61)
    assert energy.notes == ("all 62 readings alike: a steady load or a stuck sensor",)
    assert str(energy).endswith("(hwmon:ina226: power1; all 62 readings alike: a steady load or a stuck sensor)")
    for n, notes in ((48, 1), (47, 0)):  # of 50 readings it is said, of 49 it is not
        energy = run(meter, clock, n)
        assert (energy.n_samples, len(energy.notes)) == (n + 2, notes)
    moving = run(scripted(clock, lambda t: 2 + t // 30), clock, 60)
    assert (moving.n_samples, moving.n_repeats, moving.notes) == (62, 59, ())


def test_a_reading_is_a_repeat_only_if_no_rail_moved(clock):
    rails = [Script(clock, lambda t: 5.0), Script(clock, lambda t: t // 2)]
    meter = SampledMeter("test", rails, method="integrated power", period_s=1.0, clock=clock, background=False)
    energy = run(meter, clock, 10)
    assert (energy.n_samples, energy.n_repeats) == (12, 6)  # every other one, and that of `stop`


@pytest.mark.parametrize(("seconds", "measured"), [(2.0, True), (1.99, False)])
def test_the_shortest_window_of_a_slow_sensor(clock, seconds, measured):
    meter = scripted(clock, lambda t: 1.0, shortest_s=2.0)
    meter.start()
    clock.now += seconds
    energy = meter.stop()
    assert (energy.joules is not None) == measured
    assert measured or energy.reason == "1.99 s are too short for this slow sensor: measure at least 2 s"
    assert energy.tier == ("measured" if measured else None)


def test_a_share_of_the_joules_is_their_uncertainty(clock):
    rails = [Script(clock, lambda t: 5.0), Script(clock, lambda t: -1.0)]
    meter = SampledMeter(
        *("test", rails), method="model", period_s=1.0, clock=clock, background=False, share=0.3,
        tier="estimated", leaves_out="the rest",
    )  # fmt: skip
    energy = run(meter, clock, 4)
    assert (energy.joules, energy.uncertainty_j) == (16.0, pytest.approx(4.8))
    assert (energy.tier, energy.leaves_out, energy.method) == ("estimated", "the rest", "model")


# ---- idle


def test_net_joules_by_hand(tree, clock):
    idle = Idle(2.0, 0.03, 10.0)
    energy = Energy(50.0, "x", ("a",), seconds=20.0, uncertainty_j=0.8, tier="measured").above(idle)
    assert energy.net_joules == 10
    assert energy.net_uncertainty_j == 1.0  # sqrt(0.8^2 + (20 * 0.03)^2)
    text = energy.explain()
    assert "gross     50 J ± 0.8 J in 20 s" in text
    assert "idle      2 W ± 0.03 W" in text
    assert "net       10 J ± 1 J" in text
    assert energy.above(None).net_joules is None
    lost = energy.above(Idle(None, reason="no such thing"))
    assert lost.net_joules is None
    assert "idle      not measured (no such thing)" in lost.explain()


def test_idle_is_the_mean_of_its_windows(clock):
    """Five windows of 2 s at 1, 2, 3, 4 and 5 W."""
    slept = []
    meter = scripted(clock, lambda t: 1 + len(slept))

    def sleep(seconds):
        clock.now += seconds
        meter.sample()
        slept.append(seconds)

    idle = measure_idle(meter, 10, sleep=sleep)
    assert slept == [2.0] * 5
    assert idle.watts == pytest.approx(3)
    assert idle.seconds == pytest.approx(10)
    # each window ends in a jump of 1 W: steps of 1 W, and a standard error of sqrt(2.5 / 5)
    assert idle.uncertainty_w == pytest.approx(math.hypot(1 / math.sqrt(12), math.sqrt(2.5 / 5)))
    assert idle.reason == ""


def test_the_spread_of_idle_windows():
    from sdk.meters import idle_of

    energies = [Energy(2.0 * w, "x", ("a",), seconds=2.0, uncertainty_j=0.8) for w in (1, 2, 3, 4, 5)]
    assert idle_of(energies).uncertainty_w == pytest.approx(math.sqrt(0.4**2 + 2.5 / 5))


def test_idle_without_a_meter():
    idle = measure_idle(NoMeter("switched off"), 1, sleep=lambda seconds: None)
    assert (idle.watts, idle.reason) == (None, "switched off")


def test_two_idles_that_differ():
    both = idle_between(Idle(2.0, 0.01, 10), Idle(2.2, 0.02, 10))
    assert both.watts == pytest.approx(2.1)
    assert both.uncertainty_w == pytest.approx(math.hypot(0.02, 0.1))
    assert both.notes == ("the idle machine changed from 2 W before to 2.2 W after",)
    assert idle_between(Idle(2.0, 0.01, 10), Idle(2.05, 0.01, 10)).notes == ()
    assert idle_between(Idle(2.0), Idle(None, reason="gone")).reason == "gone"


@pytest.mark.usefixtures("late_threads")
def test_idle_beside_a_measured_block(tree):
    meter = open_meter(root=tree(single("ina226", power1_input=5000000, update_interval=10)))
    with measure(meter, idle=Idle(2.0, 0.0, 10)) as m:
        time.sleep(0.05)
    energy = m.result.energy
    assert energy.net_joules == pytest.approx(3 * energy.seconds)
    assert m.result.to_dict()["energy"]["net_joules"] == energy.net_joules
    assert m.result.to_dict()["energy"]["idle"]["watts"] == 2.0


def test_repeated_windows_are_scipys_interval():
    joules = [10.1, 9.8, 10.4, 10.0, 9.9]
    low, high = scipy.stats.t.interval(0.95, 4, np.mean(joules), scipy.stats.sem(joules))
    assert repeated(joules).ci95_j == pytest.approx((high - low) / 2, rel=1e-3)
    assert (repeated(joules).n, repeated(joules).mean_j) == (5, pytest.approx(np.mean(joules)))
    for freedom, t in T_975.items():
        assert t == pytest.approx(scipy.stats.t.ppf(0.975, freedom), abs=6e-4)
    with pytest.raises(ValueError, match="at least 2"):
        repeated([1.0])


# ---- timeline


def test_no_timeline_unless_asked_for(tree, clock):
    assert run(open_hwmon(tree(orin_nano()), clock=clock, background=False), clock, 5).timeline is None


def test_a_timeline_by_hand(clock):
    """A ramp of 1 W per second, each interval with the mean power in it."""
    meter = scripted(clock, lambda t: t)
    meter.keep_timeline(100)
    timeline = run(meter, clock, 4).timeline
    assert timeline.rails == ("script",)
    assert timeline.edges_s == pytest.approx((0, 1, 2, 3, 4))
    assert timeline.watts == ((0.5,), (1.5,), (2.5,), (3.5,))


def test_a_timeline_of_all_rails(tree, clock):
    meter = open_hwmon(tree(agx_orin()), clock=clock, background=False)
    meter.keep_timeline(100)
    timeline = run(meter, clock, 2).timeline
    assert timeline.rails == ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
    assert timeline.watts[-1] == pytest.approx((3.15008, 1.18128, 4.968))


@given(
    steps=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 50)), min_size=1, max_size=200), limit=st.integers(0, 20)
)
def test_a_timeline_is_bounded_and_keeps_its_area(steps, limit):
    keeper, now_s = TimelineKeeper(limit), 100.0
    for _ in range(2):  # a window after a window
        began_s = now_s
        keeper.begin(now_s)
        for seconds, joules in steps:
            now_s += seconds
            keeper.add(now_s, (float(joules), 1.0))
    timeline = keeper.timeline(("a", "b"))
    widths = np.diff(timeline.edges_s)
    assert len(timeline.watts) <= max(2, limit)
    assert (widths > 0).all()
    assert timeline.edges_s[-1] == pytest.approx(now_s - began_s)
    assert widths @ np.array(timeline.watts) == pytest.approx([sum(j for _, j in steps), len(steps)])


@given(n=st.integers(1, 300), limit=st.integers(2, 20))
def test_steady_intervals_stay_equal(n, limit):
    """All are of one width, a power of two; only the last may still be growing."""
    keeper = TimelineKeeper(limit)
    keeper.begin(0.0)
    for second in range(1, n + 1):
        keeper.add(float(second), (1.0,))
    widths = np.diff(keeper.timeline(("a",)).edges_s)
    assert len(set(widths[:-1])) <= 1
    assert widths[0] in 2.0 ** np.arange(10)
    assert widths[-1] <= widths[0]
    assert n == 1 or len(widths) >= min(n, limit) / 2


def test_a_counter_is_read_more_often_for_a_picture(tree):
    root = tree(rapl())
    assert open_meter(root=root).period_s == 30
    assert open_meter(root=root, timeline=100).period_s == 0.1
    card = open_nvml(nvml=FakeNvml())
    card.keep_timeline(100)
    assert card.period_s == 0.5  # it moves every 0.1 s
    meter = open_meter(root=root)
    meter.keep_timeline(0)
    meter.start()
    assert (meter.period_s, meter.stop().timeline) == (30, None)


# ---- cost


@pytest.mark.parametrize(
    ("readings", "cpu_s", "notes"),
    [
        (62, 1.5, ("the metering took 2.5% of a core",)),
        (62, 0.61, ("the metering took 1.0% of a core",)),
        (62, 0.6, ()),  # 1 % of 60 s
        (62, None, ()),
        (50, 1.5, ("the metering took 3.1% of a core",)),
        (49, 1.5, ()),  # too few to say
    ],
)
def test_dear_metering_says_so(clock, readings, cpu_s, notes):
    meter = scripted(clock, lambda t: t)
    meter.start()
    for _ in range(readings - 2):
        clock.now += 1
        meter.sample()
    meter._ticker.cpu_s = cpu_s
    energy = meter.stop()
    assert (energy.n_samples, energy.notes) == (readings, notes)


@pytest.mark.usefixtures("late_threads")
@pytest.mark.parametrize("files", [ina226_on_a_pi, orin_nano, agx_orin])
def test_what_metering_costs_is_told(tree, files):
    """CPU time of the sampling thread at the rate that the board gets, with files for sensors.

    On an idle machine it is below 1 %; a busy one makes the same work cost more, so the bound here is a loose one.
    """
    meter = open_meter(root=tree(files()))
    meter.start()
    time.sleep(1.0)
    until(lambda: meter._n_samples > 10)
    energy = meter.stop()
    assert energy.metering_cpu_s > 0
    assert energy.metering_share < 0.1
    assert energy.metering_share == pytest.approx(energy.metering_cpu_s / energy.seconds, rel=0.1)
    assert f"metering  {energy.metering_share:.2%} of one core" in energy.explain()
