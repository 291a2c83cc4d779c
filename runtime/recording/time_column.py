"""Which column is the time, and what it holds.

It is the column that was said, or `t`, or the one whose name says so: `time`, `timestamp`, `seconds_elapsed`,
`datetime`, `epoch`, `millis`, ... (any with time, timestamp, datetime, epoch, elapsed or clock among its words; a unit
in it counts: `time_ms`, `t (us)`), or else the one column of ISO 8601 texts. Of several that tell the same, the first.
Where several do not, or where there is none while another column rises as a time does, one is asked:
`t=COLUMN:UNIT`, or `t=none`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording.placement import column_of, words_of
from runtime.recording.reading import ISO, T_UNITS, Reading
from runtime.recording.times import Clock, clock_of, is_stamp, rate_of, seconds_of
from runtime.recording.units import take_apart

if TYPE_CHECKING:
    from runtime.recording.table import Table

_WORDS = {"time", "timestamp", "timestamps", "datetime", "epoch", "unixtime", "clock", "elapsed"}
_NAMES = {
    "t",
    "ts",
    "sec",
    "secs",
    "seconds",
    "millis",
    "micros",
    "nanos",
    "milliseconds",
    "microseconds",
    "nanoseconds",
}
_UNITS = {
    "s": "s sec secs second seconds",
    "ms": "ms msec msecs millis milli millisecond milliseconds",
    "us": "us usec usecs micros micro microsecond microseconds \u00b5s",
    "ns": "ns nsec nsecs nanos nano nanosecond nanoseconds",
    ISO: "iso iso8601",
}
_UNIT_OF = {word: unit for unit, words in _UNITS.items() for word in words.split()}
_SAME = 0.02  # of a span: two columns of times that agree so far tell the same
_LOOKS = 16  # rows, at least, from which a column is said to rise as a time does


class TimeColumn(NamedTuple):
    """The column of the times."""

    column: int
    clock: Clock
    told: str  # how it was recognised; "": as docs/files.md has it, or as was said


def find_time(
    names: Sequence[str], first: Table, reading: Reading, others: Collection[int], nominal_hz: float | None, where: str
) -> TimeColumn | None:
    """The column of the times; None: there is none.

    Args:
        names: of the columns.
        first: the first rows.
        reading: what was said.
        others: columns that are something else.
        nominal_hz: samples per second that are expected.
        where: for messages.

    Raises:
        InputError: the column that was said is not there or holds no times; one must ask.
    """
    if reading.unit == "none":
        return None
    if reading.time:
        column = column_of(reading.time, names)
        if column is None:
            expected = f"a column among {', '.join(names)}"
            raise InputError(f"{where}: t", expected=expected, got=reading.time, fix="Write t=COLUMN:UNIT.")
        return TimeColumn(column, _clock(column, names, first, reading, nominal_hz, where), "")
    found = _by_name(names, others)
    texts = [i for i, cells in first.texts.items() if i not in others and _are_stamps(cells)]
    if not found and len(texts) == 1:
        found = texts
    if not found:
        _ask_for_rising(names, first, others, where)
        return None
    clocks = [_clock(i, names, first, reading, nominal_hz, where) for i in found]
    if len(found) > 1:
        _check_same(found, clocks, names, first, where)
    column, clock = found[0], clocks[0]
    plain = names[column] == "t" and clock == Clock("s", False, "")
    same = f" ({' and '.join(names[i] for i in found[1:])} tells the same)" if len(found) > 1 else ""
    told = "" if plain or reading.unit != "auto" else f"time: column {names[column] or column + 1}, {clock}{same}"
    return TimeColumn(column, clock, told)


def _by_name(names: Sequence[str], others: Collection[int]) -> list[int]:
    free = [i for i in range(len(names)) if i not in others]
    if "t" in names:
        return [list(names).index("t")]
    if exact := [i for i in free if take_apart(names[i]).name.strip().lower() == "t"]:
        return exact
    return [i for i in free if _is_time_name(take_apart(names[i]).name)]


def _is_time_name(name: str) -> bool:
    words = words_of(name)
    if words and words[-1] in _UNIT_OF and len(words) > 1:
        words = words[:-1] if words[-1] not in _NAMES or words[:-1] != ["t"] else ["t"]
    return bool(set(words) & _WORDS) or (len(words) == 1 and words[0] in _NAMES) or words == ["unix", "ms"]


def _unit_by_name(name: str) -> str:
    """The unit that a name tells: `time_ms`, `t (us)`, `seconds_elapsed`; "" if none."""
    bare, unit = take_apart(name)
    if unit:
        return _UNIT_OF.get(unit.lower(), "")
    words = words_of(bare)
    told = [_UNIT_OF[word] for word in words if word in _UNIT_OF and (len(words) > 1 or word in _NAMES)]
    return told[0] if len(told) == 1 else ""


def _clock(
    column: int, names: Sequence[str], first: Table, reading: Reading, nominal_hz: float | None, where: str
) -> Clock:
    """What a column of times holds.

    Raises:
        InputError: no times.
    """
    cells = first.texts.get(column)
    unit = reading.unit if reading.unit != "auto" else _unit_by_name(names[column])
    values = first.values[:, column]
    if cells is not None and (unit == ISO or _are_stamps(cells)):
        return Clock(ISO, bool(np.nanmax(seconds_of(cells), initial=0.0) > 1e6), "")
    if unit in T_UNITS and cells is None:
        named = reading.unit == "auto"
        size_s = float(np.nanmedian(values)) * T_UNITS[unit] if np.isfinite(values).any() else 0.0
        return Clock(unit, 1e9 < size_s < 4.2e9, "as its name says" if named and names[column] != "t" else "")
    if cells is not None or unit == ISO or (len(values) and not np.isfinite(values).any()):
        shown = next(iter(cells or ["no numbers" if len(values) else "nothing"]), "nothing")
        if len(values):
            raise InputError(
                f"{where}: column {names[column]}",
                expected="times as numbers, or as 2024-06-03T09:00:00.020+02:00",
                got=repr(shown),
                fix="Say which column is the time and what it holds, t=COLUMN:UNIT, or t=none.",
            )
    return clock_of(values, nominal_hz)


def _are_stamps(cells: Sequence[str]) -> bool:
    some = [cell for cell in cells if cell]
    return bool(some) and all(map(is_stamp, some))


def _seconds(column: int, clock: Clock, first: Table) -> NDArray[np.float64]:
    return seconds_of(first.texts[column]) if clock.unit == ISO else first.values[:, column] * T_UNITS[clock.unit]


def _check_same(found: Sequence[int], clocks: Sequence[Clock], names: Sequence[str], first: Table, where: str) -> None:
    """Refuse columns of times that tell different times."""
    times = [_seconds(i, clock, first) for i, clock in zip(found, clocks, strict=True)]
    elapsed = [t - t[0] for t in times if len(t)]
    if not elapsed:
        return
    span_s = max(float(np.nanmax(np.abs(t))) for t in elapsed)
    if all(np.nanmax(np.abs(t - elapsed[0])) <= max(_SAME * span_s, 1e-3) for t in elapsed):
        return
    raise InputError(
        f"{where}: t",
        expected="one column of times",
        got=f"{' and '.join(names[i] for i in found)}, which do not agree",
        fix=f"Say which: t={names[found[0]]}:{clocks[0].unit}.",
    )


def _ask_for_rising(names: Sequence[str], first: Table, others: Collection[int], where: str) -> None:
    """Refuse a table that has no time by name, and a column that rises as a time does."""
    for i, name in enumerate(names):
        if i in others or i in first.texts or len(first.values) < _LOOKS or not name.strip():
            continue
        steps = np.diff(first.values[:, i])
        forward = steps[steps > 0]
        if not np.isfinite(steps).all() or (steps < 0).any() or len(forward) < _LOOKS // 2:
            continue
        median = float(np.median(forward))
        is_index = median == 1.0 and bool((steps == 1.0).all())
        if not is_index and np.mean(np.abs(forward - median) <= 0.25 * median) >= 0.9 and rate_of(first.values[:, i]):
            raise InputError(
                where,
                expected="a column of times that its name tells, such as t, time or timestamp",
                got=f"none, and a column {name} that rises as times do",
                fix=f"Say what it is: t={name}:s (or ms, us, ns); or that there are no times: t=none.",
            )
