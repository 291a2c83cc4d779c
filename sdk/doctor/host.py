"""The machine that is asked. Whatever is outside of Python comes through here, so that a test can be any board."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.process.child import HELD, Child
from sdk.meters.firmware import Gencmd
from sdk.meters.sysfs import board_model, text

if TYPE_CHECKING:
    from runtime import Bundle

PROBE_LIMIT_S = 120.0  # an SD card is slow
SPIN_LIMIT_S = 60.0
TIME_ERROR = 5  # what adjtimex returns while nobody sets the clock
ARMV8_0 = {"0xd03": "Cortex-A53", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72", "0xd09": "Cortex-A73"}


def import_ending(module: str) -> str:
    """Import a module in a process of its own: "" or how that ended. An illegal instruction kills it, not us."""
    code = f"{HELD}import sys; sys.modules['openvino_telemetry'] = None; import {module}"
    with Child(["-c", code], environment={"ORT_DISABLE_TELEMETRY": "1", **os.environ}, answers=False) as child:
        child.start()
        try:
            ended = child.wait(PROBE_LIMIT_S)
        except TimeoutError:
            return f"took more than {PROBE_LIMIT_S:g} s"
        if ended < 0:
            return f"killed by {child.ending().removeprefix('signal ')}"
        return child.last_line() or child.ending() if ended else ""


def spinning(bundle: Path | Bundle) -> dict[str, float]:
    """What `sdk.doctor.spin` measures of a bundle, or of that in a folder.

    Raises:
        OSError: it ended without an answer.
    """
    from runtime import Bundle

    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    with Child(["-m", "sdk.doctor.spin", json.dumps(opened.request())]) as child:
        child.start()
        try:
            answer: dict[str, float] | None = child.receive(SPIN_LIMIT_S)
        except TimeoutError:
            raise OSError(f"no answer in {SPIN_LIMIT_S:g} s") from None
        if answer is None:
            raise OSError(child.last_line() or child.ending())
        return answer


def installed_version(package: str) -> str | None:
    """A package's version, as its metadata has it, without importing it."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def clock_is_set() -> bool | None:
    """Whether somebody keeps the wall clock right, as the kernel knows; None: it cannot be asked."""
    import ctypes

    try:
        state: int = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    except (AttributeError, OSError):
        return None
    return None if state < 0 else state != TIME_ERROR


@dataclass(frozen=True)
class Host:
    """Where to look, and how to ask."""

    root: Path = Path("/")  # where /sys, /proc, /dev, /etc, /run are
    machine: str = field(default_factory=platform.machine)
    bits: int = struct.calcsize("P") * 8  # of this Python
    python: tuple[int, ...] = tuple(sys.version_info[:3])
    libc: tuple[str, str] = field(default_factory=platform.libc_ver)
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))  # that this process may use
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    version_of: Callable[[str], str | None] = installed_version
    probe: Callable[[str], str] = import_ending
    may: Callable[[Path, int], bool] = os.access
    gencmd: Gencmd | None = None  # answers instead of the firmware of a Raspberry Pi
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    clock_is_set: Callable[[], bool | None] = clock_is_set
    spinning: Callable[[Bundle], Mapping[str, float]] = spinning

    @property
    def board(self) -> str:
        """The board as its device tree names it; "" without one."""
        return board_model(self.root)

    @property
    def is_pi(self) -> bool:
        """Whether this is a Raspberry Pi."""
        return self.board.startswith("Raspberry Pi")

    @property
    def old_core(self) -> str:
        """The name of a core of Armv8.0, which lacks instructions that some wheels take for granted; "" for others."""
        parts = re.findall(r"^CPU part\s*:\s*(\S+)", text(self.root / "proc/cpuinfo"), re.MULTILINE)
        return next((ARMV8_0[part] for part in parts if part in ARMV8_0), "")

    def number(self, pattern: str, file: str) -> int | None:
        """The number that a pattern finds in a file under the root; None: there is none."""
        found = re.search(pattern, text(self.root / file), re.MULTILINE)
        return int(found[1]) if found else None

    def to_dict(self) -> dict[str, Any]:
        """What is told in a report."""
        plain = {name: getattr(self, name) for name in ("machine", "bits", "python", "libc", "cores", "board")}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
