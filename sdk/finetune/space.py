"""A space in which windows of one activity lie close: what changes within seconds is noise.

    features -> z-norm -> whitened by the changes between windows LAG_S apart -> the directions that vary most

Nobody changes activity every few seconds, so of the changes between neighbours in time the smaller ones are jitter
within an activity (relevant component analysis, with time in place of labels). Directions that jitter are shrunk; those
that stay, such as a posture, are stretched. No label is used and nothing is random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdk.finetune.spread import Floats

LAG_S = 6.0  # between the two windows of a change
_QUIET = 0.3  # share of the changes that are taken for jitter, the smallest
_RIDGE = 0.3  # of the mean variance of the jitter, added to each direction's
_DIRECTIONS = 40
_LEAST_CHANGES = 20  # fewer: no whitening by time


@dataclass(frozen=True)
class Space:
    """From features to places: z-norm, then one matrix."""

    mean: Floats  # shape (n_features,)
    matrix: Floats  # shape (n_features, n_directions), the spread of each feature included

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Places, shape (n, n_directions), of features, shape (n, n_features)."""
        return ((features - self.mean) @ self.matrix).astype(np.float32)


def fit_space(features: NDArray[np.float32], start_s: Floats, lag_s: float = LAG_S) -> Space:
    """The space of a pool of windows.

    Args:
        features: shape (n, n_features).
        start_s: shape (n,), seconds, when each window began, rising; far apart where they do not belong together.
        lag_s: between the two windows of a change.
    """
    mean, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 1e-6 * np.maximum(np.abs(mean), 1), 1 / np.maximum(spread, 1e-12), 0.0)
    normed = (features - mean) * scale
    whitening = _whitening(normed, _changes(start_s, lag_s))
    white = normed @ whitening
    _, directions = np.linalg.eigh(white.T @ white / len(white))
    return Space(mean, scale[:, None] * whitening @ directions[:, : -_DIRECTIONS - 1 : -1])


def _changes(start_s: Floats, lag_s: float) -> NDArray[np.int64]:
    """Pairs of windows about a lag apart, shape (n_pairs, 2)."""
    first = np.arange(len(start_s))
    second = np.minimum(np.searchsorted(start_s, start_s + 0.99 * lag_s), len(start_s) - 1)
    near = np.abs(start_s[second] - start_s - lag_s) <= 0.5 * lag_s
    return np.stack([first, second], axis=1)[near]


def _whitening(normed: Floats, changes: NDArray[np.int64]) -> Floats:
    n = normed.shape[1]
    if len(changes) < _LEAST_CHANGES:
        return np.eye(n)
    steps = normed[changes[:, 1]] - normed[changes[:, 0]]
    size = (steps * steps).sum(axis=1)
    quiet = steps[np.argsort(size, kind="stable")[: max(_LEAST_CHANGES, round(_QUIET * len(steps)))]]
    scatter = quiet.T @ quiet / len(quiet)
    values, vectors = np.linalg.eigh(scatter)
    values = np.maximum(values, 0) + _RIDGE * max(float(values.mean()), 1e-12)
    whitening: Floats = vectors / np.sqrt(values) @ vectors.T
    return whitening
