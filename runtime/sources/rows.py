"""Lines and messages of text as samples: what serial ports, MQTT and stdin bring.

What a line may be is in `runtime.recording.text`, which reads files, too; here lines get a time of arrival where they
have none of their own, and what is malformed is counted. Nothing that a port or a broker sends raises beyond this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from runtime.recording.reading import Reading
from runtime.recording.text import TextOptions, TextReader, TextRows
from runtime.sources.base import Batch, Connection, Live, SourceCounters, Stamps, now_s, stamps_of
from runtime.specs import Signal
from runtime.wire.backoff import Backoff

_HEAD_ROWS = 16  # that wait until it is clear what their times are, if these are even; a third of a second


class RowReader:
    """Reads lines or messages of one source, for as long as the source lives.

    Args:
        signal: whose channels, in order, a row holds.
        counters: of the source; malformed lines are counted there.
        reading: what was said about the columns, such as the unit of the times; None: the first good line tells whether
            there are times.
        rate_hz: samples per second that are expected; None: the signal's.
        clock: time of arrival, for lines without times. None: they have none, and one may wait for the lines that
            tell what the others mean.
    """

    def __init__(
        self,
        signal: Signal,
        counters: SourceCounters,
        *,
        reading: Reading | None = None,
        rate_hz: float | None = None,
        clock: Callable[[], float] | None = now_s,
    ) -> None:
        self._clock = clock
        waits = clock is None
        options = TextOptions(reading, rate_hz, waits=waits, holes=waits, head_rows=_HEAD_ROWS)
        self._text = TextReader(signal, counters.note_malformed, options)

    @property
    def stamps(self) -> Stamps | None:
        """What the times are, if that is said or seen; of arrival where lines have none. None: as the manifest says."""
        if self._text.timed:
            return stamps_of(self._text.stamps)
        return "arrival" if self._text.timed is False and self._clock else None

    @property
    def timed(self) -> bool | None:
        """Whether the lines have times; None: not known yet."""
        return self._text.timed

    def read_first(self, line: bytes) -> None:
        """A line whose beginning may be lost: only a header is taken from it."""
        self._text.read_first(line)

    def read(self, lines: bytes) -> list[Batch]:
        """Complete lines, or a message, to the samples in them.

        What has none is empty, a header, or malformed, which is counted.
        """
        return self._batches(self._text.read(lines if lines.endswith(b"\n") else lines + b"\n"))

    def flush(self) -> list[Batch]:
        """No more lines come: the samples that waited for one."""
        return self._batches(self._text.flush())

    def _batches(self, pieces: Iterable[TextRows]) -> list[Batch]:
        return [Batch(rows.samples, self._times(rows.t, len(rows.samples)), modality) for (rows, modality) in pieces]

    def _times(self, t: np.ndarray | None, n: int) -> np.ndarray | None:
        return np.full(n, self._clock()) if t is None and self._clock is not None else t


class LiveRows(Live):
    """A live source whose lines or messages are read by `RowReader`.

    Args:
        connect: as of `Live`, and so `backoff` and `keep_all`.
        signal: as of `RowReader`, and so `reading` and `clock`.
        rate_hz: samples per second, if lines have no times and it is not the signal's.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        signal: Signal,
        *,
        reading: Reading | None = None,
        rate_hz: float | None,
        clock: Callable[[], float] | None = now_s,
        backoff: Backoff | None = None,
        keep_all: bool = False,
    ) -> None:
        super().__init__(connect, backoff=backoff, keep_all=keep_all)
        self._rows = RowReader(signal, self.counters, reading=reading, rate_hz=rate_hz, clock=clock)
        self._rate_hz = rate_hz

    @property
    def stamps(self) -> Stamps | None:
        """What the times are, if that is said or seen; of arrival where lines have none. None: as the manifest says."""
        return self._rows.stamps

    @property
    def rate_hz(self) -> float | None:
        """Samples per second, as the source was told; None: it was not."""
        return self._rate_hz
