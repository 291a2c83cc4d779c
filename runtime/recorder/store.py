"""Reading a recorder's store, and marking it: what was measured, what the model said, and what it really was.

Later marks win where they overlap, and a mark without a label takes labels away:

    mark 1       [======= walking =======)
    mark 2                [== eating ==)
    spans        [walking)[== eating ==)[)   a window has a label if the whole of it lies inside one span
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Manifest
from runtime.bundle.typed_json import build
from runtime.errors import InputError, one_line
from runtime.files import strict_json
from runtime.recorder.marks import Marked, Span, paint
from runtime.recorder.schema import (
    FIRST_US,
    KINDS,
    LAST_US,
    PREDICTION,
    QUARTER_US,
    US,
    Recorded,
    RecordedWindow,
    check,
    columns_here,
    connect,
    damaged,
    facts,
    quality_of,
    read_facts,
    unreadable,
)


class _Names(dict[int, str]):
    """Labels by their number in the store."""

    def __init__(self, path: Path, rows: Iterable[tuple[int, str]]) -> None:
        super().__init__(rows)
        self._path = path

    def __missing__(self, key: object) -> str:
        raise damaged(self._path, f"a label {key!r} that is not in its list")


class Store:
    """Reads a store and marks it; a recorder may be writing to it meanwhile.

    Times are Unix seconds. Use it as a context manager, or call `close`.

    Raises:
        InputError: no such file, or no store.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(self.path, expected="a store", got="no such file", fix="Check the path.")
        try:
            self._db = connect(self.path)
        except sqlite3.Error as error:
            raise unreadable(self.path, error) from None
        try:
            check(self._db, self.path)
            self._facts = read_facts(self._db, self.path)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self._db.close()
            raise unreadable(self.path, error) from None
        except InputError:
            self._db.close()
            raise
        self.rate_hz = self._facts.signal.rate_hz
        self.is_even = self._facts.signal.is_even
        self.channels = self._facts.signal.channel_names
        self.length_samples = self._facts.window.length_samples
        self.window_s = self.length_samples / self.rate_hz
        self._window_us = round(self.window_s * US)

    def __repr__(self) -> str:
        told = f"{len(self.channels)} channels at {self.rate_hz:g} Hz"
        return one_line(self, repr(self.path.name), told, f"windows of {self.window_s:g} s")

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing can be read afterwards."""
        self._db.close()

    def check_fits(self, manifest: Manifest) -> None:
        """Refuse a manifest whose model does not take the windows of this store.

        Raises:
            InputError: names what differs.
        """
        for name, wanted in facts(manifest).items():
            if self._facts.text[name] != wanted:
                raise InputError(
                    self.path,
                    expected=f"windows of the {name} {wanted}",
                    got=self._facts.text[name],
                    fix="Use a bundle of the same signal and window.",
                )

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the model that predicted last."""
        row = next(self._read("SELECT labels FROM models ORDER BY id DESC LIMIT 1", (), "s"), None)
        return self._listed(row[0]) if row else ()

    @property
    def span_s(self) -> tuple[float, float] | None:
        """From the start of the first window to the end of the last one; None for an empty store.

        Raises:
            InputError: the file is damaged.
        """
        ((first, last),) = self._read(
            "SELECT (SELECT min(at) FROM predictions), (SELECT max(at) FROM predictions)", (), "II"
        )
        if first is None:
            return None
        if not FIRST_US <= first <= last <= LAST_US:
            raise damaged(self.path, f"predictions at {first} to {last} us")
        return first / US, (last + self._window_us) / US

    def counts(self, start_s: float, end_s: float) -> dict[str, int]:
        """How many windows that start in a span were called what; fast for spans of any length."""
        begin, end = _us(start_s), _us(end_s)
        first, last = -(-begin // QUARTER_US), end // QUARTER_US
        edges = [(begin, end)] if first >= last else [(begin, first * QUARTER_US), (last * QUARTER_US, end)]
        total: Counter[int] = Counter()
        for a, b in edges:
            query = "SELECT label, count(*) FROM predictions WHERE at >= ? AND at < ? GROUP BY label"
            total.update(dict(self._read(query, (a, b), "ii")))
        query = "SELECT label, sum(n) FROM quarters WHERE quarter >= ? AND quarter < ? GROUP BY label"
        total.update(dict(self._read(query, (first, last), "ii")))
        names = self._names()
        return {names[label]: n for label, n in total.most_common() if n}

    def timeline(self, start_s: float, end_s: float) -> dict[float, dict[str, int]]:
        """The same per quarter of an hour, by its first second."""
        names, found = self._names(), dict[float, dict[str, int]]()
        query = "SELECT quarter, label, n FROM quarters WHERE quarter >= ? AND quarter < ? AND n > 0"
        for quarter, label, n in self._read(query, (_us(start_s) // QUARTER_US, -(-_us(end_s) // QUARTER_US)), "iii"):
            found.setdefault(quarter * QUARTER_US / US, {})[names[label]] = n
        return found

    def predictions(self, start_s: float, end_s: float) -> Iterator[Recorded]:
        """What was predicted for windows that start in a span, in the order of time.

        Older recorders also kept what was no number; that is left out here.

        Raises:
            InputError: the file is damaged.
        """
        names = self._names()
        models = {
            key: (version, self._listed(labels))
            for key, version, labels in self._read("SELECT id, version, labels FROM models", (), "iss")
        }
        wanted = "at >= ? AND at < ? AND probability IS NOT NULL"
        here = columns_here(self._db)  # a store of an older recorder has fewer
        names_here = ", ".join(name if name in here else "NULL" for name in PREDICTION)
        query = f"SELECT {names_here} FROM predictions WHERE {wanted} ORDER BY at"  # noqa: S608
        kinds = "".join(PREDICTION.values())
        rows = self._read(query, (_us(start_s), _us(end_s)), kinds)
        for at, model, label, probability, every, *told, unusual, marks in rows:
            end = (at + self._window_us) / US
            try:
                version, labels = models[model]
                probabilities = dict(zip(labels, np.frombuffer(every, "<f4").tolist(), strict=True))
                quality = quality_of(told, marks)
            except (KeyError, ValueError):
                raise damaged(self.path, f"the prediction at {at}") from None
            yield Recorded(at / US, end, names[label], probability, probabilities, quality, version, unusual)

    def windows(self, start_s: float, end_s: float) -> Iterator[RecordedWindow]:
        """The samples of windows wholly inside a span: shape (length_samples, n_channels), or flat.

        Of the oldest windows of a store, the samples may be gone in part; they are left out.
        """
        begin, end = _us(start_s), _us(end_s)
        tails: dict[int, bytes] = {}
        size = self._facts.window_bytes
        for at, run, shared, samples in self._pieces(begin - self._window_us - US, end):
            whole = (tails.get(run, b"") + samples)[-size:] if shared else samples
            tails[run] = whole
            if len(whole) == size and at >= begin:
                yield RecordedWindow(at / US, self._array(whole))

    def samples(self, start_s: float, end_s: float) -> Iterator[RecordedWindow]:
        """The samples of a span, each once, in pieces with the time of their first; they may begin before it.

        Where the clock was set back, the time of the pieces goes back too: what was recorded later comes later.
        """
        for at, _, shared, samples in self._pieces(_us(start_s), _us(end_s), "run, at"):
            yield RecordedWindow(at / US + shared / self.rate_hz, self._array(samples))

    def _pieces(self, begin: int, end: int, order: str = "at") -> Iterator[tuple[int, int, int, bytes]]:
        """Rows of windows that start at `begin` or later and end at `end` or earlier."""
        query = f"SELECT at, run, shared, samples FROM windows WHERE at >= ? AND at <= ? ORDER BY {order}"  # noqa: S608
        row_bytes = 4 * (len(self.channels) if self.is_even else 1)
        for row in self._read(query, (begin, end - self._window_us + 1), "iiib"):  # a microsecond for the rounding
            if len(row[3]) % row_bytes or row[2] < 0:
                raise damaged(self.path, f"the window at {row[0]}")
            yield row

    def _array(self, data: bytes) -> NDArray[np.float32]:
        values = np.frombuffer(data, "<f4").astype(np.float32)
        return values.reshape(-1, len(self.channels)) if self.is_even else values

    def features(self, start_s: float, end_s: float, encoder: str) -> Iterator[RecordedWindow]:
        """What an encoder (see `encoder_id`) made of windows wholly inside a span, each of shape (n_features,).

        Raises:
            InputError: the file is damaged.
        """
        query = """SELECT at, data FROM features JOIN models ON models.id = model
                   WHERE encoder = ? AND at >= ? AND at <= ? ORDER BY at"""
        for at, data in self._read(query, (encoder, _us(start_s), _us(end_s) - self._window_us + 1), "ib"):
            if len(data) % 4:
                raise damaged(self.path, f"the features at {at}")
            yield RecordedWindow(at / US, np.frombuffer(data, "<f4").astype(np.float32))

    def keeps(self) -> tuple[str, ...]:
        """What the store has beside predictions: windows, features."""
        tables = ("windows", "features")
        return tuple(name for name in tables if any(self._read(f"SELECT 1 FROM {name} LIMIT 1")))  # noqa: S608

    def spans(self) -> list[Span]:
        """What was marked, later marks over earlier ones, in the order of time; none overlap.

        Raises:
            InputError: the file is damaged.
        """
        rows = list(self._read('SELECT start, "end", label FROM marks ORDER BY id', (), "iiS"))
        if not all(FIRST_US <= edge <= LAST_US for row in rows for edge in row[:2]):
            raise damaged(self.path, "a mark outside of the years that there are")
        return [Span(start / US, end / US, label) for start, end, label in paint(rows)]

    def inside(self, start_s: float, end_s: float) -> Marked:
        """How many windows lie inside a span, and how many it cuts."""
        last_s = end_s - self.window_s
        inside = sum(self.counts(start_s, last_s + 2 / US).values()) if last_s >= start_s else 0
        touched = sum(self.counts(start_s - self.window_s + 2 / US, end_s).values())
        return Marked(inside, touched - inside)

    def mark(self, start_s: float, end_s: float, label: str | None, made_s: float) -> Marked:
        """Say what a span of time was; None takes labels away. What was said before is kept, for `undo`.

        Args:
            start_s: first instant.
            end_s: the instant after the last one.
            label: any name.
            made_s: when this was said.

        Raises:
            InputError: no window lies inside.
        """
        found = self.inside(start_s, end_s)
        if not found.inside:
            raise InputError(
                self.path,
                expected=f"a span in which windows of {self.window_s:g} s were recorded",
                got=f"none that lies inside, {found.straddling} that it cuts",
                fix="Look at the list: python -m sdk.label STORE list",
            )
        self._write(
            'INSERT INTO marks (start, "end", label, made) VALUES (?, ?, ?, ?)',
            (_us(start_s), _us(end_s), label, _us(made_s)),
        )
        return found

    def undo(self) -> Span | None:
        """Take back the last mark that is left, and return it; its label is "" if it took labels away."""
        row = next(self._read('SELECT id, start, "end", label FROM marks ORDER BY id DESC LIMIT 1', (), "iiiS"), None)
        if row is None:
            return None
        self._write("DELETE FROM marks WHERE id = ?", row[:1])
        return Span(row[1] / US, row[2] / US, row[3] or "")

    def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise unreadable(self.path, error) from None

    def _read(self, query: str, values: tuple[Any, ...] = (), kinds: str = "") -> Iterator[Any]:
        """The rows of a query; a file that was damaged is the user's to mend.

        Args:
            query: in SQL.
            values: for its question marks.
            kinds: what each column must hold, a letter of KINDS for each; a capital one: or NULL. "": anything.
        """
        wanted = [KINDS[kind.lower()] + (type(None),) * kind.isupper() for kind in kinds]
        try:
            for row in self._db.execute(query, values):
                if kinds and not all(type(value) in of for value, of in zip(row, wanted, strict=True)):
                    raise damaged(self.path, f"a row {str(row)[:60]}")
                yield row
        except sqlite3.ProgrammingError:  # nothing is wrong with the file
            raise InputError(self.path, expected="an open store", got="a closed one", fix="Open it again.") from None
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
            raise damaged(self.path, error) from None

    def _listed(self, text: str) -> tuple[str, ...]:
        """Labels of a model."""
        try:
            names: tuple[str, ...] = build(tuple[str, ...], strict_json.loads(text), "labels")
            if not names:
                raise ValueError("a model without labels")
        except ValueError as error:
            raise damaged(self.path, error) from None
        return names

    def starts_us(self, start_s: float, end_s: float) -> NDArray[np.int64]:
        """When the windows that start in a span did, shape (n,): microseconds since 1970, in the order of time."""
        query = "SELECT at FROM predictions WHERE at >= ? AND at < ? ORDER BY at"
        return np.array([at for (at,) in self._read(query, (_us(start_s), _us(end_s)))], np.int64)

    def _names(self) -> dict[int, str]:
        return _Names(self.path, self._read("SELECT id, name FROM labels", (), "is"))


def _us(seconds: float) -> int:
    return round(seconds * US)
