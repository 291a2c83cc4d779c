"""The machine and the moment in which a figure was measured.

What a machine does not tell is None: a container has no governor, a workstation has no device tree. One before and one
after a measurement tell whether the machine held its speed: `throttled`.
"""

from __future__ import annotations

import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdk.meters.energy import MeterError
from sdk.meters.firmware import Gencmd, open_firmware
from sdk.meters.sysfs import board_model, int_or_none, text

PACKAGES = ("numpy", "onnxruntime", "psutil", "sensedge")
THROTTLED = {  # bits of `vcgencmd get_throttled`: now; the same 16 higher: since the last boot
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
SINCE_BOOT = 16


@dataclass(frozen=True)
class Fingerprint:
    """What must be alike before two figures may be compared, and the load while they were taken."""

    board: str | None  # as the device tree names it: "Raspberry Pi 5 Model B Rev 1.0"
    soc: str | None  # "tegra234", "bcm2712"
    cpu: str | None  # model name, or the part number of an Arm core
    cores: int | None
    memory_bytes: int | None  # all that the kernel manages
    governor: str | None  # of the first cluster of cores: "performance", "ondemand", ...
    frequency_khz: int | None  # of the same, now
    frequencies_khz: tuple[int, ...] | None  # of all clusters, now
    temperature_c: float | None  # of the first thermal zone
    throttled_bits: int | None  # of a Raspberry Pi, as `vcgencmd get_throttled` gives them
    power_mode: str | None  # of a Jetson, as nvpmodel left it: "pmode:0000"
    over_currents: dict[str, int] | None  # of a Jetson: alarms that are on, and events so far, by their file
    load_average: tuple[float, float, float] | None  # over 1, 5 and 15 minutes
    release: str | None  # of a Jetson's system: "R36 (release), REVISION: 4.3"
    kernel: str | None
    machine: str  # "aarch64", "x86_64"
    python: str
    versions: dict[str, str | None]  # of the packages that decide speed; None: not installed
    bundle_sha256: str | None  # as it was given

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def fingerprint(
    root: str | Path = "/", *, bundle_sha256: str | None = None, gencmd: Gencmd | None = None
) -> Fingerprint:
    """Read it, without importing any of the packages whose version it tells.

    Args:
        root: where /proc, /sys and /dev are; machine, Python and versions are always those of this process.
        bundle_sha256: of the model that was measured.
        gencmd: answers the commands of `vcgencmd` instead of the firmware of this machine.
    """
    root = Path(root)
    cpuinfo = text(root / "proc/cpuinfo")
    clusters = sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*"), key=lambda path: int(path.name[6:]))
    frequencies_khz = [khz for path in clusters if (khz := int_or_none(path / "scaling_cur_freq")) is not None]
    memory_kb = _number(_field("MemTotal", text(root / "proc/meminfo")))
    temperature_mc = int_or_none(root / "sys/class/thermal/thermal_zone0/temp")
    return Fingerprint(
        board=board_model(root) or None,
        soc=_soc(root),
        cpu=_cpu(cpuinfo),
        cores=len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE)) or None,
        memory_bytes=None if memory_kb is None else memory_kb * 1024,
        governor=text(clusters[0] / "scaling_governor") or None if clusters else None,
        frequency_khz=int_or_none(clusters[0] / "scaling_cur_freq") if clusters else None,
        frequencies_khz=tuple(frequencies_khz) or None,
        temperature_c=None if temperature_mc is None else temperature_mc / 1000,
        throttled_bits=_throttled_bits(root, gencmd),
        power_mode=text(root / "var/lib/nvpmodel/status") or None,
        over_currents=_over_currents(root),
        load_average=_load_average(text(root / "proc/loadavg")),
        release=_release(text(root / "etc/nv_tegra_release")),
        kernel=text(root / "proc/sys/kernel/osrelease") or None,
        machine=platform.machine(),
        python=platform.python_version(),
        versions={package: _version(package) for package in PACKAGES},
        bundle_sha256=bundle_sha256,
    )


def throttled(before: Fingerprint, after: Fingerprint) -> str | None:
    """Return one sentence on what slowed the machine between the two, for the first line of a report; None: nothing.

    Flags since boot count only if they are new: one that was set before can hide a second event of its kind.
    """
    causes = [f"{name} {when}" for name, when in _flags(before.throttled_bits, after.throttled_bits)]
    earlier, later = before.over_currents or {}, after.over_currents or {}
    causes += [f"over-current at {name}" for name, count in later.items() if count > earlier.get(name, 0)]
    for what, was, now in (
        ("the governor", before.governor, after.governor),
        ("the power mode", before.power_mode, after.power_mode),
    ):
        if was != now:
            causes.append(f"{what} changed from {was or 'unknown'} to {now or 'unknown'}")
    return f"The machine did not hold its speed: {', '.join(causes)}." if causes else None


def decode_throttled(bits: int) -> list[str]:
    """Return what the bits of `vcgencmd get_throttled` say: 0x50005 is under-voltage and throttling, now and before."""
    return [
        f"{name} {when}"
        for shift, when in ((0, "now"), (SINCE_BOOT, "since boot"))
        for bit, name in THROTTLED.items()
        if bits >> (bit + shift) & 1
    ]


def _flags(before: int | None, after: int | None) -> list[tuple[str, str]]:
    began, ended = before or 0, after or 0
    found = []
    for bit, name in THROTTLED.items():
        at_ends = [when for bits, when in ((began, "at the start"), (ended, "at the end")) if bits >> bit & 1]
        if at_ends:
            found.append((name, " and ".join(at_ends)))
        elif (ended & ~began) >> (bit + SINCE_BOOT) & 1:
            found.append((name, "in between"))
    return found


def _throttled_bits(root: Path, gencmd: Gencmd | None) -> int | None:
    try:
        found = re.match(r"throttled=0x([0-9a-fA-F]+)", (gencmd or open_firmware(root))("get_throttled"))
    except (MeterError, OSError):
        return None
    return None if found is None else int(found[1], 16)


def _over_currents(root: Path) -> dict[str, int] | None:
    """Return alarms of the power monitors and the event counts of the chip, named by chip and file.

    hwmonN is not in the name, since N changes from boot to boot.
    """
    found: dict[str, int] = {}
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        for path in (
            *chip.glob("curr[123]_crit_alarm"),
            *chip.glob("curr[123]_max_alarm"),
            *chip.glob("oc*_event_cnt"),
        ):
            count = int_or_none(path)
            if count is not None:
                label = text(chip / f"in{path.name[4]}_label") if path.name.startswith("curr") else ""
                key = f"{text(chip / 'name')} {label or path.name}".strip()
                found[key] = found.get(key, 0) + count
    return found or None


def _soc(root: Path) -> str | None:
    """Return the last of the names that the device tree is compatible with: the most general is the chip."""
    names = text(root / "proc/device-tree/compatible").split("\0")
    return names[-1].rpartition(",")[2] or None


def _release(line: str) -> str | None:
    found = re.match(r"# (R\d+ \(release\), REVISION: [\d.]+)", line)
    return None if found is None else found[1]


def _cpu(cpuinfo: str) -> str | None:
    """Return what x86 calls its model, else an old Arm kernel its hardware, else the number of an Arm core."""
    part = _field("CPU part", cpuinfo)
    return _field("model name", cpuinfo) or _field("Hardware", cpuinfo) or (part and f"CPU part {part}")


def _load_average(line: str) -> tuple[float, float, float] | None:
    found = re.match(r"(\d+\.\d+) (\d+\.\d+) (\d+\.\d+) ", line)
    return None if found is None else (float(found[1]), float(found[2]), float(found[3]))


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _field(key: str, lines: str) -> str | None:
    """Return the first value of "key : value" lines."""
    found = re.search(rf"^{key}\s*:\s*(.*\S)", lines, re.MULTILINE)
    return None if found is None else found[1]


def _number(value: str | None) -> int | None:
    """Return the integer that a text begins with."""
    found = re.match(r"-?\d+", value or "")
    return None if found is None else int(found[0])
