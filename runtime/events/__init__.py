"""From predictions to events, and events against what was true. The rule itself is `runtime.specs.EventRule`.

tracker   "walking since 12.2 s"                          EventTracker, Event
scores    hits, delays and false alarms per hour          score_events, Interval
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from runtime.events.scores import EventScores, Interval, found_intervals, score_events, true_intervals
    from runtime.events.tracker import Event, EventTracker

__getattr__ = attach(
    __name__,
    {
        "scores": "EventScores Interval found_intervals score_events true_intervals",
        "tracker": "Event EventTracker",
    },
)

__all__ = [
    "Event",
    "EventScores",
    "EventTracker",
    "Interval",
    "found_intervals",
    "score_events",
    "true_intervals",
]
