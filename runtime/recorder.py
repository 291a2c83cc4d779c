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

import json
import logging
import math
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

import numpy as np

from runtime.bundle import Bundle
from runtime.clock import ClockSpec
from runtime.engine import Engine, open_engine
from runtime.errors import InputError
from runtime.store import QUARTER_US, US, check, connect, create, encoder_id, facts, unreadable
from runtime.stream import Prediction, Stream
from runtime.window import Window

Keep = Literal["windows", "features", "predictions"]

AHEAD_S = 1.0  # a stream whose time runs further ahead of the clock than this is not where we thought
LATE_S, LATE_STAMPED_S = 5.0, 60.0  # nor one that lags so far behind, without and with time stamps of its own
_PAGE_BYTES = 4096  # as file systems and SD cards have them; larger ones store less and write more
_WAL_BYTES = 1 << 18, 1 << 22  # share of the budget for the log: an eighth, within these
_INDEX_BYTES = 1 << 16  # what a transaction may write beside its rows; also the file of shared memory
_PENDING_BYTES = 1 << 22  # that wait in memory
_PENDING_ROWS, _MANY_ROWS = 8192, 512  # as many may wait; so many are written at once
_ROW_BYTES = 128  # of a prediction, about
_OLDEST = """
SELECT at, coalesce(length(samples), 0) + coalesce(length(data), 0)
FROM predictions LEFT JOIN windows USING (at) LEFT JOIN features USING (at)
WHERE at >= ? AND at < ? ORDER BY at LIMIT 4096"""
_WRONG_US = 86400 * US  # rows that lie so far behind the one that is recorded now are of a clock that was wrong
_LATEST_S = 2.5e11  # in the year 9892; times of another unit are beyond
_FEATURES = -1  # as a row's place: its data are features

_log = logging.getLogger(__name__)


@dataclass
class RecorderCounters:
    """What became of the windows that a recorder was given."""

    written: int = 0  # committed
    dropped: int = 0  # never written: no space, or the disk too slow for too long
    removed: int = 0  # the oldest, to keep the budget
    clock_set: int = 0  # times that the stream's time was tied to the wall clock anew


class Row(NamedTuple):
    """One window on its way into the store."""

    at: int  # its start, microseconds since 1970
    prediction: Prediction
    place: int = 0  # of its first row on the stream's grid
    data: bytes = b""  # samples or features, float32; empty: only the prediction is kept
    begins: bool = False  # its time cannot be told from that of the window before it

    @property
    def n_bytes(self) -> int:
        """What it takes in the store, about."""
        return len(self.data) + _ROW_BYTES


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
        self._wake = threading.Condition()
        self._pending: list[Row] = []
        self._pending_bytes = 0
        self._asked = self._answered = 0  # rounds of writing
        self._closing, self._said, self._trouble = False, False, ""
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._work, name="sensedge-recorder", daemon=True)
        self._thread.start()

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
            InputError: a label that the bundle does not have.
        """
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
        row = Row(round(start_s * US), prediction, 0 if window is None else window.row, data, begins)
        with self._wake:
            room = self._pending_bytes + row.n_bytes <= _PENDING_BYTES and len(self._pending) < _PENDING_ROWS
            if self._closing or not room:
                self.counters.dropped += 1
                return
            self._pending.append(row)
            self._pending_bytes += row.n_bytes
            if len(self._pending) >= _MANY_ROWS and not self._trouble:
                self._wake.notify_all()

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

    def _commit(self, rows: list[Row]) -> list[Row]:
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

    def _with_features(self, row: Row) -> Row:
        if self._engine is None or not row.data or row.place == _FEATURES:  # it may come back after a failure
            return row
        window = np.frombuffer(row.data, np.float32).reshape(1, *self.bundle.manifest.window_shape)
        return row._replace(data=self._engine.run(window, "features").tobytes(), place=_FEATURES)


class RecordedStream(Stream):
    """A stream whose windows and predictions a recorder keeps. Predictions are the same, bit for bit.

    Args:
        recorder: of this stream alone; its bundle is the stream's.
        engine, clock, source_hz: as of `Stream`.
    """

    def __init__(
        self,
        recorder: Recorder,
        engine: Engine | None = None,
        *,
        clock: ClockSpec | None = None,
        source_hz: float | Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(recorder.bundle, engine, clock=clock, source_hz=source_hz)
        self.recorder = recorder

    def _predict(self, windows: list[Window], began: float) -> list[Prediction]:
        predictions = super()._predict(windows, began)
        for window, prediction in zip(windows, predictions, strict=True):
            self.recorder.write(prediction, window)
        return predictions


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


class StoreWriter:
    """Writes rows in transactions and keeps a store within its budget. It belongs to one thread at a time.

    Args:
        path, bundle, max_mb, max_days, durable: as of `Recorder`.
        live: rows come at their time; what lies far behind them is of a clock that was wrong, and goes first.
    """

    def __init__(
        self,
        path: Path,
        bundle: Bundle,
        max_mb: float,
        max_days: float | None = None,
        *,
        durable: bool = False,
        live: bool = False,
    ) -> None:
        self.path = path.resolve()  # the log lies beside the file itself, also where a link leads to it
        self._wal = Path(f"{self.path}-wal")
        budget = int(max_mb * 1e6)
        self._wal_bytes = min(max(budget // 8, _WAL_BYTES[0]), _WAL_BYTES[1])
        self._max_pages = (budget - self._wal_bytes - _INDEX_BYTES) // _PAGE_BYTES
        self._wrong_us = _WRONG_US if live else 2**62
        self._max_us = None if max_days is None else int(max_days * 86400 * US)
        self._batch_bytes = self._wal_bytes // 4
        window_bytes = 4 * math.prod(bundle.manifest.window_shape)
        if window_bytes + _ROW_BYTES > self._batch_bytes or self._max_pages < 32:
            least_mb = max(1.0, math.ceil((window_bytes + _ROW_BYTES) * 32 / 1e6))
            raise InputError("max_mb", expected=f"at least {least_mb:g}", got=max_mb, fix="Give more room.")
        self._stride = 4 * len(bundle.manifest.signal.channel_names) if bundle.manifest.signal.is_even else 0
        self.removed = 0  # rows that went, oldest first
        self._last: Row | None = None
        self._run = 0
        self._db = self._open(self.path, durable)
        self._file = _identity(self.path)
        try:
            self._model, self._labels = self._register(bundle)
            self._shrink()
        except sqlite3.Error as error:
            self._db.close()
            raise unreadable(path, error) from None
        except BaseException:
            self._db.close()
            raise

    def _open(self, path: Path, durable: bool) -> sqlite3.Connection:
        if not path.parent.is_dir():
            raise InputError(path, expected="a folder that exists", got="none", fix="Make it, or choose another path.")
        try:
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            db = connect(path)
        except (OSError, sqlite3.Error) as error:
            raise unreadable(path, error) from None
        try:
            if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                check(db, path)
            db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise sqlite3.OperationalError("no write-ahead log on this file system")
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.execute("PRAGMA secure_delete = FAST")  # some builds write zeros over all that goes: twice the wear
            db.execute(f"PRAGMA max_page_count = {self._max_pages}")
            create(db)
        except (sqlite3.Error, InputError) as error:
            db.close()
            raise error if isinstance(error, InputError) else unreadable(path, error) from None
        return db

    def _register(self, bundle: Bundle) -> tuple[int, dict[str, int]]:
        """The number of this model in the store, and of each of its labels; what a store is of is written once."""
        manifest, db = bundle.manifest, self._db
        known = dict(db.execute("SELECT key, value FROM meta"))
        for name, wanted in facts(manifest).items():
            if known.setdefault(name, wanted) != wanted:
                raise InputError(
                    self.path,
                    expected=f"a store of the {name} {wanted}",
                    got=known[name],
                    fix="Windows of another kind need a store of their own: choose another path.",
                )
        about = (bundle.version, manifest.files["model.onnx"].sha256, encoder_id(bundle), json.dumps(manifest.labels))
        find = "SELECT max(id) FROM models WHERE version = ? AND sha256 = ? AND encoder = ? AND labels = ?"
        with _transaction(db):
            db.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", known.items())
            db.executemany("INSERT OR IGNORE INTO labels (name) VALUES (?)", [(name,) for name in manifest.labels])
            latest = db.execute("SELECT max(id) FROM models").fetchone()[0]
            if latest is None or db.execute(find, about).fetchone()[0] != latest:
                values = (manifest.name, *about)
                db.execute("INSERT INTO models (name, version, sha256, encoder, labels) VALUES (?, ?, ?, ?, ?)", values)
            model = db.execute("SELECT max(id) FROM models").fetchone()[0]
            names = {name: key for key, name in db.execute("SELECT id, name FROM labels")}
        return model, names

    def fitting(self, rows: Sequence[Row]) -> int:
        """How many of the first rows make one transaction; at least one."""
        total = 0
        for n, row in enumerate(rows):
            total += row.n_bytes
            if n and total > self._batch_bytes:
                return n
        return len(rows)

    def commit(self, rows: Sequence[Row]) -> None:
        """Write rows in one transaction, after making room for them.

        Raises:
            sqlite3.Error, OSError: nothing of it was written.
        """
        if _identity(self.path) != self._file:  # SQLite goes on writing into a file that has no name any more
            raise OSError("it was removed or replaced")
        n_bytes = sum(row.n_bytes for row in rows)
        self._make_room(n_bytes, max(row.at for row in rows))
        last, run = self._last, self._run
        predictions, windows, features, quarters = [], [], [], Counter[tuple[int, int]]()
        self._fold(n_bytes)
        with _transaction(self._db):
            taken = self._taken(rows)
            for row in rows:
                if last is None or row.begins or row.at <= last.at:
                    run, last = self._new_run(), None
                at = row.at
                while at in taken:
                    at += 1
                taken.add(at)
                label = self._labels[row.prediction.label]
                predictions.append((at, self._model, run, label, *_columns(row.prediction)))
                quarters[at // QUARTER_US, label] += 1
                if row.place == _FEATURES:
                    features.append((at, self._model, row.data))
                elif row.data:
                    shared = self._shared(last, row)
                    windows.append((at, run, shared, row.data[shared * self._stride :]))
                last = row
            self._insert(predictions, windows, features, quarters)
        self._last, self._run = last, run

    def _insert(
        self,
        predictions: list[tuple[object, ...]],
        windows: list[tuple[int, int, int, bytes]],
        features: list[tuple[int, int, bytes]],
        quarters: Counter[tuple[int, int]],
    ) -> None:
        db = self._db
        db.executemany("INSERT INTO predictions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", predictions)
        db.executemany("INSERT INTO windows VALUES (?, ?, ?, ?)", windows)
        db.executemany("INSERT INTO features VALUES (?, ?, ?)", features)
        db.executemany(
            "INSERT INTO quarters VALUES (?, ?, ?) ON CONFLICT (quarter, label) DO UPDATE SET n = n + excluded.n",
            [(*key, n) for key, n in quarters.items()],
        )

    def _taken(self, rows: Sequence[Row]) -> set[int]:
        """Keys that are in use where these rows go; a clock that was set back makes some."""
        span = min(row.at for row in rows), max(row.at for row in rows) + len(rows)
        return {at for (at,) in self._db.execute("SELECT at FROM predictions WHERE at BETWEEN ? AND ?", span)}

    def _new_run(self) -> int:
        """Windows of one run follow one another in time, and those that overlap share their samples."""
        found = self._db.execute("SELECT value FROM meta WHERE key = 'run'").fetchone()
        run = int(found[0]) + 1 if found else 1
        self._db.execute("REPLACE INTO meta VALUES ('run', ?)", (str(run),))
        return run

    def _shared(self, last: Row | None, row: Row) -> int:
        """How many rows of samples the window before has too: it must have them bit for bit."""
        if last is None or not self._stride or not last.data:
            return 0
        new = (row.place - last.place) * self._stride
        shares = 0 < new < len(row.data) and row.data[:-new] == last.data[new:]
        return (len(row.data) - new) // self._stride if shares else 0

    def _make_room(self, n_bytes: int, newest_at: int) -> None:
        """Remove the oldest rows until so many bytes fit, and those that are too old."""
        needed = (2 * n_bytes + _INDEX_BYTES) // _PAGE_BYTES
        while self._free_pages() < needed and (self._remove(newest_at + self._wrong_us) or self._remove()):
            pass
        newest = self._db.execute("SELECT max(at) FROM predictions").fetchone()[0]
        if self._max_us is not None and newest is not None:
            oldest = min(newest, round(time.time() * US)) - self._max_us  # a stamp in the future must not empty it
            while self._remove(before=oldest):
                pass

    def _free_pages(self) -> int:
        pages, free = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
        return int(self._max_pages - pages + free)

    def _remove(self, since: int = -(2**62), before: int = 2**62) -> int:
        """Remove some of the oldest rows between two instants; how many went."""
        oldest, n_bytes = [], 0
        for at, size in self._db.execute(_OLDEST, (since, before)):
            oldest.append(at)
            n_bytes += size + _ROW_BYTES
            if n_bytes >= self._batch_bytes:  # the log gets all pages that go
                break
        if not oldest:
            return 0
        self._fold(self._batch_bytes)
        begin, end = oldest[0], oldest[-1] + 1
        first, last = begin // QUARTER_US, end // QUARTER_US
        with _transaction(self._db):
            for table in ("predictions", "windows", "features"):
                self._db.execute(f"DELETE FROM {table} WHERE at >= ? AND at < ?", (begin, end))  # noqa: S608
            self._db.execute("DELETE FROM quarters WHERE quarter BETWEEN ? AND ?", (first, last))
            for quarter in {first, last}:
                self._db.execute(
                    "INSERT INTO quarters SELECT ?, label, count(*) FROM predictions WHERE at >= ? AND at < ? "
                    "GROUP BY label",
                    (quarter, quarter * QUARTER_US, (quarter + 1) * QUARTER_US),
                )
            self._db.execute('DELETE FROM marks WHERE start >= ? AND "end" <= ?', (since, end))
        self.removed += len(oldest)
        return len(oldest)

    def _fold(self, n_bytes: int) -> None:
        """See that a transaction of so many bytes fits into the log's share of the budget."""
        for _ in range(2):
            size = self._wal.stat().st_size if self._wal.exists() else 0
            if size + 3 * n_bytes + _INDEX_BYTES <= self._wal_bytes:
                return
            self.fold()
        raise sqlite3.OperationalError("somebody reads the store for long, and its log is at its limit")

    def fold(self) -> None:
        """Bring what is in the log into the store, and empty it."""
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _shrink(self) -> None:
        """Bring a store that was made with a larger budget down to this one."""
        while self._free_pages() < 0 and self._remove():
            pass
        while (pages := self._db.execute("PRAGMA page_count").fetchone()[0]) > self._max_pages:
            self._fold(self._batch_bytes)
            step = min(pages - self._max_pages, self._batch_bytes // _PAGE_BYTES)  # each moves a page or two
            self._db.execute(f"PRAGMA incremental_vacuum({step})").fetchall()
        self._db.execute(f"PRAGMA max_page_count = {self._max_pages}")

    def close(self) -> None:
        """Fold the log into the store and close it; a disk that has no room for that keeps the log."""
        with suppress(sqlite3.Error):
            self.fold()
        self._db.close()


class _transaction:  # noqa: N801 (used as a function)
    """All of what is done inside, or nothing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file has this name now."""
    with suppress(FileNotFoundError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def _columns(prediction: Prediction) -> tuple[object, ...]:
    quality = prediction.quality
    return (
        prediction.probability,
        np.array(prediction.probabilities, "<f4").tobytes(),
        None if quality.real == 1.0 else quality.real,
        quality.filled,
        quality.saturated,
        quality.padded,
        np.array(quality.source_hz, "<f8").tobytes() or None,
        quality.jitter_s,
    )


def _check_options(keep: str, commit_s: float, max_mb: float, max_days: float | None) -> None:
    for name, good, expected, value in (
        ("keep", keep in ("windows", "features", "predictions"), "windows, features or predictions", keep),
        ("commit_s", 0 < commit_s <= 3600, "seconds above 0, an hour at most", commit_s),
        ("max_mb", math.isfinite(max_mb), "a number of megabytes", max_mb),
        ("max_days", max_days is None or 0 < max_days < math.inf, "days above 0, or None", max_days),
    ):
        if not good:
            raise InputError(name, expected=expected, got=value, fix="Correct the argument.")
