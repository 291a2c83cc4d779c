"""What JSON holds of rows: numbers, lists, objects; and where in a text it stands."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from runtime.recording.shape import Cell
from runtime.recording.table import MalformedError

_SHOWN = 60  # characters of what is no number
_DEEPEST = 4  # objects inside objects


def runs_of(block: bytes) -> Iterator[tuple[bool, bytes]]:
    """Lines that follow one another, those of JSON apart from the others."""
    if b"{" not in block and b"[" not in block:
        yield False, block
        return
    lines: list[bytes] = []
    was = False
    for line in block.split(b"\n")[:-1]:
        is_json = line.lstrip(b" \t\xef\xbb\xbf")[:1] in (b"{", b"[")
        if is_json != was and lines:
            yield was, b"\n".join([*lines, b""])
            lines = []
        was = is_json
        lines.append(line)
    if lines:
        yield was, b"\n".join([*lines, b""])


def flat(value: dict[str, Any], before: str = "", depth: int = 0) -> dict[str, Cell]:
    """An object's numbers and texts by their names, those of objects inside with the outer name and a point before."""
    found: dict[str, Cell] = {}
    for name, inner in value.items():
        if isinstance(inner, dict) and depth < _DEEPEST:
            found |= flat(inner, f"{before}{name}.", depth + 1)
        elif inner is None or (isinstance(inner, int | float) and not isinstance(inner, bool)):
            found[before + name] = _number(inner)
        elif isinstance(inner, str):
            found[before + name] = inner
        else:
            found[before + name] = str(inner)[:_SHOWN]
    return found


def numbers_of(values: Any) -> list[float]:
    """A number or a flat list of numbers and nulls."""
    return [_number(value) for value in (values if isinstance(values, list) else [values])]


def matrix_of(values: Any) -> list[list[float]]:
    """A row or a list of rows.

    Raises:
        MalformedError: it is neither.
    """
    if not isinstance(values, list):
        raise MalformedError("samples that are no list")
    return [numbers_of(row) for row in (values if not values or isinstance(values[0], list) else [values])]


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if type(value) is float:
        return value
    if type(value) is not int:
        raise MalformedError(f"{str(value)[:_SHOWN]!r} where a number should be")
    try:
        return float(value)
    except OverflowError:
        return math.inf
