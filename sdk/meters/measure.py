"""What a block of code costs.

with measure(open_meter()) as m:
    work()
print(m.result.seconds, m.result.energy)
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sdk.meters.energy import Energy, Idle, Meter, NoMeter
from sdk.meters.memory import Memory, PeakMemory

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Measurement:
    """The cost of one window."""

    seconds: float  # wall time
    cpu_seconds: float  # of all threads of this process, the meter's own included
    energy: Energy
    memory: Memory

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is missing is None."""
        return asdict(self) | {
            "memory": asdict(self.memory) | {"above_baseline_bytes": self.memory.above_baseline_bytes},
            "energy": self.energy.to_dict(),
        }


class Measuring:
    """The window that `measure` opens; `result` is there once it has closed, also if the block raised."""

    def __init__(self, meter: Meter, idle: Idle | None = None) -> None:
        self._meter = meter
        self._idle = idle
        self._memory = PeakMemory()
        self._result: Measurement | None = None

    @property
    def result(self) -> Measurement:
        """What the block cost.

        Raises:
            RuntimeError: the block still runs.
        """
        if self._result is None:
            raise RuntimeError("the window is still open: read `result` after the `with` block, not inside it")
        return self._result

    def __enter__(self) -> Measuring:
        self._meter.start()
        self._memory.start()
        self._cpu_began_s, self._began_s = time.process_time(), time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._began_s
        cpu_seconds = time.process_time() - self._cpu_began_s
        memory = self._memory.stop()
        self._result = Measurement(seconds, cpu_seconds, self._meter.stop().above(self._idle), memory)


def measure(meter: Meter | None = None, *, idle: Idle | None = None) -> Measuring:
    """Return a window to be used in a `with` statement; without a meter its energy is "not measured".

    Args:
        meter: of energy.
        idle: what `measure_idle` gave; the result's `energy.net_joules` is then what the block used above it.
    """
    return Measuring(NoMeter("none was given to measure()") if meter is None else meter, idle)


@dataclass(frozen=True)
class Latency:
    """How long calls took; percentiles are interpolated linearly, as numpy does by default."""

    n: int
    mean_s: float
    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float
    p99_9_s: float
    max_s: float
    jitter_s: float  # standard deviation (over n, not n - 1)


def latency_summary(seconds: ArrayLike) -> Latency:
    """Summarise the durations of calls.

    Args:
        seconds: one duration per call; shape = (n,).

    Raises:
        InputError: there are none, or one is negative or not finite.
    """
    import numpy as np

    from runtime.errors import InputError

    values = np.asarray(seconds, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all() or values.min() < 0:
        raise InputError(
            "latencies",
            expected="a list of at least one duration, each finite and not negative",
            got=f"shape {values.shape}" if values.ndim != 1 or not values.size else f"{values.min()} to {values.max()}",
            fix="Pass the seconds of each call, from one monotonic clock.",
        )
    p50, p90, p95, p99, p99_9 = map(float, np.percentile(values, [50, 90, 95, 99, 99.9]))
    mean, jitter = float(values.mean()), float(values.std())
    return Latency(len(values), mean, p50, p90, p95, p99, p99_9, float(values.max()), jitter)
