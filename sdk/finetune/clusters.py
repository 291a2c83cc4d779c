"""Weighted k-means: clusters of windows at places in the space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdk.finetune.sample import Indices
from sdk.finetune.spread import Floats

_ROUNDS = 30
_STARTS = 4


def clusters(
    places: NDArray[np.float32], k: int, weights: Floats, seed: int = 0, starts: int = _STARTS
) -> tuple[Indices, Floats]:
    """The cluster of each window, shape (n,), and the centres, shape (k, n_directions): the best of a few starts.

    Args:
        places: shape (n, n_directions).
        k: clusters.
        weights: shape (n,), not all of them 0.
        seed: of the starts (k-means++).
        starts: how many are tried.
    """
    points = places.astype(np.float64)
    best, best_cost = None, np.inf
    for start in range(starts):
        rng = np.random.default_rng((seed, start))
        centres = _spread_out(points, k, weights, rng)
        for _ in range(_ROUNDS):
            square = squares(points, centres)
            own = square.argmin(axis=1)
            mass = np.bincount(own, weights, k)
            moved = np.stack([np.bincount(own, weights * column, k) for column in points.T], axis=1)
            centres = np.where(mass[:, None] > 0, moved / np.maximum(mass, 1e-12)[:, None], centres)
        square = squares(points, centres)
        cost = float(weights @ square.min(axis=1))
        if cost < best_cost:
            best, best_cost = (square.argmin(axis=1), centres), cost
    assert best is not None
    return best


def squares(points: Floats, centres: Floats) -> Floats:
    """Squared distances, shape (n, k), of points (n, d) from centres (k, d)."""
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
