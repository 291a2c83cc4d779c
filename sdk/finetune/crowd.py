"""A pool of many people's windows, named by a few labels.

    places -> graph -> labels spread, each class given the same mass -> what each person differs by is taken off, once
           -> spread again -> a name for each window

A person's places lie beside the others' of the same class; by how much is the mean over the classes that this person
seems to have done, one vote each, drawn towards no difference where few windows say so. People who did not do
everything are safe, as they are not where each person's mean is taken off.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdk.finetune.spread import make_graph, spread
from sdk.finetune.teach import shared

_SHRINK = 2.0  # windows that a person is given of each class with no difference at all


def name_crowd(places: NDArray[np.float32], people: NDArray[np.int64], seeds: NDArray[np.float64]) -> NDArray[np.int64]:
    """What each window is called: class indices, shape (n,).

    Args:
        places: shape (n, n_directions), of a `Space`.
        people: shape (n,), whose each window is, any numbers.
        seeds: shape (n, n_classes), 1 at what is known, else 0.
    """
    found = shared(spread(make_graph(places), seeds)).argmax(axis=1)
    moved = places - _offsets(places, found, people)
    named: NDArray[np.int64] = shared(spread(make_graph(moved), seeds)).argmax(axis=1)
    return named


def _offsets(places: NDArray[np.float32], found: NDArray[np.int64], people: NDArray[np.int64]) -> NDArray[np.float32]:
    """By how much each person's windows lie beside the others' of their class: the shape of places."""
    offsets, classes = np.zeros_like(places), np.unique(found)
    means = {k: places[found == k].mean(axis=0) for k in classes}
    for person in np.unique(people):
        own = people == person
        votes = [
            (places[own & (found == k)] - means[k]).sum(axis=0) / (np.count_nonzero(own & (found == k)) + _SHRINK)
            for k in classes
            if np.any(own & (found == k))
        ]
        offsets[own] = np.mean(votes, axis=0)
    return offsets
