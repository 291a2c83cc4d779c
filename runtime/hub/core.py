r"""Many streams over one engine: windows that are due at about the same time are run as one batch.

    push("anna", ...) -> Windower -> [w]     \
    push("ben", ...)  -> Windower -> [w w w]  > in turn, one window of each -> batch -> Engine -> on_prediction(name, p)
    push("cem", ...)  -> Windower -> [w]     /                                 (n, length, channels)
      any thread         one per      bounded                                  one thread
                         stream

A batch is run when `max_batch` windows wait, or when the first has waited for `max_delay_s`. A stream whose queue is
full loses its oldest window, which is counted; however much one stream pushes, it takes no turn from another. So at
most `max_streams` x `max_queue` windows wait, however late the engine is.

`HubCore` is the queues and the batches, told the time by its caller: no thread, no clock. `runtime.hub.thread.Hub`
adds the one thread that runs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from threading import Lock
from time import perf_counter
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from runtime.bundle import Bundle
from runtime.bundle.reference import open_reference
from runtime.engine import Engine
from runtime.errors import InputError, one_line
from runtime.hub.tally import HubCounters, WindowTally
from runtime.hub.waiting import StreamQueue, Waiting
from runtime.specs import ClockSpec
from runtime.stream import Prediction, check_alike, decide, watch_of
from runtime.window import Counters, Window, Windower

MAX_DELAY_S, MAX_BATCH, MAX_QUEUE, MAX_STREAMS = 0.05, 32, 8, 4096


class HubCore:
    """The queues and the batches of many streams. Threads may share it; `step` is for one thread at a time.

    A batch's logits may differ from those of its windows run singly in the last bits, because the engine multiplies
    larger matrices: probabilities agree with those of a `Stream` to 1e-5, labels but for ties within that. Everything
    else is the same.

    Args:
        bundle: a verified bundle.
        engine: run by `step` only.
        max_delay_s: how long a window may wait for others to fill a batch.
        max_batch: windows in one run of the engine.
        max_queue: windows of one stream that may wait; when more come, the oldest are dropped. A push that completes
            more than these loses its first ones, so a device that sends long stretches at once needs a longer queue.
        max_streams: streams at one time.
        clock: what each stream does about gaps and uneven time stamps; None: as the manifest says.
        units: of the samples of all streams, as of `Stream`.
        axes: the same; as text, or a matrix of shape (3, 3).

    Raises:
        InputError: a bound that allows nothing; units or axes that make no sense.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        *,
        max_delay_s: float = MAX_DELAY_S,
        max_batch: int = MAX_BATCH,
        max_queue: int = MAX_QUEUE,
        max_streams: int = MAX_STREAMS,
        clock: ClockSpec | None = None,
        units: str | Mapping[str, str] | None = None,
        axes: str | ArrayLike | None = None,
    ) -> None:
        bounds = {"max_batch": max_batch, "max_queue": max_queue, "max_streams": max_streams}
        for name, value in bounds.items():
            if value < 1:
                raise InputError(name, expected="at least 1", got=value, fix="Allow one or more.")
        if not max_delay_s >= 0:
            raise InputError("max_delay_s", expected="at least 0 s", got=max_delay_s, fix="Allow no delay, or some.")
        self.max_delay_s, self.max_batch, self.max_queue, self.max_streams = max_delay_s, *bounds.values()
        self.manifest, self._clock = bundle.manifest, clock or bundle.manifest.clock
        self._bundle, self._reference, self._model = bundle, open_reference(bundle), (engine, bundle.manifest.labels)
        self._units, self._axes = units, axes
        self._new_windower()  # units and axes are refused here, not by a push
        self._batch = np.zeros((max_batch, *bundle.manifest.window_shape), np.float32)
        self._lock = Lock()  # over all that follows
        self._sources: dict[str, StreamQueue] = {}
        self._turns: deque[StreamQueue] = (
            deque()
        )  # the streams that have windows waiting, the next one to be served first
        self._queued = 0  # windows in all their queues
        self._since_s: float | None = None  # since when there are some
        self._all = WindowTally()
        self._closed = False

    def __repr__(self) -> str:
        return one_line(self, self._bundle, self._model[0].name, f"{len(self._sources)} streams")

    def push(
        self, name: str, samples: ArrayLike, t: ArrayLike | None = None, modality: str | None = None, *, now_s: float
    ) -> bool:
        """Take samples of one stream; a new name begins a new stream.

        Args:
            name: of the stream.
            samples: shape (n, n_channels), as of `Stream.push`.
            t: shape (n,), as of `Stream.push`.
            modality: as of `Stream.push`.
            now_s: on any clock, the same for all calls.

        Returns:
            Whether `due_s` has changed.

        Raises:
            InputError: samples or times that do not fit, one stream too many, or the hub is closed.
        """
        self._refuse_if_closed()
        source = self._sources.get(name) or self._add(name)
        with source.lock:  # until the windows are queued, so that they are queued in order
            began = perf_counter()
            return self._queue(source, source.windower.take(samples, t, modality), began, now_s)

    def flush(self, name: str, pad: Literal["hold", "zero"] | None = None, *, now_s: float) -> bool:
        """End a stream, as `Stream.flush` does; its next sample begins a new one.

        Args:
            name: of the stream.
            pad: as of `Stream.flush`.
            now_s: as of `push`.

        Returns:
            Whether `due_s` has changed.

        Raises:
            InputError: no such stream, or the hub is closed.
        """
        self._refuse_if_closed()
        with self._lock:
            source = self._source(name)
        with source.lock:
            began = perf_counter()
            return self._queue(source, source.windower.flush(pad), began, now_s)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise InputError("hub", expected="an open hub", got="a closed one", fix="Open another one.")

    def _add(self, name: str) -> StreamQueue:
        source = StreamQueue(name, self._new_windower(), watch_of(self._bundle, self._reference))
        with self._lock:
            if name not in self._sources and len(self._sources) >= self.max_streams:
                raise InputError(
                    f"stream {name!r}",
                    expected=f"at most {self.max_streams} streams",
                    got="one more",
                    fix="Remove streams that have ended, or raise max_streams.",
                )
            return self._sources.setdefault(name, source)

    def _new_windower(self) -> Windower:
        m, units, axes = self.manifest, self._units, self._axes
        return Windower(m.signal, m.window, self._clock, ranges=m.ranges, units=units, axes=axes)

    def _queue(self, source: StreamQueue, windows: Iterable[Window], began: float, now_s: float) -> bool:
        newest, n = deque[Window](maxlen=self.max_queue), 0
        for window in windows:
            newest.append(source.watch.look(window, source.windower.counters))
            n += 1
        if not n:
            return False
        window_s = (perf_counter() - began) / n
        waiting = [Waiting(source, window, window_s) for window in newest]
        with self._lock:
            return self._queue_locked(source, waiting, n, now_s)

    def _queue_locked(self, source: StreamQueue, windows: list[Waiting], n: int, now_s: float) -> bool:
        """Queue the newest of `n` windows, as many as a queue holds."""
        self._refuse_if_closed()
        self._count(source, windows=n)
        if source.removed:
            self._count(source, dropped=n)
            return False
        before = self._queued
        if not source.waiting:
            self._turns.append(source)
        excess = max(len(source.waiting) + len(windows) - self.max_queue, 0)
        source.waiting.extend(windows)
        for _ in range(excess):
            source.waiting.popleft()
        self._count(source, dropped=n - len(windows) + excess)
        self._queued += len(windows) - excess
        if not before:
            self._since_s = now_s
        return not before or before < self.max_batch <= self._queued

    def _count(
        self, source: StreamQueue, *, windows: int = 0, predicted: int = 0, dropped: int = 0, not_finite: int = 0
    ) -> None:
        for tally in (source.tally, self._all):
            tally.windows += windows
            tally.predicted += predicted
            tally.dropped += dropped
            tally.not_finite += not_finite
        source.windower.counters.windows_not_finite += not_finite

    def due_s(self) -> float | None:
        """When the next batch is due, on the callers' clock; -inf: at once, None: nothing waits."""
        with self._lock:
            if self._since_s is None:
                return None
            return -np.inf if self._queued >= self.max_batch else self._since_s + self.max_delay_s

    def step(self) -> list[tuple[str, Prediction]]:
        """Run one batch of what waits, due or not, and return its predictions; a stream's own are in order.

        Whatever the engine raises is raised, and the windows of the batch count as dropped.
        """
        with self._lock:
            taken = self._take()
        if not taken:
            return []
        try:
            found = self._run(taken)
        except BaseException:
            with self._lock:
                for waiting in taken:
                    self._count(waiting.source, dropped=1)
            raise
        with self._lock:
            for waiting, prediction in zip(taken, found, strict=True):
                self._count(waiting.source, predicted=int(prediction is not None), not_finite=int(prediction is None))
        told = zip(taken, found, strict=True)
        return [(waiting.source.name, prediction) for waiting, prediction in told if prediction is not None]

    def _take(self) -> list[Waiting]:
        """Up to a batch of windows, one stream after the other, each stream's oldest first."""
        taken: list[Waiting] = []
        while self._turns and len(taken) < self.max_batch:
            source = self._turns.popleft()
            taken.append(source.waiting.popleft())
            if source.waiting:
                self._turns.append(source)
        self._queued -= len(taken)
        if not self._queued:
            self._since_s = None  # else what is left keeps the time of the first, and is due at once or soon
        return taken

    def _run(self, taken: list[Waiting]) -> list[Prediction | None]:
        began = perf_counter()
        batch = self._batch[: len(taken)]
        for row, waiting in zip(batch, taken, strict=True):
            row[:] = waiting.window.samples
        engine, labels = self._model  # of this batch, whatever comes into use meanwhile
        logits = engine.run(batch).tolist()
        engine_s = (perf_counter() - began) / len(taken)
        return [
            decide(labels, row, window, window_s, engine_s, perf_counter())
            for row, (_, window, window_s) in zip(logits, taken, strict=True)
        ]

    def use(self, bundle: Bundle, engine: Engine) -> None:
        """Go on with another model from the next batch on; windows that wait, streams and counters stay.

        Args:
            bundle: another version or another bundle, of the same signal and window.
            engine: of that bundle. The one before is not closed: a batch may be in it.

        Raises:
            InputError: another signal or window. The hub is then as it was.
        """
        check_alike(self._bundle, bundle)
        with self._lock:
            self._bundle, self.manifest, self._model = bundle, bundle.manifest, (engine, bundle.manifest.labels)

    def remove(self, name: str) -> None:
        """Forget a stream; its windows that wait are dropped.

        Raises:
            InputError: no such stream.
        """
        with self._lock:
            source = self._source(name)
            del self._sources[name]
            source.removed = True
            self._drop(source)

    def _source(self, name: str) -> StreamQueue:
        if name not in self._sources:
            raise InputError("stream", expected="the name of a stream", got=repr(name), fix="Push to it first.")
        return self._sources[name]

    def _drop(self, source: StreamQueue) -> None:
        if source.waiting:
            self._turns.remove(source)
        self._queued -= len(source.waiting)
        self._count(source, dropped=len(source.waiting))
        source.waiting.clear()
        if not self._queued:
            self._since_s = None

    def close(self) -> None:
        """Refuse further pushes. What waits can still be run."""
        with self._lock:
            self._closed = True

    def drop_all(self) -> None:
        """Drop the windows that wait for the engine, of every stream."""
        with self._lock:
            for source in list(self._turns):
                self._drop(source)

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams."""
        with self._lock:
            return tuple(self._sources)

    def counters(self, name: str | None = None) -> HubCounters:
        """Of one stream, or of all that there ever were.

        Raises:
            InputError: no such stream.
        """
        with self._lock:
            return (self._all if name is None else self._source(name).tally).counters()

    def sample_counters(self, name: str) -> Counters:
        """What became of a stream's samples so far: the live object, for reading.

        Raises:
            InputError: no such stream.
        """
        with self._lock:
            return self._source(name).windower.counters

    def warnings(self, name: str) -> tuple[str, ...]:
        """As of `Stream.warnings`.

        Raises:
            InputError: no such stream.
        """
        with self._lock:
            return self._source(name).watch.warnings
