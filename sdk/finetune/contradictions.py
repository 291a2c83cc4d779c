"""Labels that contradict what the model is sure of, told before anything is trained.

    you say     [........ sitting ........)
    it sees      walk walk walk walk sit       p 0.99
    told         you say sitting 12:03 to 12:05; it looks like walking, p 0.99

A mistake in a label and a mistake of the model look alike, so the wearer is asked: the mark is taken away, or the run
is started again with `sure`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from sdk.finetune.head import Array, log_softmax

SURE = 0.9  # probability above which the model is sure of a window
LONG = 5  # windows in a row that contradict: a whole mark, and no mistake of the model here and there
MISTAKES = 0.1  # share of labelled windows that may contradict without a question
_UNIX_S = 978_307_200  # a time of day is told for what is later: 2001


@dataclass(frozen=True)
class Contradiction:
    """A stretch that has one label and looks like another."""

    label: str
    looks_like: str
    probability: float  # that the model gives the other, on average
    windows: int
    start_s: float | None = None  # None: nobody knows when
    end_s: float | None = None

    def __str__(self) -> str:
        when = f" {_clock(self.start_s)} to {_clock(self.end_s)}" if self.start_s is not None else ""
        n = f"{self.windows} window{'s' if self.windows > 1 else ''}"
        return f"you say {self.label}{when} ({n}); it looks like {self.looks_like}, p {self.probability:.2f}"


def contradictions(
    logits: Array,
    labels: NDArray[np.int64],
    names: Sequence[str],
    spans_s: NDArray[np.float64] | None = None,
    known: NDArray[np.int64] | None = None,
) -> list[Contradiction]:
    """Stretches of labelled windows of which the model is sure that they are something else.

    Args:
        logits: of the version in use, shape (n, n_classes).
        labels: shape (n,), in the order of time.
        names: of the classes.
        spans_s: shape (n, 2), start and end of each window; None: unknown.
        known: classes that the model has; what is new to it contradicts nothing. None: all.
    """
    p = np.exp(log_softmax(np.asarray(logits, np.float64)))
    found, top = p.argmax(axis=1), p.max(axis=1)
    sure = (found != labels) & (top >= SURE)
    if known is not None:
        sure &= np.isin(labels, known)
    told = []
    edges = np.flatnonzero((np.diff(labels) != 0) | (np.diff(np.where(sure, found, -1)) != 0)) + 1
    for rows in np.split(np.arange(len(labels)), edges):
        if len(rows) and sure[rows[0]]:
            when = (None, None) if spans_s is None else (float(spans_s[rows[0], 0]), float(spans_s[rows[-1], 1]))
            said, seen = names[labels[rows[0]]], names[found[rows[0]]]
            told.append(Contradiction(said, seen, float(top[rows].mean()), len(rows), *when))
    return told


def worth_asking(found: Sequence[Contradiction], n: int) -> bool:
    """Whether contradictions are more than the mistakes that every model makes.

    Args:
        found: those of a set of labels.
        n: labelled windows of the set.
    """
    return sum(one.windows for one in found) > MISTAKES * n or any(one.windows >= LONG for one in found)


def _clock(at_s: float | None) -> str:
    if at_s is None:
        return ""
    return f"{datetime.fromtimestamp(at_s):%H:%M:%S}" if at_s > _UNIX_S else f"{at_s:g} s"
