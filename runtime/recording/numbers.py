r"""Many lines of numbers at once: a block of text to arrays, without an object per cell.

    12.34,0.1,9.8,walking\n12.36,0.2,9.7,walking\n
         ^   ^   ^       ^                            ends of cells, found by comparing bytes
    digits of all cells, place by place, to whole numbers; these over a power of ten

A whole number up to 2**53 over a power of ten up to 10**22 is divided without any error but the last rounding, so the
result is that of `float`, bit for bit. Cells that are otherwise (an exponent, 17 digits, a word) are read one by one,
and lines that are otherwise are left to the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

_LF, _BLANK, _MINUS, _ZERO, _QUOTE = b'\n -0"'
_COMMENTS = tuple(b"#%/")
_POWERS = 10.0 ** np.arange(23)
_MOST_DIGITS = 18  # in an int64
_LARGEST = 1 << 53
_MOST_BLANKS = 8  # around a cell that are passed over at once; more are left to `float`

Places: TypeAlias = NDArray[np.int64]


class Block(NamedTuple):
    """Lines of one width, read."""

    values: NDArray[np.float64]  # shape (n_lines, width); NaN in columns that were not asked for
    texts: Mapping[int, list[str]]  # n_lines of each column of words; "" in strange lines
    strange: NDArray[np.bool_]  # shape (n_lines,): the line was not read
    ends: Places  # shape (n_lines,), where each line ends
    points: bool  # whether a number had a decimal sign


def read_block(
    block: bytes,
    separator: bytes,
    width: int,
    numbers: Sequence[int],
    words: Sequence[int],
    *,
    decimal: bytes,
    number: Callable[[str], float],
) -> Block:
    """Read complete lines.

    Args:
        block: they, each with its LF; at least one.
        separator: of the cells, one byte.
        width: cells of a line; one empty cell more is a separator at the end.
        numbers: columns to read as numbers.
        words: columns to keep as text.
        decimal: the sign between whole and fraction, one byte.
        number: reads a cell that is no plain decimal.
    """
    data = np.frombuffer(block, np.uint8)
    stops = np.flatnonzero((data == separator[0]) | (data == _LF))
    starts = np.concatenate([[0], stops[:-1] + 1])
    last = np.flatnonzero(data[stops] == _LF)  # cell of each line
    counts = np.diff(last, prepend=-1)
    first = last - counts + 1
    plain = (counts == width) | ((counts == width + 1) & (stops[last] == starts[last]))
    plain &= (stops[last] > starts[first]) & ~np.isin(data[starts[first]], _COMMENTS)
    if b'"' in block:
        plain[np.searchsorted(stops[last], np.flatnonzero(data == _QUOTE))] = False
    at = np.flatnonzero(plain)
    values = np.full((len(last), width), np.nan)
    cells = first[at][:, None] + np.array(numbers, np.int64)
    found, bad, points = _decimals(data, starts[cells], stops[cells], decimal[0], b" " in block)
    if width == 1:  # an empty cell is an empty line there
        plain[at[bad.any(axis=1) | np.isnan(found).any(axis=1)]] = False
        bad[:] = False
    if bad.any():
        raws = _raws(block, starts[cells[bad]], stops[cells[bad]])
        as_float = decimal == b"." and b"_" not in block
        read = _floats(raws, number) if as_float else [_read(raw, number) for raw in raws]
        points = points or (as_float and any(b"." in raw for raw in raws))
        plain[at[np.nonzero(bad)[0][[value is None for value in read]]]] = False
        found[bad] = [math.nan if value is None else value for value in read]
    values[at[:, None], np.array(numbers, np.int64)] = found
    texts = {}
    for column in words:
        cell = first[at] + column
        texts[column] = _texts(block, starts[cell], stops[cell], at, plain)
    return Block(values, texts, ~plain, stops[last], points)


def _decimals(
    data: NDArray[np.uint8], starts: Places, stops: Places, decimal: int, blanks: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_], bool]:
    """Cells as numbers, which of them are no plain decimals, and whether one had a decimal sign."""
    shape, starts, stops = starts.shape, starts.ravel(), stops.ravel()
    if blanks:
        for _ in range(_MOST_BLANKS):
            starts = starts + ((data[starts] == _BLANK) & (starts < stops))
            stops = stops - ((data[stops - 1] == _BLANK) & (starts < stops))
    length = stops - starts
    negative = (data[starts] == _MINUS) & (length > 0)
    starts, length = starts + negative, length - negative
    whole = np.zeros(len(starts), np.int64)
    digits, fraction, points = (np.zeros(len(starts), np.int8) for _ in range(3))
    bad = (length < 1) | (length > _MOST_DIGITS + 1)
    for place in range(min(int(length.max(initial=0)), _MOST_DIGITS + 1)):
        sign = data.take(starts + place, mode="clip")
        live = place < length
        digit = sign - np.uint8(_ZERO)
        is_digit, is_point = (digit < 10) & live, (sign == decimal) & live
        bad |= live & ~is_digit & ~is_point
        whole = np.where(is_digit, whole * 10 + digit, whole)
        digits += is_digit
        fraction += is_digit & (points > 0)
        points += is_point
    empty = length + negative < 1
    bad |= (points > 1) | (digits < 1) | (digits > _MOST_DIGITS) | (whole > _LARGEST)
    values = whole / _POWERS[np.minimum(fraction, len(_POWERS) - 1)]
    np.negative(values, out=values, where=negative)
    values[empty], bad[empty] = np.nan, False
    return values.reshape(shape), bad.reshape(shape), bool(((points > 0) & ~bad).any())


def _texts(block: bytes, starts: Places, stops: Places, at: Places, plain: NDArray[np.bool_]) -> list[str]:
    """Cells as they are written, of the lines `at`; a line that is not UTF-8 there is no longer plain."""
    raws = _raws(block, starts, stops)
    known = {raw: _decoded(raw) for raw in set(raws)}
    plain[at[np.array([known[raw] is None for raw in raws], bool)]] = False
    texts = [""] * len(plain)
    for i, raw in zip(at.tolist(), raws, strict=True):
        texts[i] = known[raw] or ""
    return texts


def _raws(block: bytes, starts: Places, stops: Places) -> list[bytes]:
    return [block[i:j] for i, j in zip(starts.tolist(), stops.tolist(), strict=True)]


def _floats(raws: list[bytes], number: Callable[[str], float]) -> Sequence[float | None]:
    """Cells as numbers, None where one is none."""
    try:
        return list(map(float, raws))
    except ValueError:
        return [_read(raw, number) for raw in raws]


def _read(raw: bytes, number: Callable[[str], float]) -> float | None:
    try:
        return number(raw.decode("utf-8").strip())
    except ValueError:  # a UnicodeDecodeError is one
        return None


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
