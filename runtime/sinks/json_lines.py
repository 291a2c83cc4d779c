"""JSON lines: one object per prediction, into a file or to stdout."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from runtime.errors import InputError
from runtime.sinks.base import SinkCounters, json_of
from runtime.stream import Prediction
from runtime.wire.url import Options


class JsonLinesSink:
    """Appends a line per prediction, and flushes it: a reader sees each at once.

    A line that was cut off, by a kill or a full disk, is ended first.

    Args:
        path: a file; "-" for stdout.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self.counters = SinkCounters()

    @classmethod
    def from_url(cls, rest: str, options: Options) -> JsonLinesSink:
        """A sink from what follows the scheme of `jsonl:FILE` or `jsonl:-`.

        Raises:
            InputError: no file is named, or there are options.
        """
        options.done()
        if not rest:
            raise InputError("jsonl", expected="a file", got="none", fix="Write jsonl:FILE, or jsonl:- for stdout.")
        return cls(rest)

    def __enter__(self) -> JsonLinesSink:
        """Open the file.

        Raises:
            InputError: it cannot be written.
        """
        if self._path == "-":
            if sys.stdout is None:
                raise InputError("jsonl:-", expected="an output", got="a closed one", fix="Write jsonl:FILE.")
            self._file = sys.stdout
            return self
        try:
            self._file = Path(self._path).open("a", encoding="utf-8")
            if _is_torn(Path(self._path)):
                self._file.write("\n")
        except OSError as error:
            raise InputError(
                self._path, expected="a file that can be written", got=error.strerror or error, fix="Check the path."
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None and self._path != "-":
            self._file.close()

    def write(self, prediction: Prediction) -> None:
        """Append a line.

        Raises:
            OSError: the disk is full, or nobody reads stdout any more.
            InputError: a prediction that is no number.
        """
        assert self._file is not None, "open the sink first: with sink: ..."
        self._file.write(json_of(prediction) + "\n")
        self._file.flush()
        self.counters.written += 1


def _is_torn(path: Path) -> bool:
    """Whether a file ends within a line."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
