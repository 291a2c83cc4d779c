"""The tables of a recorder's store, one SQLite file: made, opened, and told from other files.

meta         the signal and the window that all rows share; the last run
models       the versions that predicted, each with the order of its labels
predictions  a row per window; the key is its start, microseconds since 1970, so that a span of time is one range
windows      its samples, float32: only those that the window before it in the same run did not have
features     what the encoder made of it, where the recorder keeps that instead
quarters     predictions per quarter of an hour and label: a month is counted without reading its rows
marks        labels that were given later, in the order in which they were given; none is ever overwritten
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle, Manifest
from runtime.bundle.typed_json import build
from runtime.errors import InputError
from runtime.files import strict_json
from runtime.specs import Signal, WindowSpec
from runtime.stream import Prediction
from runtime.window import Quality

SUFFIXES = (".db", ".sqlite", ".sqlite3")
US = 1_000_000  # in a second
QUARTER_US = 900 * US
FIRST_US, LAST_US = (seconds * US for seconds in (-62_000_000_000, 253_000_000_000))  # the years 5 to 9987
APPLICATION_ID = 0x73656E73  # tells our files from other SQLite files
_FORMAT = 1
_BUSY_S = 5.0  # so long a writer waits for another one

KINDS = {"i": (int,), "f": (float, int), "s": (str,), "b": (bytes,)}
PREDICTION = {  # columns, and what they hold
    "at": "i",
    "model": "i",
    "label": "i",
    "probability": "F",
    "probabilities": "b",
    "real": "F",
    "filled": "i",
    "saturated": "i",
    "padded": "i",
    "source_hz": "B",
    "jitter_s": "F",
    "unusual": "F",
    "marks": "S",
}
_LATER = {"unusual": "REAL", "marks": "TEXT"}  # columns that stores of older recorders do not have

_SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT, version TEXT, sha256 TEXT, encoder TEXT, labels TEXT);
CREATE TABLE labels (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE predictions (
    at INTEGER PRIMARY KEY, model INTEGER, run INTEGER, label INTEGER, probability REAL, probabilities BLOB,
    real REAL, filled INTEGER, saturated INTEGER, padded INTEGER, source_hz BLOB, jitter_s REAL,
    unusual REAL, marks TEXT);
CREATE TABLE windows (at INTEGER PRIMARY KEY, run INTEGER, shared INTEGER, samples BLOB);
CREATE TABLE features (at INTEGER PRIMARY KEY, model INTEGER, data BLOB);
CREATE TABLE quarters (quarter INTEGER, label INTEGER, n INTEGER, PRIMARY KEY (quarter, label)) WITHOUT ROWID;
CREATE TABLE marks (id INTEGER PRIMARY KEY, start INTEGER, "end" INTEGER, label TEXT, made INTEGER);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {_FORMAT};
"""


class Recorded(NamedTuple):
    """One prediction that a store holds."""

    start_s: float  # Unix seconds
    end_s: float
    label: str
    probability: float
    probabilities: dict[str, float]
    quality: Quality
    version: str  # of the model
    unusual: float | None = None  # as of `Stream.unusual`


class RecordedWindow(NamedTuple):
    """The samples or the features of one window of a store."""

    start_s: float  # Unix seconds
    data: NDArray[np.float32]


def facts(manifest: Manifest) -> dict[str, str]:
    """What all rows of a store have in common, as JSON: only such windows may be added."""
    parts = {"signal": asdict(manifest.signal), "window": asdict(manifest.window)}
    shared = {name: json.dumps(part, sort_keys=True) for name, part in parts.items()}
    return shared | {"window_bytes": str(4 * math.prod(manifest.window_shape))}


def encoder_id(bundle: Bundle) -> str:
    """The same for two versions whose features are the same: all tensors but the head's."""
    digest = hashlib.sha256(bundle.manifest.files["model.onnx"].sha256.encode())
    head = bundle.manifest.head
    for name in sorted(bundle.personal_tensors.keys() - {head.weight, head.bias}):
        digest.update(name.encode() + bundle.personal_tensors[name].tobytes())
    return digest.hexdigest()


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that exists, in autocommit mode; other threads may use it, one at a time."""
    uri = f"{path.resolve().as_uri()}?mode=rw"
    db = sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA trusted_schema = OFF")  # what a schema calls is not ours
    return db


def check(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is no store, or one of a later format.

    Raises:
        InputError: it is one of these.
    """
    if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise never_written(path)
    found = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    if found != [APPLICATION_ID, _FORMAT]:
        raise InputError(
            path, expected=f"a recorder's store, format {_FORMAT}", got="another file", fix="Choose another path."
        )
    ours = "sql IS NULL OR (type = 'table' AND sql LIKE 'CREATE TABLE%') OR type = 'index'"
    kind = db.execute(f"SELECT type FROM sqlite_master WHERE NOT ({ours}) LIMIT 1").fetchone()  # noqa: S608
    if kind is not None:  # a view or a trigger is a program, and need not end
        got = f"one with a {'table of another kind' if kind[0] == 'table' else str(kind[0])}"
        raise InputError(path, expected="a store as a recorder makes it", got=got, fix="Choose another file.")


class Facts(NamedTuple):
    """What all rows of a store have in common."""

    text: dict[str, str]  # as it is stored
    signal: Signal
    window: WindowSpec
    window_bytes: int


def read_facts(db: sqlite3.Connection, path: Path) -> Facts:
    """Parse `meta` as strictly as a manifest.

    Raises:
        InputError: nothing was recorded, or it is damaged.
    """
    text = dict(db.execute("SELECT key, value FROM meta"))
    if "signal" not in text:
        raise never_written(path)
    try:
        parts = {name: strict_json.loads(text[name]) for name in ("signal", "window", "window_bytes")}
        signal: Signal = build(Signal, parts["signal"], "signal")
        window: WindowSpec = build(WindowSpec, parts["window"], "window")
        size: int = build(int, parts["window_bytes"], "window_bytes")
        of = ((window.at(m.rate_hz, signal.rate_hz)[0], len(m.channels)) for m in signal.modalities)
        if size != 4 * sum(length * channels for length, channels in of):
            raise ValueError(f"windows of {size} bytes")
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise damaged(path, f"meta: {error}") from None
    return Facts(text, signal, window, size)


def never_written(path: Path) -> InputError:
    """The error for a file without a row of ours."""
    return InputError(path, expected="a store", got="one that was never written to", fix="Record something first.")


def create(db: sqlite3.Connection) -> None:
    """Make the tables in a file that has none; in one transaction, so that a kill leaves all or nothing."""
    if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    here = columns_here(db)
    for name in [name for name in _LATER if name not in here]:  # in the order in which a new store has them
        db.execute(f"ALTER TABLE predictions ADD COLUMN {name} {_LATER[name]}")


def columns_here(db: sqlite3.Connection) -> list[str]:
    """Columns of the predictions that a store has."""
    return [name for _, name, *_ in db.execute("PRAGMA table_info(predictions)")]


def columns_of(prediction: Prediction) -> tuple[object, ...]:
    """What is stored of a prediction, from its probability on, in the order of the table."""
    quality = prediction.quality
    marked = quality.frozen or quality.implausible
    return (
        prediction.probability,
        np.array(prediction.probabilities, "<f4").tobytes(),
        None if quality.real == 1.0 else quality.real,
        quality.filled,
        quality.saturated,
        quality.padded,
        np.array(quality.source_hz, "<f8").tobytes() or None,
        quality.jitter_s,
        prediction.unusual,
        json.dumps([quality.frozen, quality.implausible]) if marked else None,
    )


def quality_of(told: Sequence[Any], marks: str | None) -> Quality:
    """The quality that a store holds.

    Args:
        told: the columns from `real` to `jitter_s`.
        marks: what is frozen and what is implausible, JSON.

    Raises:
        ValueError: `marks` is damaged.
    """
    real, filled, saturated, padded, source_hz, jitter_s = told
    rates = tuple(np.frombuffer(source_hz, "<f8").tolist()) if source_hz else ()
    frozen, implausible = build(tuple[tuple[str, ...], ...], strict_json.loads(marks), "marks") if marks else ((), ())
    return Quality(1.0 if real is None else real, filled, saturated, padded, rates, jitter_s, frozen, implausible)


def unreadable(path: Path, error: Exception) -> InputError:
    """The error for a store that cannot be opened."""
    return InputError(path, expected="a store that can be opened", got=error, fix="Check path, rights and free space.")


def damaged(path: Path, error: object) -> InputError:
    """The error for a store whose bytes do not make sense."""
    return InputError(
        path,
        expected="a whole store",
        got=error,
        fix=f'Save what can be read: sqlite3 "{path}" .recover | sqlite3 saved.db, and record into another file.',
    )
