"""Text to samples: CSV, JSON lines, `name:value`; the one reader of files, pipes, ports and brokers.

    {"t": 12.34, "acc_x": 0.1, "acc_y": 9.8, "acc_z": 0.3}          a sample by the names of its channels
    {"t": [12.34, 12.36], "samples": [[0.1, 9.8, 0.3], [...]]}      several, in the order of the bundle's channels
    {"t": 12.34, "modality": "gyro", "samples": [[0.1, 0.2, 0.3]]}  of one modality, where each has its own clock
    [0.1, 9.8, 0.3]                                                 one without a time
    acc_x:0.1 acc_y:9.8 acc_z:0.3                                   as for a plotter; with commas, tabs, = as well
    12.34,0.1,9.8,0.3                                               a line of cells: `runtime.recording.reader`

Each kind of line is rows under names; what the names mean is planned once (`runtime.recording.columns`), with the first
rows at hand where one can wait for them. The first good line says whether there are times and modalities; later lines
of another kind are malformed, as a stream could not place them.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from runtime.errors import InputError
from runtime.recording.columns import HEAD_ROWS, Columns, refuse_spans
from runtime.recording.json_rows import flat, matrix_of, numbers_of, runs_of
from runtime.recording.lines import MAX_LINE_BYTES
from runtime.recording.reader import TableReader
from runtime.recording.reading import Reading, part_of
from runtime.recording.rows import Rows
from runtime.recording.shape import Cell, Numbers, has_numbers, named
from runtime.recording.table import CellRow, Cells, MalformedError
from runtime.specs import Signal

_SHOWN = 60  # characters of a malformed line
_USUAL = {"t", "label"}  # names of columns that files of ours have
_MOST_KINDS = 8  # of objects with other names, in one source
_MOST_HELD = 4096  # rows that wait for a plan
_log = logging.getLogger("sensedge.recording")


class TextOptions(NamedTuple):
    """How text is read."""

    reading: Reading | None = None  # what was said about the columns
    rate_hz: float | None = None  # samples per second that are expected; None: the signal's
    where: str = "lines"  # for messages
    waits: bool = True  # for a header and for the first rows; False: a port or a broker, where each line counts at once
    head_rows: int = HEAD_ROWS  # that are looked at where times are even
    tells: bool = True  # what was recognised, in a line
    holes: bool = True  # without times, a malformed line is a sample that is missing: nothing closes up


class TextRows(NamedTuple):
    """Rows that came together, and whose they are."""

    rows: Rows
    modality: str | None = None


class _Kind:
    """Rows under one set of names."""

    def __init__(self, signal: Signal | None, cells: Cells, modality: str | None = None) -> None:
        self.names, self.signal, self.cells, self.modality = cells.names, signal, cells, modality
        self.columns: Columns | None = None
        self.held: list[CellRow] = []  # until there is a plan

    @property
    def timed(self) -> bool:
        """Whether its rows have times, as far as the plan says."""
        return self.columns is not None and self.columns.time is not None

    def fits(self, record: dict[str, Cell]) -> bool:
        """Whether an object's values are a row of this kind."""
        if self.names is None or ("t" in self.names) != ("t" in record):
            return False
        columns = range(len(self.names)) if self.columns is None else (*self.columns.numbers, *self.columns.words)
        return all(self.names[column] in record for column in columns)


class TextReader:
    """Reads the lines of one source, for as long as it lives.

    Args:
        signal: what the model wants; None: every column is a channel.
        note: is told of each malformed line, in words.
        options: how.
    """

    def __init__(self, signal: Signal | None, note: Callable[[str], None], options: TextOptions | None = None) -> None:
        self._signal, self._note, self._options = signal, note, (options := options or TextOptions())
        self._reading = options.reading or Reading()
        unit = self._reading.unit
        self.timed: bool | None = None if unit == "auto" else unit != "none"
        self._modalities = [] if signal is None else [m.name for m in signal.modalities]
        self._by_modality: bool | None = None
        self._kinds: list[_Kind] = []  # of objects and lists
        self._table: _Kind | None = None  # of cells
        self._numbers = Numbers()  # of JSON
        self._lines = TableReader(
            self._is_header,
            None if signal is None else len(signal.channel_names),
            lambda: self.timed,
            lambda text, why: note(f"{text!r} ({why})"),
            patient=options.waits,
            holes=options.holes,
        )

    @property
    def channels(self) -> tuple[str, ...] | None:
        """Names of the columns of the samples; None: no row came yet."""
        columns = None if self._table is None else self._table.columns
        return self._signal.channel_names if self._signal else columns.channels if columns else None

    @property
    def stamps(self) -> str | None:
        """What the time stamps are, as far as it was said or can be seen; None: as the model's clock says."""
        kinds = [*self._kinds, *([self._table] if self._table else [])]
        return next((kind.columns.stamps for kind in kinds if kind.columns is not None), self._reading.stamps)

    def read_first(self, line: bytes) -> None:
        """A line whose beginning may be lost: only a header is taken from it."""
        self._lines.read_header(line.decode("utf-8", "replace").strip())

    def read(self, block: bytes) -> Iterator[TextRows]:
        """Complete lines, each with its LF, to what they hold."""
        for is_json, lines in runs_of(block):
            if is_json or (not self._lines.is_open and (b":" in lines or b"=" in lines)):
                yield from self._one_by_one(lines)
            else:
                yield from self._cells(lines)

    def flush(self) -> Iterator[TextRows]:
        """No more comes: what waited."""
        self._lines.flush()
        for kind in [*self._kinds, *([self._table] if self._table else [])]:
            yield from self._end(kind)

    def _end(self, kind: _Kind) -> Iterator[TextRows]:
        """No more rows of a kind come: those that wait."""
        self._plan(kind, final=True)
        yield from self._take(kind, [])
        if kind.columns is not None:
            yield from _given(kind, kind.columns.flush())

    def _is_header(self, cells: Sequence[str]) -> bool:
        refuse_spans(cells if self._options.waits else (), self._options.where)
        if self._signal is None:
            return len(cells) > 1 and not _USUAL.isdisjoint(cells) and not has_numbers(cells)
        return Columns.is_header(cells, self._signal, self._reading)

    def _cells(self, lines: bytes) -> Iterator[TextRows]:
        """Lines of cells."""
        for cells, found in self._lines.read(lines):
            if self._table is None or self._table.cells is not cells:
                if self._table is not None:
                    yield from self._end(self._table)
                self._table = _Kind(self._signal, cells)
            if isinstance(found, CellRow):
                yield from self._take(self._table, [found])
            elif self._table.columns is not None:
                yield from _given(self._table, self._table.columns.apply(found))

    def _one_by_one(self, lines: bytes) -> Iterator[TextRows]:
        """JSON, `name:value`, and what turns out to be neither."""
        rows: list[CellRow] = []
        last: _Kind | None = None
        for line in lines.splitlines():
            self._lines.line += 1
            if not line.strip():
                continue
            try:
                found = self._record(line)
            except MalformedError as error:
                text = line[: 4 * _SHOWN].decode("utf-8", "backslashreplace").strip()
                self._note(f"{text[:_SHOWN]!r} ({error})")
                found = None if last is None else (last, [last.cells.hole(self._lines.line)])
                if not self._options.holes or last is None or last.timed or last.modality:
                    continue
            if found is None:
                self._lines.line -= 1  # it is counted where cells are read
                yield from self._cells(line + b"\n")
                continue
            if found[0] is not last and last is not None:
                yield from self._take(last, rows)
                rows = []
            last = found[0]
            rows += found[1]
        if last is not None:
            yield from self._take(last, rows)

    def _record(self, line: bytes) -> tuple[_Kind, list[CellRow]] | None:
        """A line's rows, and of which kind they are; None: it is a line of cells."""
        if len(line) > MAX_LINE_BYTES:
            raise MalformedError(f"longer than {MAX_LINE_BYTES} bytes")
        try:
            text = line.decode("utf-8").strip(" \t\0\ufeff")
        except UnicodeDecodeError:
            if line.strip()[:1] not in (b"{", b"["):
                return None  # cells are told so wherever they stand
            raise MalformedError("not UTF-8") from None
        if text[:1] not in ("{", "["):
            fields = None if self._lines.is_open else named(text)
            if fields is None or not self._is_header(list(fields)):
                return None
            return self._object(fields)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise MalformedError("no JSON") from None
        if isinstance(value, list):
            return self._samples(None, matrix_of(value), None)
        modality, t = value.get("modality"), value.get("t")
        if modality is not None and modality not in self._modalities:
            raise MalformedError(f"no modality {modality!r}"[:_SHOWN])
        if "samples" in value:
            return self._samples(None if t is None else numbers_of(t), matrix_of(value["samples"]), modality)
        return self._object(flat({k: v for k, v in value.items() if k != "modality"}), modality)

    def _samples(
        self, t: list[float] | None, rows: list[list[float]], modality: str | None
    ) -> tuple[_Kind, list[CellRow]]:
        """Rows in the order of the channels."""
        if self._signal is None:
            raise MalformedError("no names of channels")
        names = self._signal.names_of(modality)
        if any(len(row) != len(names) for row in rows):
            raise MalformedError(f"rows that have not {len(names)} values")
        if t is not None and len(t) != len(rows):
            raise MalformedError(f"{len(t)} times for {len(rows)} rows")
        cells = rows if t is None else [[at, *row] for at, row in zip(t, rows, strict=True)]
        kind = self._kind(names if t is None else ("t", *names), modality)
        return kind, [CellRow(row, self._lines.line) for row in cells]

    def _object(self, record: dict[str, Cell], modality: str | None = None) -> tuple[_Kind, list[CellRow]]:
        """A row by its names."""
        kind = next((k for k in self._kinds if k.modality == modality and k.fits(record)), None)
        if kind is None:
            signal = self._of(modality)
            if not Columns.is_header(list(record), signal, self._reading):
                missing = [name for name in signal.channel_names if name not in record] if signal else list(record)
                raise MalformedError(f"without {', '.join(missing)}")
            kind = self._kind(tuple(record), modality)
        assert kind.names is not None
        row = CellRow([record.get(name, math.nan) for name in kind.names], self._lines.line)
        return kind, [row]

    def _kind(self, names: tuple[str, ...], modality: str | None) -> _Kind:
        for kind in self._kinds:
            if kind.names == names and kind.modality == modality:
                return kind
        if len(self._kinds) >= _MOST_KINDS:
            raise MalformedError("other names than in the lines before")
        kind = _Kind(self._of(modality), Cells(len(names), names, self._numbers), modality)
        self._kinds.append(kind)
        return kind

    def _of(self, modality: str | None) -> Signal | None:
        if modality is None or self._signal is None:
            return self._signal
        return Signal(tuple(m for m in self._signal.modalities if m.name == modality))

    def _take(self, kind: _Kind, rows: Sequence[CellRow]) -> Iterator[TextRows]:
        """Rows of a kind: on to samples, or held until there is a plan."""
        waits, done = self._options.waits, 0
        while done < len(rows) and kind.columns is None:
            kind.held.append(rows[done])
            done += 1
            n = len(kind.held)
            if n & (n - 1) == 0 or not waits:  # 1, 2, 4, ...: however the rows came
                self._plan(kind, final=not waits or n >= _MOST_HELD)
        if kind.columns is not None:
            held, kind.held = kind.held, []
            yield from self._apply(kind, [*(row for row in held if not (row.is_hole and kind.timed)), *rows[done:]])

    def _plan(self, kind: _Kind, *, final: bool) -> None:
        """Ask what the names of a kind mean; without an answer its rows go on waiting, or are malformed."""
        rows = [row for row in kind.held if not row.is_hole]
        if kind.columns is not None or not rows:
            return
        try:
            columns = self._planned(kind, rows, final=final)
        except InputError as error:
            if self._options.waits:
                raise
            self._refuse(kind, str(error))
        except MalformedError as error:
            self._refuse(kind, str(error))
        else:
            if columns is not None:
                self._begin(kind, columns)

    def _planned(self, kind: _Kind, rows: list[CellRow], *, final: bool) -> Columns | None:
        if kind.modality is None and kind.signal is not None and not kind.signal.is_even:
            raise MalformedError("no modality, and this bundle's have rates of their own")
        options = self._options
        columns = Columns.plan(
            kind.names,
            kind.cells.table(rows),
            kind.signal,
            final=final,
            reading=part_of(self._reading, self._modalities, kind.modality),
            rate_hz=options.rate_hz,
            where=options.where,
            head_rows=options.head_rows,
        )
        if columns is not None:
            timed, by_modality = columns.time is not None, kind.modality is not None
            if self.timed not in (None, timed) or self._by_modality not in (None, by_modality):
                raise MalformedError("times or modality: not as in the lines before")
        return columns

    def _begin(self, kind: _Kind, columns: Columns) -> None:
        """Read the rows of a kind as was planned."""
        kind.columns = columns
        self.timed, self._by_modality = kind.timed, kind.modality is not None
        if columns.told and self._options.tells:
            _log.warning("%s: %s", self._options.where, "; ".join(columns.told))
        kind.cells.narrow(columns.numbers, columns.words)
        if kind is self._table:
            self._lines.holes = self._options.holes and not kind.timed

    def _refuse(self, kind: _Kind, why: str) -> None:
        """Rows of a kind that cannot be placed are malformed."""
        for row in kind.held:
            text = ",".join(str(cell) for cell in row.cells)
            self._note(f"{text[:_SHOWN]!r} ({why})")
        kind.held = []
        if kind is self._table:
            self._lines.forget()

    def _apply(self, kind: _Kind, rows: list[CellRow]) -> Iterator[TextRows]:
        """Rows of a kind that has a plan."""
        good = [checked for row in rows if (checked := self._checked(kind, row)) is not None]
        if good and kind.columns is not None:
            yield from _given(kind, kind.columns.apply(kind.cells.table(good)))

    def _checked(self, kind: _Kind, row: CellRow) -> CellRow | None:
        """A row with numbers where they must be, or the hole that it leaves, if any."""
        try:
            kind.cells.check(row.cells)
        except MalformedError as error:
            self._note(f"{','.join(map(str, row.cells))[:_SHOWN]!r} ({error})")
            return kind.cells.hole(row.line) if self._options.holes and not kind.timed else None
        return row


def _given(kind: _Kind, rows: Rows) -> Iterator[TextRows]:
    if len(rows.samples):
        yield TextRows(rows, kind.modality)
