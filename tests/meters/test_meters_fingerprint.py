"""The machine as its files tell it."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from sdk.meters import fingerprint

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
    read_text = Path.read_text

    def guarded(path, *args, **options):
        if path.name == "temp":
            raise BlockingIOError(11, "Resource temporarily unavailable", str(path))
        return read_text(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", guarded)
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
    assert json.loads(versions) == {name: metadata.version(name) for name in ("numpy", "onnxruntime", "psutil")}
    assert imported == ""


def test_a_package_that_is_missing_has_no_version(monkeypatch, tmp_path):
    # the function hides the module of its name
    monkeypatch.setattr(sys.modules["sdk.meters.fingerprint"], "PACKAGES", ("no-such-package-of-ours",))
    assert fingerprint(tmp_path).versions == {"no-such-package-of-ours": None}
