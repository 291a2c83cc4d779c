"""Peak resident memory of a window, above what was resident when it opened.

The kernel keeps the peak itself (VmHWM) and forgets it on request (5 written to clear_refs), so that no spike is
missed. Where that is not allowed, a thread asks for the resident size every few milliseconds, and says so.

The kernel's peak is one per process: a window inside a window resets the peak of the outer one.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sdk.meters.sampling import Ticker
from sdk.meters.sysfs import read_text

PERIOD_S = 0.005
V1_FILE, V2_FILE = "memory.max_usage_in_bytes", "memory.peak"
SLACK_BYTES = 1 << 20  # the kernel's two counts differ by some pages


@dataclass(frozen=True)
class Memory:
    """Resident memory of this process in one window."""

    baseline_bytes: int  # when the window opened
    peak_bytes: int  # the most that was seen in it
    method: str  # "VmHWM" (by the kernel, exact) or "sampled" (short peaks can be missed)

    @property
    def above_baseline_bytes(self) -> int:
        """What the window added at its peak."""
        return self.peak_bytes - self.baseline_bytes


class PeakMemory:
    """`start`, the work, `stop`.

    Args:
        root: where /proc is.
    """

    def __init__(self, root: str | Path = "/") -> None:
        self._self = Path(root) / "proc/self"
        self._baseline_bytes = self._peak_bytes = 0

    def start(self) -> None:
        """Open a window: the peak is that from here on."""
        self._ticker: Ticker | None = None
        if not self._reset():
            import psutil  # only here, as most machines do without

            self._process = psutil.Process()
            self._baseline_bytes = self._peak_bytes = self._process.memory_info().rss
            self._ticker = Ticker(self._sample, PERIOD_S)
            self._ticker.start()

    def stop(self) -> Memory:
        """Close the window and return its peak."""
        if self._ticker is None:
            return Memory(self._baseline_bytes, max(self._baseline_bytes, self._status_bytes("VmHWM")), "VmHWM")
        self._ticker.stop()
        self._sample()
        return Memory(self._baseline_bytes, self._peak_bytes, "sampled")

    def _reset(self) -> bool:
        """Make the kernel forget the peak; True if it did."""
        try:
            handle = os.open(self._self / "clear_refs", os.O_WRONLY)
            try:
                os.write(handle, b"5")
            finally:
                os.close(handle)
            self._baseline_bytes = self._status_bytes("VmRSS")
            return self._status_bytes("VmHWM") <= self._baseline_bytes + SLACK_BYTES
        except (OSError, ValueError):
            return False

    def _status_bytes(self, key: str) -> int:
        found = re.search(rf"^{key}:\s+(\d+) kB$", read_text(self._self / "status"), re.MULTILINE)
        if found is None:
            raise ValueError(f"no {key} in /proc/self/status")
        return int(found[1]) * 1024

    def _sample(self) -> None:
        self._peak_bytes = max(self._peak_bytes, self._process.memory_info().rss)


@dataclass(frozen=True)
class GroupPeak:
    """The peak of the control group that this process is in; its other processes, and file pages, are in it too."""

    bytes: int | None
    method: str  # "reset": since `GroupMemory` was made; "since the group began"; "": not measured
    reason: str  # why not


class GroupMemory:
    """The peak memory of this process's control group, from now on where the kernel can forget (Linux 6.12, v2).

    A reset belongs to one open file, so that nobody else's reading changes. That of the older v1 would change
    everybody's, and is not done.

    Args:
        root: where /proc and /sys are.
    """

    def __init__(self, root: str | Path = "/") -> None:
        self._file: IO[str] | None = None
        self._method = "since the group began"
        path = _peak_file(Path(root))
        if path is None:
            return
        try:
            self._file = path.open("r+" if path.name == V2_FILE else "r")
            if path.name == V2_FILE:
                self._file.write("reset\n")
                self._file.flush()
                self._method = "reset"
        except OSError:
            self.close()
            self._file = path.open()

    def peak(self) -> GroupPeak:
        """Return it, and close the file."""
        if self._file is None:
            return GroupPeak(None, "", "no control group that keeps a peak of memory (memory.peak: Linux 5.19)")
        try:
            self._file.seek(0)
            return GroupPeak(int(self._file.read()), self._method, "")
        except (OSError, ValueError) as error:
            return GroupPeak(None, "", str(error))
        finally:
            self.close()

    def close(self) -> None:
        """Close the file, read or not."""
        with suppress(OSError):  # what could not be written is tried again here
            if self._file is not None:
                self._file.close()


def _peak_file(root: Path) -> Path | None:
    """Return the file of the group; in a container, the group's own folder is often mounted as the root of all."""
    try:
        lines = read_text(root / "proc/self/cgroup").splitlines()
    except OSError:
        return None
    groups = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    files = []
    for number, controllers, group in groups:
        if "memory" in controllers.split(","):
            files += [(f"sys/fs/cgroup/memory{group}", V1_FILE), ("sys/fs/cgroup/memory", V1_FILE)]
        elif number == "0" and not controllers:
            files += [(f"sys/fs/cgroup{group}", V2_FILE), ("sys/fs/cgroup", V2_FILE)]
    return next((path for folder, name in files if (path := root / folder / name).is_file()), None)
