"""Which windows to ask about: those whose answers teach most.

    places -> the calm half: windows whose neighbours in time lie close, not those in which something begins or ends
           -> k-means, so many clusters as questions, the calm windows weighted by doubt -> the middle of each

Up to twelve are asked at once; of more, a third comes after the answers were spread: doubt is then where labels meet,
and where an answer disagrees with what its neighbours were told.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdk.finetune.clusters import clusters, squares
from sdk.finetune.sample import Indices
from sdk.finetune.spread import Floats, nearest, spread
from sdk.finetune.teach import Pool

_AT_ONCE = 12
_CALM = 0.5  # share of the windows that may be asked about
_TUNED = 7  # the neighbour in space whose distance is a window's scale
_APART = 5.0  # hops: a longer gap is no neighbourhood


def calm(places: NDArray[np.float32], start_s: Floats) -> NDArray[np.bool_]:
    """Which windows lie in the middle of something, shape (n,): about half of them.

    Args:
        places: shape (n, n_directions), in the order of time.
        start_s: shape (n,), seconds.
    """
    n = len(places)
    if n < 4:
        return np.ones(n, bool)
    hop_s = np.diff(start_s)
    step = np.sqrt(((places[1:] - places[:-1]) ** 2).sum(axis=1, dtype=np.float64))
    step[hop_s > _APART * np.median(hop_s)] = np.inf
    before, after = np.concatenate([[np.inf], step]), np.concatenate([step, [np.inf]])
    change = np.maximum(before, after)
    change = np.where(np.isinf(change), np.minimum(before, after), change)
    _, square = nearest(places, min(_TUNED, n - 1))
    change = change / np.sqrt(np.sqrt(np.maximum(square[:, -1], 1e-12)))  # a lively activity has its calm moments too
    chosen: NDArray[np.bool_] = change <= np.quantile(change, _CALM, method="higher")
    return chosen


def choose(
    places: NDArray[np.float32], allowed: NDArray[np.bool_], n: int, doubt: Floats | None = None, seed: int = 0
) -> Indices:
    """The windows to ask about, at most n, in the order of their rows.

    Args:
        places: shape (m, n_directions).
        allowed: shape (m,), windows that may be asked about.
        n: questions.
        doubt: shape (m,), from 0 to 1; None: the same everywhere.
        seed: of the starts of k-means; the same gives the same windows.
    """
    rows = np.flatnonzero(allowed)
    if len(rows) <= n:
        return rows
    weights = np.ones(len(rows)) if doubt is None else 1e-6 + doubt[rows]
    own, centres = clusters(places[rows], n, weights, seed)
    near = squares(places[rows].astype(np.float64), centres)
    asked = [rows[own == k][near[own == k, k].argmin()] for k in range(n) if (own == k).any()]
    return np.sort(np.array(asked, np.int64))


def rounds(budget: int) -> list[int]:
    """How many questions each round has: up to twelve at once; of more, two thirds at once and the rest after them."""
    first = budget if budget <= _AT_ONCE else -(-2 * budget // 3)
    return [n for n in (first, budget - first) if n]


def next_questions(
    pool: Pool, start_s: Floats, apart_s: float, labels: Indices, asked: NDArray[np.bool_], n: int, seed: int = 0
) -> Indices:
    """The windows of the next round, at most n, in the order of time.

    Args:
        pool: of windows in the order of time.
        start_s: shape (m,), seconds.
        apart_s: two questions are further apart than this, and so are they from what has a label.
        labels: shape (m,), what is known of each window by now; -1: nothing.
        asked: shape (m,), windows that were asked about, answered or not.
        n: how many.
        seed: of k-means.
    """
    told = start_s[asked | (labels >= 0)]
    near = np.searchsorted(told, start_s)
    gap_s = np.full(len(start_s), np.inf)
    for side in (near - 1, near):
        there = (side >= 0) & (side < len(told))
        gap_s[there] = np.minimum(gap_s[there], np.abs(start_s[there] - told[side[there]]))
    allowed = calm(pool.places, start_s) & (gap_s > apart_s)
    rows = choose(pool.places, allowed, n, doubt_of(pool, labels) if (labels >= 0).any() else None, seed)
    kept: list[int] = []
    for row in rows.tolist():
        if not kept or start_s[row] - start_s[kept[-1]] > apart_s:
            kept.append(row)
    return np.array(kept, np.int64)


def doubt_of(pool: Pool, labels: Indices) -> Floats:
    """How open the answer is for each window, shape (m,), from 0 to 1.

    Args:
        pool: of windows.
        labels: shape (m,), class indices; -1: nothing is known. One is known at least.
    """
    rows = np.flatnonzero(labels >= 0)
    flows = spread(pool.graph, np.eye(len(labels))[:, rows])  # of each label alone: any of them can be left out
    classes, own = np.unique(labels[rows], return_inverse=True)
    share = flows / np.maximum(flows.sum(axis=0), 1e-300)
    by_class = np.stack([share[:, own == k].mean(axis=1) for k in range(len(classes))], axis=1)
    doubt = 1 - _margin(by_class)
    doubt[by_class.sum(axis=1) <= 0] = 1.0
    others = by_class[rows].copy()
    counts = np.bincount(own)
    for i, k in enumerate(own):  # what its neighbours say of a label
        left = by_class[rows[i], k] * counts[k] - share[rows[i], i]
        others[i, k] = left / (counts[k] - 1) if counts[k] > 1 else np.inf  # the only one of its kind is not disputed
    disputed = rows[others.argmax(axis=1) != own]
    doubt[np.isin(share.argmax(axis=1), np.flatnonzero(np.isin(rows, disputed)))] = 1.0
    return doubt


def _margin(values: Floats) -> Floats:
    if values.shape[1] < 2:
        return np.full(len(values), 0.5)
    top = np.sort(values / np.maximum(values.sum(axis=1, keepdims=True), 1e-300), axis=1)
    margin: Floats = top[:, -1] - top[:, -2]
    return margin
