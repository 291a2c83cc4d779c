"""Stdin: lines of text from another program, `my_sensor | python -m sdk.stream walk.bundle --source stdin`.

The other program waits while we compute (its pipe is full), so nothing is dropped. Lines without times follow one
another at the signal's rate, or at the one given.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Sequence

from runtime.errors import InputError
from runtime.recording.lines import Lines, refuse_utf16
from runtime.recording.reading import Reading
from runtime.sources.base import Batch
from runtime.sources.rows import LiveRows, RowReader
from runtime.specs import Signal
from runtime.wire.url import Options

_CHUNK_BYTES = 65536


class StdinLines(LiveRows):
    """Reads JSON lines or CSV (see `runtime.recording.text`) until the end of the input.

    Args:
        signal: whose channels.
        reading: what is said of times, units, names and axes.
        rate_hz: samples per second, if lines have no times and it is not the signal's.
        file: a descriptor that is read instead of stdin.
    """

    def __init__(
        self, signal: Signal, *, reading: Reading | None = None, rate_hz: float | None = None, file: int | None = None
    ) -> None:
        super().__init__(self._open, signal, reading=reading, rate_hz=rate_hz, clock=None, keep_all=True)
        self._file = file

    @classmethod
    def from_url(cls, rest: str, options: Options, signal: Signal) -> StdinLines:
        """A source from what follows the scheme of `stdin?t=ms`.

        Raises:
            InputError: more than options follows, or an option is unknown or out of its range.
        """
        if rest:
            raise InputError("stdin", expected="nothing after it", got=rest, fix="Write --source stdin.")
        reading, rate_hz = Reading.taken(options.text, options.where), options.number("rate")
        options.done()
        return cls(signal, reading=reading, rate_hz=rate_hz)

    def _open(self) -> _Pipe:
        if self._file is None and sys.stdin is None:
            raise InputError("stdin", expected="an input", got="a closed one", fix="Pipe another program into it.")
        return _Pipe(sys.stdin.fileno() if self._file is None else self._file, self._rows)


class _Pipe:
    def __init__(self, file: int, rows: RowReader) -> None:
        self._file, self._rows, self._lines = file, rows, Lines()
        self._begun = self._ended = False

    def read(self, wait_s: float) -> Sequence[Batch] | None:
        if self._ended:
            return None
        if not select.select([self._file], [], [], wait_s)[0]:
            return []
        data = os.read(self._file, _CHUNK_BYTES)
        if not self._begun:
            refuse_utf16(data[:4], "stdin")
            self._begun = True
        if data:
            return self._rows.read(lines) if (lines := self._lines.push(data)) else []
        self._ended = True
        last = self._lines.flush()
        return [*(self._rows.read(last) if last else []), *self._rows.flush()]

    def close(self) -> None:
        """Stdin is the process's, not ours."""
