"""Which windows to ask about: those whose answers teach most.

    places -> the calm half: windows whose neighbours in time lie close, not those in which something begins or ends
           -> k-means, so many clusters as questions, the calm windows weighted by doubt -> the middle of each

Half of the questions are asked at once. The others come in two rounds after the answers were spread: doubt is then
where labels meet, and where an answer disagrees with what its neighbours were told.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdk.finetune.spread import Floats, Indices, nearest

_CALM = 0.5  # share of the windows that may be asked about
_TUNED = 7  # the neighbour in space whose distance is a window's scale
_APART = 5.0  # hops: a longer gap is no neighbourhood
_ROUNDS = 30
_STARTS = 4


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
    near = _square(places[rows].astype(np.float64), centres)
    asked = [rows[own == k][near[own == k, k].argmin()] for k in range(n) if (own == k).any()]
    return np.sort(np.array(asked, np.int64))


def rounds(budget: int) -> list[int]:
    """How many questions each round has: half at once, then a quarter each."""
    first = -(-budget // 2) if budget >= 8 else budget
    second = (budget - first + 1) // 2
    return [n for n in (first, second, budget - first - second) if n]


def clusters(places: NDArray[np.float32], k: int, weights: Floats, seed: int = 0) -> tuple[Indices, Floats]:
    """Weighted k-means from k-means++ starts: the cluster of each window, and the centres; the best of a few starts."""
    points = places.astype(np.float64)
    best, best_cost = None, np.inf
    for start in range(_STARTS):
        rng = np.random.default_rng((seed, start))
        centres = _spread_out(points, k, weights, rng)
        for _ in range(_ROUNDS):
            square = _square(points, centres)
            own = square.argmin(axis=1)
            mass = np.bincount(own, weights, k)
            moved = np.stack([np.bincount(own, weights * column, k) for column in points.T], axis=1)
            centres = np.where(mass[:, None] > 0, moved / np.maximum(mass, 1e-12)[:, None], centres)
        square = _square(points, centres)
        cost = float(weights @ square.min(axis=1))
        if cost < best_cost:
            best, best_cost = (square.argmin(axis=1), centres), cost
    assert best is not None
    return best


def _square(points: Floats, centres: Floats) -> Floats:
    square: Floats = (points * points).sum(axis=1)[:, None] + (centres * centres).sum(axis=1) - 2 * points @ centres.T
    return np.maximum(square, 0)


def _spread_out(points: Floats, k: int, weights: Floats, rng: np.random.Generator) -> Floats:
    chosen = [int(rng.choice(len(points), p=weights / weights.sum()))]
    square = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    for _ in range(k - 1):
        mass = weights * square
        chosen.append(int(rng.choice(len(points), p=mass / mass.sum())) if mass.sum() > 0 else 0)
        square = np.minimum(square, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return points[chosen]
