r"""From predictions to events: "walking since 12.2 s", "walking until 31.4 s".

A model answers for each window by itself and now and then it errs. A rule makes a timeline of the answers: at most one
event is open, and between events nothing is claimed.

    prediction -> unknown? -> smoothing -> votes: N of the latest M -> enter / exit -> minimum duration -> Event
                  below a     mean or      for a start, and          hysteresis,      refractory time
                  confidence  exponential  against an open event     per class

    smoothed  1 |         ___
    probability |        /   \    __
       enter  - |- - - -/- - -\- /  \- - - - -     from here on up, windows vote for a start
                |      /       \/    \
        exit  - |- - -/- - - - - - - -\- - - -     below here, windows vote for the end
              0 |____/                 \______
                        |=== event ===|            a dip between the two changes nothing

Every prediction speaks for the hop around its window's middle, so that the predictions tile the stream:

    windows   [======= 0 =======]
                      [======= 1 =======]
                              [======= 2 =======]
    speak for     |-- 0 --|-- 1 --|-- 2 --|

A hole in the stream (a prediction that starts more than 1.5 hops after the one before, or not after it) ends
the open event where the last window that held it ends speaking; smoothing and votes begin anew.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Literal

from runtime.errors import BundleError

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from runtime.stream import Prediction

GAP_HOPS = 1.5  # a step between two predictions longer than this many hops is a hole
_SLACK_HOPS = 1e-3  # of a duration, for the rounding of time stamps
_NOBODY = -1  # the vote of a window that speaks for no class


@dataclass(frozen=True)
class Delay:
    """How late a rule tells of a change from one class to another, had the model never erred."""

    start_s: float  # from the first prediction of the new class to the start's telling: what the rule adds
    end_s: float  # the same for the end of the old class
    typical_s: float  # from the change to the start's telling, where a window half filled with the new class shows it
    worst_s: float  # the same where only a full one does and the change fell just after a window's start


@dataclass(frozen=True)
class EventRule:
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
        n, votes = self.smoothing_windows, (self.votes_needed, self.votes_of)
        pairs = [(self.enter, self.exit), *map(self.thresholds, (*self.enter_by_label, *self.exit_by_label))]
        seconds = self.min_duration_s, self.refractory_s
        smoothings = ("none", "mean", "exponential")
        _require("smoothing", self.smoothing in smoothings, f"one of {', '.join(smoothings)}", self.smoothing)
        _require("smoothing_windows", n >= 1, "at least 1", n)
        _require("votes_needed", 1 <= votes[0] <= votes[1], "from 1 to votes_of", f"{votes[0]} of {votes[1]}")
        for high, low in pairs:
            _require("enter and exit", 0 < low <= high < 1, "0 < exit <= enter < 1", f"enter {high}, exit {low}")
        for name, value in zip(("min_duration_s", "refractory_s"), seconds, strict=True):
            _require(name, 0 <= value < math.inf, "seconds, at least 0", value)
        _require("unknown_below", 0 <= self.unknown_below <= 1, "from 0 to 1", self.unknown_below)

    def thresholds(self, label: str) -> tuple[float, float]:
        """(enter, exit) of one class."""
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
        lasting = math.ceil(self.min_duration_s / hop_s - _SLACK_HOPS)
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


def _require(name: str, holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise BundleError(f"events: {name}", expected=expected, got=got, fix="Correct the event rule.")


@dataclass(frozen=True, slots=True)
class Event:
    """A class has started, or has ended."""

    label: str
    start_s: float  # in the stream's own time; smoothing makes it late by its lag, see EventRule.delay
    end_s: float | None  # None: it has just started
    confidence: float  # mean smoothed probability of the class over the windows that spoke for the event so far
    delay_s: float  # from start_s or end_s to the end of the window that brought the telling

    @property
    def kind(self) -> Literal["start", "end"]:
        """Whether this tells of a start or of an end."""
        return "start" if self.end_s is None else "end"


@dataclass(slots=True)
class _Open:
    """The event that holds at present, told or still too short to be told."""

    label: int
    start_s: float
    until_s: float  # end of what the last window that held it speaks for
    total: float  # sum of the smoothed probabilities of the windows that spoke for it
    windows: int
    against: deque[bool]  # of the latest `votes_of` windows since its start
    told: bool = False


class EventTracker:
    """Follows the predictions of one stream and tells the events. Memory and time per prediction are bounded.

    Args:
        rule: how predictions become events.
        labels: the classes in the order of the probabilities.
        hop_s: seconds from one window to the next.

    Raises:
        BundleError: the rule names a class that there is not.

    Example:
        >>> stream, tracker = Stream(bundle), EventTracker.for_bundle(bundle)         # doctest: +SKIP
        >>> for prediction in stream.push(samples):                                   # doctest: +SKIP
        ...     for event in tracker.push(prediction): print(event.kind, event.label)
    """

    def __init__(self, rule: EventRule, labels: Sequence[str], hop_s: float) -> None:
        rule.check_labels(labels)
        self.rule, self.labels, self.hop_s = rule, tuple(labels), hop_s
        thresholds = [rule.thresholds(label) for label in labels]
        self._enter, self._exit = [high for high, _ in thresholds], [low for _, low in thresholds]
        self.reset()

    @classmethod
    def for_bundle(cls, bundle: Bundle, rule: EventRule | None = None) -> EventTracker:
        """The tracker for a bundle's predictions: by `rule`, else by the manifest's, else by the default rule."""
        manifest = bundle.manifest
        return cls(rule or manifest.events or EventRule(), manifest.labels, manifest.hop_s)

    def reset(self) -> None:
        """Forget everything, without telling; the next prediction is the first of a new stream."""
        self._ended_s: dict[int, float] = {}  # per class, when its latest told event ended
        self._start_segment()

    def _start_segment(self) -> None:
        self._smooth = smoother(self.rule)
        self._votes: deque[tuple[int, float, float]] = deque(maxlen=self.rule.votes_of)  # class, from_s, probability
        self._open: _Open | None = None
        self._last: Prediction | None = None

    @property
    def current(self) -> str | None:
        """The class of the event that is open and told, None between events."""
        return self.labels[self._open.label] if self._open is not None and self._open.told else None

    def push(self, prediction: Prediction) -> list[Event]:
        """Take the stream's next prediction, return what it brought to light: an end, a start, both or neither."""
        events = self._at_hole(prediction)
        middle_s = (prediction.start_s + prediction.end_s) / 2
        from_s, until_s = middle_s - self.hop_s / 2, middle_s + self.hop_s / 2
        known = max(prediction.probabilities) >= self.rule.unknown_below
        smoothed = self._smooth(prediction.probabilities if known else (0.0,) * len(self.labels))
        self._last = prediction
        self._vote(smoothed, from_s)
        events += self._leave(smoothed, until_s, prediction.end_s)
        events += self._enter_or_confirm(until_s, prediction.end_s)
        return events

    def _at_hole(self, prediction: Prediction) -> list[Event]:
        """Begin a new segment where the prediction does not continue the one before."""
        step_s = self.hop_s if self._last is None else prediction.start_s - self._last.start_s
        if 0 < step_s <= GAP_HOPS * self.hop_s:
            return []
        events = self.flush()
        if step_s <= 0:
            self._ended_s.clear()  # another clock
        return events

    def flush(self) -> list[Event]:
        """The stream has ended, or has a hole: end the open event, begin a new segment."""
        events: list[Event] = []
        if self._open is not None and self._last is not None:
            events = self._close(self._open, self._last.end_s)
        self._start_segment()
        return events

    def _vote(self, smoothed: Sequence[float], from_s: float) -> None:
        """Of the classes that reach their `enter`, the window votes for the most probable; a tie is no vote."""
        best, highest = _NOBODY, 0.0
        for i, (value, enter) in enumerate(zip(smoothed, self._enter, strict=True)):
            if value >= enter and value >= highest:
                best, highest = (_NOBODY if value == highest else i), value
        if best in self._ended_s and from_s < self._ended_s[best] + self.rule.refractory_s - self._slack_s:
            best = _NOBODY
        self._votes.append((best, from_s, highest))

    @property
    def _slack_s(self) -> float:
        return _SLACK_HOPS * self.hop_s

    def _leave(self, smoothed: Sequence[float], until_s: float, now_s: float) -> list[Event]:
        """Hold the open event, or end it when enough windows have voted against it."""
        event = self._open
        if event is None:
            return []
        value = smoothed[event.label]
        event.against.append(value < self._exit[event.label])
        if not event.against[-1]:
            event.until_s, event.total, event.windows = until_s, event.total + value, event.windows + 1
        elif sum(event.against) >= self.rule.votes_needed:
            return self._close(event, now_s)
        return []

    def _close(self, event: _Open, now_s: float) -> list[Event]:
        """End an event; one that was never told is forgotten. Its votes are used up."""
        self._open = None
        for i, vote in enumerate(self._votes):
            if vote[0] == event.label:
                self._votes[i] = (_NOBODY, *vote[1:])
        if not event.told:
            return []
        self._ended_s[event.label] = event.until_s
        return [self._event(event, event.until_s, now_s)]

    def _enter_or_confirm(self, until_s: float, now_s: float) -> list[Event]:
        """Begin an event when none is open and the latest vote is enough; tell it when it has lasted long enough."""
        label = self._votes[-1][0]
        if self._open is None and label != _NOBODY:
            mine = [vote for vote in self._votes if vote[0] == label]
            if len(mine) >= self.rule.votes_needed:
                start_s = max((mine[0][1], *self._ended_s.values()))
                total, against = sum(vote[2] for vote in mine), deque[bool](maxlen=self.rule.votes_of)
                self._open = _Open(label, start_s, until_s, total, len(mine), against)
        event = self._open
        if event is None or event.told or event.until_s - event.start_s < self.rule.min_duration_s - self._slack_s:
            return []
        event.told = True
        return [self._event(event, None, now_s)]

    def _event(self, event: _Open, end_s: float | None, now_s: float) -> Event:
        told_s = event.start_s if end_s is None else end_s
        label = self.labels[event.label]
        return Event(label, event.start_s, end_s, event.total / event.windows, now_s - told_s)


def smoother(rule: EventRule) -> Callable[[Sequence[float]], Sequence[float]]:
    """A function from each window's probabilities to the smoothed ones.

    The mean is over the windows so far until there are enough; the exponential one starts with the first window.
    """
    if rule.smoothing == "mean":
        return _mean(rule.smoothing_windows)
    if rule.smoothing == "exponential":
        return _exponential(-math.expm1(-1 / rule.smoothing_windows))
    return lambda values: values


def _mean(n: int) -> Callable[[Sequence[float]], Sequence[float]]:
    latest: deque[Sequence[float]] = deque(maxlen=n)

    def smooth(values: Sequence[float]) -> Sequence[float]:
        latest.append(values)
        return [sum(column) / len(latest) for column in zip(*latest, strict=True)]  # summed anew: nothing drifts

    return smooth


def _exponential(alpha: float) -> Callable[[Sequence[float]], Sequence[float]]:
    state: list[float] = []

    def smooth(values: Sequence[float]) -> Sequence[float]:
        state[:] = [old + alpha * (new - old) for old, new in zip(state, values, strict=True)] if state else values
        return state

    return smooth
