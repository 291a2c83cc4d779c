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

from sdk.meters.energy import MEASURED, Energy
from sdk.meters.sysfs import read_int
from sdk.meters.timeline import TimelineKeeper
from sdk.meters.uncertainty import CountSpread, PowerSpread, combined

POLL_S = 30.0  # of counters: far below the minutes in which the fastest of them wraps
FLOOR_PERIOD_S = 0.050  # of powers: what keeps the metering below 1 % of a core; longer windows help more than this
GAP_PERIODS = 5  # this many periods without a sample, and the window is incomplete
UJ_PER_J = 1_000_000
DEAR_SHARE = 0.01  # of a core; metering that costs more says so
STUCK_SAMPLES = 50  # this many readings, all alike, deserve a remark
TIMELINE_PERIOD_S = 0.1  # of counters, where a picture is wanted
TIMELINE_REFRESHES = 5  # and not faster than so many refreshes of the counter, or the picture would be a comb


class Spread(Protocol):
    """The uncertainty of one rail over one window; see `uncertainty`."""

    def add(self, before_w: float, after_w: float, before_s: float, after_s: float) -> None:
        """Take in two neighbours, at their times."""

    def joules(self, energy_j: float, seconds: float) -> float | None:
        """Return the standard uncertainty of an energy; None: not known."""


class Rail(Protocol):
    """One supply that can be read."""

    @property
    def name(self) -> str:
        """The name that the board gives it."""

    def read(self) -> float:
        """Return the value now; raises OSError or ValueError."""

    def joules(self, before: float, after: float, seconds: float) -> float:
        """Return what was used between two readings that are `seconds` apart."""

    def spread(self) -> Spread:
        """Return a fresh uncertainty, for one window."""


@dataclass(frozen=True)
class CounterRail:
    """A file that counts microjoules up."""

    name: str
    path: Path
    range_uj: int | None = None  # where the counter wraps to zero; None: it must not go backwards
    step_uj: float | None = None  # None: not known
    refresh_s: float = 0.0

    def read(self) -> float:
        """Return microjoules since some moment in the past."""
        return read_int(self.path)

    def joules(self, before: float, after: float, seconds: float) -> float:
        """Return the step of the counter, over at most one wrap.

        Raises:
            ValueError: the counter went backwards.
        """
        step_uj = after - before
        if step_uj < 0 and self.range_uj is not None:
            step_uj += self.range_uj
        if step_uj < 0:
            raise ValueError(f"{self.name}: the counter went backwards, from {before} to {after} uJ")
        return step_uj / UJ_PER_J

    def spread(self) -> Spread:
        """The uncertainty of a counter with steps."""
        return CountSpread(None if self.step_uj is None else self.step_uj / UJ_PER_J, self.refresh_s)


class Power:
    """What all powers have in common; `read` gives watts."""

    def joules(self, before: float, after: float, seconds: float) -> float:
        """Return the trapezoid between two powers."""
        return (before + after) / 2 * seconds

    def spread(self) -> Spread:
        """The uncertainty of a power whose step is seen from its changes."""
        return PowerSpread(None)


@dataclass(frozen=True)
class PowerRail(Power):
    """Files whose product is a power: power*_input alone, or in*_input [mV] and curr*_input [mA]."""

    name: str
    paths: tuple[Path, ...]
    per_watt: float = 1e6  # of the product: microwatts
    step_w: float | None = None  # None: not known

    def read(self) -> float:
        """Return watts; below zero is what some chips say of a rail that is switched off."""
        return math.prod(read_int(path) for path in self.paths) / self.per_watt

    def spread(self) -> Spread:
        """The uncertainty of a power that the chip gives in steps."""
        return PowerSpread(self.step_w)


class Ticker:
    """Calls `tick` every `period_s` in a daemon thread, from `start` to `stop`."""

    def __init__(self, tick: Callable[[], None], period_s: float) -> None:
        self._tick, self._period_s = tick, period_s
        self._running = threading.Lock()  # held from start to stop; waiting for it is cheaper than for an Event
        self._thread = threading.Thread(target=self._run, name="sensedge-meter", daemon=True)
        self.cpu_s: float | None = None  # what the ticks cost, once it has stopped

    def start(self) -> None:
        """Begin; the first tick comes after one period."""
        self._running.acquire()
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for a tick that is under way."""
        self._running.release()
        self._thread.join()

    def _run(self) -> None:
        began_s = time.thread_time()
        while not self._running.acquire(timeout=self._period_s):
            self._tick()
        self.cpu_s = time.thread_time() - began_s


class Reading(NamedTuple):
    """One value of one rail, and when it was read."""

    time_s: float
    value: float


class SampledMeter:
    """A `Meter` over rails.

    Args:
        name: the source.
        rails: what is read and summed.
        method: "counter", "integrated power" or "model".
        period_s: from one sample to the next; not below the refresh of the sensor.
        refresh_s: how often a counter moves, if that is seldom.
        tier: "measured", "partial" or "estimated".
        leaves_out: what the sum of the rails does not contain.
        detail: what else to know about the source, for a list of meters.
        shortest_s: a shorter window is not measured, since the sensor is too slow for it.
        share: of the joules, the standard uncertainty that the method has by itself (0.3 for a rough model).
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
        refresh_s: float = 0.0,
        tier: str = MEASURED,
        leaves_out: str = "",
        detail: str = "",
        shortest_s: float = 0.0,
        share: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        background: bool = True,
    ) -> None:
        self.name = name
        self.rails = tuple(rails)
        self.method = method
        self.period_s = period_s
        self.refresh_s = refresh_s
        self.tier = tier
        self.leaves_out = leaves_out
        self.detail = detail
        self.shortest_s = shortest_s
        self.share = share
        self._clock = clock
        self._background = background
        self._keeper: TimelineKeeper | None = None
        self._open = False

    def keep_timeline(self, limit: int) -> None:
        """From the next window on keep its power in up to `limit` intervals (0: no more).

        A counter is then read every 0.1 s, a slow one every fifth refresh, instead of twice a minute.
        """
        self._keeper = TimelineKeeper(limit) if limit else None
        if limit and self.method == "counter":
            self.period_s = min(self.period_s, max(TIMELINE_PERIOD_S, TIMELINE_REFRESHES * self.refresh_s))

    def start(self) -> None:
        """Open a window with a first reading of every rail.

        Raises:
            RuntimeError: a window is already open.
        """
        if self._open:
            raise RuntimeError(f"the meter {self.name} is already measuring: stop it, or open a second one")
        self._open = True
        self._fault = ""
        self._joules = [0.0] * len(self.rails)
        self._spreads = [rail.spread() for rail in self.rails]
        opened_s = self._began_s = self._ended_s = self._clock()
        self._last: list[Reading] = []
        self._n_samples = self._n_repeats = 0
        self.sample()
        # slow chips set the pace: reading three rails of an INA3221 may take longer than the period
        self._gap_s = GAP_PERIODS * max(self.period_s, self._clock() - opened_s)
        self._ticker = Ticker(self.sample, self.period_s)
        if self._background:
            self._ticker.start()

    def sample(self) -> None:
        """Read every rail once and add what it used since its last reading."""
        if self._fault:
            return
        try:
            readings = [self._read(rail) for rail in self.rails]
            if self._last:
                self._add(self._last, readings)
        except (OSError, ValueError) as error:
            self._fault = f"incomplete: {error}"
            return
        if not self._last:
            self._began_s = readings[0].time_s
            if self._keeper:
                self._keeper.begin(self._began_s)
        self._ended_s = readings[0].time_s
        self._last = readings
        self._n_samples += 1

    def _add(self, befores: list[Reading], afters: list[Reading]) -> None:
        steps = []
        for i, (before, after) in enumerate(zip(befores, afters, strict=True)):
            seconds = after.time_s - before.time_s
            if seconds > self._gap_s:
                raise ValueError(f"{seconds:.3g} s without a sample, more than {self._gap_s:.3g} s")
            steps.append(self.rails[i].joules(before.value, after.value, seconds))
            self._joules[i] += steps[i]
            self._spreads[i].add(before.value, after.value, before.time_s, after.time_s)
        self._n_repeats += all(before.value == after.value for before, after in zip(befores, afters, strict=True))
        if self._keeper:
            self._keeper.add(afters[0].time_s, steps)

    def stop(self) -> Energy:
        """Close the window with a last reading and return what was used in it.

        Raises:
            RuntimeError: no window is open.
        """
        if not self._open:
            raise RuntimeError(f"the meter {self.name} is not measuring: start it first")
        if self._background:
            self._ticker.stop()
        self.sample()
        self._open = False
        seconds = self._ended_s - self._began_s
        reason = self._fault or self._too_short(seconds)
        names = tuple(rail.name for rail in self.rails)
        return Energy(
            joules=None if reason else math.fsum(self._joules),
            source=self.name,
            rails=names,
            method=self.method,
            reason=reason,
            seconds=seconds,
            n_samples=self._n_samples,
            n_repeats=self._n_repeats,
            tier=None if reason else self.tier,
            leaves_out=self.leaves_out,
            uncertainty_j=None if reason else self._uncertainty_j(seconds),
            metering_cpu_s=self._ticker.cpu_s,
            notes=() if reason else self._notes(seconds),
            timeline=self._keeper.timeline(names) if self._keeper else None,
        )

    def _too_short(self, seconds: float) -> str:
        still = [rail.name for rail, joules in zip(self.rails, self._joules, strict=True) if joules == 0]
        if self.method == "counter" and still:
            return f"{', '.join(still)} did not count in {seconds:.3g} s: measure a longer window"
        if seconds < self.shortest_s:
            return f"{seconds:.3g} s are too short for this slow sensor: measure at least {self.shortest_s:g} s"
        return ""

    def _uncertainty_j(self, seconds: float) -> float | None:
        if self.share:
            return self.share * abs(math.fsum(self._joules))
        return combined([s.joules(joules, seconds) for s, joules in zip(self._spreads, self._joules, strict=True)])

    def _notes(self, seconds: float) -> tuple[str, ...]:
        notes = []
        if self._n_samples >= STUCK_SAMPLES and self._n_repeats == self._n_samples - 1:
            notes.append(f"all {self._n_samples} readings alike: a steady load or a stuck sensor")
        share = (self._ticker.cpu_s or 0.0) / seconds if seconds else 0.0
        if self._n_samples >= STUCK_SAMPLES and share > DEAR_SHARE:
            notes.append(f"the metering took {share:.1%} of a core")
        return tuple(notes)

    def _read(self, rail: Rail) -> Reading:
        before_s = self._clock()
        value = rail.read()
        return Reading((before_s + self._clock()) / 2, value)
