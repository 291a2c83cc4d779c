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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from runtime.errors import OneLine, one_line
from runtime.specs import SLACK_HOPS, EventRule

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from runtime.stream import Prediction

GAP_HOPS = 1.5  # a step between two predictions longer than this many hops is a hole
_NOBODY = -1  # the vote of a window that speaks for no class


@dataclass(frozen=True, slots=True, repr=False)
class Event(OneLine):
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

    def __repr__(self) -> str:
        return one_line(self, self.rule, f"{len(self.labels)} labels", f"hop_s={self.hop_s:g}")

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
        return SLACK_HOPS * self.hop_s

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
