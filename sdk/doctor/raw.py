"""Files and answers as they are, for a bug report: what the tables of `sdk.meters` still have to learn from boards.

No serial number, host name, address or file of a user is read.
"""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from runtime.files.kernel import read_text
from sdk.doctor.host import Host
from sdk.meters.firmware import Gencmd, open_firmware
from sdk.meters.sysfs import text

FILES = (  # under the root
    "proc/device-tree/model",
    "proc/device-tree/compatible",
    "etc/nv_tegra_release",
    "etc/os-release",
    "proc/sys/kernel/osrelease",
    "var/lib/nvpmodel/status",
)
MONITORS = (  # everything that names a rail, its shunt or its refresh
    *("sys/class/hwmon/hwmon*", "sys/bus/i2c/drivers/ina*/*/hwmon/hwmon*", "sys/bus/i2c/drivers/ina3221x/*/iio*"),
)
OF_MONITORS = (
    *("name", "*_label", "rail_name_*", "update_interval", "samples", "shunt*_resistor", "shunt_resistor"),
    *("*_enable", "in*_input", "curr*_input", "power*_input", "energy*_input", "*_alarm"),
)
CONFIG = ("boot/firmware/config.txt", "boot/config.txt")  # of a Raspberry Pi: only its overlays and parameters
QUESTIONS = ("get_throttled", "measure_temp", "measure_clock arm", "pmic_read_adc", "version")
READS = 20  # of the PMIC, one after the other: how fast does it answer, how often with something new?


def raw(host: Host) -> dict[str, Any]:
    """Everything that the doctor reads of a machine, by its path."""
    files = {name: text(host.root / name).replace("\0", " ") for name in FILES}
    return {
        "files": {name: content for name, content in files.items() if content},
        "monitors": _monitors(host.root),
        "config": _config(host.root),
        "flags": _flags(host.root),
        "firmware": _firmware(host),
    }


def _monitors(root: Path) -> dict[str, dict[str, str]]:
    """Each chip's files, once though it is found by several ways."""
    found: dict[str, dict[str, str]] = {}
    seen = set()
    for folder in (folder for pattern in MONITORS for folder in sorted(root.glob(pattern))):
        if folder.resolve() not in seen:
            seen.add(folder.resolve())
            paths = sorted({path for pattern in OF_MONITORS for path in folder.glob(pattern)})
            found[str(folder.relative_to(root))] = {path.name: _content(path) for path in paths}
    return found


def _content(path: Path) -> str:
    try:
        return read_text(path).strip()
    except OSError as error:
        return f"error: {error.strerror}"


def _config(root: Path) -> list[str]:
    lines = next((text(root / name).splitlines() for name in CONFIG if (root / name).is_file()), [])
    return [line.strip() for line in lines if line.strip().startswith(("dtoverlay=", "dtparam=", "arm_freq", "over_v"))]


def _flags(root: Path) -> str:
    """What the instructions of the first core are."""
    lines = text(root / "proc/cpuinfo").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(("Features", "flags"))), "")


def _firmware(host: Host) -> dict[str, Any]:
    if host.gencmd is None and not any(host.root.glob("dev/vcio*")):
        return {}
    try:
        ask = host.gencmd or open_firmware(host.root)
    except Exception as error:  # whatever keeps it from answering is what the report is for
        return {"error": str(error)}
    return {command: _answer(ask, command) for command in QUESTIONS} | {"pmic_refresh": _refresh(ask)}


def _answer(ask: Gencmd, command: str) -> str:
    try:
        return ask(command)
    except Exception as error:
        return f"error: {error}"


def _refresh(ask: Gencmd) -> dict[str, float]:
    """Seconds of one question, and how many of the answers were unlike the one before."""
    began_s = time.monotonic()
    answers = [_answer(ask, "pmic_read_adc") for _ in range(READS)]
    changes = sum(a != b for a, b in pairwise(answers))
    return {"reads": READS, "seconds": time.monotonic() - began_s, "changes": changes}
