"""Which windows a step sees: few per class, every class equally often, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.specs import Signal
from sdk.augment import Windows, augment

Indices = NDArray[np.int64]  # of windows among all, shape (n,)
Activations = NDArray[np.float32]  # shape (n, *cut_shape)


def few_shot(labels: NDArray[np.int64], per_class: int, rng: np.random.Generator) -> Indices:
    """Places of a few windows of every class that occurs, in the order of time.

    Args:
        labels: shape (n,), class indices.
        per_class: so many of each, or all where there are fewer.
        rng: what they are drawn from.

    Returns:
        Shape (k,), rising.
    """
    rows = [rng.permutation(np.flatnonzero(labels == label))[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(rows))


def epoch(labels: NDArray[np.int64], batch: int, balanced: bool, rng: np.random.Generator) -> Iterator[Indices]:
    """Batches of rows that have as many rows as there are labels in all.

    Args:
        labels: shape (n,).
        batch: rows per batch; the last one may have fewer.
        balanced: deal out the classes in turn, each from its own shuffled pile that is shuffled again when it is used
            up; otherwise every row comes once.
        rng: advances by the same draws for the same arguments.
    """
    order = _dealt(labels, rng) if balanced else rng.permutation(len(labels))
    for begin in range(0, len(order), batch):
        yield order[begin : begin + batch]


def _dealt(labels: NDArray[np.int64], rng: np.random.Generator) -> Indices:
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    turns = -(-len(labels) // len(classes))
    piles = [np.concatenate([rng.permutation(rows) for _ in range(-(-turns // len(rows)))])[:turns] for rows in classes]
    rounds = [rng.permutation(row) for row in np.array(piles).T]  # one window of each class, in random order
    return np.concatenate(rounds)[: len(labels)]


class ActivationSource(Protocol):
    """Where the activations at the cut come from."""

    def __call__(self, rows: Indices, rng: np.random.Generator) -> Activations:
        """The activations of some windows, shape (len(rows), *cut_shape)."""


def cached(activations: Activations) -> ActivationSource:
    """Activations, shape (n, *cut_shape), that were computed once: the frozen layers see each window a single time."""
    return lambda rows, rng: activations[rows]


def augmented(
    windows: Windows, names: Sequence[str], signal: Signal, prefix: Callable[[Windows], Activations]
) -> ActivationSource:
    """Windows that are changed anew in every step, and then go through the frozen layers again.

    Args:
        windows: shape (n, length_samples, n_channels).
        names: of the changes, see `augment`.
        signal: whose modalities share the channels.
        prefix: from windows to activations, shape (n, *cut_shape).
    """
    return lambda rows, rng: prefix(augment(names, windows[rows], signal, rng))
