"""What a meter answers, and what every meter can do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

MEASURED = "measured"  # all that the board or the compute module takes
PARTIAL = "partial"  # measured, but of a part of the machine
ESTIMATED = "estimated"  # computed from something else than a power


class MeterError(Exception):
    """A source that cannot measure on this machine.

    Args:
        detail: why not.
        fix: what to do about it.
        there: True: the source exists and only needs the fix; False: this machine has no such thing.
    """

    def __init__(self, detail: str, fix: str = "", *, there: bool = False) -> None:
        self.detail, self.fix, self.there = detail, fix, there
        super().__init__(f"{detail}: {fix}" if fix else detail)


@dataclass(frozen=True)
class Idle:
    """The power of the machine while it waits, or None and why not."""

    watts: float | None
    uncertainty_w: float | None = None  # standard
    seconds: float | None = None  # how long it was watched
    reason: str = ""  # why it was not measured
    notes: tuple[str, ...] = ()  # what makes it doubtful


@dataclass(frozen=True)
class Timeline:
    """The mean power of each rail from one edge to the next; shape of `watts` = (n_intervals, n_rails)."""

    rails: tuple[str, ...]
    edges_s: tuple[float, ...]  # from the first reading on; n_intervals + 1 of them, or none
    watts: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Energy:
    """The energy of one window: joules and where they come from, or None and why not.

    Raises:
        ValueError: joules and a reason, or neither.
    """

    joules: float | None  # gross; None: not measured, and then `reason` is not empty
    source: str  # "rapl", "hwmon:ina3221", "none"
    rails: tuple[str, ...] = ()  # what was summed
    method: str = "none"  # "counter", "integrated power", "model" or "none"
    reason: str = ""  # why it was not measured
    seconds: float | None = None  # from the first reading to the last
    n_samples: int = 0  # how often all rails were read
    n_repeats: int = 0  # how many of these read just as the one before
    tier: str | None = None  # "measured", "partial", "estimated"; None: nobody said
    leaves_out: str = ""  # what the joules do not contain
    uncertainty_j: float | None = None  # standard, see `uncertainty`; None: not known
    metering_cpu_s: float | None = None  # CPU time of the thread that sampled
    notes: tuple[str, ...] = ()  # what makes it doubtful
    idle: Idle | None = None  # to be subtracted for `net_joules`
    timeline: Timeline | None = None  # only if it was asked for

    def __post_init__(self) -> None:
        if (self.joules is None) != bool(self.reason):
            raise ValueError(f"an energy has either joules or a reason, got {self.joules} and {self.reason!r}")

    @property
    def net_joules(self) -> float | None:
        """Gross joules less what the idle machine would have used in the same time."""
        if self.joules is None or self.seconds is None or self.idle is None or self.idle.watts is None:
            return None
        return self.joules - self.idle.watts * self.seconds

    @property
    def net_uncertainty_j(self) -> float | None:
        """The two uncertainties together: sqrt(u_gross^2 + (seconds * u_idle)^2)."""
        if self.net_joules is None or self.idle is None or self.seconds is None:
            return None
        if self.uncertainty_j is None or self.idle.uncertainty_w is None:
            return None
        return math.hypot(self.uncertainty_j, self.seconds * self.idle.uncertainty_w)

    @property
    def metering_share(self) -> float | None:
        """CPU time of the sampling thread as a share of the window: 0.01 is 1 % of one core."""
        return self.metering_cpu_s / self.seconds if self.metering_cpu_s is not None and self.seconds else None

    def above(self, idle: Idle | None) -> Energy:
        """Return the same energy with an idle power beside it."""
        return dataclasses.replace(self, idle=idle)

    def describe(self) -> str:
        """Return one line such as "1.234 J (rapl: package-0; partial)" or "not measured (no meter: ...)"."""
        if self.joules is None:
            return f"not measured ({'no meter' if self.source == 'none' else self.source}: {self.reason})"
        kind = () if self.tier in (None, MEASURED) else (self.tier,)
        sign = "~" if self.tier == ESTIMATED else ""
        where = "; ".join((f"{self.source}: {' + '.join(self.rails)}", *filter(None, kind), *self.notes))
        return f"{sign}{_number(self.joules)} J ({where})"

    __str__ = describe

    def explain(self) -> str:
        """Return some lines: gross and net with their uncertainties, what is left out, what the metering cost."""
        if self.joules is None or self.seconds is None:
            return self.describe()
        lines = [f"gross     {_plus_minus(self.joules, self.uncertainty_j)} in {self.seconds:.3g} s"]
        if self.idle is not None and self.idle.watts is None:
            lines.append(f"idle      not measured ({self.idle.reason})")
        elif self.idle is not None and self.net_joules is not None:
            lines.append(f"idle      {_plus_minus(self.idle.watts or 0.0, self.idle.uncertainty_w, 'W')}")
            lines.append(f"net       {_plus_minus(self.net_joules, self.net_uncertainty_j)}")
        lines.append(f"source    {self.source}: {' + '.join(self.rails)}, {self.method}, {self.tier or 'tier unknown'}")
        if self.leaves_out:
            lines.append(f"without   {self.leaves_out}")
        lines.append(f"readings  {self.n_samples}, of which {self.n_repeats} told nothing new")
        if self.metering_share is not None:
            lines.append(f"metering  {self.metering_share:.2%} of one core")
        notes = self.notes + (() if self.idle is None else self.idle.notes)
        return "\n".join((*lines, *(f"note      {note}" for note in notes)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is missing is None."""
        plain: dict[str, Any] = _listed(dataclasses.asdict(self))
        return plain | {
            "net_joules": self.net_joules,
            "net_uncertainty_j": self.net_uncertainty_j,
            "metering_share": self.metering_share,
        }


def add_energies(parts: Sequence[Energy]) -> Energy:
    """Return the energy of windows of one meter together; not measured if one of them was not.

    Uncertainties add up without averaging out, since the steps of a reading are the same error in all windows: this is
    their upper bound. Timelines are dropped.
    """
    lost = next((part for part in parts if part.joules is None), None)
    if lost is not None:
        return dataclasses.replace(lost, timeline=None)
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    return dataclasses.replace(
        parts[0],
        joules=math.fsum(part.joules or 0.0 for part in parts),
        seconds=_sum([part.seconds for part in parts]),
        n_samples=sum(part.n_samples for part in parts),
        n_repeats=sum(part.n_repeats for part in parts),
        uncertainty_j=_sum([part.uncertainty_j for part in parts]),
        metering_cpu_s=_sum([part.metering_cpu_s for part in parts]),
        notes=tuple(notes),
        timeline=None,
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.1f}"


def _plus_minus(value: float, uncertainty: float | None, unit: str = "J") -> str:
    spread = "unknown" if uncertainty is None else f"{uncertainty:.2g} {unit}"
    return f"{_number(value)} {unit} ± {spread}"


def _listed(value: Any) -> Any:
    """Replace tuples by lists at every depth, as JSON gives them back."""
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, (tuple, list)) else value


class Meter(Protocol):
    """One window after another: `start`, the work, `stop`.

    A window never raises for what the hardware does: its energy is then None, with the reason. Starting a meter twice,
    or stopping one that was not started, is a mistake in the program and raises RuntimeError.
    """

    @property
    def name(self) -> str:
        """The source, as `Energy.source` gives it."""

    def start(self) -> None:
        """Open a window: what is used from here on is measured."""

    def stop(self) -> Energy:
        """Close the window and return what was used in it."""


class NoMeter:
    """The meter of a machine that has none: every window is "not measured", with the reason."""

    name = "none"

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def start(self) -> None:
        """Open a window, in which nothing is measured."""

    def stop(self) -> Energy:
        """Close the window and return that nothing was measured."""
        return Energy(None, self.name, reason=self.reason)
