"""From a few labels and many windows without: soft labels for a pool, and the windows that a head is taught with.

    windows -> hand-made features -> space whitened by time -> graph            once
    labels, and what the version in use is sure of -> spread -> soft labels     once per held-out block, and once more

A class without a label is held by the sure answers of the version in use, where labels do not contradict these; else
its windows would be given to those that have labels. A class weighs the same however often it was labelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdk.finetune.clusters import clusters
from sdk.finetune.sample import Indices
from sdk.finetune.space import fit_space
from sdk.finetune.spread import Floats, Neighbours, make_graph, spread

MOST_TAUGHT = 1000  # windows without labels that a head is fitted to: a bound on time
MOST_SPANNED = 240  # of them, from whose features the directions are made in which it may differ: a bound on memory
_PER_CLUSTER = 5  # of them, where windows lie close together
_FAR_S = 1e6  # between windows of which nobody knows the time


@dataclass(frozen=True)
class Pool:
    """Labelled windows, then those without labels, as places in the space."""

    places: NDArray[np.float32]  # shape (n, n_directions)
    graph: Neighbours

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
        return shared(spread(self.graph, seeds))

    def cover(self, first: int, most: int) -> Indices:
        """Windows that stand for all from `first` on, at most so many: rows, shape (k,), rising. No label is used."""
        n = len(self.places) - first
        if n <= most:
            return first + np.arange(n)
        k = max(most // _PER_CLUSTER, 1)
        own, centres = clusters(self.places[first:], k, np.ones(n), starts=1)
        far = ((self.places[first:] - centres[own]) ** 2).sum(axis=1)
        order = np.lexsort((far, own))
        place = np.arange(n) - np.searchsorted(own[order], own[order])  # 0 for the nearest to its centre
        return first + np.sort(order[place < _PER_CLUSTER])


def shared(flow: Floats) -> Floats:
    """Flow, shape (n, n_classes), as soft labels: each class given the same mass, then rows that sum to 1."""
    mass = flow.sum(axis=0)
    flow = flow / np.where(mass > 0, mass, 1)
    some = flow.sum(axis=1, keepdims=True)
    known = (mass > 0) / max(int((mass > 0).sum()), 1)
    return np.where(some > 0, flow / np.where(some > 0, some, 1), known)


def named(soft: Floats) -> Floats:
    """Soft labels, shape (n, n_classes), as one name each: a head that is taught doubt learns it."""
    names: Floats = np.eye(soft.shape[1])[soft.argmax(axis=1)]
    return names


def evenly(soft: Floats) -> Floats:
    """Weights of windows with soft labels, shape (n,), that sum to 1: each class the same, the surer ones more."""
    own, sure = soft.argmax(axis=1), soft.max(axis=1)
    mass = np.bincount(own, sure, soft.shape[1])
    weights: Floats = sure / mass[own] / max(int((mass > 0).sum()), 1)
    return weights
