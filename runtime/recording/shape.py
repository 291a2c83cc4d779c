"""The shape of lines of text: what separates their cells, which line is the header, how a number is written.

A line is cut at tabs, semicolons, commas, bars or runs of blanks, whichever gives the most numbers. The decimal sign is
the one that the first number with a fraction has; a comma is one only where commas do not separate, or in quotes.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import TypeAlias

Cell: TypeAlias = str | float  # JSON brings numbers

SEPARATORS = (b"\t", b";", b",", b"|", b" ")  # the last: runs of blanks and tabs
_BLANKS = re.compile(r"[ \t]+")
_BLANK_BYTES, _LINE_ENDS = re.compile(rb"[ \t]+"), re.compile(rb" ?\n ?")
_MISSING = {"", "na", "n/a", "nan", "null", "none"}
_STAMP = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")  # ISO 8601
_DIGITS = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?")
_NAMED = re.compile(r"([A-Za-z_][^:=,;\t]*?)\s*[:=]\s*([-+.\d][-+.\deE]*|nan|null)\s*(?:[,;\t ]\s*|$)", re.IGNORECASE)


class Numbers:
    """Reads cells as numbers; the first one with a decimal sign says which that is."""

    def __init__(self) -> None:
        self.decimal: str | None = None  # "." or ","; None: not known yet

    def __call__(self, cell: Cell) -> float:
        """A cell's number, NaN where nothing is in it.

        Raises:
            ValueError: it is none.
        """
        if isinstance(cell, float):
            return cell
        if cell.lower() in _MISSING:
            return float("nan")
        sign = "," if "," in cell else "." if "." in cell else None
        if sign is not None and self.decimal not in (None, sign):
            raise ValueError(f"a decimal {sign!r} where others are {self.decimal!r}")
        if "_" in cell or ("," in cell and not _DIGITS.fullmatch(cell)):
            raise ValueError("not numbers")
        value = float(cell.replace(",", "."))
        self.decimal = self.decimal or sign
        return value


def split(line: str, separator: bytes) -> list[str]:
    """The cells of a line, without quotes and the blanks around them; separators at its end are left in."""
    if separator == b" ":
        line = _BLANKS.sub(" ", line.strip())
    sign = separator.decode()
    if '"' not in line:
        return [cell.strip() for cell in line.split(sign)]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=sign, skipinitialspace=True))]
    except (csv.Error, StopIteration):  # a line feed inside, a field beyond csv's limit
        return [line]


def even_blanks(block: bytes) -> bytes:
    """Lines whose cells are separated by runs of blanks, with one between two cells and none around."""
    return _LINE_ENDS.sub(b"\n", _BLANK_BYTES.sub(b" ", block)).lstrip(b" ")


def trimmed(cells: Sequence[str]) -> list[str]:
    """Cells without the empty ones at the end, which separators at the end of a line make."""
    cells = list(cells)
    while len(cells) > 1 and not cells[-1]:
        cells.pop()
    return cells


def cut(line: str) -> tuple[bytes, list[str]] | None:
    """The separator that gives the most numbers, and the cells; None: it is no line of numbers by any.

    More than half of the cells that are not empty must be numbers or times, and one a number.
    """
    best: tuple[float, int, bytes, list[str]] | None = None
    for separator in SEPARATORS:
        cells = trimmed(split(line, separator))
        full = [cell for cell in cells if cell.lower() not in _MISSING]
        numbers = sum(_DIGITS.fullmatch(cell) is not None for cell in full)
        stamps = sum(_STAMP.fullmatch(cell) is not None for cell in full)
        share = (numbers + stamps) / len(full) if numbers else 0.0
        if share > 0.5 and (best is None or (len(cells) > 1, share, len(cells)) > (len(best[3]) > 1, *best[:2])):
            best = share, len(cells), separator, cells
    return None if best is None else best[2:]


def has_numbers(cells: Sequence[str]) -> bool:
    """Whether one of the cells is a number."""
    return any(_DIGITS.fullmatch(cell) for cell in cells)


def named(line: str) -> dict[str, Cell] | None:
    """A line of `name:value` or `name=value`, as programs print for a plotter; None: it is none."""
    found: dict[str, Cell] = {}
    at = 0
    for match in _NAMED.finditer(line):
        if match.start() != at:
            return None
        found[match[1]] = match[2]
        at = match.end()
    return found if found and at == len(line) else None
