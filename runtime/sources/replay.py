"""Replay: a recording played as a live sensor would deliver it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.sources.base import Batch, Paced
from runtime.specs import Signal
from runtime.wire.url import Options


class Replay(Paced):
    """Yields a recording's samples in chunks: `for batch in Replay(...): stream.push(*batch)`.

    Args:
        recording: a recording, or the path of a .npz or .csv file.
        signal: what the model wants; the recording is fitted to it.
        chunk_samples: rows per chunk. A real sensor's FIFO holds some tens.
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
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(sleep)
        if chunk_samples < 1:
            raise InputError("chunk_samples", expected="at least 1", got=chunk_samples, fix="Give a number of rows.")
        if not isinstance(recording, Recording):
            recording = Recording.load(recording, signal.rate_hz)
        self.recording = recording.fit(signal)
        self._chunk_samples, self.realtime = chunk_samples, realtime

    @classmethod
    def from_url(cls, rest: str, options: Options, signal: Signal) -> Replay:
        """A source from what follows the scheme of `replay:FILE?realtime&chunk=16`."""
        realtime, chunk = options.flag("realtime"), options.whole("chunk", 16)
        options.done()
        return cls(rest, signal, chunk_samples=chunk, realtime=realtime)

    @property
    def rate_hz(self) -> float | None:
        """Samples per second of a recording without times; None: its times tell them."""
        return self.recording.rate_hz if self.recording.t is None else None

    def _batches(self) -> Iterator[Batch]:
        samples, t, step = self.recording.samples, self.recording.t, self._chunk_samples
        began = time.monotonic()
        for begin in range(0, len(samples), step):
            end = min(begin + step, len(samples))
            if self.realtime:
                due_s = end / self.recording.rate_hz if t is None else float(t[end - 1] - t[0])
                self._sleep(max(0.0, began + due_s - time.monotonic()))  # a time that is no number waits for nothing
            yield Batch(samples[begin:end], None if t is None else t[begin:end])
