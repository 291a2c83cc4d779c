"""From a few labels and many windows without: soft labels for a pool, and the windows that a head is taught with.

    windows -> hand-made features -> space whitened by time -> graph            once
    labels, and what the version in use is sure of -> spread -> soft labels     once per held-out block, and once more

A class without a label is held by the sure answers of the version in use, where labels do not contradict these; else
its windows would be given to those that have labels. A class weighs the same however often it was labelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sdk.finetune.space import fit_space
from sdk.finetune.spread import Floats, Graph, Indices, make_graph, spread

MOST_TAUGHT = 240  # windows that a head is fitted to: a bound on time and memory
_FAR_S = 1e6  # between windows of which nobody knows the time


class Taught(NamedTuple):
    """Windows with soft labels."""

    rows: Indices  # of the pool, shape (m,)
    soft: Floats  # shape (m, n_classes)
    weights: Floats  # shape (m,): each class the same in sum, within a class by confidence


@dataclass(frozen=True)
class Pool:
    """Labelled windows, then those without labels, as places in the space."""

    places: NDArray[np.float32]  # shape (n, n_directions)
    graph: Graph

    @classmethod
    def of(cls, features: NDArray[np.float32], start_s: Floats) -> Pool:
        """The pool of windows in the order of time.

        Args:
            features: shape (n, n_features), n at least 2.
            start_s: shape (n,), seconds; NaN where nobody knows.
        """
        known = np.flatnonzero(np.isfinite(start_s))
        order = known[np.argsort(start_s[known], kind="stable")]
        learned = order if len(order) > 1 else np.arange(len(features))
        times = start_s[learned] if len(order) > 1 else _FAR_S * np.arange(len(features), dtype=np.float64)
        places = fit_space(features[learned], times)(features)
        return cls(places, make_graph(places))

    def soft_labels(self, seeds: Floats) -> Floats:
        """Soft labels, shape (n, n_classes), from seeds of the same shape: what is known of a window, 0 where nothing.

        A class without any seed stays empty.
        """
        flow = spread(self.graph, seeds)
        mass = flow.sum(axis=0)
        flow = flow / np.where(mass > 0, mass, 1)
        some = flow.sum(axis=1, keepdims=True)
        known = (mass > 0) / max(int((mass > 0).sum()), 1)
        return np.where(some > 0, flow / np.where(some > 0, some, 1), known)


def seeds_of(labels: Indices, weights: Floats, n: int, answers: Floats) -> Floats:
    """What is known of the windows of a pool, whose first ones are labelled; shape (n, n_classes).

    Args:
        labels: shape (k,), class indices; -1: held out.
        weights: shape (k,).
        n: windows in the pool.
        answers: shape (n - k, n_classes), 1 where the version in use is sure and is believed; all of a class weigh as
            much as one label.
    """
    seeds = np.zeros((n, answers.shape[1]))
    rows = np.flatnonzero(labels >= 0)
    seeds[rows, labels[rows]] = weights[rows] / weights[rows].mean() if len(rows) else 1.0
    seeds[len(labels) :] = answers / np.maximum(answers.sum(axis=0), 1)
    return seeds


def choose_taught(soft: Floats, first: int, most: int = MOST_TAUGHT) -> Taught:
    """The windows of a pool that a head is fitted to: those of each class spread over time, surer ones weigh more.

    Args:
        soft: shape (n, n_classes).
        first: the first window without a label.
        most: how many at most.
    """
    own, sure = soft.argmax(axis=1), soft.max(axis=1)
    classes = np.unique(own[first:]) if len(soft) > first else np.zeros(0, np.int64)
    rows, weights = [], []
    for label in classes:
        found = first + np.flatnonzero(own[first:] == label)
        n = min(len(found), max(most // len(classes), 1))
        chosen = found[np.linspace(0, len(found) - 1, n).round().astype(int)]
        rows.append(chosen)
        weights.append(sure[chosen] / sure[chosen].sum())
    if not rows:
        return Taught(np.zeros(0, np.int64), soft[:0], np.zeros(0))
    order = np.argsort(np.concatenate(rows), kind="stable")
    chosen = np.concatenate(rows)[order]
    return Taught(chosen, soft[chosen], np.concatenate(weights)[order])
