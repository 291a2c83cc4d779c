"""What every source is, and what all live ones share: a reader thread, a bounded queue, restarts with back-off.

    device -> connection.read -> [reader thread] -> queue -> for batch in source -> stream.push(*batch)
                   ^                    |             bounded: the oldest samples go, and are counted
                   |____ back-off ______|             (or the reader waits, where the other end can be made to wait)

What goes missing on the way is never made up: samples carry time stamps, so the stream sees a gap and does with it
what the manifest's clock says.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError, OneLine, SensedgeError
from runtime.wire.backoff import Backoff as Backoff  # of the face, too

Stamps = Literal["measured", "arrival"]


def stamps_of(word: str | None) -> Stamps | None:
    """What time stamps are for a clock, as a reader of text says it: those that it has spread are of measurement."""
    return "arrival" if word == "arrival" else None if word is None else "measured"


_QUEUE_SAMPLES = 4096  # 80 s at 50 Hz
_READ_S = 0.1  # how long a connection waits for data before it looks whether it is to stop
_LOOK_S = 0.05  # how long any other wait goes on after it was told to stop
_JOIN_S = 0.8  # how long closing waits for the reader
_log = logging.getLogger("sensedge.sources")


class Batch(NamedTuple):
    """Samples that came together: `stream.push(*batch)`."""

    samples: NDArray[np.float32]  # shape (n, n_channels), in the units and order of the bundle's signal
    t: NDArray[np.float64] | None = None  # shape (n,), seconds; None: they follow one another at the source's rate
    modality: str | None = None  # whose samples these are, where modalities have clocks of their own


@dataclass(repr=False)
class SourceCounters(OneLine):
    """What became of what a source sent so far: the live object, for reading."""

    samples: int = 0  # read
    dropped: int = 0  # of them, pushed out of the queue by newer ones before anyone took them
    malformed: int = 0  # lines or messages that are none; left out
    duplicates: int = 0  # messages that came again; left out
    lost: int = 0  # times that the source went away
    reconnects: int = 0  # times that it came back
    first_malformed: str = ""  # what was wrong with the first one

    def note_malformed(self, what: str) -> None:
        """Count a line or message that is none, and show the first."""
        self.malformed += 1
        if self.malformed == 1:
            self.first_malformed = what
            _log.warning("left out: %s; further ones are only counted", what)


class Source(Protocol):
    """Where samples come from: a context manager, and an iterator of batches until it ends or is stopped."""

    counters: SourceCounters

    @property
    def stamps(self) -> Stamps | None:
        """What the time stamps are: of measurement or of arrival. None: not known before the first batch, or none."""

    @property
    def rate_hz(self) -> float | None:
        """Samples per second as far as the source knows; None: it does not."""

    def __enter__(self) -> Source: ...

    def __exit__(self, *_: object) -> None: ...

    def __iter__(self) -> Iterator[Batch]: ...

    def stop(self) -> None:
        """End the iteration, from any thread or from a signal's handler."""


class Connection(Protocol):
    """One life of a live source."""

    def read(self, wait_s: float) -> Sequence[Batch] | None:
        """Batches that have come, after waiting at most so many seconds; None: it has ended for good.

        Raises:
            OSError: it died.
        """

    def close(self) -> None:
        """Give back what it holds; never raises."""


class Stop:
    """A flag that a signal's handler may set: it has no lock, which the thread that was interrupted may hold."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """Set the flag; nothing clears it again."""
        self._set = True

    def is_set(self) -> bool:
        """Whether the flag has been set."""
        return self._set

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is set; whether it is."""
        end_s = time.monotonic() + seconds
        while not self._set and (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _LOOK_S))
        return self._set


class Stoppable:
    """What every source of ours has: counters, a way to stop it, and of its clock only what it knows."""

    def __init__(self) -> None:
        self.counters = SourceCounters()
        self._stopped = Stop()

    @property
    def stamps(self) -> Stamps | None:
        """What the time stamps are; None: not known yet, or as the manifest's clock says."""
        return None

    @property
    def rate_hz(self) -> float | None:
        """Samples per second; None: not known."""
        return None

    def stop(self) -> None:
        """End the iteration, from any thread or from a signal's handler."""
        self._stopped.set()


class Live(Stoppable):
    """A source that is read by a thread of its own.

    Args:
        connect: opens a connection; raises a SensedgeError or OSError if it cannot.
        backoff: how to restart a connection that died; None: its death ends the stream.
        keep_all: the reader waits while the queue is full, instead of dropping the oldest.
        queue_samples: that the queue holds at most; a single batch may be longer.

    Raises:
        InputError: a queue of less than one sample.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        backoff: Backoff | None = None,
        keep_all: bool = False,
        queue_samples: int = _QUEUE_SAMPLES,
    ) -> None:
        if queue_samples < 1:
            raise InputError("queue_samples", expected="at least 1", got=queue_samples, fix="Allow some thousands.")
        super().__init__()
        self._connect, self._backoff = connect, backoff
        self._keep_all, self._queue_samples = keep_all, queue_samples
        self._queue: deque[Batch] = deque()
        self._queued = 0  # samples in it
        self._changed = Condition()  # over the queue
        self._ended = False
        self._error: BaseException | None = None  # of the reader, which is nobody's to catch but the consumer's
        self._thread: Thread | None = None
        self._pid = 0  # of the process that opened it; a fork takes no threads along

    def __enter__(self) -> Live:
        """Open the source.

        Raises:
            InputError: it cannot be as it was asked for.
            MissingError: a library, device, broker or permission is not there.
        """
        connection, self._pid = self._connect(), os.getpid()
        self._thread = Thread(target=self._work, args=(connection,), name="sensedge-source", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def __iter__(self) -> Iterator[Batch]:
        if self._thread is None:
            raise InputError("source", expected="an open source", got="one not opened", fix="Use it in a `with`.")
        while (batch := self._take()) is not None:
            yield batch
        if self._error is not None:
            raise self._error

    def _take(self) -> Batch | None:
        if os.getpid() != self._pid:
            raise InputError("source", expected="the process that opened it", got="a fork", fix="Open it in there.")
        with self._changed:
            while not self._queue and not self._ended and not self._stopped.is_set():
                self._changed.wait(_READ_S)
            if self._stopped.is_set() or not self._queue:
                return None
            batch = self._queue.popleft()
            self._queued -= len(batch.samples)
            self._changed.notify_all()
            return batch

    def _put(self, batch: Batch) -> None:
        n = len(batch.samples)
        with self._changed:
            self.counters.samples += n
            while self._queue and self._queued + n > self._queue_samples and not self._stopped.is_set():
                if self._keep_all:
                    self._changed.wait(_READ_S)
                else:
                    oldest = len(self._queue.popleft().samples)
                    self._queued -= oldest
                    self.counters.dropped += oldest
            self._queue.append(batch)
            self._queued += n
            self._changed.notify_all()

    def _work(self, connection: Connection | None) -> None:
        try:
            while connection is not None:  # also one that came too late is closed
                died = self._drain(connection)
                connection = self._again() if died and self._backoff is not None else None
        except BaseException as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _drain(self, connection: Connection) -> bool:
        """Read until the end; whether the connection died."""
        try:
            while not self._stopped.is_set():
                batches = connection.read(_READ_S)
                if batches is None:
                    return False
                for batch in batches:
                    self._put(batch)
        except OSError as error:
            self.counters.lost += 1
            _log.warning("the source went away: %s", error)
            return True
        finally:
            connection.close()
        return False

    def _again(self) -> Connection | None:
        """Another connection, however long it takes; None: stopped before."""
        assert self._backoff is not None
        attempt = 0
        while not self._stopped.wait(self._backoff.wait_s(attempt)):
            attempt += 1
            try:
                connection = self._connect()
            except (OSError, SensedgeError) as error:
                if attempt == 1:
                    _log.warning("the source is not back yet: %s", error)
                continue
            self.counters.reconnects += 1
            return connection
        return None


class Paced(Stoppable):
    """A source that computes its batches when they are asked for; `stop` ends its waits too."""

    def __init__(self, sleep: Callable[[float], object] | None = None) -> None:
        super().__init__()
        self._sleep = sleep or self._stopped.wait

    def __enter__(self) -> Paced:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches():
            if self._stopped.is_set():
                return
            self.counters.samples += len(batch.samples)
            yield batch

    def _batches(self) -> Iterator[Batch]:
        raise NotImplementedError


def now_s() -> float:
    """Time of arrival, in seconds since 1970."""
    return time.time()
