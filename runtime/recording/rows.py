"""Rows of a table on their way to a stream: put in the order of their times, and equal stamps spread; in any pieces.

whole seconds      |9          |10         |11             what is written: many samples to one stamp
spread             | . . . . . | . . . . . | . . . . .     what is given: evenly up to the next stamp
              first group: its end is known, so it is laid before the next stamp
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_MOST_SORTED = 65_536  # rows that wait to be put in order: 11 minutes at 100 Hz
_MOST_SPREAD = 8_192  # rows with one stamp that wait for the next


class Rows(NamedTuple):
    """Rows of a source."""

    samples: NDArray[np.float32]  # shape (n, n_channels)
    t: NDArray[np.float64] | None = None  # shape (n,), seconds; None: no times
    labels: Sequence[str] | None = None  # n names, "" where unknown; None: no column of labels

    def part(self, begin: int, end: int | None = None) -> Rows:
        """Rows from one place to another, samples of shape (end - begin, n_channels)."""
        t = None if self.t is None else self.t[begin:end]
        return Rows(self.samples[begin:end], t, None if self.labels is None else self.labels[begin:end])

    def at(self, order: NDArray[np.int64]) -> Rows:
        """Rows in another order, samples of shape (len(order), n_channels)."""
        t = None if self.t is None else self.t[order]
        return Rows(self.samples[order], t, None if self.labels is None else [self.labels[i] for i in order])

    @staticmethod
    def joined(parts: Sequence[Rows]) -> Rows:
        """Rows one after the other, samples of shape (n of all, n_channels); at least one part."""
        if len(parts) == 1:
            return parts[0]
        samples = np.concatenate([part.samples for part in parts])
        times = [part.t for part in parts if part.t is not None]
        labels = None if parts[0].labels is None else [name for part in parts for name in part.labels or ()]
        return Rows(samples, np.concatenate(times) if times else None, labels)


class Sorter:
    """Puts rows in the order of their times, as far as 65,536 rows reach."""

    def __init__(self) -> None:
        self._held: list[Rows] = []
        self._n = 0

    def push(self, rows: Rows) -> list[Rows]:
        """Take rows of shape (n, n_channels); give those that need not wait any longer."""
        ready = []
        while len(rows.samples):
            part = rows.part(0, _MOST_SORTED - self._n)
            rows = rows.part(len(part.samples))
            self._held.append(part)
            self._n += len(part.samples)
            if self._n == _MOST_SORTED:
                held = self._sorted()
                ready.append(held.part(0, _MOST_SORTED // 2))
                self._held, self._n = [held.part(_MOST_SORTED // 2)], _MOST_SORTED - _MOST_SORTED // 2
        return ready

    def flush(self) -> list[Rows]:
        """Give all that waits, samples of shape (n, n_channels)."""
        ready = [self._sorted()] if self._held else []
        self._held, self._n = [], 0
        return ready

    def _sorted(self) -> Rows:
        rows = Rows.joined(self._held)
        return rows.at(np.argsort(np.asarray(rows.t), kind="stable"))


class Spreader:
    """Lays samples that share a stamp evenly between it and the next one.

    Args:
        step_s: from one stamp to the next; None: not known.
        period_s: of a sample; None: not known.
    """

    def __init__(self, step_s: float | None, period_s: float | None) -> None:
        self._step_s, self._period_s = step_s, period_s
        self._held: list[Rows] = []  # of one stamp
        self._n, self._at_s = 0, np.nan
        self._is_first = True

    def push(self, rows: Rows) -> list[Rows]:
        """Take rows of shape (n, n_channels); give those whose stamp is followed by another."""
        assert rows.t is not None
        ready: list[Rows] = []
        edges = np.flatnonzero(rows.t[1:] != rows.t[:-1]) + 1
        for begin, end in zip([0, *edges.tolist()], [*edges.tolist(), len(rows.t)], strict=True):
            group = rows.part(begin, end)
            if not len(group.samples):
                continue
            at_s = float(rows.t[begin])
            if self._held and at_s != self._at_s:
                ready.append(self._given(at_s))
            self._at_s = at_s
            while len(group.samples):
                part = group.part(0, _MOST_SPREAD - self._n)
                group = group.part(len(part.samples))
                self._held.append(part)
                self._n += len(part.samples)
                if self._n == _MOST_SPREAD:
                    ready.append(self._given(None))
        return ready

    def flush(self) -> list[Rows]:
        """Give the rows of the last stamp, samples of shape (n, n_channels)."""
        return [self._given(None)] if self._held else []

    def _given(self, next_s: float | None) -> Rows:
        """The rows that are held, spread."""
        rows, n = Rows.joined(self._held), self._n
        self._held, self._n = [], 0
        width_s = np.nan if next_s is None else next_s - self._at_s
        whole = width_s > 0 and (self._step_s is None or width_s <= 1.5 * self._step_s)
        step_s = width_s / n if whole else np.inf
        usual_s = [s for s in (self._period_s, None if self._step_s is None else self._step_s / n) if s is not None]
        if self._is_first or not whole:
            step_s = min([step_s, *usual_s])
        if not np.isfinite(step_s):
            step_s = 0.0
        if whole:
            self._period_s = self._period_s or step_s
        at_s = self._at_s + np.arange(n) * step_s
        if self._is_first and whole and next_s is not None:
            at_s = next_s - np.arange(n, 0, -1) * step_s
        self._is_first = False
        return rows._replace(t=np.asarray(at_s, np.float64))
