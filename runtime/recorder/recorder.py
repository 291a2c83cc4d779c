"""A recorder: what a stream saw and said goes into a bounded store on this device, for labels that come later.

    Stream.push -> Prediction, Window -> write(): a copy in memory      the stream's thread; microseconds, never raises
                                             |  every commit_s
                                             v
                 oldest rows go <- one transaction -> STORE, STORE-wal  the recorder's own thread

Committed is what `flush` has returned for, or what is older than `commit_s`: it survives a kill at any instant. It
survives a power cut too, but for the last transactions, unless `durable` asks for an fsync with each of them.

The files stay within `max_mb` at all times, the write-ahead log included: rows go, oldest first, before new ones come,
and the log is folded into the store before it is too long. On a full disk rows wait in memory, up to a limit, are then
dropped and counted, and are written again as soon as there is space.
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from runtime.bundle import Bundle
from runtime.engine import Engine, open_engine
from runtime.errors import InputError, OneLine, one_line, require
from runtime.recorder.schema import US
from runtime.recorder.writer import FEATURES, StoreRow, StoreWriter
from runtime.specs import ClockSpec
from runtime.stream import Prediction, Stream
from runtime.window import Window

Keep = Literal["windows", "features", "predictions"]

AHEAD_S = 1.0  # a stream whose time runs further ahead of the clock than this is not where we thought
LATE_S, LATE_STAMPED_S = 5.0, 60.0  # nor one that lags so far behind, without and with time stamps of its own
_PENDING_BYTES = 1 << 22  # that wait in memory
_PENDING_ROWS, _MANY_ROWS = 8192, 512  # as many may wait; so many are written at once
_LATEST_S = 2.5e11  # in the year 9892; times of another unit are beyond

_log = logging.getLogger(__name__)


@dataclass(repr=False)
class RecorderCounters(OneLine):
    """What became of the windows that a recorder was given."""

    written: int = 0  # committed
    dropped: int = 0  # never written: no space, or the disk too slow for too long
    removed: int = 0  # the oldest, to keep the budget
    clock_set: int = 0  # times that the stream's time was tied to the wall clock anew


class Recorder:
    """Keeps windows and predictions of one stream in a file, within a budget.

    Args:
        path: the store, by custom STORE.db; made with mode 0600 if it is not there. Nothing is written elsewhere.
        bundle: what predicts, or its path. A store that was made with another version is taken if signal and window
            are the same.
        max_mb: megabytes (of 1,000,000 bytes) that the store and its log may take; the oldest rows go first.
        max_days: days that rows are kept, counted from the newest; None: as long as there is room.
        keep: what is kept beside predictions: windows (float32, bit for bit), features (the encoder runs a second time
            for them; only heads can be trained from them) or nothing.
        epoch: Unix seconds at the stream's time 0; 0.0 if its stamps are Unix seconds. None: a live stream, whose
            windows end when they are written; the tie is made anew when the two drift apart.
        commit_s: seconds between two transactions. Longer wears an SD card less, and a kill loses more.
        durable: wait for the disk with each transaction, so that a power cut loses nothing that was committed.
        clock: tells Unix seconds.

    Raises:
        InputError: no such folder, a file that is no store, or one of another signal or window; a budget that is too
            small.

    Example:
        >>> with Recorder("me.db", "walk.bundle", max_mb=500) as recorder:             # doctest: +SKIP
        ...     stream = RecordedStream(recorder)
        ...     for samples, t in source: stream.push(samples, t)
    """

    def __init__(
        self,
        path: str | Path,
        bundle: Bundle | str | Path,
        *,
        max_mb: float = 500.0,
        max_days: float | None = None,
        keep: Keep = "windows",
        epoch: float | None = None,
        commit_s: float = 10.0,
        durable: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        _check_options(keep, commit_s, max_mb, max_days)
        self.path = Path(path)
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        self.counters = RecorderCounters()
        self._keep, self._clock, self._commit_s = keep, clock, commit_s
        self._tie = _Tie(epoch)
        self._known = frozenset(self.bundle.manifest.labels)
        self._writer = StoreWriter(self.path, self.bundle, max_mb, max_days, durable=durable, live=epoch is None)
        self._engine = open_engine(self.bundle) if keep == "features" else None  # of the recorder's own thread
        self._encoder = self.bundle  # that engine's
        self._wake = threading.Condition()
        self._pending: list[StoreRow] = []
        self._pending_bytes = 0
        self._asked = self._answered = 0  # rounds of writing
        self._closing, self._said, self._trouble = False, False, ""
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._work, name="sensedge-recorder", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return one_line(self, repr(self.path.name), self.counters)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def trouble(self) -> str:
        """Why rows cannot be written just now; empty if they can."""
        return self._trouble

    def write(self, prediction: Prediction, window: Window | None = None) -> None:
        """Take one prediction, and the window that it is of; the samples are copied.

        Nothing is raised for a disk that is full or gone: see `counters` and `trouble`.

        Args:
            prediction: of the recorder's bundle.
            window: None keeps the prediction alone.

        Raises:
            InputError: a label that the bundle does not have, a probability that is none.
        """
        if not 0 <= prediction.probability <= 1:
            raise InputError(
                "prediction", expected="a probability", got=prediction.probability, fix="Leave this window out."
            )
        if prediction.label not in self._known:
            raise InputError(
                "prediction", expected="one of the recorder's bundle", got=prediction.label, fix="Use one bundle."
            )
        start_s, begins = self._tie.wall_s(prediction, self._clock())
        if not self._is_ours() or not 0 <= start_s < _LATEST_S:
            self.counters.dropped += 1
            return
        self.counters.clock_set += begins
        data = b"" if window is None or self._keep == "predictions" else window.samples.tobytes()
        place = 0 if window is None else window.row
        row = StoreRow(round(start_s * US), prediction, place, data, begins, self.bundle)
        with self._wake:
            room = self._pending_bytes + row.n_bytes <= _PENDING_BYTES and len(self._pending) < _PENDING_ROWS
            if self._closing or not room:
                self.counters.dropped += 1
                return
            self._pending.append(row)
            self._pending_bytes += row.n_bytes
            if len(self._pending) >= _MANY_ROWS and not self._trouble:
                self._wake.notify_all()

    def use(self, bundle: Bundle) -> None:
        """What is written from now on was predicted by another version or bundle, of the same signal and window."""
        self.bundle, self._known = bundle, frozenset(bundle.manifest.labels)

    def flush(self) -> bool:
        """Wait until all that was written is committed; False if it cannot be."""
        if not self._is_ours():
            return False
        with self._wake:
            if self._closing:
                return not self._trouble
            self._asked += 1
            ticket = self._asked
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._answered >= ticket)
            return not self._trouble

    def close(self) -> None:
        """Commit what can be, and close the file. What is written later counts as dropped."""
        if not self._is_ours():
            return
        with self._wake:
            if self._closing:
                return
            self._closing = True
            self._wake.notify_all()
        self._thread.join()
        self._writer.close()
        if self._engine is not None:
            self._engine.close()

    def _is_ours(self) -> bool:
        """Not in a fork: neither the thread nor the connection may be used there."""
        return os.getpid() == self._pid

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(self._is_due, self._commit_s)
                rows, self._pending = self._pending, []
                asked, closing = self._asked, self._closing
            try:
                left = self._commit(rows)
            except Exception:  # the thread must live: who waits in `flush` would wait for ever
                _log.exception("%s: %d rows are dropped", self.path, len(rows))
                self.counters.dropped, left = self.counters.dropped + len(rows), []
            with self._wake:
                self._pending[:0] = left
                self._pending_bytes = sum(row.n_bytes for row in self._pending)
                self._answered = asked
                self._wake.notify_all()
                if closing:
                    self.counters.dropped += len(self._pending)
                    return

    def _is_due(self) -> bool:
        many = len(self._pending) >= _MANY_ROWS and not self._trouble
        return many or self._closing or self._asked > self._answered

    def _commit(self, rows: list[StoreRow]) -> list[StoreRow]:
        """Write rows, some at a time; those that could not be written are given back."""
        rows = [self._with_features(row) for row in rows] if self._engine is not None else rows
        while rows:
            n = self._writer.fitting(rows)
            try:
                self._writer.commit(rows[:n])
            except (sqlite3.Error, OSError) as error:
                self._say("cannot be written (%s); rows wait, then are dropped", error)
                self._trouble = str(error) or type(error).__name__
                with suppress(sqlite3.Error):
                    self._writer.fold()  # an empty log is room for the next try
                return rows
            self.counters.written += n
            self.counters.removed = self._writer.removed
            rows = rows[n:]
            self._trouble = ""
        return rows

    def _say(self, text: str, error: Exception) -> None:
        """Once: a disk that is full for a month must not fill the log of the system."""
        if not self._said:
            _log.warning(f"%s: {text}", self.path, error)
        self._said = True

    def _with_features(self, row: StoreRow) -> StoreRow:
        if self._engine is None or not row.data or row.place == FEATURES:  # it may come back after a failure
            return row
        if row.bundle is not None and row.bundle is not self._encoder:
            self._engine.close()
            self._engine, self._encoder = open_engine(row.bundle), row.bundle
        window = np.frombuffer(row.data, np.float32).reshape(1, *self.bundle.manifest.window_shape)
        return row._replace(data=self._engine.run(window, "features").tobytes(), place=FEATURES)


class RecordedStream(Stream):
    """A stream whose windows and predictions a recorder keeps. Predictions are the same, bit for bit.

    Args:
        recorder: of this stream alone; its bundle is the stream's.
        engine, clock, source_hz, units: as of `Stream`.
        axes: the same; as text, or a matrix of shape (3, 3).
    """

    def __init__(
        self,
        recorder: Recorder,
        engine: Engine | None = None,
        *,
        clock: ClockSpec | None = None,
        source_hz: float | Mapping[str, float] | None = None,
        units: str | Mapping[str, str] | None = None,
        axes: str | ArrayLike | None = None,
    ) -> None:
        super().__init__(recorder.bundle, engine, clock=clock, source_hz=source_hz, units=units, axes=axes)
        self.recorder = recorder
        self._keep = recorder.write

    def use(self, bundle: Bundle | str | Path, engine: Engine | None = None) -> None:
        """As of `Stream`; the store names the model of each window."""
        super().use(bundle, engine)
        self.recorder.use(self.bundle)


class _Tie:
    """Ties a stream's own time to the wall clock."""

    def __init__(self, epoch: float | None) -> None:
        self._fixed, self._offset_s = epoch is not None, epoch
        self._last_s = -math.inf

    def wall_s(self, prediction: Prediction, now_s: float) -> tuple[float, bool]:
        """Unix seconds of the window's start, and whether they do not follow from those of the one before."""
        tied = self._offset_s is not None and (self._fixed or self._holds(prediction, self._offset_s, now_s))
        if not tied or self._offset_s is None:
            self._offset_s = now_s - prediction.end_s
        start_s = prediction.start_s + self._offset_s
        begins = self._last_s > -math.inf and (not tied or start_s <= self._last_s)
        self._last_s = start_s
        return start_s, begins

    def _holds(self, prediction: Prediction, offset_s: float, now_s: float) -> bool:
        late_s = LATE_STAMPED_S if prediction.quality.source_hz else LATE_S
        return -AHEAD_S <= now_s - (prediction.end_s + offset_s) <= late_s


def _check_options(keep: str, commit_s: float, max_mb: float, max_days: float | None) -> None:
    require(
        InputError,
        ("keep", keep, "windows, features or predictions", keep in ("windows", "features", "predictions")),
        ("commit_s", commit_s, "seconds above 0, an hour at most", 0 < commit_s <= 3600),
        ("max_mb", max_mb, "a number of megabytes", math.isfinite(max_mb)),
        ("max_days", max_days, "days above 0, or None", max_days is None or 0 < max_days < math.inf),
        fix="Correct the argument.",
    )
