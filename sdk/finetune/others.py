"""What a new activity must leave alone: windows that nobody labelled and that are unlike the marked ones.

A row that is new to the head knows a few windows of its own and nothing of the wearer's others. Where the version in
use does not fit the wearer, it is sure of few of them: hardly anything is kept, and the new row takes them all. So what
the version in use makes of them is kept even where it is unsure, but for those that may be the new activity:

    all windows without labels are taken for others -> a head -> those that look as new as the least new-looking of the
    marked ones does where it is held back are no others -> again
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdk.finetune.head import Array, HeadProblem, log_softmax
from sdk.finetune.judge import blocks, kept_weights
from sdk.finetune.kept import Classes, Kept, over_time

_ROUNDS = 2
_L2_GRID = (0.003, 0.03, 0.3)
_Floats = NDArray[np.float32]
_Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Others:
    """Labelled windows, some of them of a new class, and windows without labels."""

    features: _Floats  # shape (n, n_features), of the labelled windows
    labels: _Rows  # shape (n,)
    weights: Array  # shape (n,)
    rest: _Floats  # shape (m, n_features), of those without labels, in the order of time
    old: Array  # shape (m, n_classes), what the version in use makes of these, as logits of the new version's classes
    classes: Classes
    anchor: tuple[_Floats, _Floats]  # weight and bias that a head is pulled to
    folds: int  # held-out blocks

    def kept_with(self, kept: Kept) -> Kept:
        """What is kept, with windows that are unlike the new activity in place of those that are sure."""
        may_stay = ~np.isin(np.arange(len(self.classes.names)), self.labels)
        may_stay[kept.answers] = True  # labelled, and labels agree
        possible = may_stay[self.old.argmax(axis=1)]
        others = possible
        for _ in range(_ROUNDS):
            chosen, more = self._chosen(others, kept)
            least, look = self._looks(chosen, more)
            others = possible & (look < least)
        return self._chosen(others, kept)[1]

    def _chosen(self, others: NDArray[np.bool_], kept: Kept) -> tuple[_Rows, Kept]:
        """Some of the others of each class, as rows, and together with the golden windows."""
        answers, golden = self.old.argmax(axis=1), slice(kept.own, None)
        rows = [over_time(np.flatnonzero(others & (answers == label))) for label in np.unique(answers)]
        chosen = np.concatenate([np.zeros(0, np.int64), *rows])
        return chosen, Kept(
            np.concatenate([self.rest[chosen], kept.features[golden]]),
            np.concatenate([answers[chosen], kept.answers[golden]]),
            np.concatenate([self.old[chosen], kept.logits[golden]]),
            len(chosen),
        )

    def _looks(self, chosen: _Rows, kept: Kept) -> tuple[float, Array]:
        """How new the least new-looking marked window looks, and each one without a label: held back, or never used."""
        n, folds = len(self.labels), blocks(self.labels, self.folds)
        folds = np.concatenate([folds, blocks(kept.answers, self.folds) % (folds.max() + 1)])
        truth = np.concatenate([self.labels, kept.answers])
        weights = np.concatenate([self.weights, kept_weights(self.labels, self.weights, kept.answers)])
        features = np.concatenate([self.features, kept.features])
        problem = HeadProblem(features, truth, weight=self.anchor[0], bias=self.anchor[1], sample_weights=weights)
        tried = [(problem.held_out_logits(l2, folds), l2) for l2 in _L2_GRID]
        true = [log_softmax(logits)[np.arange(len(truth)), truth] for logits, _ in tried]
        held, l2 = tried[int(np.argmax([np.average(one, weights=weights) for one in true]))]
        fit = problem.fit(l2)
        look = self._novelty(self.rest @ fit.weight.T + fit.bias)
        look[chosen] = self._novelty(held[n : n + len(chosen)])
        new = ~np.isin(self.labels, self.classes.of)
        return float(self._novelty(held[:n][new]).min()), look

    def _novelty(self, logits: Array) -> Array:
        """By how much the most probable new class lies above the most probable old one, shape (n,)."""
        known = np.isin(np.arange(len(self.classes.names)), self.classes.of)
        found: Array = logits[:, ~known].max(axis=1) - logits[:, known].max(axis=1)
        return found
