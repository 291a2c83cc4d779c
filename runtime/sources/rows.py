"""Lines and messages of text as samples: what serial ports, MQTT and stdin bring.

    {"t": 12.34, "acc_x": 0.1, "acc_y": 9.8, "acc_z": 0.3}          a sample by the names of its channels
    {"t": [12.34, 12.36], "samples": [[0.1, 9.8, 0.3], [...]]}      several, in the order of the bundle's channels
    {"t": 12.34, "modality": "gyro", "samples": [[0.1, 0.2, 0.3]]}  of one modality, where each has its own clock
    [0.1, 9.8, 0.3]                                                 one without a time
    12.34,0.1,9.8,0.3                                               CSV: the time is the first column, or not there
    t,acc_x,acc_z,acc_y                                             CSV: a header names the columns and their order

The first good line says whether there are times and modalities; later lines of another kind are malformed, as the
stream could not place them. A value that is null is missing. Nothing that such text holds raises beyond this file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from runtime.errors import InputError
from runtime.sources.base import Batch, Connection, Live, SourceCounters, Stamps, now_s
from runtime.specs import Signal
from runtime.wire.backoff import Backoff

T_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
TIMES = ("auto", *T_UNITS, "none")
MAX_LINE_BYTES = 1 << 20
_SHOWN = 60  # characters of a malformed line


class _MalformedError(Exception):
    """A line that is none; the text says why."""


class _Parsed(NamedTuple):
    t: list[float] | None
    rows: list[list[float]]
    modality: str | None


class RowReader:
    """Reads lines or messages of one source, for as long as the source lives.

    Args:
        signal: whose channels, in order, a row holds.
        counters: of the source; malformed lines are counted there.
        times: s, ms, us, ns: lines have a time in that unit; none: they have none; auto: the first good line tells, and
            times are seconds.
        clock: time of arrival, for lines without times; None leaves them without.

    Raises:
        InputError: an unknown unit of the times.
    """

    def __init__(
        self,
        signal: Signal,
        counters: SourceCounters,
        *,
        times: str = "auto",
        clock: Callable[[], float] | None = now_s,
    ) -> None:
        if times not in TIMES:
            raise InputError("t", expected=f"one of {', '.join(TIMES)}", got=times, fix="Name the unit of the times.")
        self._signal, self._counters, self._clock = signal, counters, clock
        self._scale = T_UNITS.get(times, 1.0)
        self._header: list[int] | None = None  # of CSV: which column is the time, and then each channel; -1: no time
        self._timed: bool | None = None if times == "auto" else times != "none"
        self._by_modality: bool | None = None

    @property
    def stamps(self) -> Stamps | None:
        """Whether the times are of measurement or of arrival; None: not known yet, or none."""
        if self._timed is None or not (self._timed or self._clock):
            return None
        return "measured" if self._timed else "arrival"

    def read_first(self, line: bytes) -> None:
        """A line whose beginning may be lost: only a header is taken from it."""
        if b"," in line and not line.lstrip().startswith((b"{", b"[")):
            self._is_header([cell.strip() for cell in line.decode("utf-8", "replace").split(",")])

    def read(self, line: bytes) -> Batch | None:
        """One line or message; None if it has no sample: empty, a header, or malformed, which is counted."""
        try:
            return self._read(line)
        except _MalformedError as error:
            text = line[:_SHOWN].decode("utf-8", "backslashreplace").strip()
            self._counters.note_malformed(f"{text!r} ({error})")
            return self._hole()

    def _read(self, line: bytes) -> Batch | None:
        if len(line) > MAX_LINE_BYTES:
            raise _MalformedError(f"longer than {MAX_LINE_BYTES} bytes")
        try:
            text = line.decode("utf-8").strip("\0 \t\r\n\ufeff")
        except UnicodeDecodeError:
            raise _MalformedError("not UTF-8") from None
        if not text or text[0] == "#":
            return None
        parsed = self._json(text) if text[0] in "{[" else self._csv(text)
        return None if parsed is None else self._batch(parsed)

    def _hole(self) -> Batch | None:
        """Without times a line that is left out would close up: a sample that is missing stands for it."""
        if self._timed is not False or self._by_modality is not False or self._clock is not None:
            return None
        return Batch(np.full((1, len(self._signal.channel_names)), np.nan, np.float32))

    def _json(self, text: str) -> _Parsed:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise _MalformedError("no JSON") from None
        if isinstance(value, list):
            return _Parsed(None, _table(value), None)
        modality, t = value.get("modality"), value.get("t")
        if modality is not None and modality not in [m.name for m in self._signal.modalities]:
            raise _MalformedError(f"no modality {modality!r}"[:_SHOWN])
        if "samples" in value:
            return _Parsed(None if t is None else _list(t), _table(value["samples"]), modality)
        names = self._signal.names_of(modality)
        missing = [name for name in names if name not in value]
        if missing:
            raise _MalformedError(f"without {', '.join(missing)}")
        return _Parsed(None if t is None else _list(t), [_list([value[name] for name in names])], modality)

    def _csv(self, text: str) -> _Parsed | None:
        cells = [cell.strip() for cell in text.split(",")]
        if self._is_header(cells):
            return None
        n = len(self._signal.channel_names)
        if self._header is not None:
            if len(cells) <= max(self._header):
                raise _MalformedError(f"{len(cells)} columns, the header has more")
            at, *columns = self._header
            return _Parsed(None if at < 0 else _floats([cells[at]]), [_floats([cells[i] for i in columns])], None)
        values = _floats(cells)
        if len(values) not in [n + timed for timed in (False, True) if self._timed in (None, timed)]:
            raise _MalformedError(f"{len(values)} columns, and the bundle has {n} channels")
        return _Parsed(values[:-n] or None, [values[-n:]], None)

    def _is_header(self, cells: list[str]) -> bool:
        names = self._signal.channel_names
        if not set(names) <= set(cells):
            return False
        self._header = [cells.index("t") if "t" in cells else -1, *(cells.index(name) for name in names)]
        return True

    def _batch(self, parsed: _Parsed) -> Batch | None:
        t, rows, modality = parsed
        if modality is None and not self._signal.is_even:
            raise _MalformedError("no modality, and this bundle's have rates of their own")
        width = len(self._signal.names_of(modality))
        if any(len(row) != width for row in rows):
            raise _MalformedError(f"rows that have not {width} values")
        if t is not None and len(t) != len(rows):
            raise _MalformedError(f"{len(t)} times for {len(rows)} rows")
        if not rows:
            return None
        timed, by_modality = t is not None, modality is not None
        if self._timed not in (None, timed) or self._by_modality not in (None, by_modality):
            raise _MalformedError("times or modality: not as in the lines before")
        self._timed, self._by_modality = timed, by_modality
        if t is not None:
            times = np.array(t) * self._scale
        elif self._clock is not None:
            times = np.full(len(rows), self._clock())
        else:
            return Batch(_float32(rows), None, modality)
        return Batch(_float32(rows), times, modality)


def _float32(rows: list[list[float]]) -> Any:
    with np.errstate(over="ignore"):  # infinite, which the stream counts as missing
        return np.array(rows, np.float64).astype(np.float32)


def _floats(cells: list[str]) -> list[float]:
    """The cells of a line; an empty one is missing."""
    try:
        return [float(cell) if cell else math.nan for cell in cells]
    except ValueError:
        raise _MalformedError("not numbers") from None


def _list(values: Any) -> list[float]:
    """A number or a flat list of numbers and nulls."""
    return [_number(value) for value in (values if isinstance(values, list) else [values])]


def _table(values: Any) -> list[list[float]]:
    """A row or a list of rows."""
    if not isinstance(values, list):
        raise _MalformedError("samples that are no list")
    return [_list(row) for row in (values if not values or isinstance(values[0], list) else [values])]


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if type(value) is float:
        return value
    if type(value) is not int:
        raise _MalformedError(f"{str(value)[:_SHOWN]!r} where a number should be")
    try:
        return float(value)
    except OverflowError:
        return math.inf


class LiveRows(Live):
    """A live source whose lines or messages are read by `RowReader`.

    Args:
        connect: as of `Live`, and so `backoff` and `keep_all`.
        signal: as of `RowReader`, and so `times` and `clock`.
        rate_hz: samples per second, if lines have no times and it is not the signal's.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        signal: Signal,
        *,
        times: str,
        rate_hz: float | None,
        clock: Callable[[], float] | None = now_s,
        backoff: Backoff | None = None,
        keep_all: bool = False,
    ) -> None:
        super().__init__(connect, backoff=backoff, keep_all=keep_all)
        self._rows, self._rate_hz = RowReader(signal, self.counters, times=times, clock=clock), rate_hz

    @property
    def stamps(self) -> Stamps | None:
        """Of measurement if the lines have times, else of arrival, if that is told; None before the first line."""
        return self._rows.stamps

    @property
    def rate_hz(self) -> float | None:
        """Samples per second, as the source was told; None: it was not."""
        return self._rate_hz


class Lines:
    """Cuts bytes, as they come, into lines; of one that never ends only the beginning is given: memory is bounded."""

    def __init__(self) -> None:
        self._rest = b""
        self._skips = False  # what comes belongs to a line that was given up

    def push(self, data: bytes) -> Iterable[bytes]:
        """The lines that are complete now, without their ends."""
        if self._skips:
            _, end, data = data.partition(b"\n")
            self._skips = not end
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            self._skips = True
            lines.append(self._rest)
            self._rest = b""
        return lines

    def flush(self) -> Iterable[bytes]:
        """The last line, if it has no end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []
