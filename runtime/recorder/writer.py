"""Writes the store of a recorder: rows in transactions, the oldest of them gone before there are too many.

rows -> oldest rows go <- one transaction -> STORE, STORE-wal -> folded into STORE before the log is too long
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from runtime.bundle import Bundle
from runtime.errors import InputError
from runtime.recorder.schema import (
    QUARTER_US,
    US,
    check,
    columns_of,
    connect,
    create,
    damaged,
    encoder_id,
    facts,
    unreadable,
)
from runtime.stream import Prediction

_PAGE_BYTES = 4096  # as file systems and SD cards have them; larger ones store less and write more
_WAL_BYTES = 1 << 18, 1 << 22  # share of the budget for the log: an eighth, within these
_INDEX_BYTES = 1 << 16  # what a transaction may write beside its rows; also the file of shared memory
_ROW_BYTES = 128  # of a prediction, about
_RUN_DIGITS = 15
_OLDEST = """
SELECT at, coalesce(length(samples), 0) + coalesce(length(data), 0)
FROM predictions LEFT JOIN windows USING (at) LEFT JOIN features USING (at)
WHERE at >= ? AND at < ? ORDER BY at LIMIT 4096"""
_WRONG_US = 86400 * US  # rows that lie so far behind the one that is recorded now are of a clock that was wrong
FEATURES = -1  # as a row's place: its data are features


class StoreRow(NamedTuple):
    """One window on its way into the store."""

    at: int  # its start, microseconds since 1970
    prediction: Prediction
    place: int = 0  # of its first row on the stream's grid
    data: bytes = b""  # samples or features, float32; empty: only the prediction is kept
    begins: bool = False  # its time cannot be told from that of the window before it
    bundle: Bundle | None = None  # what predicted; None: what the writer was made with, or the row before

    @property
    def n_bytes(self) -> int:
        """Bytes that the row takes in the store, about."""
        return len(self.data) + _ROW_BYTES


class StoreWriter:
    """Writes rows in transactions and keeps a store within its budget. It belongs to one thread at a time.

    Args:
        path, bundle, max_mb, max_days, durable: as of `Recorder`.
        live: rows come at their time; what lies far behind them is of a clock that was wrong, and goes first.

    Raises:
        InputError: `max_mb` is too little, there is no such folder, or the file is no store of this model's windows.
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
        most_bytes = _WAL_BYTES[1] // 4 - _ROW_BYTES
        if window_bytes > most_bytes:
            fix = "No max_mb is enough: cut shorter windows."
            raise InputError("window", expected=f"at most {most_bytes} bytes", got=window_bytes, fix=fix)
        if window_bytes + _ROW_BYTES > self._batch_bytes or self._max_pages < 32:
            least_mb = max(1.0, math.ceil((window_bytes + _ROW_BYTES) * 32 / 1e6))
            raise InputError("max_mb", expected=f"at least {least_mb:g}", got=max_mb, fix="Give more room.")
        self._stride = 4 * len(bundle.manifest.signal.channel_names) if bundle.manifest.signal.is_even else 0
        self.removed = 0  # rows that went, oldest first
        self._last: StoreRow | None = None
        self._run = 0
        self._db = self._open(self.path, durable)
        self._file = _identity(self.path)
        try:
            self._take_up(bundle)
            self._shrink()
        except BaseException as error:
            self._db.close()
            if isinstance(error, sqlite3.Error):
                raise unreadable(path, error) from None
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
        except (sqlite3.Error, UnicodeDecodeError, InputError) as error:
            db.close()
            raise error if isinstance(error, InputError) else unreadable(path, error) from None
        return db

    def _take_up(self, bundle: Bundle) -> None:
        self._model, self._labels = self._register(bundle)
        self._bundle = bundle

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
        last = str(known.get("run", 0))
        if not last.isascii() or not last.isdecimal() or len(last) > _RUN_DIGITS:
            raise damaged(self.path, f"the run {last[:40]!r}")
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
            return model, {name: key for key, name in db.execute("SELECT id, name FROM labels")}

    def fitting(self, rows: Sequence[StoreRow]) -> int:
        """How many of the first rows make one transaction, which is of one model; at least one."""
        total = 0
        for n, row in enumerate(rows):
            total += row.n_bytes
            if n and (total > self._batch_bytes or row.bundle is not rows[0].bundle):
                return n
        return len(rows)

    def commit(self, rows: Sequence[StoreRow]) -> None:
        """Write rows in one transaction, after making room for them.

        Raises:
            sqlite3.Error, OSError: nothing of it was written.
        """
        if _identity(self.path) != self._file:  # SQLite goes on writing into a file that has no name any more
            raise OSError("it was removed or replaced")
        if rows[0].bundle not in (None, self._bundle):
            self._take_up(rows[0].bundle)
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
                predictions.append((at, self._model, run, label, *columns_of(row.prediction)))
                quarters[at // QUARTER_US, label] += 1
                if row.place == FEATURES:
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
        db.executemany(f"INSERT INTO predictions VALUES (?, ?, ?, ?{', ?' * 10})", predictions)  # noqa: S608
        db.executemany("INSERT INTO windows VALUES (?, ?, ?, ?)", windows)
        db.executemany("INSERT INTO features VALUES (?, ?, ?)", features)
        db.executemany(
            "INSERT INTO quarters VALUES (?, ?, ?) ON CONFLICT (quarter, label) DO UPDATE SET n = n + excluded.n",
            [(*key, n) for key, n in quarters.items()],
        )

    def _taken(self, rows: Sequence[StoreRow]) -> set[int]:
        """Keys that are in use where these rows go; a clock that was set back makes some."""
        span = min(row.at for row in rows), max(row.at for row in rows) + len(rows)
        return {at for (at,) in self._db.execute("SELECT at FROM predictions WHERE at BETWEEN ? AND ?", span)}

    def _new_run(self) -> int:
        """Windows of one run follow one another in time, and those that overlap share their samples."""
        found = self._db.execute("SELECT value FROM meta WHERE key = 'run'").fetchone()
        run = int(found[0]) + 1 if found else 1
        self._db.execute("REPLACE INTO meta VALUES ('run', ?)", (str(run),))
        return run

    def _shared(self, last: StoreRow | None, row: StoreRow) -> int:
        """How many rows of samples the window before has too: it must have them bit for bit."""
        if last is None or not self._stride:
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
