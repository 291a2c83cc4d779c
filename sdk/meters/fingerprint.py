"""The machine and the moment in which a figure was measured.

What a machine does not tell is None: a container has no governor, a workstation has no device tree.
"""

from __future__ import annotations

import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "onnxruntime", "psutil")


@dataclass(frozen=True)
class Fingerprint:
    """What must be alike before two figures may be compared, and the load while they were taken."""

    board: str | None  # as the device tree names it: "Raspberry Pi 5 Model B Rev 1.0"
    cpu: str | None  # model name, or the part number of an Arm core
    cores: int | None
    memory_bytes: int | None  # all that the kernel manages
    governor: str | None  # of the first cluster of cores: "performance", "ondemand", ...
    frequency_khz: int | None  # of the same, now
    temperature_c: float | None  # of the first thermal zone
    load_average: tuple[float, float, float] | None  # over 1, 5 and 15 minutes
    kernel: str | None
    machine: str  # "aarch64", "x86_64"
    python: str
    versions: dict[str, str | None]  # of the packages that decide speed; None: not installed

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def fingerprint(root: str | Path = "/") -> Fingerprint:
    """Read it, without importing any of the packages whose version it tells.

    Args:
        root: where /proc and /sys are; machine, Python and versions are always those of this process.
    """
    root = Path(root)
    cpuinfo = _text(root / "proc/cpuinfo") or ""
    cpufreq = root / "sys/devices/system/cpu/cpufreq/policy0"
    memory_kb = _number(_field("MemTotal", _text(root / "proc/meminfo") or ""))
    temperature_mc = _number(_text(root / "sys/class/thermal/thermal_zone0/temp"))
    return Fingerprint(
        board=_text(root / "proc/device-tree/model"),
        cpu=_cpu(cpuinfo),
        cores=len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE)) or None,
        memory_bytes=None if memory_kb is None else memory_kb * 1024,
        governor=_text(cpufreq / "scaling_governor"),
        frequency_khz=_number(_text(cpufreq / "scaling_cur_freq")),
        temperature_c=None if temperature_mc is None else temperature_mc / 1000,
        load_average=_load_average(_text(root / "proc/loadavg") or ""),
        kernel=_text(root / "proc/sys/kernel/osrelease"),
        machine=platform.machine(),
        python=platform.python_version(),
        versions={package: _version(package) for package in PACKAGES},
    )


def _cpu(cpuinfo: str) -> str | None:
    """Return what x86 calls its model, else an old Arm kernel its hardware, else the number of an Arm core."""
    part = _field("CPU part", cpuinfo)
    return _field("model name", cpuinfo) or _field("Hardware", cpuinfo) or (part and f"CPU part {part}")


def _load_average(text: str) -> tuple[float, float, float] | None:
    found = re.match(r"(\d+\.\d+) (\d+\.\d+) (\d+\.\d+) ", text)
    return None if found is None else (float(found[1]), float(found[2]), float(found[3]))


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _field(key: str, text: str) -> str | None:
    """Return the first value of "key : value" lines."""
    found = re.search(rf"^{key}\s*:\s*(.*\S)", text, re.MULTILINE)
    return None if found is None else found[1]


def _number(text: str | None) -> int | None:
    """Return the integer that a text begins with."""
    found = re.match(r"-?\d+", text or "")
    return None if found is None else int(found[0])


def _text(path: Path) -> str | None:
    """Return what a file holds without its end of line or NUL; None for a file that is missing, empty or refuses.

    A thermal zone of a block that is switched off answers EAGAIN.
    """
    try:
        return path.read_text(errors="replace").strip("\0\n ") or None
    except OSError:
        return None
