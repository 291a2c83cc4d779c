"""One thread: what a source sends goes through a stream, and is shown to whoever listens.

    source -> tap -> play(stream, recorder) -> predictions -> tracker -> events
               |                                   |                        |
               v                                   v                        v
              tick                                pred                    event        -> put, put, ... of the listeners

While nobody listens no message is made. The predictions are those of `runtime.play`, bit for bit, with listeners or
without. Another version takes over between two batches, whoever chose it; the stream goes on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.errors import SensedgeError
from runtime.events import EventTracker
from runtime.play import Follower, play
from sdk.live import messages
from sdk.live.cost import Cost

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from runtime.recorder import Recorder
    from runtime.sources import Source
    from runtime.sources.base import Batch, SourceCounters, Stamps
    from runtime.stream import Prediction, Stream
    from sdk.meters import Meter

Put = Callable[[str], object]  # takes a message; from the feed's thread
RING_S = 60.0  # of signal for a page that opens
_TICK_S = 0.1
_COST_S = 1.0
_APART_S = 1.0  # that the stream's time and ours may drift


class Tie:
    """Ties a stream's time to this device's clock: anew where the two part."""

    def __init__(self) -> None:
        self.offset_s: float | None = None

    def wall_s(self, at_s: float, now_s: float) -> float:
        """Unix seconds of an instant that is just over."""
        if self.offset_s is None or abs(now_s - at_s - self.offset_s) > _APART_S:
            self.offset_s = now_s - at_s
        return at_s + self.offset_s


class Feed:
    """The stream of one source, with listeners.

    Args:
        source: that was opened.
        bundle: what predicts at first.
        recorder_of: makes the recorder of a bundle; None: nothing is kept.
        meter: of power; None: not asked for.
        clock: tells Unix seconds.

    Example:
        >>> feed = Feed(source, bundle)                                               # doctest: +SKIP
        >>> with feed: feed.listen(print)                                             # doctest: +SKIP
    """

    def __init__(
        self,
        source: Source,
        bundle: Bundle,
        recorder_of: Callable[[Bundle], Recorder] | None = None,
        *,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.bundle = bundle
        self.made = 0  # messages, for whoever wonders what it costs that nobody looks
        self.trouble = ""  # why there is no stream any more
        self.told: list[str] = []  # what the stream says of its samples
        self._said: tuple[Prediction, float] | None = None  # the latest, and when its window ended
        self.recorder: Recorder | None = None
        self._source, self._recorder_of, self._clock = source, recorder_of, clock
        self._next: Bundle | None = None  # takes over at the next batch
        self._lock = threading.Lock()  # over the listeners and the ring
        self._listeners: list[Put] = []
        self._ring: deque[tuple[float, float, Batch]] = deque()  # first, last, samples
        self._waiting: list[tuple[float, float, Batch]] = []
        self._ticked_s = self._cost_s = 0.0
        self._tie, self._row_tie = Tie(), Tie()
        self._tracker = EventTracker.for_bundle(bundle)
        self._cost = Cost(meter)
        self._data = ""
        self._thread = threading.Thread(target=self._work, name="sensedge-live", daemon=True)

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._source.stop()
        self._thread.join(2.0)

    @property
    def now_s(self) -> float:
        """Unix seconds of this device."""
        return self._clock()

    @property
    def is_over(self) -> bool:
        """Whether the source has ended."""
        return not self._thread.is_alive()

    @property
    def n_listeners(self) -> int:
        """How many pages, or others, take the messages now."""
        return len(self._listeners)

    def use(self, bundle: Bundle) -> None:
        """Let another version predict, from the next batch on."""
        self._next = bundle
        if self.is_over:
            self.bundle = bundle

    def flush(self) -> None:
        """Wait until all that was predicted is in the store."""
        recorder = self.recorder
        if recorder is not None:
            recorder.flush()

    def listen(self, put: Put) -> None:
        """Call `put` with hello now, and with each message from now on."""
        with self._lock:
            ring = [tick for first_s, last_s, batch in self._ring for tick in self._ticks(first_s, last_s, batch)]
            self._made(put, messages.hello(self.bundle, self._clock(), ring, self._latest()))
            self._made(put, self.data())
            self._listeners.append(put)

    def leave(self, put: Put) -> None:
        """Call it no more."""
        with self._lock:
            self._listeners = [other for other in self._listeners if other != put]

    def tell(self, message: dict[str, Any]) -> None:
        """Give a message to all that listen."""
        if self._listeners:
            with self._lock:
                text = messages.text_of(message)
                self.made += 1
                for put in self._listeners:
                    put(text)

    def data(self) -> dict[str, Any]:
        """What became of the samples, and what is wrong."""
        recorder = self.recorder
        told: dict[str, Any] = {"kind": "data", "source": asdict(self._source.counters), "over": self.trouble}
        told |= {"recorder": None if recorder is None else recorder.trouble, "warnings": self.told[-4:]}
        return told | {"version": self.bundle.version, "viewers": self.n_listeners}

    def _latest(self) -> dict[str, Any] | None:
        return None if self._said is None else messages.pred(*self._said, self.bundle.version)

    def _made(self, put: Put, message: dict[str, Any]) -> None:
        self.made += 1
        put(messages.text_of(message))

    def _work(self) -> None:
        try:
            self._play(_Tap(self._source, self._seen))
            self.trouble = "the source has ended"
        except (SensedgeError, OSError) as error:
            self.trouble = str(error)
        self.tell(self.data())

    def _play(self, tap: _Tap) -> None:
        recorder = None if self._recorder_of is None else self._recorder_of(self.bundle)
        self.recorder = recorder
        try:
            hear = self.told.append
            play(tap, self.bundle, self._predicted, recorder=recorder, on_warning=hear, follow=self._following)
        finally:
            if recorder is not None:
                recorder.close()

    def _following(self, stream: Stream) -> Follower:
        return _Chosen(stream, self)

    def chosen(self) -> Bundle | None:
        """What was asked for with `use` and is not in use yet; once."""
        found, self._next = self._next, None
        return found

    def changed(self, bundle: Bundle) -> None:
        """Another version is in use now; from the feed's thread."""
        with self._lock:
            self.bundle, self._said = bundle, None
            self._tracker = EventTracker.for_bundle(bundle)
        self.tell(messages.hello(bundle, self._clock(), [], None) | {"changed": True})

    def _seen(self, batch: Batch) -> None:
        """A batch came."""
        now_s, n = self._clock(), len(batch.samples)
        if not n:
            return
        if batch.t is None:
            last_s, first_s = now_s, now_s - (n - 1) / (self._source.rate_hz or self.bundle.manifest.signal.rate_hz)
        else:
            last_s = self._row_tie.wall_s(float(batch.t[-1]), now_s)
            first_s = last_s - float(batch.t[-1] - batch.t[0])
        with self._lock:
            self._ring.append((first_s, last_s, batch))
            while self._ring[0][1] < last_s - RING_S or self._ring[0][1] > last_s + RING_S:
                self._ring.popleft()
        if not self._listeners:
            self._waiting.clear()
            return
        self._waiting.append((first_s, last_s, batch))
        if not 0 <= now_s - self._ticked_s < _TICK_S:
            self._ticked_s = now_s
            for waited in self._waiting:
                for tick in self._ticks(*waited):
                    self.tell(tick)
            self._waiting.clear()
        if not 0 <= now_s - self._cost_s < _COST_S:
            self._cost_s = now_s
            self._told_each_second(now_s)

    def _told_each_second(self, now_s: float) -> None:
        self.tell({"kind": "cost", "now": now_s, **self._cost.read()})
        data = self.data()
        known = messages.text_of(data | {"source": {**data["source"], "samples": 0}})
        if known != self._data:
            self._data = known
            self.tell(data)

    def _ticks(self, first_s: float, last_s: float, batch: Batch) -> Iterator[dict[str, Any]]:
        signal = self.bundle.manifest.signal
        rows = np.asarray(batch.samples, np.float32)
        if batch.modality is not None:
            yield messages.tick(batch.modality, first_s, last_s, rows)
            return
        for modality, columns in zip(signal.modalities, signal.columns, strict=True):
            yield messages.tick(modality.name, first_s, last_s, rows[:, columns])

    def _predicted(self, prediction: Prediction, _: str | None) -> None:
        now_s = self._clock()
        end_s = self._tie.wall_s(prediction.end_s, now_s)
        self._cost.add(prediction.compute_s)
        events = self._tracker.push(prediction)
        self._said = prediction, end_s
        if not self._listeners:
            return
        self.tell(messages.pred(prediction, end_s, self.bundle.version))
        for found in events:
            self.tell(messages.event(found, self._tie.offset_s or 0.0))


class _Chosen(Follower):
    """What the page chose, at once; else what somebody else put into use, as `sdk.finetune` does."""

    def __init__(self, stream: Stream, feed: Feed) -> None:
        super().__init__(stream, feed.told.append)
        self._feed = feed

    def look(self) -> bool:
        """Change the model if there is another one; whether it was."""
        chosen, n_told = self._feed.chosen(), len(self._feed.told)
        found = super().look() if chosen is None else True
        if chosen is not None:
            self._stream.use(chosen)
        if found:  # the page shows the version; only what fails is worth a line
            del self._feed.told[n_told:]
            self._feed.changed(self._stream.bundle)
        return found


class _Tap:
    """A source whose batches somebody sees."""

    def __init__(self, source: Source, see: Callable[[Batch], object]) -> None:
        self._source, self._see = source, see

    @property
    def counters(self) -> SourceCounters:
        return self._source.counters

    @counters.setter
    def counters(self, _: SourceCounters) -> None:
        raise AttributeError

    @property
    def stamps(self) -> Stamps | None:
        return self._source.stamps

    @property
    def rate_hz(self) -> float | None:
        return self._source.rate_hz

    def __enter__(self) -> _Tap:
        return self

    def __exit__(self, *_: object) -> None:
        """The source is closed by whoever opened it."""

    def stop(self) -> None:
        self._source.stop()

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._source:
            self._see(batch)
            yield batch
