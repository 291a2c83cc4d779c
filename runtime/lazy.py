"""Faces that are tables of contents: a name of a package is imported from its part when it is first asked for.

So that a command that only prints its help, or a stream that needs three of twenty parts, starts at once. A face writes
its names three times: in imports for the type checker, in the table handed to `attach`, and in `__all__`; a test
compares the three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attach(package: str, parts: Mapping[str, str]) -> Callable[[str], Any]:
    """What a package needs as its `__getattr__`.

    It is written `__getattr__ = attach(__name__, {"folder": "Bundle Golden", "trust": "Trust"})`.

    Args:
        package: its name.
        parts: for each of its modules the names that are taken from it, separated by spaces; a module of another
            package has its whole name, with the dots.
    """
    where = {
        name: part if "." in part else f"{package}.{part}" for part, names in parts.items() for name in names.split()
    }

    def find(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(where[name]), name)

    return find
