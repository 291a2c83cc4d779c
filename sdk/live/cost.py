"""What the process of the page takes: memory, processor, latency of windows, power where a meter is there."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sdk.meters import Meter

_POWER_S = 10.0
_LATENCIES = 256


class Cost:
    """Reads nothing until it is asked for the first time.

    Args:
        meter: of power; None: not asked for.
    """

    def __init__(self, meter: Meter | None) -> None:
        self._meter, self._latencies = meter, deque[float](maxlen=_LATENCIES)
        self._process: Any = None
        self._power: dict[str, Any] = {"watts": None, "why": "no meter was asked for" if meter is None else ""}
        self._metered_s = 0.0

    def add(self, seconds: float) -> None:
        """Of computing, for a window."""
        self._latencies.append(1e3 * seconds)

    def read(self) -> dict[str, Any]:
        """Megabytes, per cent of a core since the last call, milliseconds, watts."""
        if self._process is None:
            import psutil

            self._process = psutil.Process()
            self._process.cpu_percent()
            if self._meter is not None:
                self._meter.start()
                self._metered_s = time.monotonic()
        if self._meter is not None and time.monotonic() - self._metered_s > _POWER_S:
            self._read_power(self._meter)
        told: dict[str, Any] = {"mb": round(self._process.memory_info().rss / 1e6, 1)}
        told |= {"cpu": self._process.cpu_percent(), "p50": None, "p99": None}
        if self._latencies:
            p50, p99 = np.percentile(self._latencies, (50, 99)).tolist()
            told |= {"p50": round(p50, 3), "p99": round(p99, 3)}
        return told | self._power

    def _read_power(self, meter: Meter) -> None:
        energy = meter.stop()
        known = energy.joules is not None and energy.seconds
        watts = energy.joules / energy.seconds if energy.joules is not None and energy.seconds else None
        self._power = {"watts": watts if known else None, "why": energy.reason, "meter": energy.source}
        meter.start()
        self._metered_s = time.monotonic()
