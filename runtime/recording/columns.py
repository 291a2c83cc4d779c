"""Which column of a table is the time, which the label, which the channels; and a table's numbers as samples.

    time       runtime.recording.time_column
    label      as `label=COLUMN` says; the column `label`, or else `labels` or `activity`
    channels   runtime.recording.placement; where nobody says what the model wants, all other columns that hold numbers

What is not as docs/files.md has it is told in words, in `told`; what cannot be known is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording.checks import as_float32, check_names
from runtime.recording.placement import Placement, column_of, placement
from runtime.recording.reading import ISO, Reading
from runtime.recording.rows import Rows, Sorter, Spreader
from runtime.recording.time_column import TimeColumn, find_time
from runtime.recording.times import Clock, StampKind, TimeReader, kind_of, seconds_of
from runtime.specs import Signal

if TYPE_CHECKING:
    from runtime.recording.table import Table

_log = logging.getLogger("sensedge.recording")
HEAD_ROWS = 256  # that are looked at before anything is decided; more while they have less than four stamps
_MOST_HEAD_ROWS = 4096
_LATE_S = 1.0  # as of a clock's `back_s`: rows later than this are of no live source
_LABELS = ("label", "labels", "activity")
_BEGIN, _END = ("start", "begin", "from", "onset"), ("end", "stop", "to", "offset")
_BESIDE = (*_LABELS, "weight", "recording", "subject", "name", "id", "video", "duration", "comment")  # of spans


@dataclass
class Columns:
    """What the columns of one source mean, decided once; `apply` turns its tables into samples."""

    channels: tuple[str, ...]  # names of the columns of the samples that `apply` gives
    places: tuple[int, ...]  # columns that they are made of
    time: int | None = None  # column of the time
    label: int | None = None  # column of the label
    clock: Clock | None = None  # what the column of the time holds
    kind: StampKind | None = None  # what the stamps are; None: nobody looked
    told: tuple[str, ...] = ()  # what was recognised that is not as docs/files.md has it, in words
    reading: Reading = field(default_factory=Reading)
    placed: Placement | None = None  # None: every column as it is
    sorts: bool = False
    is_uneven: bool = False  # the first times are not at even steps
    where: str = "columns"  # for messages

    def __post_init__(self) -> None:
        self._times = TimeReader(self.clock.unit if self.clock else "s", self.reading.bits)
        self._stages: list[Sorter | Spreader] = [Sorter()] if self.sorts else []
        if self.stamps == "spread":
            known = self.kind is not None and self.kind.step_s > 0
            step_s, period_s = (self.kind.step_s, self.kind.period_s) if known and self.kind else (None, None)
            self._stages.append(Spreader(step_s, period_s))

    @property
    def stamps(self) -> str | None:
        """What the stamps are: said, or as they look; None: nothing speaks against what the model's clock says."""
        if self.time is None or self.reading.stamps is not None:
            return None if self.time is None else self.reading.stamps
        return None if self.kind is None or self.kind.stamps == "measured" else self.kind.stamps

    @property
    def numbers(self) -> tuple[int, ...]:
        """Columns that must hold numbers."""
        return (*self.places, *(() if self.time is None or self._is_text else (self.time,)))

    @property
    def words(self) -> tuple[int, ...]:
        """Columns that are kept as they are written."""
        return (
            *(() if self.label is None else (self.label,)),
            *((self.time,) if self._is_text and self.time is not None else ()),
        )

    @property
    def _is_text(self) -> bool:
        return self.clock is not None and self.clock.unit == ISO

    @staticmethod
    def is_header(cells: Sequence[str], signal: Signal | None, reading: Reading | None = None) -> bool:
        """Whether a line's cells are the names of columns, among them all channels of `signal`."""
        if signal is None:
            return False
        try:
            placement([cell.strip() for cell in cells], signal, reading or Reading())
        except InputError:
            return set(signal.channel_names) <= {cell.strip() for cell in cells}
        return True

    @classmethod
    def plan(
        cls,
        names: Sequence[str] | None,
        first: Table,
        signal: Signal | None,
        *,
        final: bool = True,
        reading: Reading | None = None,
        rate_hz: float | None = None,
        where: str = "columns",
        head_rows: int = HEAD_ROWS,
    ) -> Columns | None:
        """Decide from the header and the first rows.

        Args:
            names: of the columns, as the header has them; None: there is no header.
            first: the first rows of the source. The reader asks again with one row more until it gets an answer, so
                that the answer does not depend on how the rows came; a live source holds them back meanwhile.
            signal: what the model wants, in its order; None: every column with a name is a channel.
            final: no more rows come before the answer is needed.
            reading: what was said about the columns.
            rate_hz: samples per second that are expected; None: the signal's.
            where: for messages.
            head_rows: from so many on, even steps of times are enough to answer.

        Returns:
            None: more rows are needed (never where `final`).

        Raises:
            InputError: columns that do not fit, or that one must ask about.
        """
        reading = reading or Reading()
        looks = not final and len(first.values) < HEAD_ROWS and not _is_all_told(reading, names, first, signal)
        if looks and len(first.values) < head_rows:
            return None
        found = _plan(cls, names, first, signal, final, reading, rate_hz, where)
        return None if looks and found is not None and found.is_uneven else found

    def apply(self, table: Table) -> Rows:
        """A table's rows as samples with their times; some may wait for the next stamp.

        Values of shape (n, n_columns) become samples of shape (m, n_channels) and times of shape (m,). It is called
        with every table of the source, in order.
        """
        values = table.values
        samples = as_float32(values[:, self.places]) if self.placed is None else self.placed.apply(values)
        labels = None if self.label is None else list(table.texts[self.label])
        if self.time is None:
            return Rows(samples, None, labels)
        times = seconds_of(table.texts[self.time]) if self._is_text else values[:, self.time].copy()
        return self.rows(samples, times, labels)

    def rows(
        self, samples: NDArray[np.float32], times: NDArray[np.float64], labels: Sequence[str] | None = None
    ) -> Rows:
        """As `apply`, of samples that are taken out already.

        Args:
            samples: shape (n, n_channels).
            times: shape (n,), as they were written.
            labels: n of them.
        """
        told = self._times.wraps or self.reading.bits
        rows = [Rows(samples, self._times.seconds(times), labels)]
        if self._times.wraps and not told:
            _log.warning("%s: time: the counter wraps, and is taken to go on (say bits=16 or bits=32)", self.where)
        for stage in self._stages:
            rows = [given for part in rows for given in stage.push(part)]
        return Rows.joined(rows) if rows else self._nothing()

    def flush(self) -> Rows:
        """The rows that wait, samples of shape (m, n_channels); no more will come."""
        rows: list[Rows] = []
        for stage in self._stages:
            rows = [given for part in rows for given in stage.push(part)] + stage.flush()
        return Rows.joined(rows) if rows else self._nothing()

    def _nothing(self) -> Rows:
        t = None if self.time is None else np.zeros(0)
        return Rows(np.zeros((0, len(self.channels)), np.float32), t, None if self.label is None else [])


def refuse_spans(names: Sequence[str], where: str) -> None:
    """Refuse a file that says what was when, and has no samples.

    Args:
        names: of its columns.
        where: the file, for messages.

    Raises:
        InputError: there are a beginning, an end and a label, and nothing beside that could be a channel.
    """
    words = [name.strip().lower() for name in names]
    bare = [next(iter(word.replace("_", " ").split()), "") for word in words]  # start_s, begin_ms, end time
    has = [{*bare}.intersection(kind) for kind in (_BEGIN, _END, _LABELS)]
    if all(has) and not {*bare}.difference(_BEGIN, _END, _BESIDE, [""]):
        raise InputError(
            where,
            expected="samples, with a column for each channel",
            got=f"spans of labels: {', '.join(name.strip() for name in names)}",
            fix="Call the columns start_s, end_s, label: python -m sdk.finetune BUNDLE --labels FILE --recording FILE.",
        )


def _is_all_told(reading: Reading, names: Sequence[str] | None, first: Table, signal: Signal | None) -> bool:
    """Whether nothing is left to be seen in the first rows."""
    bare = names is None and signal is not None and first.values.shape[1] == len(signal.channel_names)
    if reading.unit == "none" or bare:
        return True
    return reading.unit != "auto" and reading.stamps in ("measured", "arrival") and bool(reading.time or names is None)


def _plan(
    cls: type[Columns],
    names: Sequence[str] | None,
    first: Table,
    signal: Signal | None,
    final: bool,
    reading: Reading,
    rate_hz: float | None,
    where: str,
) -> Columns | None:
    names, uneven = _named(names, first, signal, reading), False
    check_names([name for name in names if name], "column", where)
    rate_hz = rate_hz or (None if signal is None else signal.rate_hz)
    label = _label(names, reading, where)
    placed = None if signal is None else placement(names, signal, reading, where)
    others = set(() if placed is None else placed.columns) | ({label} if label is not None else set())
    time = find_time(names, first, reading, others, rate_hz, where)
    kind, sorts, told = None, False, [] if time is None or not time.told else [time.told]
    if time is not None:
        t = TimeReader(time.clock.unit, reading.bits).seconds(_raw(time, first))
        uneven = _is_uneven(t)
        if not final and _is_puzzling(t):
            return None
        sorts = _is_disordered(t)
        order = np.argsort(t, kind="stable") if sorts else np.arange(len(t))
        kind = kind_of(t[order], first.values[order][:, _sensors(first, time)])
        told += _told_of(kind, sorts, reading)
    if placed is not None and signal is not None:
        told += placed.told
        channels, places = signal.channel_names, placed.columns
    else:
        free = [
            i
            for i, n in enumerate(names)
            if n and i != label and i not in first.texts and (not time or i != time.column)
        ]
        channels, places = tuple(names[i] for i in free), tuple(free)
    at = None if time is None else time.column
    clock = None if time is None else time.clock
    return cls(channels, places, at, label, clock, kind, tuple(told), reading, placed, sorts, uneven, where)


def _named(names: Sequence[str] | None, first: Table, signal: Signal | None, reading: Reading) -> list[str]:
    """Names of the columns; without a header the model's channels, behind the time where there is one column more."""
    if names is not None:
        return [name.strip() for name in names]
    channels = () if signal is None else signal.channel_names
    timed = first.values.shape[1] > len(channels) and reading.unit != "none"
    return [*(["t"] if timed else []), *channels]


def _label(names: Sequence[str], reading: Reading, where: str) -> int | None:
    if not reading.label:
        return next((i for word in _LABELS for i, name in enumerate(names) if name.lower() == word), None)
    if (found := column_of(reading.label, names)) is None:
        expected = f"a column among {', '.join(names)}"
        raise InputError(f"{where}: label", expected=expected, got=reading.label, fix="Name a column of the header.")
    return found


def _raw(time: TimeColumn, first: Table) -> NDArray[np.float64]:
    return seconds_of(first.texts[time.column]) if time.clock.unit == ISO else first.values[:, time.column]


def _sensors(first: Table, time: TimeColumn) -> list[int]:
    """Columns of numbers, besides the time."""
    return [i for i in range(first.values.shape[1]) if i != time.column and i not in first.texts]


def _is_uneven(t: NDArray[np.float64]) -> bool:
    steps = np.diff(t)
    return not len(steps) or not bool((np.abs(steps - np.median(steps)) < 0.5 * np.median(steps)).all())


def _is_puzzling(t: NDArray[np.float64]) -> bool:
    """Whether more rows are needed to know what their times are: few stamps, or one step back."""
    if len(np.unique(t)) < 4:
        return len(t) < _MOST_HEAD_ROWS
    return int(np.count_nonzero(np.diff(t) < -_LATE_S)) == 1 and len(t) < 4 * HEAD_ROWS


def _is_disordered(t: NDArray[np.float64]) -> bool:
    """Whether rows are out of order by more than a live source's are, and sorted ones are more even.

    A clock that was set back is no such thing: sorted, its samples would lie among others.
    """
    t = t[np.isfinite(t)]
    if len(t) < 2 or float(np.max(np.maximum.accumulate(t) - t)) <= _LATE_S:
        return False
    steps, ordered = np.diff(t), np.diff(np.sort(t))
    usual_s = float(np.median(np.abs(steps)))
    odd, odd_ordered = (int(np.count_nonzero(np.abs(s - usual_s) > 0.5 * usual_s)) for s in (steps, ordered))
    back = int(np.count_nonzero(steps < -_LATE_S))
    return odd_ordered < odd or (odd_ordered == odd and back > 1)


def _told_of(kind: StampKind, sorts: bool, reading: Reading) -> list[str]:
    """Words on stamps that are not of measurement, in order."""
    told = []
    if sorts:
        told.append("rows are out of order: they are sorted by time")
    if reading.stamps is None and kind.stamps == "spread":
        told.append(
            f"stamps: one for {kind.step_s / kind.period_s:.3g} samples each, which are spread evenly up to the next"
        )
    if reading.stamps is None and kind.stamps == "arrival":
        told.append(f"stamps: {kind.repeated:.0%} are repeated and the others uneven: taken as times of arrival")
    return told
