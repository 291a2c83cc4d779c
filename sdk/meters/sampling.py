"""From readings to joules: rails that are read at the start of a window, every period, and at its end.

    start()      sample()      sample()      stop()
      |  period_s  |  period_s  |             |
      r0 --------- r1 --------- r2 ---------- r3      joules = the sum over neighbours of rail.joules(...)

A counter adds its step, a power adds its trapezoid. The time of a reading is the middle of its read, since a chip on
I2C may take milliseconds to answer. One failed read, or a gap without samples, makes the whole window incomplete: to
go on with the last value would invent energy.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from sdk.meters.energy import Energy

POLL_S = 30.0  # of counters: far below the minutes in which the fastest of them wraps
GAP_PERIODS = 5  # this many periods without a sample, and the window is incomplete
UJ_PER_J = 1_000_000


def read_int(path: Path) -> int:
    """Return the one decimal integer that a sysfs file holds.

    Raises:
        OSError: the file is missing, forbidden, or its channel is switched off.
        ValueError: it holds something else.
    """
    text = path.read_text()
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{path}: expected an integer, got {text!r}") from None


class Rail(Protocol):
    """One supply that can be read."""

    @property
    def name(self) -> str:
        """As the board calls it."""

    def read(self) -> float:
        """Return the value now; raises OSError or ValueError."""

    def joules(self, before: float, after: float, seconds: float) -> float:
        """Return what was used between two readings that are `seconds` apart."""


@dataclass(frozen=True)
class CounterRail:
    """A file that counts microjoules up."""

    name: str
    path: Path
    range_uj: int | None = None  # where the counter wraps to zero; None: it must not go backwards

    def read(self) -> float:
        """Return microjoules since some moment in the past."""
        return read_int(self.path)

    def joules(self, before: float, after: float, seconds: float) -> float:
        """Return the step of the counter, over at most one wrap."""
        step_uj = after - before
        if step_uj < 0 and self.range_uj is not None:
            step_uj += self.range_uj
        if step_uj < 0:
            raise ValueError(f"{self.name}: the counter went backwards, from {before} to {after} uJ")
        return step_uj / UJ_PER_J


@dataclass(frozen=True)
class PowerRail:
    """Files whose product is a power in microwatts: power*_input alone, or in*_input [mV] and curr*_input [mA]."""

    name: str
    paths: tuple[Path, ...]

    def read(self) -> float:
        """Return watts; below zero is what some chips say of a rail that is switched off."""
        return math.prod(read_int(path) for path in self.paths) / 1e6

    def joules(self, before: float, after: float, seconds: float) -> float:
        """Return the trapezoid between two powers."""
        return (before + after) / 2 * seconds


class Ticker:
    """Calls `tick` every `period_s` in a daemon thread, from `start` to `stop`."""

    def __init__(self, tick: Callable[[], None], period_s: float) -> None:
        self._tick, self._period_s = tick, period_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sensedge-meter", daemon=True)

    def start(self) -> None:
        """Begin; the first tick comes after one period."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for a tick that is under way."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._period_s):
            self._tick()


class Reading(NamedTuple):
    """One value of one rail."""

    time_s: float
    value: float


class SampledMeter:
    """A `Meter` over rails.

    Args:
        name: the source.
        rails: what is read and summed.
        method: "counter" or "integrated power".
        period_s: from one sample to the next.
        clock: monotonic seconds.
        background: False: no thread, the caller calls `sample` at the moments that it likes.
    """

    def __init__(
        self,
        name: str,
        rails: Sequence[Rail],
        *,
        method: str,
        period_s: float,
        clock: Callable[[], float] = time.monotonic,
        background: bool = True,
    ) -> None:
        self.name = name
        self.rails = tuple(rails)
        self.method = method
        self.period_s = period_s
        self._clock = clock
        self._background = background
        self._open = False

    def start(self) -> None:
        """Open a window with a first reading of every rail."""
        if self._open:
            raise RuntimeError(f"the meter {self.name} is already measuring: stop it, or open a second one")
        self._open = True
        self._fault = ""
        self._joules = [0.0] * len(self.rails)
        opened_s = self._began_s = self._ended_s = self._clock()
        self._last: list[Reading] = []
        self._n_samples = 0
        self.sample()
        # slow chips set the pace: reading three rails of an INA3221 may take longer than the period
        self._gap_s = GAP_PERIODS * max(self.period_s, self._clock() - opened_s)
        if self._background:
            self._ticker = Ticker(self.sample, self.period_s)
            self._ticker.start()

    def sample(self) -> None:
        """Read every rail once and add what it used since its last reading."""
        if self._fault:
            return
        try:
            readings = [self._read(rail) for rail in self.rails]
            for i, (before, after) in enumerate(zip(self._last, readings, strict=False)):  # none before the first
                seconds = after.time_s - before.time_s
                if seconds > self._gap_s:
                    raise ValueError(f"{seconds:.3g} s without a sample, more than {self._gap_s:.3g} s")
                self._joules[i] += self.rails[i].joules(before.value, after.value, seconds)
        except (OSError, ValueError) as error:
            self._fault = f"incomplete: {error}"
            return
        if not self._last:
            self._began_s = readings[0].time_s
        self._ended_s = readings[0].time_s
        self._last = readings
        self._n_samples += 1

    def stop(self) -> Energy:
        """Close the window with a last reading and return what was used in it."""
        if not self._open:
            raise RuntimeError(f"the meter {self.name} is not measuring: start it first")
        if self._background:
            self._ticker.stop()
        self.sample()
        self._open = False
        seconds = self._ended_s - self._began_s
        still = [rail.name for rail, joules in zip(self.rails, self._joules, strict=True) if joules == 0]
        if self.method == "counter" and still and not self._fault:
            self._fault = f"{', '.join(still)} did not count in {seconds:.3g} s: measure a longer window"
        return Energy(
            None if self._fault else math.fsum(self._joules),
            self.name,
            tuple(rail.name for rail in self.rails),
            self.method,
            self._fault,
            seconds,
            self._n_samples,
        )

    def _read(self, rail: Rail) -> Reading:
        before_s = self._clock()
        value = rail.read()
        return Reading((before_s + self._clock()) / 2, value)
