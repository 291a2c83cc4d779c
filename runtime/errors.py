"""The errors that a user of the runtime can cause, all with the same four parts.

Every message is one line that says where, what was expected, what was found and what to do, so that a log of a
device in the field is enough to repair it.
"""

from __future__ import annotations

from typing import Any

_LONGEST = 1000  # characters of what was expected or found
_LINE, _VALUE = 120, 40  # characters of an object in a line, and of one value in it


class SensedgeError(ValueError):
    """Something outside the program is wrong: a file, a stream of samples, an argument.

    Args:
        where: the file, row, channel or field that is wrong.
        expected: what should have been there.
        got: what was found.
        fix: what to do about it, as a sentence.
    """

    exit_code = 2  # of a command that ends with it: wrong use or bad input

    def __init__(self, where: object, *, expected: str, got: object, fix: str) -> None:
        self.where, self.expected, self.got, self.fix = str(where), _short(expected), _short(str(got)), fix
        super().__init__(printable(f"{where}: expected {self.expected}, got {self.got}. {fix}", keep="\n\t"))

    def to_plain(self) -> list[Any]:
        """For JSON, to another process."""
        return [type(self).__name__, {name: getattr(self, name) for name in ("where", "expected", "got", "fix")}]

    @staticmethod
    def from_plain(plain: list[Any]) -> SensedgeError:
        """The same from JSON; an error that is not of this file is the plain one."""
        name, parts = plain
        kinds: dict[str, type[SensedgeError]] = {kind.__name__: kind for kind in SensedgeError.__subclasses__()}
        kinds[TrustError.__name__] = TrustError
        return kinds.get(name, SensedgeError)(**parts)


def printable(text: object, *, keep: str = "") -> str:
    """Text from elsewhere as it may be shown: what a terminal would obey or hide is escaped, as in a Python string.

    Args:
        text: what is to be shown.
        keep: characters that are left as they are.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def _short(text: str) -> str:
    """A file from elsewhere may hold a name of a megabyte; a line in a log may not."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def require(error: type[SensedgeError], *rules: tuple[str, object, str, bool], fix: str) -> None:
    """Refuse the first of several values that breaks its rule.

    Args:
        error: what is raised.
        rules: for each value its name, itself, what it must be, and whether it is.
        fix: what to do about it, as a sentence.
    """
    for name, value, expected, holds in rules:
        if not holds:
            raise error(name, expected=expected, got=value, fix=fix)


class OneLine:
    """A dataclass whose repr is one line: no arrays, nothing that is as it is by default."""

    __slots__ = ()

    def __repr__(self) -> str:
        return one_line(self)


def one_line(thing: Any, *facts: object) -> str:
    """What a repr says of an object: its class and some facts, of 120 characters at most.

    Args:
        thing: the object.
        facts: in words; none: the fields of a dataclass or named tuple that are not as they are by default.
    """
    told = [str(fact) for fact in facts] or [f"{name}={_brief(value)}" for name, value in _fields(thing)]
    text = printable(f"{type(thing).__name__}({', '.join(told)})")
    return text if len(text) <= _LINE else f"{text[: _LINE - 4]}...)"


def _fields(thing: Any) -> list[tuple[str, Any]]:
    """Fields with their values, without those that have their default."""
    if hasattr(thing, "_asdict"):
        defaults = thing._field_defaults
    else:
        defaults = {name: entry.default for name, entry in thing.__dataclass_fields__.items()}
    found = [(name, getattr(thing, name)) for name in getattr(thing, "_fields", defaults)]
    same = [name for name, value in found if _is_plain(value) and value == defaults.get(name, thing)]
    return [(name, value) for name, value in found if name not in same and not _is_empty(value)]


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | tuple)


def _is_empty(value: Any) -> bool:
    return isinstance(value, dict) and not value


def _brief(value: Any) -> str:
    if hasattr(value, "dtype") and hasattr(value, "shape") and value.shape:
        return f"{value.dtype}{[*value.shape]}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple | list) and all(hasattr(part, "name") for part in value):
        return f"({', '.join(str(part.name) for part in value)})"
    if isinstance(value, tuple | list | dict) and len(value) > 3:
        return f"{len(value)} of them"
    text = repr(value)
    return text if len(text) <= _VALUE or isinstance(value, OneLine) else f"{text[:_VALUE]}..."


class BundleError(SensedgeError):
    """A bundle that is not whole, not ours or not as its manifest says."""


class InputError(SensedgeError):
    """Samples, recordings or labels that do not fit the signal that a bundle names."""


class EngineError(SensedgeError):
    """What runs a model gave up while running: no memory, a graph that cannot be computed."""

    exit_code = 1


class TrustError(BundleError):
    """A bundle that may be whole, but is not signed as the trust keys ask for."""

    exit_code = 3


class MissingError(SensedgeError):
    """A library, device node, broker or permission that is not there; `fix` has the line that cures it."""
