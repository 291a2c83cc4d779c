"""Lines of cells to rows: a .csv file, a pipe, a port, in pieces of bounded size.

    comments, empty lines      skipped, and so are lines before the header and a header that comes again
    header                     the line with the channels' names; or the text above the first line of numbers, as wide
    first rows                 one by one, with all their cells, until someone says which columns matter
    then                       whole blocks at once (`runtime.recording.numbers`), strange lines one by one

What is read does not depend on how the text was cut into blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from runtime.recording.lines import MAX_LINE_BYTES
from runtime.recording.numbers import read_block
from runtime.recording.shape import SEPARATORS, Numbers, cut, even_blanks, has_numbers, split, trimmed
from runtime.recording.table import CellRow, Cells, MalformedError, Table

_FEW_LINES, _FEW_BYTES = 8, 4096  # are read one by one sooner than at once
_MOST_WAITING = 100  # lines before a header, of which one might be it
_COMMENTS = ("#", "%", "//")
_SHOWN = 60  # characters of a malformed line


class TableReader:
    """Reads lines of cells.

    Args:
        is_header: whether cells are names, among them all that are wanted.
        n_channels: that a line without a header holds, behind the time; None: there must be a header.
        timed: whether a line without a header has a time; None: as its width tells.
        note: is told of each malformed line, as it is shown, and why.
        patient: lines before the header are of no account, and it need not have names that are known. False: every line
            that is none is malformed at once.
        holes: a malformed line is a row in which all is missing.
    """

    def __init__(
        self,
        is_header: Callable[[Sequence[str]], bool],
        n_channels: int | None,
        timed: Callable[[], bool | None],
        note: Callable[[str, str], None],
        *,
        patient: bool,
        holes: bool,
    ) -> None:
        self._is_header, self._n_channels, self._timed, self._note = is_header, n_channels, timed, note
        self._patient, self.holes = patient, holes
        self._waiting: list[str] = []
        self._separator = b""  # of the cells; empty: no line of cells came yet
        self.cells = Cells(0, None, Numbers())  # of the lines that come
        self.headers = 0  # that came, and lines without one that were taken as the first row
        self.line = 0  # lines that came

    @property
    def is_open(self) -> bool:
        """Whether a header or a first row came."""
        return self._separator != b""

    def read(self, block: bytes) -> Iterator[tuple[Cells, CellRow | Table]]:
        """Rows one by one while their cells are not narrow, tables then; and the cells that they belong to.

        Args:
            block: complete lines, each with its LF.
        """
        at = 0
        while at < len(block):
            if not self.cells.is_narrow or self._is_few(block, at) or self._is_undecided(block):
                end = block.index(b"\n", at)
                row, at = self.row(block[at:end]), end + 1
                if row is not None:
                    yield self.cells, self.cells.table([row]) if self.cells.is_narrow else row
            else:
                cells = self.cells
                n, table = self._at_once(block[at:])
                if table is not None:
                    yield cells, table
                at += n

    def flush(self) -> None:
        """No more lines come: those that waited for a header are malformed."""
        for line in self._waiting:
            self._note(line[:_SHOWN], "not numbers" if cut(line) is None else self._wanted(line))
        self._waiting = []

    def forget(self) -> None:
        """The header was none that can be used: look for another."""
        self._separator, self.cells = b"", Cells(0, None, Numbers())

    def _is_few(self, block: bytes, at: int) -> bool:
        return len(block) - at < _FEW_BYTES and block.count(b"\n", at) < _FEW_LINES

    def _is_undecided(self, block: bytes) -> bool:
        """Whether a comma may be a decimal sign here."""
        return self.cells.number.decimal is None and self._separator != b"," and b"," in block

    def _at_once(self, block: bytes) -> tuple[int, Table | None]:
        """Rows of a block up to a header of other names, and bytes of it that were used."""
        lines, cells, began, headers = block, self.cells, self.line, self.headers
        if self._separator == b" ":
            block = even_blanks(block)
        sign = (cells.number.decimal or ".").encode()
        read = read_block(
            block, self._separator, cells.width, cells.numbers, cells.words, decimal=sign, number=cells.number
        )
        if read.points:
            cells.number.decimal = sign.decode()
        keep = np.ones(len(read.ends), bool)
        used = len(lines)
        for i in np.flatnonzero(read.strange).tolist():
            self.line = began + i
            row = self.row(block[read.ends[i - 1] + 1 if i else 0 : read.ends[i]])
            keep[i] = row is not None
            if self.headers != headers:
                keep[i:], used = False, _end_of_line(lines, i)
                break
            if row is not None:
                one = cells.table([row])
                read.values[i] = one.values[0]
                for column, texts in read.texts.items():
                    texts[i] = one.texts[column][0]
        else:
            self.line = began + len(keep)
        at = np.flatnonzero(keep)
        kept = {column: [texts[i] for i in at] for column, texts in read.texts.items()}
        return used, Table(read.values[at], kept, began + 1 + at) if len(at) else None

    def row(self, line: bytes) -> CellRow | None:
        """One line; None: it has no row."""
        self.line += 1
        try:
            return self._row(_text(line, strict=self.is_open or not self._patient))
        except MalformedError as error:
            self._note(line[: 4 * _SHOWN].decode("utf-8", "backslashreplace").strip()[:_SHOWN], str(error))
        return self.cells.hole(self.line) if self.holes and self.is_open else None

    def _row(self, text: str) -> CellRow | None:
        if not text:
            return None
        if text.startswith(_COMMENTS):
            self.read_header(text.lstrip("#%/ "))
            return None
        if not self.is_open:
            return self._first(text)
        width = self.cells.width
        cells = split(text, self._separator)
        if len(cells) > width:
            cells = [*cells[:width], *trimmed(["", *cells[width:]])[1:]]
        try:
            if len(cells) != width:
                expected = f"the header has {width}" if self.cells.names else f"the lines before have {width}"
                raise MalformedError(f"{len(cells)} columns, {expected}")
            self._check(cells)
        except MalformedError:
            if self.read_header(text):
                return None
            raise
        return CellRow(cells, self.line)

    def _check(self, cells: Sequence[str]) -> None:
        if self.cells.is_narrow:
            self.cells.check(cells)
        elif not has_numbers(cells) and any(cells):
            raise MalformedError("not numbers")

    def read_header(self, text: str) -> bool:
        """Take a line as the header if it is one; whether it was."""
        for separator in SEPARATORS:
            cells = split(text, separator)
            same = tuple(cells) == self.cells.names
            if same or self._is_header(cells):
                if not same:
                    self._open(separator, tuple(cells), len(cells))
                return True
        return False

    def _open(self, separator: bytes, names: tuple[str, ...] | None, width: int) -> None:
        self._separator, self._waiting = separator, []
        self.cells = Cells(width, names, Numbers())
        self.headers += 1

    def _first(self, text: str) -> CellRow | None:
        """A line before the first row: the header, the first row, or of no account."""
        if self.read_header(text):
            return None
        found = cut(text)
        if found is not None:
            separator, cells = found
            names = self._names_above(separator, text)
            waiting = self._waiting
            if names is not None:
                self._open(separator, names, len(names))
                return CellRow(split(text, separator)[: len(names)], self.line)
            if len(cells) in self._widths():
                self._open(separator, None, len(cells))
                for line in waiting:
                    self._note(line[:_SHOWN], "not numbers")
                return CellRow(cells, self.line)
        why = "not numbers" if found is None else self._wanted(text)
        if not self._patient:
            raise MalformedError(why)
        self._waiting.append(text)
        if len(self._waiting) > _MOST_WAITING:
            self._note(self._waiting.pop(0)[:_SHOWN], why)
        return None

    def _widths(self) -> list[int]:
        """Cells that a line without a header may have."""
        n = self._n_channels
        return [] if n is None else [n + timed for timed in (False, True) if self._timed() in (None, timed)]

    def _wanted(self, line: str) -> str:
        found = cut(line)
        n = 0 if found is None else len(found[1])
        if self._n_channels is None:
            return f"{n} columns, and no header"
        return f"{n} columns, and the bundle has {self._n_channels} channels; name them in a header"

    def _names_above(self, separator: bytes, text: str) -> tuple[str, ...] | None:
        """The first of the lines right above that are as wide and have no numbers; None: there is none.

        Empty cells at the end, as separators there make them, count or do not.
        """
        found: list[str] = []
        row = split(text, separator)
        for line in reversed(self._waiting if self._patient else []):
            cells = split(line, separator)
            width = max(len(trimmed(cells)), len(trimmed(row)))
            few = width < 2 and self._n_channels not in (None, 1)
            if few or width > min(len(cells), len(row)) or has_numbers(cells) or not any(cells):
                break
            found = cells[:width]
        return tuple(found) or None


def _text(line: bytes, *, strict: bool) -> str:
    """A line's text; names of columns may be in another code, as nobody may want them."""
    if len(line) > MAX_LINE_BYTES:
        raise MalformedError(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        return line.decode("utf-8", "strict" if strict else "backslashreplace").strip(" \r\n\0\ufeff")
    except UnicodeDecodeError:
        raise MalformedError("not UTF-8") from None


def _end_of_line(lines: bytes, i: int) -> int:
    """Where line i ends, its LF included."""
    at = -1
    for _ in range(i + 1):
        at = lines.index(b"\n", at + 1)
    return at + 1
