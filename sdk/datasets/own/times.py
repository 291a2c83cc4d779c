"""What times in a file of labels count: seconds, ms, ... or samples, of the recording's own time or since its start.

    75.5, 75500               numbers; a column's name may tell the unit, start_s, begin (ms)
    2024-06-03T09:01:15.5     ISO 8601; without a zone UTC, or as labels.zone says
    09:01:15.5, 00:01:15.5    a time of day, or what a stopwatch shows, whichever lies in the recording

What is not said is found: the first of these ways in which most spans lie in the recording. Larger units come first,
since 60 ms would fit wherever 60 s do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from runtime.recording import Recording
from runtime.recording.reading import T_UNITS
from runtime.recording.times import seconds_of

CLOCK, ISO, SAMPLES = "clock", "iso", "samples"
SLACK_S = 1.0  # a span may end so much after its recording, and is clipped: somebody pressed late
MOST = 0.5  # of the spans of a recording lie in it, if their times are meant in the right way
_DAY_S = 86400.0
_EPOCH_S = 1e9  # a recording whose times are larger counts from 1970


class TimeWay(NamedTuple):
    """How times are meant."""

    unit: str  # s, ms, us, ns, iso, clock, samples
    origin: str  # "recording": its own time; "start": since it began


class Written(NamedTuple):
    """A time as a file has it."""

    value: float  # a number; of a text in ISO 8601 seconds since 1970, of a clock seconds since midnight
    unit: str = ""  # iso, clock, or as a column's name says; empty: nobody knows


def written(text: str, unit: str = "", zone: str = "") -> Written | None:
    """A time out of a file; None: it is none.

    Args:
        text: as it stands there.
        unit: as its column's name says.
        zone: of a clock, such as +02:00.
    """
    text = text.strip()
    try:
        value = float(text)
        return Written(value, unit) if np.isfinite(value) else None
    except ValueError:
        pass
    has_date = "-" in text[:8] or "/" in text[:8]
    zoned = text[-1:] in "Zz" or text[-6:-5] in ("+", "-") or text.endswith("UTC")
    seconds = float(seconds_of([text + zone if zone and not zoned else text])[0])
    if not np.isfinite(seconds):
        return None
    return Written(seconds, ISO if has_date else CLOCK)


def placed(time: Written, way: TimeWay, recording: Recording) -> float:
    """A time in seconds of the recording's own time.

    Args:
        time: as a file has it.
        way: how it is meant.
        recording: that it speaks of.
    """
    first_s = start_of(recording)
    since_s = first_s if way.origin == "start" else 0.0
    if way.unit == ISO:
        return time.value
    if way.unit == CLOCK:
        return since_s + time.value if way.origin == "start" else _of_the_day(time.value, first_s)
    if way.unit == SAMPLES:
        at = min(max(round(time.value), 0), len(recording.samples) - 1)
        return at / recording.rate_hz if recording.t is None else float(recording.t[at])
    return since_s + time.value * T_UNITS[way.unit]


def start_of(recording: Recording) -> float:
    """When it begins, in its own time."""
    return 0.0 if recording.t is None or not len(recording.t) else float(recording.t[0])


def end_of(recording: Recording) -> float:
    """When it ends, in its own time."""
    return start_of(recording) + recording.duration_s


def ways(unit: str, origin: str, recording: Recording) -> list[TimeWay]:
    """All ways that are open, the likeliest first.

    Args:
        unit: said, or told by a column or a text; empty: not known.
        origin: said; empty: not known.
        recording: that the times speak of.
    """
    units = (unit,) if unit else (*T_UNITS, SAMPLES)
    origins = (origin,) if origin else ("recording", "start")
    found = [TimeWay(one, where) for one in units for where in origins]
    is_epoch = start_of(recording) > _EPOCH_S
    return [
        way
        for way in found
        if not (way.unit in (ISO, SAMPLES) and way.origin == "start" and not origin)
        and not (way.unit == CLOCK and way.origin == "recording" and not is_epoch and not origin)
    ]


def share_inside(spans: Sequence[tuple[Written, Written]], way: TimeWay, recording: Recording) -> float:
    """The share of spans that lie in a recording, if they are meant in this way."""
    first_s, last_s = start_of(recording) - SLACK_S, end_of(recording) + SLACK_S
    inside = [first_s <= placed(start, way, recording) < placed(end, way, recording) <= last_s for start, end in spans]
    return float(np.mean(inside)) if inside else 0.0


def likeliest(
    pairs: Sequence[tuple[Recording, Sequence[tuple[Written, Written]]]], unit: str = "", origin: str = ""
) -> tuple[TimeWay, float]:
    """How the spans of recordings are meant, and the share of them that then lies inside.

    Args:
        pairs: recordings with their spans; at least one.
        unit: said; empty: found.
        origin: said; empty: found.
    """
    told = {time.unit for _, spans in pairs for span in spans for time in span}
    unit = unit or (next(iter(told)) if len(told) == 1 else "")
    n = sum(len(spans) for _, spans in pairs)
    best, share = TimeWay(unit or "s", origin or "recording"), -1.0
    for way in ways(unit, origin, pairs[0][0]):
        inside = sum(share_inside(spans, way, recording) * len(spans) for recording, spans in pairs) / max(n, 1)
        if inside > share + 1e-9:
            best, share = way, inside
        if share > MOST:
            break
    return best, max(share, 0.0)


def _of_the_day(clock_s: float, first_s: float) -> float:
    """A time of day on the day on which a recording began, or the next where it would lie long before."""
    at_s = first_s - first_s % _DAY_S + clock_s
    return at_s + _DAY_S if at_s < first_s - _DAY_S / 2 else at_s - _DAY_S if at_s > first_s + _DAY_S / 2 else at_s
