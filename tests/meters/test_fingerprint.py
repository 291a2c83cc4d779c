"""The machine as its files tell it."""

import json
import os
import subprocess
import sys
from importlib import metadata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.meters import decode_throttled, fingerprint, throttled
from sdk.meters.fingerprint import PACKAGES
from tests.board_trees import Firmware, orin_nano, single

PI = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/cpuinfo": "".join(
        f"processor\t: {i}\nBogoMIPS\t: 108.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n\n" for i in range(4)
    ),
    "proc/meminfo": "MemTotal:        8256896 kB\nMemFree:         7000000 kB",
    "proc/loadavg": "0.10 0.05 1.25 1/200 1234",
    "proc/sys/kernel/osrelease": "6.6.31+rpt-rpi-2712",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "ondemand",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": 1500000,
    "sys/class/thermal/thermal_zone0/temp": 48312,
}


def test_a_pi(tree):
    pi = fingerprint(tree(PI))
    assert pi.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert (pi.cpu, pi.cores) == ("CPU part 0xd0b", 4)
    assert pi.memory_bytes == 8256896 * 1024
    assert (pi.governor, pi.frequency_khz, pi.temperature_c) == ("ondemand", 1500000, 48.312)
    assert pi.load_average == (0.10, 0.05, 1.25)
    assert pi.kernel == "6.6.31+rpt-rpi-2712"


@pytest.mark.parametrize(
    ("cpuinfo", "cpu"),
    [
        ("processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nCPU part\t: 0xd03", "Some CPU @ 2.00GHz"),
        ("processor\t: 0\nCPU part\t: 0xd03\n\nHardware\t: BCM2835", "BCM2835"),
        ("processor\t: 0", None),
    ],
)
def test_names_of_processors(tree, cpuinfo, cpu):
    assert fingerprint(tree({"proc/cpuinfo": cpuinfo})).cpu == cpu


def test_a_machine_that_tells_nothing(tmp_path):
    empty = fingerprint(tmp_path).to_dict()
    told = {key for key, value in empty.items() if value is not None}
    assert told == {"machine", "python", "versions"}
    assert json.loads(json.dumps(empty)) == empty


def test_a_zone_that_is_switched_off(tree, monkeypatch):
    root = tree(PI)
    open_file = os.open

    def guarded(path, *args, **options):
        if str(path).endswith("temp"):
            raise BlockingIOError(11, "Resource temporarily unavailable", str(path))
        return open_file(path, *args, **options)

    monkeypatch.setattr(os, "open", guarded)
    pi = fingerprint(root)
    assert pi.temperature_c is None
    assert pi.governor == "ondemand"


@pytest.mark.parametrize("garbage", ["<unknown>", ""])
def test_garbage_is_none(tree, garbage):
    root = tree(dict.fromkeys(PI, garbage))
    told = fingerprint(root)
    assert (told.frequency_khz, told.temperature_c, told.cores, told.load_average) == (None, None, None, None)


def test_versions_without_imports():
    code = (
        "import json, sys, sdk.meters; print(json.dumps(sdk.meters.fingerprint().to_dict()['versions'])); "
        "print(*sorted({'numpy', 'onnxruntime', 'psutil'} & set(sys.modules)), sep=',')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    versions, imported = done.stdout.split("\n")[:2]
    assert json.loads(versions) == {name: metadata.version(name) for name in PACKAGES}
    assert imported == ""


def test_a_package_that_is_missing_has_no_version(monkeypatch, tmp_path):
    # the function hides the module of its name
    monkeypatch.setattr(sys.modules["sdk.meters.fingerprint"], "PACKAGES", ("no-such-package-of-ours",))
    assert fingerprint(tmp_path).versions == {"no-such-package-of-ours": None}


def test_the_chip_of_a_jetson_and_its_mode(tree):
    root = tree(
        orin_nano()
        | {
            "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0",
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic",
            "var/lib/nvpmodel/status": "pmode:0002",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": 1510400,
            "sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq": 729600,
            "sys/devices/system/cpu/cpufreq/policy10/scaling_cur_freq": 115200,
        }
    )
    told = fingerprint(root, bundle_sha256="ab" * 32)
    assert (told.soc, told.release, told.power_mode) == ("tegra234", "R36 (release), REVISION: 4.3", "pmode:0002")
    assert (told.frequency_khz, told.frequencies_khz) == (1510400, (1510400, 729600, 115200))
    assert (told.bundle_sha256, told.throttled_bits) == ("ab" * 32, None)


@pytest.mark.parametrize(
    ("answer", "bits", "says"),
    [
        ("throttled=0x0\n", 0, []),
        ("throttled=0x50000", 0x50000, ["under-voltage since boot", "throttled since boot"]),
        (
            *("throttled=0x50005", 0x50005),
            ["under-voltage now", "throttled now", "under-voltage since boot", "throttled since boot"],
        ),
        ("throttled=0x80008", 0x80008, ["soft temperature limit now", "soft temperature limit since boot"]),
        ("error=2", None, None),
        ("", None, None),
    ],
)
def test_flags_of_a_pi(tree, answer, bits, says):
    told = fingerprint(tree(PI), gencmd=Firmware(throttled=answer))
    assert told.throttled_bits == bits
    assert says is None or decode_throttled(bits) == says


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (0x0, 0x0, None),
        (0x50000, 0x50000, None),  # happened before
        (None, None, None),
        (0x0, 0x50000, "under-voltage in between, throttled in between"),
        (0x10000, 0x50000, "throttled in between"),
        (0x0, 0x80008, "soft temperature limit at the end"),
        (0x50005, 0x50005, "under-voltage at the start and at the end, throttled at the start and at the end"),
        (0x20002, 0x20000, "frequency capped at the start"),
    ],
)
def test_what_slowed_a_pi(tree, before, after, says):
    root = tree(PI)
    told = [
        fingerprint(root, gencmd=Firmware(throttled="none" if bits is None else f"throttled={bits:#x}"))
        for bits in (before, after)
    ]
    assert throttled(*told) == (says and f"The machine did not hold its speed: {says}.")


@given(before=st.integers(0, 15), between=st.integers(0, 15), after=st.integers(0, 15))
def test_any_new_flag_is_told_and_no_old_one(tmp_path_factory, before, between, after):
    """The bits since boot hold whatever was on so far."""
    root = tmp_path_factory.getbasetemp()
    bits = before | before << 16, after | (before | between | after) << 16
    sentence = throttled(*(fingerprint(root, gencmd=Firmware(throttled=f"throttled={b:#x}")) for b in bits))
    assert (sentence is None) == (before | between | after == 0)


def test_what_slowed_a_jetson(tree):
    alarm = "sys/class/hwmon/hwmon1/curr1_crit_alarm"
    files = {name.replace("bus/i2c/drivers/ina3221/1-0040/hwmon", "class/hwmon"): c for name, c in orin_nano().items()}
    events = single("soctherm_oc", "sys/class/hwmon/hwmon5", oc3_event_cnt=2)
    root = tree(files | events | {"var/lib/nvpmodel/status": "pmode:0000"})
    before = fingerprint(root)
    assert before.over_currents == {
        "ina3221 VDD_IN": 0, "ina3221 VDD_CPU_GPU_CV": 0, "ina3221 VDD_SOC": 0, "soctherm_oc oc3_event_cnt": 2
    }  # fmt: skip
    assert throttled(before, fingerprint(root)) is None
    tree({alarm: 1, "sys/class/hwmon/hwmon5/oc3_event_cnt": 5, "var/lib/nvpmodel/status": "pmode:0002"})
    assert throttled(before, fingerprint(root)) == (
        "The machine did not hold its speed: over-current at ina3221 VDD_IN, "
        "over-current at soctherm_oc oc3_event_cnt, the power mode changed from pmode:0000 to pmode:0002."
    )


def test_a_governor_that_changed(tree):
    root = tree(PI)
    before = fingerprint(root)
    tree({"sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "powersave"})
    says = "The machine did not hold its speed: the governor changed from ondemand to powersave."
    assert throttled(before, fingerprint(root)) == says
