"""The marked stretches of a store as a recording with labels."""

from __future__ import annotations

import numpy as np

from runtime.errors import InputError
from runtime.recorder.store import Store
from runtime.recording import UNLABELLED, Recording


def labelled_recording(store: Store) -> Recording:
    """The marked stretches of a store, with a label for each sample and Unix seconds as times.

    The samples of the windows that the ends cut are there too, without a label.

    Raises:
        InputError: nothing marked, no samples kept, modalities of several rates.
    """
    spans = store.spans()
    pieces = [piece for ends in _stretches(store) for piece in store.samples(*ends)] if store.is_even else []
    if not pieces:
        raise InputError(
            store.path,
            expected="marks, and the samples of windows of one rate",
            got=f"{len(spans)} marked spans without",
            fix="Mark what was recorded; sdk.finetune takes stores with several rates as they are.",
        )
    t = np.concatenate([piece.start_s + np.arange(len(piece.data)) / store.rate_hz for piece in pieces])
    names = tuple(sorted({span.label for span in spans}))
    labels = np.full(len(t), UNLABELLED, np.int16)
    for span in spans:
        labels[(t >= span.start_s - 1e-6) & (t < span.end_s - 1e-6)] = names.index(span.label)
    samples = np.concatenate([piece.data for piece in pieces])
    return Recording(samples, store.channels, store.rate_hz, t, labels, names, name=str(store.path))


def _stretches(store: Store) -> list[tuple[float, float]]:
    """The marked spans, each with a window before and after it; those that then touch are one."""
    found: list[tuple[float, float]] = []
    for span in store.spans():
        start_s, end_s = span.start_s - store.window_s, span.end_s + store.window_s
        if found and start_s <= found[-1][1]:
            start_s = found.pop()[0]
        found.append((start_s, end_s))
    return found
