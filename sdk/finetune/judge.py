"""Whether a new version may replace the one in use.

It has to pass both:

    held-out labels    macro-F1 no lower and log-loss no higher than before, and better than guessing (every method)
    golden windows     `golden_agreement` with the base not below the plan's `keep` (methods that move layers)

Held out are blocks of time, not single windows: windows overlap, and a neighbour in the training part would flatter.
The new version that is judged on a block was trained without it; the one that is kept is trained on everything.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdk.finetune.head import Array, log_softmax
from sdk.scores import require_finite, score

GUESSING = 0.05  # a head that guessing would match with a higher probability is not accepted


@dataclass(frozen=True)
class HeldOut:
    """How a version does on labelled windows that it was not fitted to."""

    accuracy: float
    macro_f1: float
    log_loss: float  # mean negative log-probability of the true class, natural logarithm
    macro_f1_classes: int | None = None  # macro-F1 is the mean over so many; None: not known, as in old records


@dataclass(frozen=True)
class TrainingReport:
    """How the gradient steps went."""

    layers: tuple[int, ...]  # those that moved
    parameters: int  # in them
    batch: int  # smaller than the plan's where the budget of megabytes asked for it
    steps: int  # of the training that gave the new version
    epochs: float
    trainings: int  # that one, and those on held-out blocks
    losses: tuple[float, ...]  # mean of each epoch, pull included
    predicted_bytes: int  # of memory above the start, before the start
    golden_agreement: float  # of the new version with the base
    stopped_by: str  # the limit that ended the training early; empty: none

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"layers": list(self.layers), "losses": list(self.losses)}


@dataclass(frozen=True)
class Adapted:
    """A new version that nobody uses yet."""

    tensors: dict[str, NDArray[np.float32]]
    before: HeldOut
    after: HeldOut
    l2: float
    doubt: str  # what speaks against it; empty: nothing
    training: TrainingReport | None = None  # None: there were no gradient steps


def judge(logits: Array, labels: NDArray[np.int64], weights: NDArray[np.float64]) -> HeldOut:
    """Score logits of shape (n, n_classes); the weights count for the log-loss alone.

    Raises:
        InputError: logits that are no numbers.
    """
    require_finite(logits)
    scores = score(labels, logits.argmax(axis=1), logits.shape[1])
    true = log_softmax(logits)[np.arange(len(labels)), labels]
    log_loss = -float(np.average(true, weights=weights))
    return HeldOut(scores.accuracy or 0.0, scores.macro_f1 or 0.0, log_loss, scores.macro_f1_classes)


def blocks(labels: NDArray[np.int64], n_folds: int) -> NDArray[np.int64]:
    """A fold for each window: every class, in the order of time, is cut into as many blocks as there are folds.

    Args:
        labels: shape (n,), class indices.
        n_folds: at most; fewer where no class has as many windows.

    Returns:
        Shape (n,), the fold of each window, from 0.
    """
    folds = np.zeros(len(labels), np.int64)
    n_folds = max(2, min(n_folds, int(np.bincount(labels).max())))
    for offset, label in enumerate(np.unique(labels)):  # classes of one window must not all share a fold
        rows = np.flatnonzero(labels == label)
        folds[rows] = (np.arange(len(rows)) * n_folds // max(len(rows), n_folds) + offset) % n_folds
    return folds


def doubt(before: HeldOut, after: HeldOut, n: int, n_classes: int) -> str:
    """Why a new version is not to be trusted; empty if nothing speaks against it."""
    if after.macro_f1 < before.macro_f1:
        return f"macro-F1 on held-out labels would fall from {before.macro_f1:.3f} to {after.macro_f1:.3f}"
    if after.log_loss > before.log_loss:
        return f"log-loss on held-out labels would rise from {before.log_loss:.3f} to {after.log_loss:.3f}"
    chance = _chance(round(after.accuracy * n), n, n_classes)
    if chance > GUESSING:
        return (
            f"{after.accuracy:.0%} of {n} held-out labels right is what guessing among {n_classes} gives too "
            f"(probability {chance:.2f}); are the labels right, and enough?"
        )
    return ""


def golden_agreement(base: NDArray[Any], new: NDArray[Any]) -> float:
    """The share of golden windows that keep their class, averaged over the classes that the base gives.

    1 means that all golden windows have the class that they had when the bundle was made; 1 / n_classes is left when
    a version calls everything by one name. Averaged over classes, so that no class is forgotten for another.

    Args:
        base: the shipped logits, shape (n, n_classes).
        new: those of the new version.
    """
    truth, found = base.argmax(axis=1), new.argmax(axis=1)
    return float(np.mean([np.mean(found[truth == label] == label) for label in np.unique(truth)]))


def _chance(right: int, n: int, n_classes: int) -> float:
    """Probability that guessing gets at least so many of n right: the tail of a binomial distribution."""
    p = 1 / n_classes
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(right, n + 1))
