"""Power chips from trees of files: which rails are the total, and that the area under the power is right."""

import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.meters.energy import MeterError
from sdk.meters.hwmon import find_chips, open_hwmon
from sdk.meters.sampling import Power, SampledMeter
from tests.board_trees import I2C, agx_orin, agx_thor, agx_xavier, ina3221, orin_nano, single
from tests.waiting import until

ORIN_NANO, AGX_ORIN, AGX_XAVIER, AGX_THOR = orin_nano(), agx_orin(), agx_xavier(), agx_thor()
NANO = ina3221("sys/class/hwmon/hwmon0", ("POM_5V_IN", 5000, 576), ("POM_5V_GPU", 5000, 0), ("POM_5V_CPU", 5000, 80))
INA226 = single(
    "ina226",
    shunt_resistor=10000,
    in0_input=8,
    in1_input=5104,
    curr1_input=812,
    power1_input=4150000,
    update_interval=2,
)
ORIN_TOTAL = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")


@pytest.mark.parametrize(
    ("files", "watts", "source", "rails"),
    [
        (ORIN_NANO, 4.895616, "hwmon:ina3221", ("VDD_IN",)),
        (AGX_ORIN, 3.15008 + 1.18128 + 4.968, "hwmon:ina3221", ORIN_TOTAL),
        (AGX_XAVIER, 19 * 0.630 + 5, "hwmon:ina3221", ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")),
        (NANO, 2.88, "hwmon:ina3221", ("POM_5V_IN",)),
        (AGX_THOR, 23.067, "hwmon:ina238", ("power1",)),
        (INA226, 4.15, "hwmon:ina226", ("power1",)),
    ],
    ids=["orin-nano", "agx-orin", "agx-xavier", "nano", "agx-thor", "ina226"],
)
def test_constant_power_of_each_board(tree, clock, files, watts, source, rails):
    meter = open_hwmon(tree(files), clock=clock, background=False)
    meter.start()
    for _ in range(100):
        clock.now += 0.02
        meter.sample()
    energy = meter.stop()
    assert energy.joules == pytest.approx(watts * 2, rel=1e-9)
    assert energy.seconds == pytest.approx(2)
    assert (energy.source, energy.rails, energy.method) == (source, rails, "integrated power")
    assert energy.n_samples == 102


def test_energy_counter_is_preferred_to_power(tree, clock):
    root = tree(single("ina228", power1_input=4150000, energy1_input=123456789))
    meter = open_hwmon(root, clock=clock, background=False)
    meter.start()
    clock.now += 3
    tree(single("ina228", energy1_input=124456789))
    energy = meter.stop()
    assert energy.joules == pytest.approx(1, rel=1e-12)
    assert (energy.source, energy.rails, energy.method) == ("hwmon:ina228", ("energy1",), "counter")

    meter.start()
    tree(single("ina228", energy1_input=5))
    assert meter.stop().reason == "incomplete: energy1: the counter went backwards, from 124456789 to 5 uJ"


def test_counter_that_cannot_be_read_leaves_the_power(tree, clock):
    root = tree(single("ina228", power1_input=4150000, energy1_input=None))
    assert open_hwmon(root, clock=clock).method == "integrated power"


@given(
    start_w=st.integers(-5_000_000, 50_000_000),
    slope=st.integers(-1_000_000, 1_000_000),
    gaps_ms=st.lists(st.integers(1, 49), min_size=1, max_size=30),
)
def test_a_ramp_is_integrated_exactly(start_w, slope, gaps_ms):
    """Power start + slope * t at uneven times: joules = start * T + slope * T^2 / 2."""
    now_ms = 0

    class Ramp(Power):
        name = "ramp"

        def read(self):
            return start_w + slope * now_ms / 1000

    meter = SampledMeter(
        "test", [Ramp()], method="integrated power", period_s=0.01, clock=lambda: now_ms / 1000, background=False
    )
    meter.start()
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        meter.sample()
    seconds = now_ms / 1000
    truth = start_w * seconds + slope * seconds**2 / 2
    assert meter.stop().joules == pytest.approx(truth, rel=1e-9, abs=1e-6 * (abs(start_w) + abs(slope)))


def test_files_that_change_between_samples(tree, clock):
    """1 W for 10 ms, rising to 5 W within 20 ms, 5 W for 30 ms: 0.01 + 0.06 + 0.15 J."""
    meter = open_hwmon(tree(single("ina226", power1_input=1000000)), clock=clock, background=False)
    meter.start()
    for seconds, power_uw in ((0.01, 1000000), (0.02, 5000000), (0.03, 5000000)):
        clock.now += seconds
        tree(single("ina226", power1_input=power_uw))
        meter.sample()
    assert meter.stop().joules == pytest.approx(0.22, rel=1e-9)


def test_negative_samples_are_kept(tree, clock):
    """A gated rail reads -0.4 W and then +0.4 W: nothing was used, and nothing may be invented."""
    meter = open_hwmon(tree(single("ina238", power1_input=-400000)), clock=clock, background=False)
    meter.start()
    clock.now += 0.02
    tree(single("ina238", power1_input=400000))
    assert meter.stop().joules == pytest.approx(0, abs=1e-12)


def test_the_time_of_a_sample_is_the_middle_of_its_read(clock):
    class Slow(Power):
        name, duration_s = "slow", 1.0

        def read(self):
            clock.now += self.duration_s
            return 2.0

    rail = Slow()
    meter = SampledMeter("test", [rail], method="integrated power", period_s=100, clock=clock, background=False)
    meter.start()  # 0 to 1 s: at 0.5 s
    clock.now += 9
    rail.duration_s = 3.0  # 10 to 13 s: at 11.5 s
    energy = meter.stop()
    assert energy.seconds == pytest.approx(11)
    assert energy.joules == pytest.approx(22)


def test_the_gap_that_is_allowed_grows_with_slow_reads(clock):
    class Slow(Power):
        name = "slow"

        def read(self):
            clock.now += 0.08
            return 1.0

    def energy_with_gap(gap_s):
        meter = SampledMeter("test", [Slow()], method="integrated power", period_s=0.01, clock=clock, background=False)
        meter.start()
        clock.now += gap_s - 0.08
        return meter.stop()

    assert energy_with_gap(0.39).joules == pytest.approx(0.39)
    assert energy_with_gap(0.41).joules is None  # more than five times 0.08 s


@pytest.mark.parametrize(("gap_s", "whole"), [(0.249, True), (0.251, False)])
def test_a_gap_of_more_than_five_periods_is_incomplete(tree, clock, gap_s, whole):
    meter = open_hwmon(tree(ORIN_NANO), clock=clock, background=False)
    assert meter.period_s == 0.05
    meter.start()
    clock.now += gap_s
    meter.sample()
    clock.now += 0.01
    energy = meter.stop()
    assert (energy.joules is not None) == whole
    assert whole or energy.reason == "incomplete: 0.251 s without a sample, more than 0.25 s"


@pytest.mark.parametrize("content", [None, "garbage", ""])
def test_a_read_that_fails_once_makes_the_window_incomplete(tree, clock, content):
    root = tree(INA226)
    power = root / "sys/class/hwmon/hwmon2/power1_input"
    meter = open_hwmon(root, clock=clock, background=False)
    meter.start()
    power.unlink()
    tree({"sys/class/hwmon/hwmon2/power1_input": content})
    clock.now += 0.01
    meter.sample()
    power.rmdir() if content is None else power.unlink()
    tree(INA226)
    clock.now += 0.01
    energy = meter.stop()
    assert energy.joules is None
    assert energy.reason.startswith("incomplete: ")
    assert "power1_input" in energy.reason


@pytest.mark.parametrize(("interval", "period_s"), [(2, 0.05), (7, 0.05), (100, 0.1), (None, 0.05)])
def test_the_period_respects_the_update_interval(tree, interval, period_s):
    assert open_hwmon(tree(single("ina226", power1_input=1, update_interval=interval))).period_s == period_s


@pytest.mark.parametrize(
    "broken", [{"in1_label": "NC"}, {"in1_label": ""}, {"in1_enable": 0}, {"in1_input": None}, {"curr1_input": "x"}]
)
def test_a_total_rail_that_is_off_or_unnamed_is_not_used(tree, broken):
    root = tree(ina3221("sys/class/hwmon/hwmon0", ("VDD_IN", 5016, 976), ("VDD_SOC", 5008, 296), **broken))
    with pytest.raises(MeterError, match="ina3221: no total is known for the rails VDD_SOC"):
        open_hwmon(root)


def test_unknown_chips_are_never_summed(tree):
    root = tree(
        single("nct6775", "sys/class/hwmon/hwmon0", power1_input=5000000)
        | single("amd_energy", "sys/class/hwmon/hwmon1", energy1_input=5000000)
    )
    with pytest.raises(MeterError, match="no known power chip under /sys/class/hwmon"):
        open_hwmon(root)


def test_several_chips_need_a_name(tree):
    root = tree(INA226 | single("ina219", "sys/class/hwmon/hwmon7", power1_input=1000000))
    with pytest.raises(MeterError, match="ina219, ina226: several chips"):
        open_hwmon(root)
    assert open_hwmon(root, "ina219").name == "hwmon:ina219"


def test_a_board_with_its_own_total_is_preferred_to_a_chip_beside_it(tree):
    root = tree(ORIN_NANO | INA226)
    assert open_hwmon(root).name == "hwmon:ina3221"
    assert open_hwmon(root, "ina226").name == "hwmon:ina226"
    with pytest.raises(MeterError, match="no ina228 under"):
        open_hwmon(root, "ina228")


def test_a_chip_that_can_be_reached_by_two_ways_is_one_chip(tree):
    root = tree(single("ina226", "sys/devices/i2c-1/1-0041/hwmon/hwmon2", power1_input=4150000))
    device = root / "sys/devices/i2c-1/1-0041"
    for link, target in {
        "sys/class/hwmon/hwmon2": device / "hwmon/hwmon2",
        f"{I2C}/ina2xx/1-0041": device,
        "sys/bus/i2c/devices/1-0041": device,
    }.items():
        (root / link).parent.mkdir(parents=True)
        (root / link).symlink_to(target)
    assert find_chips(root) == [device / "hwmon/hwmon2"]


@pytest.mark.usefixtures("late_threads")
def test_the_thread_samples_while_the_files_change(tree, clock):
    """2 W, then 6 W from the middle on, by a clock that goes on by 50 ms when the thread has looked."""
    root = tree(single("ina226", power1_input=2000000, update_interval=50))
    began_s = time.monotonic()
    meter = open_hwmon(root, clock=clock)

    def go_on():
        for _ in range(4):
            clock.now += 0.05
            seen = meter._n_samples
            until(lambda seen=seen: meter._n_samples > seen + 1)  # one that began afterwards

    meter.start()
    go_on()
    (root / "next").write_text("6000000\n")
    os.replace(root / "next", root / "sys/class/hwmon/hwmon2/power1_input")
    go_on()
    energy = meter.stop()
    assert energy.reason == ""
    assert 5 <= energy.n_samples <= 3 + (time.monotonic() - began_s) / 0.05  # no faster than the sensor
    assert energy.seconds == pytest.approx(0.4)
    assert 2.5 * energy.seconds < energy.joules < 5.5 * energy.seconds
    assert "sensedge-meter" not in {thread.name for thread in threading.enumerate()}
