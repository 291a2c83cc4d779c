"""The linear head as a convex problem with one optimum, found by Newton's method.

    minimise over W, b   sum_i w_i CE(softmax(W f_i + b), y_i) / sum_i w_i  +  l2 / 2 * s^2 * ||(W, b / s) - anchor||^2

CE is the cross-entropy and s^2 the mean squared norm of the features, weighted by w as the loss is, so that `l2` means
the same for every encoder. With the pretrained head as the anchor a class without labels stays where it is; with zero
it is MESEN's ||theta_c||^2 (eq. 9). The solution differs from the anchor only within the span of the features, so the
problem is solved there: it has n_classes * min(n, n_features + 1) unknowns. Nothing is random: the same labels give the
same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_NEWTON_STEPS = 100
_GRADIENT = 1e-10  # stop when the gradient's norm is below
_ARMIJO = 1e-4


@dataclass(frozen=True)
class HeadFit:
    """A solved head, and how well it was solved."""

    weight: Array  # shape (n_classes, n_features)
    bias: Array  # shape (n_classes,)
    loss: float  # the objective at the solution
    gradient_norm: float  # of the objective, in the reduced problem


class HeadProblem:
    """Labelled features, brought once into the space in which a head can differ from its anchor.

    Args:
        features: shape (n, n_features).
        labels: shape (n,), class indices; or (n, n_classes), shares of each class that sum to 1.
        weight: the anchor, shape (n_classes, n_features): the pretrained head or zeros.
        bias: the anchor, shape (n_classes,).
        sample_weights: shape (n,), at least one above 0; None: all equal.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        labels: NDArray[np.int64] | Array,
        *,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        sample_weights: Array | None = None,
    ) -> None:
        self._anchor = weight, bias
        self._target = np.eye(len(bias))[labels] if labels.ndim == 1 else np.asarray(labels, np.float64)
        self._weights = np.ones(len(labels)) if sample_weights is None else np.asarray(sample_weights, np.float64)
        rows = features.astype(np.float64)
        shares = self._weights / self._weights.sum()
        self._scale = max(float(np.sqrt(shares @ np.sum(rows**2, axis=1))), 1e-12)
        self._start = rows @ weight.T.astype(np.float64) + bias  # the anchor's logits
        columns = np.concatenate([rows / self._scale, np.ones((len(rows), 1))], axis=1)
        self._basis = np.linalg.qr(columns.T)[0]  # shape (n_features + 1, rank)
        self._reduced = columns @ self._basis  # shape (n, rank)

    def fit(self, l2: float) -> HeadFit:
        """Fit the head to all rows; `l2`, above 0, is the strength of the pull towards the anchor."""
        change, loss, norm = self._solve(np.ones(len(self._target), bool), l2)
        step = change.T @ self._basis.T  # shape (n_classes, n_features + 1)
        weight, bias = self._anchor
        return HeadFit(weight + step[:, :-1] / self._scale, bias + step[:, -1], loss, norm)

    def held_out_logits(self, l2: float, folds: NDArray[np.int64]) -> Array:
        """Logits of every row, shape (n, n_classes), by a head that was fitted to the rows of other folds.

        Args:
            l2: as in `fit`; the scale s stays that of all rows.
            folds: shape (n,), the fold of each row.
        """
        logits: Array = self._start.copy()
        for fold in np.unique(folds):
            if (folds != fold).any():
                change, _, _ = self._solve(folds != fold, l2)
                logits[folds == fold] += self._reduced[folds == fold] @ change
        return logits

    def _solve(self, rows: NDArray[np.bool_], l2: float) -> tuple[Array, float, float]:
        shares = self._weights[rows] / self._weights[rows].sum()
        return _newton(self._reduced[rows], self._start[rows], self._target[rows], shares, l2)


def fit_head(
    features: NDArray[np.float32],
    labels: NDArray[np.int64] | Array,
    *,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    l2: float,
    sample_weights: Array | None = None,
) -> HeadFit:
    """Fit a head to labelled features.

    Args:
        features: shape (n, n_features).
        labels: shape (n,), class indices; or (n, n_classes), shares.
        weight: the anchor, shape (n_classes, n_features).
        bias: the anchor, shape (n_classes,).
        l2: above 0, the strength of the pull towards the anchor.
        sample_weights: shape (n,); None: all equal.
    """
    return HeadProblem(features, labels, weight=weight, bias=bias, sample_weights=sample_weights).fit(l2)


def log_softmax(logits: Array) -> Array:
    """Logarithms of the probabilities, shape (n, n_classes)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_p


def _newton(reduced: Array, start: Array, target: Array, weights: Array, l2: float) -> tuple[Array, float, float]:
    """Minimise over V, shape (rank, n_classes), the loss of the logits `start + reduced @ V`."""

    def evaluate(v: Array) -> tuple[float, Array]:
        log_p = log_softmax(start + reduced @ v)
        loss = -float(weights @ (log_p * target).sum(axis=1)) + 0.5 * l2 * float((v * v).sum())
        return loss, np.exp(log_p)

    v = np.zeros((reduced.shape[1], start.shape[1]))
    loss, p = evaluate(v)
    for _ in range(_NEWTON_STEPS):
        gradient = reduced.T @ (weights[:, None] * (p - target)) + l2 * v
        if np.linalg.norm(gradient) < _GRADIENT:
            break
        step = _newton_step(reduced, p, weights, l2, gradient)
        slope, size = float((gradient * step).sum()), 1.0
        while True:
            new_loss, new_p = evaluate(v + size * step)
            if new_loss <= loss + _ARMIJO * size * slope or size < 1e-6:
                break
            size *= 0.5
        if new_loss > loss:  # rounding is all that is left
            break
        v, loss, p = v + size * step, new_loss, new_p
    gradient = reduced.T @ (weights[:, None] * (p - target)) + l2 * v
    return v, loss, float(np.linalg.norm(gradient))


def _newton_step(reduced: Array, p: Array, weights: Array, l2: float, gradient: Array) -> Array:
    """Solve Hessian @ step = -gradient by conjugate gradients, without ever forming the Hessian."""
    weighted = weights[:, None] * p

    def hessian(direction: Array) -> Array:
        moved = reduced @ direction
        curvature: Array = weighted * (moved - (p * moved).sum(axis=1, keepdims=True))
        product: Array = reduced.T @ curvature + l2 * direction
        return product

    step = np.zeros_like(gradient)
    residual = -gradient
    direction, square = residual, float((residual * residual).sum())
    goal = square * min(0.01, np.sqrt(square)) ** 2  # loose when far away: superlinear convergence
    for _ in range(2 * gradient.size):
        if square <= max(goal, 1e-30):
            break
        curved = hessian(direction)
        length = square / float((direction * curved).sum())
        step = step + length * direction
        residual = residual - length * curved
        previous, square = square, float((residual * residual).sum())
        direction = residual + (square / previous) * direction
    return step
