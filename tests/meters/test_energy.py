"""What a meter answers, which one is opened, and the checks that every one of them faces."""

import dataclasses
import json
import re
import sys
from functools import partial

import pytest

from runtime.errors import InputError
from sdk.meters import Energy, LineMeter, NoMeter, open_meter
from sdk.meters.choose import SOURCES
from sdk.meters.energy import Idle, add_energies
from sdk.meters.nvml import open_nvml
from tests.board_trees import FakeNvml, Feed, Firmware, laptop, nano

RAPL = {
    "sys/class/powercap/intel-rapl:0/name": "package-0",
    "sys/class/powercap/intel-rapl:0/energy_uj": 1000,
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": 262143328850,
}
HWMON = {"sys/class/hwmon/hwmon2/name": "ina226", "sys/class/hwmon/hwmon2/power1_input": 4150000}


@pytest.mark.parametrize(
    ("energy", "text"),
    [
        (Energy(1.23449, "rapl", ("package-0",), "counter"), "1.234 J (rapl: package-0)"),
        (Energy(0.00012, "rapl", ("package-0",), "counter"), "0.00012 J (rapl: package-0)"),
        (Energy(12345.67, "hwmon:ina3221", ("CPU", "GPU"), "counter"), "12345.7 J (hwmon:ina3221: CPU + GPU)"),
        (Energy(999.94, "rapl", ("package-0",), "counter"), "999.9 J (rapl: package-0)"),
        (Energy(1000.0, "rapl", ("package-0",), "counter"), "1000.0 J (rapl: package-0)"),
        (Energy(-1000.04, "hwmon:x", ("VDD_IN",)), "-1000.0 J (hwmon:x: VDD_IN)"),
        (Energy(1.5, "rapl", ("package-0",), "counter", tier="partial"), "1.5 J (rapl: package-0; partial)"),
        (Energy(1.5, "hwmon:x", ("VDD_IN",), tier="measured", notes=("odd",)), "1.5 J (hwmon:x: VDD_IN; odd)"),
        (Energy(2.5, "model:x", ("board",), "model", tier="estimated"), "~2.5 J (model:x: board; estimated)"),
        (Energy(None, "none", reason="no such thing"), "not measured (no meter: no such thing)"),
        (Energy(None, "rapl", ("package-0",), reason="incomplete: x"), "not measured (rapl: incomplete: x)"),
    ],
)
def test_one_line(energy, text):
    assert str(energy) == text
    assert energy.describe() == text


@pytest.mark.parametrize(
    ("energy", "lines"),
    [
        (Energy(1.0, "rapl", ("p",), "counter"), 1),  # nobody knows in what time
        (Energy(None, "rapl", ("p",), "counter", reason="lost", seconds=2.0), 1),
        (Energy(1.0, "rapl", ("p",), "counter", seconds=2.0), 3),
        (Energy(1.0, "rapl", ("p",), "counter", seconds=2.0, leaves_out="the memory"), 4),
        (Energy(1.0, "rapl", ("p",), "counter", seconds=2.0, idle=Idle(None, reason="busy")), 4),
        (Energy(1.0, "rapl", ("p",), "counter", seconds=2.0, idle=Idle(0.2), metering_cpu_s=0.02), 6),
    ],
)
def test_what_is_explained(energy, lines):
    said = energy.explain().splitlines()
    assert len(said) == lines
    assert (said == [energy.describe()]) == (lines == 1)
    if lines == 6:
        assert said[1:3] == ["idle      0.2 W ± unknown", "net       0.6 J ± unknown"]
        assert said[5] == "metering  1.00% of one core"


def test_what_was_not_measured_says_so_in_json_too():
    plain = Energy(None, "none", reason="x").to_dict()
    assert (plain["method"], plain["source"], plain["reason"], plain["joules"]) == ("none", "none", "x", None)
    assert {plain[name] for name in ("net_joules", "net_uncertainty_j", "metering_share", "seconds")} == {None}


@pytest.mark.parametrize("lost", [{"seconds": None}, {"idle": None}, {"idle": Idle(None, reason="busy")}])
def test_net_joules_need_a_time_and_an_idle_power(lost):
    whole = Energy(3.0, "rapl", ("p",), "counter", seconds=2.0, uncertainty_j=0.3, idle=Idle(0.5, 0.2))
    assert (whole.net_joules, whole.net_uncertainty_j) == (2.0, pytest.approx(0.5))
    part = dataclasses.replace(whole, **lost)
    assert (part.net_joules, part.net_uncertainty_j) == (None, None)
    for unsure in ({"uncertainty_j": None}, {"idle": Idle(0.5)}):
        part = dataclasses.replace(whole, **unsure)
        assert (part.net_joules, part.net_uncertainty_j) == (2.0, None)


def test_energies_of_one_meter_add_up():
    one = Energy(1.0, "rapl", ("p",), "counter", "", 2.0, 10, 1, uncertainty_j=0.1, metering_cpu_s=0.01, notes=("a",))
    both = add_energies([one, dataclasses.replace(one, joules=0.5, seconds=1.0, n_samples=4, notes=("a", "b"))])
    assert (both.joules, both.seconds, both.n_samples, both.n_repeats, both.notes) == (1.5, 3.0, 14, 2, ("a", "b"))
    assert (both.uncertainty_j, both.metering_cpu_s) == (pytest.approx(0.2), pytest.approx(0.02))
    unsure = add_energies([one, dataclasses.replace(one, uncertainty_j=None)])
    assert (unsure.joules, unsure.uncertainty_j) == (2.0, None)  # one of them is not known: nor is the sum
    lost = Energy(None, "rapl", reason="lost")
    assert add_energies([one, lost, one]) == lost


@pytest.mark.parametrize(("joules", "reason"), [(None, ""), (1.0, "no meter")])
def test_joules_or_a_reason_but_not_both(joules, reason):
    with pytest.raises(ValueError, match="either joules or a reason"):
        Energy(joules, "rapl", reason=reason)


@pytest.mark.parametrize("name", ["auto", "none", *SOURCES, "hwmon:ina226", "hwmon:nct6775:power1"])
def test_a_missing_meter_says_so_and_never_zero(tmp_path, name):
    meter = open_meter(name, root=tmp_path)
    meter.start()
    energy = meter.stop()
    assert isinstance(meter, NoMeter)
    assert energy.joules is None
    assert str(energy).startswith("not measured (no meter: ")
    assert "0" not in str(energy)


def test_the_reasons_of_all_sources_are_told(tmp_path):
    meter = open_meter(root=tmp_path)
    assert str(meter.stop()) == (
        "not measured (no meter: no /sys/class/powercap; no known power chip under /sys/class/hwmon; "
        "no /sys/bus/i2c/drivers/ina3221x; no /dev/vcio; "
        "put an INA226 or INA228 into its supply, or read a USB meter (lines:PATH): docs/meters.md)"
    )


def test_auto_takes_the_first_that_works(tree):
    root = tree(HWMON)
    assert open_meter(root=root).name == "hwmon:ina226"
    tree(RAPL)
    assert open_meter(root=root).name == "rapl"
    assert open_meter("hwmon", root=root).name == "hwmon:ina226"
    tree({"sys/class/hwmon/hwmon3/name": "ina219", "sys/class/hwmon/hwmon3/power1_input": 1000000})
    assert open_meter("hwmon:ina226", root=root).name == "hwmon:ina226"
    assert open_meter("hwmon:ina219", root=root).name == "hwmon:ina219"
    assert open_meter("hwmon", root=root).name == "none"  # two chips, and nobody said which
    assert open_meter("none", root=root).name == "none"


@pytest.mark.parametrize("name", ["rapk", "", "hwmon:", "hwmon:nct6775", "rapl:0", "auto:ina226", "lines:", "modle"])
def test_an_unknown_name_answers_with_the_known_ones(tmp_path, name):
    with pytest.raises(InputError, match=r"one of auto, none, rapl, hwmon, .*hwmon:ina226.*, got '"):
        open_meter(name, root=tmp_path)


def test_every_source_faces_the_same_checks(tree, monkeypatch):
    root = tree(RAPL | HWMON | nano() | laptop() | {"proc/stat": "cpu  1 2 3 4 0 0 0 0 0 0\ncpu0 1 2 3 4 0 0 0 0 0 0"})
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    feed = Feed()
    lines = LineMeter("lines", feed, wait_s=0.01)
    for second in range(9):
        feed.put(f"{second},1.5")
    own = {
        "lines": lambda: lines,
        "nvml": lambda: open_nvml(),
        "pmic": lambda: open_meter("pmic", root=root, gencmd=Firmware()),
        "model": lambda: open_meter("model:1,2", root=root),
    }
    meters = [own.get(name, partial(open_meter, name, root=root))() for name in ("none", *SOURCES)]
    assert [re.split("[:+]", meter.name)[0] for meter in meters] == ["none", *SOURCES]
    for meter in meters:
        energies = []
        for _ in range(2):  # a window after a window
            if meter.name != "none":
                with pytest.raises(RuntimeError, match="not measuring: start it first"):
                    meter.stop()
            meter.start()
            if meter.name != "none":
                with pytest.raises(RuntimeError, match="already measuring"):
                    meter.start()
            tree({"sys/class/powercap/intel-rapl:0/energy_uj": 1000 + 5000 * len(energies)})
            energies.append(meter.stop())
        for energy in energies:
            assert energy.source == meter.name
            assert (energy.joules is None) == bool(energy.reason)
            assert (energy.tier is None) == (energy.joules is None)
            assert json.loads(json.dumps(energy.to_dict(), allow_nan=False)) == energy.to_dict()
            with pytest.raises(dataclasses.FrozenInstanceError):
                energy.joules = 0.0
    feed.end()


def test_a_window_that_is_opened_twice_or_closed_unopened(tree):
    meter = open_meter(root=tree(HWMON))
    with pytest.raises(RuntimeError, match="not measuring: start it first"):
        meter.stop()
    meter.start()
    with pytest.raises(RuntimeError, match="already measuring"):
        meter.start()
    assert meter.stop().joules is not None
    with pytest.raises(RuntimeError, match="not measuring"):
        meter.stop()
