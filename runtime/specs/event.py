"""How predictions become events, and how late they then come."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from runtime.errors import BundleError, OneLine, require

SLACK_HOPS = 1e-3  # of a duration, for the rounding of time stamps


@dataclass(frozen=True, repr=False)
class Delay(OneLine):
    """How late a rule tells of a change from one class to another, had the model never erred."""

    start_s: float  # from the first prediction of the new class to the start's telling: what the rule adds
    end_s: float  # the same for the end of the old class
    typical_s: float  # from the change to the start's telling, where a window half filled with the new class shows it
    worst_s: float  # the same where only a full one does and the change fell just after a window's start


@dataclass(frozen=True, repr=False)
class EventRule(OneLine):
    """How predictions become events. The default takes every prediction above 0.5 at its word.

    Raises:
        BundleError: a field outside its range.
    """

    smoothing: Literal["none", "mean", "exponential"] = "none"
    smoothing_windows: int = 1  # mean: over so many windows; exponential: time constant, alpha = 1 - exp(-1 / this)
    votes_needed: int = 1  # of the latest `votes_of` windows, to start or to end an event
    votes_of: int = 1
    enter: float = 0.5  # smoothed probability at which a window votes for its class
    exit: float = 0.5  # smoothed probability below which a window votes against the open event
    enter_by_label: Mapping[str, float] = field(default_factory=dict)  # for the classes that differ
    exit_by_label: Mapping[str, float] = field(default_factory=dict)
    min_duration_s: float = 0.0  # a shorter event is never told; a start is told once it has lasted so long
    refractory_s: float = 0.0  # after an event, none of the same class may start for so long
    unknown_below: float = 0.0  # a window whose highest probability is lower enters the smoothing as all zeros

    def __post_init__(self) -> None:
        pairs = [(self.enter, self.exit), *map(self.thresholds, (*self.enter_by_label, *self.exit_by_label))]
        strange = [pair for pair in pairs if not 0 < pair[1] <= pair[0] < 1]
        votes = f"{self.votes_needed} of {self.votes_of}"
        enter_exit = f"enter {strange[0][0]}, exit {strange[0][1]}" if strange else ""
        smoothings, n = ("none", "mean", "exponential"), self.smoothing_windows
        lasting, quiet = self.min_duration_s, self.refractory_s
        require(
            BundleError,
            ("events: smoothing", self.smoothing, f"one of {', '.join(smoothings)}", self.smoothing in smoothings),
            ("events: smoothing_windows", n, "at least 1", n >= 1),
            ("events: votes_needed", votes, "from 1 to votes_of", 1 <= self.votes_needed <= self.votes_of),
            ("events: enter and exit", enter_exit, "0 < exit <= enter < 1", not strange),
            ("events: min_duration_s", lasting, "seconds, at least 0", 0 <= lasting < math.inf),
            ("events: refractory_s", quiet, "seconds, at least 0", 0 <= quiet < math.inf),
            ("events: unknown_below", self.unknown_below, "from 0 to 1", 0 <= self.unknown_below <= 1),
            fix="Correct the event rule.",
        )

    def thresholds(self, label: str) -> tuple[float, float]:
        """The thresholds (enter, exit) of one class."""
        return self.enter_by_label.get(label, self.enter), self.exit_by_label.get(label, self.exit)

    def check_labels(self, labels: Sequence[str]) -> None:
        """Refuse thresholds of classes that there are not.

        Raises:
            BundleError: names them.
        """
        strange = sorted({*self.enter_by_label, *self.exit_by_label} - set(labels))
        if strange:
            raise BundleError(
                "events",
                expected=f"thresholds for {', '.join(labels)}",
                got=f"some for {', '.join(strange)}",
                fix="Name classes as `labels` does.",
            )

    def delay(self, hop_s: float, window_s: float) -> Delay:
        """How late the rule tells of a change from one class to another; the highest `enter` and lowest `exit` count.

        The probabilities are taken to step from all for the old class to all for the new one. With s(j) the smoothed
        probability of the new class at the j-th window after the step, (j + 1) / n for a mean over n windows and
        1 - exp(-(j + 1) / n) for the exponential one, the new class is voted for from the first j at which s(j)
        reaches `enter`, the old one is voted against from the first at which 1 - s(j) is below `exit`, and

            windows to the end's telling    = against + votes_needed - 1
            windows to the start's telling  = max(for, against) + max(votes_needed, ceil(min_duration / hop)) - 1

        because an event starts only when none is open. A refractory time that still runs comes on top.

        Args:
            hop_s: seconds from one window to the next.
            window_s: seconds that a window spans.
        """
        enter, leave = max((self.enter, *self.enter_by_label.values())), min((self.exit, *self.exit_by_label.values()))
        turned = next(j for j, (new, _) in enumerate(self._step()) if new >= enter)
        left = next(j for j, (_, old) in enumerate(self._step()) if old < leave)
        lasting = math.ceil(self.min_duration_s / hop_s - SLACK_HOPS)
        start_s = (max(turned, left) + max(self.votes_needed, lasting) - 1) * hop_s
        end_s = (left + self.votes_needed - 1) * hop_s
        return Delay(start_s, end_s, (window_s + hop_s) / 2 + start_s, window_s + hop_s + start_s)

    def _step(self) -> Iterator[tuple[float, float]]:
        """Smoothed probabilities of the new and of the old class after a step from one to the other."""
        n = self.smoothing_windows
        for j in count(1):
            if self.smoothing == "exponential":
                yield -math.expm1(-j / n), math.exp(-j / n)
            else:
                lag = max(n - j, 0) if self.smoothing == "mean" else 0
                yield (n - lag) / n, lag / n
