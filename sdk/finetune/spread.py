"""A few labels spread over many windows: near each other in the space means the same activity.

    places -> graph of nearest neighbours -> labels flow along it -> soft labels

Zhou's label spreading, F = (1 - alpha S)^-1 Y, solved by conjugate gradients on the sparse graph.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sdk.finetune.sample import Indices

Floats = NDArray[np.float64]

NEIGHBOURS = 12
_ALPHA = 0.99  # how far labels flow
_TUNED = 7  # a window's scale is the distance to this neighbour
_ROWS = 256  # of distances at once: a bound on memory
_CG_STEPS, _CG_GOAL = 100, 1e-4


class Neighbours(NamedTuple):
    """A symmetric sparse matrix, normalised by its degrees: edges in the order of `first`."""

    first: Indices  # shape (n_edges,)
    second: Indices
    weight: Floats
    starts: Indices  # shape (n,), the first edge of each row; each row has one at least

    def __matmul__(self, values: Floats) -> Floats:
        product: Floats = np.add.reduceat(self.weight[:, None] * values[self.second], self.starts, axis=0)
        return product


def nearest(places: NDArray[np.float32], k: int) -> tuple[Indices, NDArray[np.float32]]:
    """The k nearest other windows of each, nearest first, and their squared distances: shapes (n, k)."""
    square = (places * places).sum(axis=1)
    rows, distances = [], []
    for at in range(0, len(places), _ROWS):
        part = places[at : at + _ROWS]
        found = np.maximum(square[at : at + _ROWS, None] + square - 2 * part @ places.T, 0)
        found[np.arange(len(part)), at + np.arange(len(part))] = np.inf
        row = np.argpartition(found, k - 1, axis=1)[:, :k] if k < len(places) - 1 else np.argsort(found, axis=1)[:, :k]
        near = np.take_along_axis(found, row, axis=1)
        order = np.lexsort((row, near), axis=1)
        rows.append(np.take_along_axis(row, order, axis=1))
        distances.append(np.take_along_axis(near, order, axis=1))
    return np.concatenate(rows), np.concatenate(distances)


def make_graph(places: NDArray[np.float32], k: int = NEIGHBOURS) -> Neighbours:
    """The graph of windows at places of shape (n, n_directions), n at least 2."""
    n = len(places)
    k = min(k, n - 1)
    row, square = nearest(places, k)
    scale = np.sqrt(np.maximum(square[:, min(_TUNED, k) - 1], 1e-12)).astype(np.float64)
    first, second = np.repeat(np.arange(n), k), row.ravel()
    weight = np.exp(-square.ravel() / (scale[first] * scale[second])) + 1e-12
    both = np.concatenate([first * n + second, second * n + first])
    keys, place = np.unique(both, return_inverse=True)
    merged = np.bincount(place, np.concatenate([weight, weight])) / 2
    first, second = keys // n, keys % n
    degree = np.bincount(first, merged, n)
    merged /= np.sqrt(degree[first] * degree[second])
    return Neighbours(first, second, merged, np.searchsorted(first, np.arange(n)))


def spread(graph: Neighbours, labels: Floats, alpha: float = _ALPHA) -> Floats:
    """Where labels flow: the solution F of (1 - alpha S) F = (1 - alpha) labels, both of shape (n, n_classes)."""
    goal = (1 - alpha) * labels
    flow = np.zeros_like(goal)
    residual, direction = goal.copy(), goal.copy()
    square = (residual * residual).sum(axis=0)
    first = np.maximum(square, 1e-300)
    for _ in range(_CG_STEPS):
        curved = direction - alpha * (graph @ direction)
        step = square / np.maximum((direction * curved).sum(axis=0), 1e-300)
        flow += step * direction
        residual -= step * curved
        previous, square = square, (residual * residual).sum(axis=0)
        if (square <= _CG_GOAL**2 * first).all():
            break
        direction = residual + square / np.maximum(previous, 1e-300) * direction
    return np.maximum(flow, 0)
