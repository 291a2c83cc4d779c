"""What a meter answers, which one is opened, and the checks that every one of them faces."""

import dataclasses

import pytest

from runtime.errors import InputError
from sdk.meters import Energy, NoMeter, open_meter
from sdk.meters.choose import SOURCES

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
        (Energy(None, "none", reason="no such thing"), "not measured (no meter: no such thing)"),
        (Energy(None, "rapl", ("package-0",), reason="incomplete: x"), "not measured (rapl: incomplete: x)"),
    ],
)
def test_one_line(energy, text):
    assert str(energy) == text
    assert energy.describe() == text


@pytest.mark.parametrize(("joules", "reason"), [(None, ""), (1.0, "no meter")])
def test_joules_or_a_reason_but_not_both(joules, reason):
    with pytest.raises(ValueError, match="either joules or a reason"):
        Energy(joules, "rapl", reason=reason)


@pytest.mark.parametrize("name", ["auto", "none", *SOURCES, "hwmon:ina226"])
def test_a_missing_meter_says_so_and_never_zero(tmp_path, name):
    meter = open_meter(tmp_path, name)
    meter.start()
    energy = meter.stop()
    assert isinstance(meter, NoMeter)
    assert energy.joules is None
    assert str(energy).startswith("not measured (no meter: ")
    assert "0" not in str(energy)


def test_the_reasons_of_all_sources_are_told(tmp_path):
    meter = open_meter(tmp_path)
    assert str(meter.stop()) == (
        "not measured (no meter: no /sys/class/powercap; no known power chip under /sys/class/hwmon)"
    )


def test_auto_takes_the_first_that_works(tree):
    root = tree(HWMON)
    assert open_meter(root).name == "hwmon:ina226"
    tree(RAPL)
    assert open_meter(root).name == "rapl"
    assert open_meter(root, "hwmon").name == "hwmon:ina226"
    tree({"sys/class/hwmon/hwmon3/name": "ina219", "sys/class/hwmon/hwmon3/power1_input": 1000000})
    assert open_meter(root, "hwmon:ina226").name == "hwmon:ina226"
    assert open_meter(root, "hwmon:ina219").name == "hwmon:ina219"
    assert open_meter(root, "hwmon").name == "none"  # two chips, and nobody said which
    assert open_meter(root, "none").name == "none"


@pytest.mark.parametrize("name", ["rapk", "", "hwmon:", "hwmon:nct6775", "rapl:0", "auto:ina226"])
def test_an_unknown_name_answers_with_the_known_ones(tmp_path, name):
    with pytest.raises(InputError, match=r"one of auto, none, rapl, hwmon, .*hwmon:ina226.*, got '"):
        open_meter(tmp_path, name)


def test_every_source_faces_the_same_checks(tree):
    root = tree(RAPL | HWMON)
    meters = [open_meter(root, name) for name in ("none", *SOURCES)]
    assert {meter.name.partition(":")[0] for meter in meters} == {"none", "rapl", "hwmon"}
    for meter in meters:
        energies = []
        for _ in range(2):  # a window after a window
            meter.start()
            tree({"sys/class/powercap/intel-rapl:0/energy_uj": 1000 + 5000 * len(energies)})
            energies.append(meter.stop())
        for energy in energies:
            assert energy.source == meter.name
            assert (energy.joules is None) == bool(energy.reason)
            assert energy == dataclasses.replace(energy)
            with pytest.raises(dataclasses.FrozenInstanceError):
                energy.joules = 0.0


def test_a_window_that_is_opened_twice_or_closed_unopened(tree):
    meter = open_meter(tree(HWMON))
    with pytest.raises(RuntimeError, match="not measuring: start it first"):
        meter.stop()
    meter.start()
    with pytest.raises(RuntimeError, match="already measuring"):
        meter.start()
    assert meter.stop().joules is not None
    with pytest.raises(RuntimeError, match="not measuring"):
        meter.stop()
