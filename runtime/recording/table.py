"""Rows of text: as cells, while nobody knows what the columns mean, and as a table of numbers and words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.recording.shape import Cell, Numbers

_SHOWN = 60  # characters of a malformed cell


class Table(NamedTuple):
    """Rows of text, read."""

    values: NDArray[np.float64]  # shape (n, n_columns); NaN: empty, text, or a column that nobody asked for
    texts: Mapping[int, list[str]]  # the cells of the columns that are text, stripped, n of each
    lines: NDArray[np.int64]  # shape (n,), the number of the line that each row stood in, from 1


class CellRow(NamedTuple):
    """One row, in its cells."""

    cells: Sequence[Cell]
    line: int
    is_hole: bool = False  # a malformed line stood here: all is missing


class MalformedError(Exception):
    """A line that is none; the text says why."""


class Cells:
    """Cells of one width as numbers and words.

    Args:
        width: of a row.
        names: of the columns; None: no header.
        number: reads a cell; it knows the decimal sign.
    """

    def __init__(self, width: int, names: tuple[str, ...] | None, number: Numbers) -> None:
        self.width, self.names, self.number = width, names, number
        self.numbers: Sequence[int] = ()  # columns that must hold numbers
        self.words: Sequence[int] = ()  # columns that are kept as text
        self.is_narrow = False  # whether someone said which columns matter

    def narrow(self, numbers: Sequence[int], words: Sequence[int]) -> None:
        """Say which columns matter from here on."""
        self.numbers, self.words, self.is_narrow = numbers, words, True

    def hole(self, line: int) -> CellRow:
        """A row in which all is missing."""
        return CellRow([math.nan] * self.width, line, is_hole=True)

    def check(self, cells: Sequence[Cell]) -> None:
        """See that numbers are where they must be.

        Raises:
            MalformedError: names the cell.
        """
        column = 0
        try:
            for column in self.numbers:
                self.number(cells[column])
        except ValueError:
            raise MalformedError(f"not numbers: {str(cells[column])[:_SHOWN]!r}") from None

    def table(self, rows: Sequence[CellRow]) -> Table:
        """Rows that were checked; all columns of them while nobody said which matter."""
        lines = np.array([row.line for row in rows], np.int64)
        values = np.full((len(rows), self.width), np.nan)
        if not self.is_narrow:
            return Table(values, self._whole(rows, values), lines)
        for i, row in enumerate(rows):
            for column in self.numbers:
                values[i, column] = self.number(row.cells[column])
        return Table(values, {column: [_word(row.cells[column]) for row in rows] for column in self.words}, lines)

    def _whole(self, rows: Sequence[CellRow], values: NDArray[np.float64]) -> dict[int, list[str]]:
        """Fill in all numbers, shape (n, width); the columns in which most cells are none."""
        texts = {}
        for column in range(self.width):
            cells = [row.cells[column] for row in rows]
            found = [self._number(cell) for cell in cells]
            values[:, column] = [math.nan if value is None else value for value in found]
            if 2 * found.count(None) > sum(cell != "" for cell in cells):
                texts[column] = [_word(cell) for cell in cells]
        return texts

    def _number(self, cell: Cell) -> float | None:
        try:
            return self.number(cell)
        except ValueError:
            return None


def _word(cell: Cell) -> str:
    return "" if isinstance(cell, float) else cell
