"""Parsed JSON as the dataclasses that it stands for: every field is there, of its type, and no other.

    {"length_samples": 128, "hop_samples": 64}   with WindowSpec    ->   WindowSpec(128, 64)
    [{...}, {...}]                               tuple[Modality]    ->   (Modality(...), Modality(...))
    null                                         float | None       ->   None

What does not fit is a `BundleError` that names the place, such as "manifest.json: signal: modalities[1]: rate_hz".
"""

from __future__ import annotations

import dataclasses
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from runtime.errors import BundleError

_LARGEST = 1e300  # of a number; an integer beyond it has no float
_LARGEST_WHOLE = (1 << 53) - 1  # an integer that every reader of JSON sees alike (RFC 8259, section 6)


def build(kind: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into the annotated type `kind`.

    Args:
        kind: a dataclass, `X | None`, `tuple[X, ...]`, `Mapping[str, X]`, a `Literal`, `Any`, or str, int, float, bool.
        value: what `json.loads` gave.
        where: the place in the file, for messages.

    Raises:
        BundleError: names the place whose value is of another type, and the fields that are missing or unknown.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):  # of one type and None
        return None if value is None else build(arguments[0], value, where)
    if isinstance(value, dict) and isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    if isinstance(value, list) and origin is tuple:
        return tuple(build(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if isinstance(value, dict) and origin is Mapping:
        return {key: build(arguments[1], item, f"{where}: {key}") for key, item in value.items()}
    if kind is Any or (origin is Literal and value in arguments) or _is_plain(kind, value):
        return float(value) if kind is float else value
    expected = " or ".join(arguments) if origin is Literal else getattr(kind, "__name__", str(kind))
    raise BundleError(where, expected=expected, got=shown(value), fix="Export the bundle again.")


def _dataclass(kind: Any, value: dict[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    required = {f.name for f in dataclasses.fields(kind) if _is_required(f)}
    wrong = sorted((required - value.keys()) | (value.keys() - hints.keys()))
    if wrong:
        raise BundleError(
            where,
            expected=f"the fields {', '.join(hints)}",
            got=f"missing or unknown: {', '.join(wrong)}",
            fix="Export the bundle again.",
        )
    fields = {key: build(hints[key], item, f"{where}: {key}") for key, item in value.items()}
    try:
        return kind(**fields)
    except BundleError as error:  # it knows the field, not the file
        raise BundleError(f"{where}: {error.where}", expected=error.expected, got=error.got, fix=error.fix) from None


def _is_plain(kind: Any, value: Any) -> bool:
    """Whether a value is a str, int, float or bool as asked for; true and false are no numbers."""
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
    small = not isinstance(value, int) or abs(value) <= _LARGEST_WHOLE
    return isinstance(kind, type) and isinstance(value, kind) and isinstance(value, bool) == (kind is bool) and small


def shown(value: Any) -> str:
    """A value as a message tells it; a long one is not spelled out before it is cut."""
    return repr(value)[:60] if isinstance(value, str | int | float | None) else reprlib.repr(value)[:60]


def _is_required(entry: dataclasses.Field[Any]) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
