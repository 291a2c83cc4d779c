"""JSON from files that nobody vouches for: what a lenient reader lets through is refused here.

Refused are keys that come twice (two readers would see two different files), numbers that are not finite, nesting that
makes a later `repr` or copy run out of stack, and text that cannot be written out again.
"""

from __future__ import annotations

import json
import math
from typing import Any

_DEEPEST = 64  # a manifest has five levels and whatever its provenance has


def loads(data: bytes | str) -> Any:
    """Parse a document.

    Raises:
        ValueError: it is no JSON in UTF-8, or one of the things above.
    """
    text = data if isinstance(data, str) else data.decode()
    try:
        document = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_without_twins
        )
    except RecursionError as error:
        raise ValueError(str(error)) from None
    _walk(document)
    return document


def _refuse_constant(name: str) -> float:
    raise ValueError(f"the constant {name[:40]}, which is not a finite number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_constant(text)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)[:40]!r} twice")
    return found


def _walk(document: Any) -> None:
    """Level by level, without recursion."""
    level = [document]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str):
                item.encode()  # half of a surrogate pair has no bytes
        if not below:
            return
        level = below
    raise ValueError(f"nesting deeper than {_DEEPEST} levels")
