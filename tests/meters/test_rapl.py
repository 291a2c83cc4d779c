"""RAPL from a tree of files: what is summed, how it wraps, what happens when it may not be read."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.meters import open_meter
from sdk.meters.energy import MeterError
from sdk.meters.rapl import open_rapl
from sdk.meters.sampling import CounterRail

ZONES = "sys/class/powercap"
RANGE_UJ = 262143328850
ONE_PACKAGE = {
    f"{ZONES}/intel-rapl:0/name": "package-0",
    f"{ZONES}/intel-rapl:0/energy_uj": 262143320000,
    f"{ZONES}/intel-rapl:0/max_energy_range_uj": RANGE_UJ,
}


def zone(number, name, energy_uj):
    folder = f"{ZONES}/intel-rapl{number}"
    return {
        f"{folder}/name": name,
        f"{folder}/energy_uj": energy_uj,
        f"{folder}/max_energy_range_uj": RANGE_UJ,
    }


def test_counter_that_wraps(tree, clock):
    meter = open_rapl(tree(ONE_PACKAGE), clock=clock, background=False)
    meter.start()
    tree({f"{ZONES}/intel-rapl:0/energy_uj": 5000})
    clock.now += 2.5
    energy = meter.stop()
    assert energy.joules == pytest.approx(13850e-6, rel=1e-12)
    assert (energy.source, energy.rails, energy.method) == ("rapl", ("package-0",), "counter")
    assert (energy.seconds, energy.n_samples, energy.reason) == (2.5, 2, "")
    assert str(energy) == "0.01385 J (rapl: package-0; partial)"


def test_only_top_packages_are_summed(tree):
    before = [
        *((":0", "package-0", 100), (":1", "package-1", 200), (":2", "psys", 300)),
        *((":0:0", "core", 400), (":0:1", "dram", 500), ("-mmio:0", "package-0", 600)),
    ]
    for number, name, energy_uj in before:
        root = tree(zone(number, name, energy_uj))
    meter = open_rapl(root, background=False)
    meter.start()
    for i, (number, name, energy_uj) in enumerate(before):
        tree(zone(number, name, energy_uj + 10**i))
    energy = meter.stop()
    assert energy.joules == pytest.approx(11e-6, rel=1e-12)
    assert energy.rails == ("package-0", "package-1")


@given(
    range_uj=st.integers(2, 2**62 // 1000),
    start=st.integers(0, 2**62),
    steps=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20),
)
def test_any_wrap_is_counted(range_uj, start, steps):
    rail = CounterRail("package-0", Path("unused"), range_uj)
    value = start % range_uj
    for step_uj in (int(step * range_uj) for step in steps):
        after = (value + step_uj) % range_uj
        assert rail.joules(value, after, 1.0) == pytest.approx(step_uj / 1e6, rel=1e-12)
        value = after


def test_polls_see_every_wrap_of_a_long_window(tree, clock):
    root = tree(ONE_PACKAGE)
    meter = open_rapl(root, clock=clock, background=False)
    assert meter.period_s == 30
    meter.start()
    step_uj = 100_000_000_000  # two fifths of the range, ten times: four wraps
    for i in range(1, 11):
        tree({f"{ZONES}/intel-rapl:0/energy_uj": (262143320000 + i * step_uj) % RANGE_UJ})
        clock.now += 30
        meter.sample()
    energy = meter.stop()
    assert energy.joules == pytest.approx(1_000_000, rel=1e-12)
    assert str(energy) == "1000000.0 J (rapl: package-0; partial)"


def test_too_long_without_a_poll_is_incomplete(tree, clock):
    meter = open_rapl(tree(ONE_PACKAGE), clock=clock, background=False)
    meter.start()
    tree({f"{ZONES}/intel-rapl:0/energy_uj": 262143320900})
    clock.now += 151
    energy = meter.stop()
    assert energy.joules is None
    assert energy.reason == "incomplete: 151 s without a sample, more than 150 s"


def test_counter_that_stood_still_is_not_zero_joules(tree, clock):
    meter = open_rapl(tree(ONE_PACKAGE), clock=clock, background=False)
    meter.start()
    clock.now += 0.0004
    energy = meter.stop()
    assert energy.joules is None
    assert energy.reason == "package-0 did not count in 0.0004 s: measure a longer window"


def test_counter_that_vanishes_is_incomplete_and_the_next_window_is_whole(tree, clock):
    root = tree(ONE_PACKAGE)
    meter = open_rapl(root, clock=clock, background=False)
    meter.start()
    (root / ZONES / "intel-rapl:0/energy_uj").unlink()
    meter.sample()
    tree({f"{ZONES}/intel-rapl:0/energy_uj": 262143320100})
    energy = meter.stop()
    assert energy.joules is None
    assert energy.reason.startswith("incomplete: ")
    assert "energy_uj" in energy.reason
    assert str(energy).startswith("not measured (rapl: incomplete: ")

    meter.start()
    tree({f"{ZONES}/intel-rapl:0/energy_uj": 262143320300})
    assert meter.stop().joules == pytest.approx(200e-6, rel=1e-12)


def test_permission_denied_names_the_cure(tree, monkeypatch):
    root = tree(ONE_PACKAGE)
    open_file = os.open

    def guarded(path, *args, **options):
        if str(path).endswith("energy_uj"):
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *args, **options)

    monkeypatch.setattr(os, "open", guarded)
    meter = open_meter(root=root)
    meter.start()
    energy = meter.stop()
    assert energy.joules is None
    assert energy.source == "none"
    cure = "energy_uj: permission denied: run as root or `sudo chmod a+r /sys/class/powercap/*/energy_uj`"
    assert energy.reason.startswith(cure)
    assert energy.reason.endswith(
        "; no known power chip under /sys/class/hwmon; no /sys/bus/i2c/drivers/ina3221x; no /dev/vcio"
    )


def test_no_package_zone(tree):
    root = tree(zone(":0", "psys", 1))
    with pytest.raises(MeterError, match=r"no package-\* zone under /sys/class/powercap"):
        open_rapl(root)
