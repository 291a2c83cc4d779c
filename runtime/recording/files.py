"""A file of text, read in pieces: what memory it takes does not depend on how long it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from runtime.errors import InputError
from runtime.recording.lines import Lines, refuse_utf16
from runtime.recording.text import TextOptions, TextReader, TextRows
from runtime.specs import Signal

_PIECE_BYTES = 1 << 17


class TextFile:
    """Reads a file of text from its beginning, as often as it is asked to.

    Args:
        path: of the file.
        signal: what the model wants; None: every column is a channel.
        options: how.
    """

    def __init__(self, path: Path, signal: Signal | None, options: TextOptions | None = None) -> None:
        self._path, self._signal = path, signal
        self._options = (options or TextOptions())._replace(where=str(path))

    def pieces(
        self, note: Callable[[str], None], began: Callable[[TextReader], None] | None = None
    ) -> Iterator[TextRows]:
        """All rows, in order.

        Args:
            note: is told of each malformed line, in words.
            began: is handed the reader before the first line.

        Raises:
            InputError: a file that cannot be read, UTF-16, columns that do not fit.
        """
        reader, lines = TextReader(self._signal, note, self._options), Lines()
        if began is not None:
            began(reader)
        try:
            with self._path.open("rb") as file:
                data = file.read(_PIECE_BYTES)
                refuse_utf16(data[:4], self._path)
                while data:
                    yield from reader.read(lines.push(data))
                    data = file.read(_PIECE_BYTES)
        except OSError as error:
            raise InputError(
                self._path, expected="a file that can be read", got=error.strerror or error, fix="Check the path."
            ) from None
        yield from reader.read(lines.flush())
        yield from reader.flush()
