"""The options behind the `?` of a source or a sink: `serial:/dev/ttyUSB0?baud=115200&t=ms`."""

from __future__ import annotations

import math
from urllib.parse import parse_qsl

from runtime.errors import InputError


class Options:
    """Options by name; each is taken once, and `done` refuses what nobody took."""

    def __init__(self, where: str, query: str) -> None:
        self.where = where
        self._left = dict(parse_qsl(query, keep_blank_values=True))
        self._known: list[str] = []

    def text(self, name: str, default: str | None = None) -> str | None:
        """An option as it is written."""
        self._known.append(name)
        return self._left.pop(name, default)

    def number(self, name: str, default: float | None = None, *, least: float = 0.0) -> float | None:
        """A finite number above `least`.

        Raises:
            InputError: it is none.
        """
        word = self.text(name)
        if word is None:
            return default
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > least):
            raise self._wrong(name, f"a number above {least:g}", word)
        return value

    def whole(self, name: str, default: int, *, least: int = 1) -> int:
        """A whole number of at least `least`.

        Raises:
            InputError: it is none.
        """
        word = self.text(name)
        if word is None:
            return default
        if not word.isdecimal() or int(word) < least:
            raise self._wrong(name, f"a whole number of at least {least}", word)
        return int(word)

    def flag(self, name: str) -> bool:
        """Whether an option is set: `?realtime`, `?realtime=1`.

        Raises:
            InputError: neither 0 nor 1.
        """
        word = self.text(name, "0")
        if word not in ("", "0", "1"):
            raise self._wrong(name, "0 or 1", word)
        return word != "0"

    def choice(self, name: str, words: tuple[str, ...]) -> str:
        """One of some words, the first by default.

        Raises:
            InputError: another.
        """
        word = self.text(name, words[0]) or ""
        if word not in words:
            raise self._wrong(name, f"one of {', '.join(words)}", word)
        return word

    def done(self) -> None:
        """Refuse what is left.

        Raises:
            InputError: an option that the source does not have.
        """
        if self._left:
            raise InputError(
                self.where,
                expected=f"the options {', '.join(self._known)}" if self._known else "no options",
                got=", ".join(self._left),
                fix="See docs/sources.md.",
            )

    def _wrong(self, name: str, expected: str, got: object) -> InputError:
        return InputError(f"{self.where}: {name}", expected=expected, got=got, fix="Correct it after the `?`.")
