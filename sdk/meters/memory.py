"""Peak resident memory of a window, above what was resident when it opened.

The kernel keeps the peak itself (VmHWM) and forgets it on request (5 written to clear_refs), so that no spike is
missed. Where that is not allowed, a thread asks for the resident size every few milliseconds, and says so.

The kernel's peak is one per process: a window inside a window resets the peak of the outer one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from sdk.meters.sampling import Ticker

PERIOD_S = 0.005
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
        """Open a window."""
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
        found = re.search(rf"^{key}:\s+(\d+) kB$", (self._self / "status").read_text(), re.MULTILINE)
        if found is None:
            raise ValueError(f"no {key} in /proc/self/status")
        return int(found[1]) * 1024

    def _sample(self) -> None:
        self._peak_bytes = max(self._peak_bytes, self._process.memory_info().rss)
