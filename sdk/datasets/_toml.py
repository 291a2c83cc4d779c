"""TOML, by the standard library's reader, which came with Python 3.11, or by `tomli`, which is the same for 3.10."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from runtime.errors import InputError


def read_toml(text: str, where: str) -> dict[str, Any]:
    """The tables of a text.

    Args:
        text: in TOML.
        where: for messages.

    Raises:
        InputError: it is no TOML.
        ImportError: under Python 3.10 without `tomli`.
    """
    library = _library()
    try:
        raw: dict[str, Any] = library.loads(text)
    except library.TOMLDecodeError as error:
        fix = "Texts stand in quotes, lists in []."
        raise InputError(where, expected="a file in TOML", got=error, fix=fix) from None
    return raw


def _library() -> Any:
    try:
        return import_module("tomllib")
    except ImportError:
        pass
    try:
        return import_module("tomli")
    except ImportError as error:
        message = 'Reading .toml under Python 3.10 needs tomli: pip install "sensedge[own]"'
        raise ImportError(message) from error
