"""How good predictions are: accuracy, macro-F1 and the confusion matrix, from counts alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Scores:
    """Counts of true against predicted classes, and what follows from them."""

    confusion: NDArray[np.int64]  # shape (n_classes, n_classes), rows are the true classes

    @property
    def n(self) -> int:
        """Number of windows scored."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float | None:
        """Share of windows that are right; None without windows."""
        return float(np.trace(self.confusion) / self.n) if self.n else None

    @property
    def macro_f1(self) -> float | None:
        """Mean over the classes that occur of 2 TP / (2 TP + FP + FN); None without windows.

        A class counts when it is among the true or the predicted ones, as in scikit-learn's `f1_score`.
        """
        right = np.diag(self.confusion)
        total = self.confusion.sum(0) + self.confusion.sum(1)
        present = total > 0
        return float(np.mean(2 * right[present] / total[present])) if self.n else None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "confusion": self.confusion.tolist(),
        }


def score(true: ArrayLike, predicted: ArrayLike, n_classes: int) -> Scores:
    """Compare class indices of shape (n,), each from 0 to n_classes - 1."""
    pairs = np.asarray(true, np.int64) * n_classes + np.asarray(predicted, np.int64)
    return Scores(np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes))
