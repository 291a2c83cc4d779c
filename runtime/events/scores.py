"""How good events are, against intervals that are known to be true.

    true     |==== walking ====|           |=== walking ===|        |== running ==|
    found        |== walking ==|= walking =|                 |=walking=|
    told            ^
             |<---->| delay       fragment      missed       false alarm   missed

The overlap of a true and a found interval of the same label is their IoU: the seconds that both hold over the seconds
that either holds. Pairs that share at least some time, and at least the IoU asked for, are matched, the highest IoU
first, each interval once. Then

    hit            a true interval with a match            recall     = hits / true intervals
    miss           a true interval without                 precision  = hits / found intervals
    false alarm    a found interval that shares no time with a true one of its label
    fragment       a found interval without a match that is no false alarm: it lowers the precision only
    delay          from a hit's true start to the first telling of a start among its match and its fragments; below 0
                   where it was told too early
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from runtime.errors import InputError, OneLine
from runtime.events.tracker import Event
from runtime.recording import UNLABELLED, Recording


class Interval(NamedTuple):
    """A span of time that has a label, true or found."""

    label: str
    start_s: float
    end_s: float
    told_s: float | None = None  # when the start was told; None: not known, as of a true interval


@dataclass(frozen=True, repr=False)
class EventScores(OneLine):
    """What `score_events` counts; None where there is nothing to divide by or to take a median of."""

    true: int
    found: int
    hits: int
    false_alarms: int
    false_alarms_per_hour: float
    precision: float | None
    recall: float | None
    delay_median_s: float | None
    delay_p95_s: float | None  # linear between the nearest two

    @property
    def misses(self) -> int:
        """True intervals that were not found."""
        return self.true - self.hits

    @property
    def fragments(self) -> int:
        """Found intervals that share time with a true one that another has matched better."""
        return self.found - self.hits - self.false_alarms


def score_events(
    true: Sequence[Interval], found: Sequence[Interval], *, recorded_s: float, min_iou: float = 0.0
) -> EventScores:
    """Compare found intervals with the true ones; see the drawing above.

    Args:
        true: what happened, in any order.
        found: what was told, in any order: see `found_intervals`.
        recorded_s: seconds of stream that were watched, for the rate of false alarms.
        min_iou: overlap that a match needs, 0 to 1. 0: any shared time will do.

    Raises:
        InputError: no time was recorded.
    """
    if not recorded_s > 0:
        raise InputError("recorded_s", expected="above 0 s", got=recorded_s, fix="Give the length of the stream.")
    matches = _match(true, found, min_iou)
    false_alarms = sum(not any(_shared_s(interval, other) > 0 for other in true) for interval in found)
    delays = _delays_s(true, found, matches)
    return EventScores(
        len(true),
        len(found),
        len(matches),
        false_alarms,
        false_alarms * 3600 / recorded_s,
        len(matches) / len(found) if found else None,
        len(matches) / len(true) if true else None,
        float(np.percentile(delays, 50)) if delays else None,
        float(np.percentile(delays, 95)) if delays else None,
    )


def _delays_s(true: Sequence[Interval], found: Sequence[Interval], matches: list[tuple[int, int]]) -> list[float]:
    matched, delays = {j for _, j in matches}, []
    for i, match in matches:
        own = [b for j, b in enumerate(found) if j == match or (j not in matched and _shared_s(true[i], b) > 0)]
        told_s = [interval.told_s for interval in own if interval.told_s is not None]
        if told_s:
            delays.append(min(told_s) - true[i].start_s)
    return delays


def _match(true: Sequence[Interval], found: Sequence[Interval], min_iou: float) -> list[tuple[int, int]]:
    """Places of the intervals that are matched, the best overlap first and then the earliest."""
    overlaps = sorted(
        (-_iou(a, b), a.start_s, b.start_s, i, j)
        for i, a in enumerate(true)
        for j, b in enumerate(found)
        if _shared_s(a, b) > 0 and _iou(a, b) >= min_iou
    )
    matches: list[tuple[int, int]] = []
    free_true, free_found = set(range(len(true))), set(range(len(found)))
    for *_, i, j in overlaps:
        if i in free_true and j in free_found:
            free_true.remove(i)
            free_found.remove(j)
            matches.append((i, j))
    return matches


def _shared_s(a: Interval, b: Interval) -> float:
    return max(0.0, min(a.end_s, b.end_s) - max(a.start_s, b.start_s)) if a.label == b.label else 0.0


def _iou(a: Interval, b: Interval) -> float:
    shared_s = _shared_s(a, b)
    return shared_s / (a.end_s - a.start_s + b.end_s - b.start_s - shared_s)


def found_intervals(events: Iterable[Event]) -> list[Interval]:
    """The intervals of a tracker's events, in the order in which they ended.

    Args:
        events: all that one tracker told, in order. An event that is still open is left out: call `flush` first.
    """
    intervals, told_s = [], 0.0
    for event in events:
        if event.end_s is None:
            told_s = event.start_s + event.delay_s
        else:
            intervals.append(Interval(event.label, event.start_s, event.end_s, told_s))
    return intervals


def true_intervals(recording: Recording, *, longest_hole_s: float = 1.0) -> list[Interval]:
    """The intervals of a recording's labels: each run of samples with one label, unlabelled ones left out.

    Args:
        recording: without labels it has no intervals.
        longest_hole_s: a longer step between two time stamps, or one backward, ends the interval.
    """
    if recording.labels is None or not len(recording.labels):
        return []
    period_s = 1 / recording.rate_hz
    times = np.arange(len(recording.labels)) * period_s if recording.t is None else recording.t
    steps_s = np.diff(times)
    ends = np.flatnonzero((np.diff(recording.labels) != 0) | (steps_s > longest_hole_s) | (steps_s < 0))
    return [
        Interval(recording.label_names[recording.labels[first]], float(times[first]), float(times[last]) + period_s)
        for first, last in zip((0, *(ends + 1)), (*ends, len(times) - 1), strict=True)
        if recording.labels[first] != UNLABELLED
    ]
