"""How good predictions are: accuracy, macro-F1 and the confusion matrix.

Macro-F1 is the mean of 2 TP / (2 TP + FP + FN) over the classes that are among the true or the predicted ones, as
scikit-learn's `f1_score` has it. So it is a mean over fewer classes where some have no windows, and one that is
predicted but never true counts 0: two values are comparable where they are over the same classes. How many there were
is said wherever it stands: `macro-F1 0.975 over 5 of 6 classes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.bundle import Bundle
from runtime.engine import open_engine
from runtime.errors import InputError
from runtime.window import LabelledWindows

_BATCH = 64


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
        """As defined above; None without windows."""
        right = np.diag(self.confusion)
        total = self.confusion.sum(0) + self.confusion.sum(1)
        present = total > 0
        return float(np.mean(2 * right[present] / total[present])) if self.n else None

    @property
    def macro_f1_classes(self) -> int:
        """Over how many classes macro-F1 is the mean."""
        return int(np.count_nonzero(self.confusion.sum(0) + self.confusion.sum(1)))

    @property
    def over(self) -> str:
        """What to write behind a macro-F1: `over 5 of 6 classes`."""
        true, n_classes = int(np.count_nonzero(self.confusion.sum(1))), len(self.confusion)
        return over_classes(self.macro_f1_classes, n_classes, never_true=self.macro_f1_classes - true)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "macro_f1_classes": self.macro_f1_classes,
            "confusion": self.confusion.tolist(),
        }


def over_classes(classes: int, n_classes: int, *, never_true: int = 0) -> str:
    """What to write behind a macro-F1: `over 5 of 6 classes`.

    Args:
        classes: it is the mean over so many.
        n_classes: that the model has.
        never_true: of `classes`, those that are only predicted and hence count 0.
    """
    zeros = f", {never_true} of them never true" if never_true else ""
    return f"over {classes} of {n_classes} classes{zeros}"


class Tally:
    """Collects predictions whose true label is one of the model's, as they come."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = list(labels)
        self._true: list[int] = []
        self._predicted: list[int] = []

    def add(self, predicted: str, true: str | None) -> None:
        """Count one prediction; without a true label, or with one that the model does not have, it is left out."""
        if predicted not in self._labels:  # of a version that came into use meanwhile
            self._labels.append(predicted)
        if true in self._labels:
            self._true.append(self._labels.index(true))
            self._predicted.append(self._labels.index(predicted))

    def scores(self) -> Scores:
        """Scores of all that was counted so far."""
        return score(self._true, self._predicted, len(self._labels))


def score(true: ArrayLike, predicted: ArrayLike, n_classes: int) -> Scores:
    """Compare class indices of shape (n,), each from 0 to n_classes - 1."""
    pairs = np.asarray(true, np.int64) * n_classes + np.asarray(predicted, np.int64)
    return Scores(np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes))


def score_bundle(bundle: Bundle, windows: LabelledWindows) -> Scores:
    """Run a bundle over labelled windows and compare.

    Raises:
        InputError: for some of them its answer is no number.
    """
    engine = open_engine(bundle)
    batches = (windows.samples[i : i + _BATCH] for i in range(0, len(windows.samples), _BATCH))
    answers = (require_finite(engine.run(batch)) for batch in batches)
    predicted = np.concatenate([np.zeros(0, np.int64), *(logits.argmax(axis=1) for logits in answers)])
    engine.close()
    return score(windows.labels, predicted, len(bundle.manifest.labels))


def require_finite(answers: NDArray[Any]) -> NDArray[Any]:
    """What a model gave for windows, shape (n, ...), if all of it are numbers: of others no class can be told.

    Raises:
        InputError: some are not.
    """
    bad = ~np.isfinite(answers).all(axis=tuple(range(1, answers.ndim)))
    if bad.any():
        raise InputError(
            "windows",
            expected="samples for which the model's answers are finite numbers",
            got=f"{int(bad.sum())} of {len(answers)} windows for which they are not",
            fix="Leave out samples that no sensor gives.",
        )
    return answers
