"""Replay: a recording played as a live sensor would deliver it. A .csv is read as it is played, in pieces."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from runtime.errors import InputError, one_line
from runtime.recording import RecentLabels, Recording, TextFile
from runtime.recording.reading import Reading, split_path
from runtime.recording.rows import Rows
from runtime.recording.sensors import by_modality, files_of
from runtime.recording.text import TextOptions, TextReader, TextRows
from runtime.sources.base import Batch, Paced, Stamps, stamps_of
from runtime.specs import Signal
from runtime.wire.url import Options


class Replay(Paced):
    """Yields a recording's samples in chunks: `for batch in Replay(...): stream.push(*batch)`.

    Args:
        recording: a recording, or the path of a .npz or .csv file, or of a folder with a file for each sensor.
        signal: what the model wants; the recording is fitted to it.
        chunk_samples: rows per chunk. A real sensor's FIFO holds some tens.
        reading: what is said of the columns of a file; None: what stands behind the `?` of its path.
        realtime: wait between chunks as long as the sensor would; False plays as fast as possible.
        sleep: what waits, for tests.

    Raises:
        InputError: the file, or a channel that the signal wants, is not there.
    """

    def __init__(
        self,
        recording: Recording | str | Path,
        signal: Signal,
        *,
        chunk_samples: int = 16,
        realtime: bool = False,
        reading: Reading | None = None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(sleep)
        if chunk_samples < 1:
            raise InputError("chunk_samples", expected="at least 1", got=chunk_samples, fix="Give a number of rows.")
        self._chunk_samples, self.realtime = chunk_samples, realtime
        self._text: TextFile | None = None
        self._recording: Recording | None = None
        self._rate_hz: float | None = None  # None: times tell it
        self._signal = signal
        path, options = (Path(), "") if isinstance(recording, Recording) else split_path(recording)
        if path.suffix.lower() == ".csv" and not files_of(path):
            self._open_text(path, Reading.of(options, str(path)) if reading is None else reading)
        else:
            if not isinstance(recording, Recording):
                recording = Recording.load(recording, signal.rate_hz, reading=reading, signal=signal)
            self._recording = whole = recording.fit(signal)
            self._rate_hz = None if whole.by_modality or whole.t is not None else whole.rate_hz
            self._stamps: Stamps | None = whole.stamps
            self.began_s = 0.0 if whole.t is None or not len(whole.t) else float(whole.t[0])
            self.has_labels = whole.labels is not None
        self._labels = RecentLabels(self._rate_hz or signal.rate_hz)

    def __repr__(self) -> str:
        return one_line(self, self._recording or "a file of text", self._signal)

    def _open_text(self, path: Path, reading: Reading) -> None:
        """Look at the first rows of a .csv, so that it is refused here, not on the way; it is read as it is played."""
        options, readers = TextOptions(reading, self._signal.rate_hz), list[TextReader]()
        looking = TextFile(path, self._signal, options)
        first = next(looking.pieces(lambda what: None, readers.append), None)
        self._text = TextFile(path, self._signal, options._replace(tells=False))
        self._stamps = stamps_of(readers[0].stamps)
        t = None if first is None else first.rows.t
        if first is not None and t is None:
            self._rate_hz = self._signal.rate_hz
        self.began_s = 0.0 if t is None else float(t[0])
        self.has_labels = first is not None and first.rows.labels is not None

    @classmethod
    def from_url(cls, rest: str, options: Options, signal: Signal) -> Replay:
        """A source from what follows the scheme of `replay:FILE?realtime&chunk=16&t=timestamp:ms`."""
        realtime, chunk = options.flag("realtime"), options.whole("chunk", 16)
        reading = Reading.taken(options.text, "replay")
        options.done()
        return cls(rest, signal, chunk_samples=chunk, realtime=realtime, reading=reading)

    @property
    def stamps(self) -> Stamps | None:
        """What the recording knows of its stamps; None: as the manifest's clock says."""
        return self._stamps

    @property
    def rate_hz(self) -> float | None:
        """Samples per second of a recording without times; None: its times tell them."""
        return self._rate_hz

    @property
    def duration_s(self) -> float:
        """Seconds from the first sample to the end of the last one; a .csv is read through for it."""
        if self._recording is not None:
            return self._recording.duration_s
        n, last_s = 0, self.began_s
        for piece in self._pieces(lambda what: None):
            n += len(piece.rows.samples)
            last_s = last_s if piece.rows.t is None else float(piece.rows.t[-1])
        return n / self._rate_hz if self._rate_hz else last_s - self.began_s

    def true_label(self, start_s: float, end_s: float) -> str | None:
        """The one true label of a span of what was played last, None where it is missing or mixed.

        Args:
            start_s: first instant, in the recording's own time.
            end_s: the instant after the last sample.
        """
        if self._recording is not None:
            return self._recording.label_between(start_s, end_s)
        return self._labels.between(start_s, end_s)

    def _pieces(self, note: Callable[[str], None]) -> Iterator[TextRows]:
        if self._text is not None:
            yield from self._text.pieces(note)
        elif self._recording is not None:
            yield TextRows(Rows(self._recording.samples, self._recording.t))

    def _batches(self) -> Iterator[Batch]:
        began, n = time.monotonic(), 0
        for rows, modality in self._pieces(self.counters.note_malformed):
            if rows.labels is not None:
                self._labels.push(rows.labels, rows.t)
            for begin in range(0, len(rows.samples), self._chunk_samples):
                end = min(begin + self._chunk_samples, len(rows.samples))
                t = None if rows.t is None else rows.t[begin:end]
                if self.realtime:
                    due_s = (n + end) / (self._rate_hz or 1.0) if t is None else float(t[-1]) - self.began_s
                    self._sleep(max(0.0, began + due_s - time.monotonic()))  # no number: waits for nothing
                if t is not None and self._recording is not None and self._recording.by_modality:
                    yield from (Batch(*part) for part in by_modality(rows.samples[begin:end], t, self._signal))
                else:
                    yield Batch(rows.samples[begin:end], t, modality)
            n += len(rows.samples)
