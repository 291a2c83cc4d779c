"""What a run has used and what it may still use.

Each phase of a run (prefix, judging, training, commit) is a window of its own, one after the other, since meters and
the kernel's peak of memory know one window at a time. A budget of joules closes and opens the meter inside a phase.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runtime.errors import InputError
from sdk.finetune.plan import Budget
from sdk.meters import Energy, Measurement, Memory, Meter, NoMeter, add_energies, measure

SLACK = 1.05  # of a budget: the last step ends after it, and the golden windows come then
METER_PERIOD_S = 0.1  # how often a budget of joules asks the meter; a counter needs some time to move


class RunningMeter:
    """A meter that can be asked in the middle of a window: `start`, `so_far` as often as you like, `stop`."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.name = meter.name
        self._parts: list[Energy] = []

    def start(self) -> None:
        """Open a window: what was measured before is forgotten."""
        self._parts = []
        self._meter.start()

    def so_far(self) -> Energy:
        """What the window has used up to now; it stays open."""
        self._parts.append(self._meter.stop())
        self._meter.start()
        return add_energies(self._parts)

    def stop(self) -> Energy:
        """Close the window and return what was used in it."""
        self._parts.append(self._meter.stop())
        return add_energies(self._parts)


def add_measurements(parts: list[Measurement]) -> Measurement:
    """The cost of windows that follow each other: sums, and the highest peak above the first one's start."""
    memories = [part.memory for part in parts]
    return Measurement(
        sum(part.seconds for part in parts),
        sum(part.cpu_seconds for part in parts),
        add_energies([part.energy for part in parts]),
        Memory(memories[0].baseline_bytes, max(memory.peak_bytes for memory in memories), memories[0].method),
    )


class Ledger:
    """The phases of a run and the limits on all of them together.

    Args:
        budget: the limits.
        meter: of energy; None measures time and memory only.

    Raises:
        InputError: a budget of joules without a meter.
    """

    def __init__(self, budget: Budget, meter: Meter | None) -> None:
        if budget.joules is not None and (meter is None or isinstance(meter, NoMeter)):
            raise InputError(
                "budget.joules",
                expected="a meter of energy",
                got="none" if meter is None else f"none: {meter.reason}",
                fix="Limit the seconds instead.",
            )
        self.phases: dict[str, Measurement] = {}
        self._budget = budget
        self._meter = RunningMeter(NoMeter("none was given") if meter is None else meter)
        self._began_s = self._asked_s = time.perf_counter()
        self._joules = 0.0  # of the phases that are closed
        self._now_joules = 0.0  # of the open one, when it was last asked

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a part of the run under a name; a second part of the same name is added to the first."""
        with measure(self._meter) as measuring:
            yield
        result = measuring.result
        self._joules, self._now_joules = self._joules + (result.energy.joules or 0.0), 0.0
        self.phases[name] = add_measurements([self.phases[name], result]) if name in self.phases else result

    def total(self) -> Measurement:
        """The cost of all phases so far."""
        return add_measurements(list(self.phases.values()))

    def exceeded(self) -> str:
        """Which limits the run has gone beyond by more than SLACK; empty: none."""
        total, budget, over = self.total(), self._budget, []
        for used, limit, unit in (
            (total.seconds, budget.seconds, "s"),
            (total.energy.joules, budget.joules, "J"),
            (total.memory.above_baseline_bytes / 1e6, budget.megabytes, "MB"),
        ):
            if used is not None and limit is not None and used > SLACK * limit:
                over.append(f"{used:.3g} of {limit:g} {unit}")
        return ", ".join(over)

    def share(self, n: int) -> Callable[[], str]:
        """The n-th part of what is left, as a question: which limit is used up? None of them is an empty answer."""
        now_s = time.perf_counter()
        until_s = until_j = None
        if self._budget.seconds is not None:
            until_s = now_s + (self._began_s + self._budget.seconds - now_s) / n
        if self._budget.joules is not None:
            used = self._joules + self._now_joules
            until_j = used + (self._budget.joules - used) / n

        def over() -> str:
            if until_s is not None and time.perf_counter() >= until_s:
                return f"the budget of {self._budget.seconds:g} s"
            if until_j is not None and self._used_joules() >= until_j:
                return f"the budget of {self._budget.joules:g} J"
            return ""

        return over

    def _used_joules(self) -> float:
        """Joules up to now; the meter is asked now and then only."""
        now_s = time.perf_counter()
        if now_s - self._asked_s >= METER_PERIOD_S:
            self._asked_s = now_s
            energy = self._meter.so_far()
            if energy.joules is None:
                raise InputError("budget.joules", expected="a meter that measures", got=energy.reason, fix="Try again.")
            self._now_joules = energy.joules
        return self._joules + self._now_joules
