"""Rows for a recorder whose content tells their number, and what a store holds of them."""

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

import sdk.demo
from runtime import Bundle, InputError, Prediction, Quality, Store, Window

BUNDLE = Path(sdk.demo.__file__).parent / "data" / "walk.bundle"
EPOCH_S = 1_700_000_000.0
HOP, LENGTH, CHANNELS, HOP_S, WINDOW_S = 64, 128, 6, 1.28, 2.56


@cache
def walk():
    return Bundle.open(BUNDLE)


def pair(k, labels, *, n_labels=None, quality=None):
    """The k-th prediction of a stream, and its window: sample i of the stream is i + channel / 10."""
    label = k // 7 % (n_labels or len(labels))
    share = 0.9, 0.1 / (len(labels) - 1)
    probabilities = tuple(share[i != label] for i in range(len(labels)))
    start_s = k * HOP_S
    prediction = Prediction(
        labels[label], 0.9, probabilities, start_s, start_s + WINDOW_S, quality or Quality(), 0.0, 0.0, 0.0
    )
    return prediction, Window(samples_of(k), start_s, start_s + WINDOW_S, k * HOP)


def samples_of(k):
    rows = np.arange(k * HOP, k * HOP + LENGTH, dtype=np.float32)[:, None]
    return (rows + np.arange(CHANNELS, dtype=np.float32) / 10).astype(np.float32)


def number_of(recorded):
    return round((recorded.start_s - EPOCH_S) / HOP_S)


def size_of(path):
    """Bytes of the store with its log and shared memory."""
    total = 0
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):  # the log may go as we look
            total += os.stat(f"{path}{suffix}").st_size
    return total


def everything(path, *, first_partial=True):
    """The numbers of all predictions in a store, after checking that rows, windows and counts agree."""
    try:
        store = Store(path)
    except InputError as error:  # a kill may come before the first commit
        if "never written to" in str(error) or "no such file" in str(error):
            return []
        raise
    with store:
        if store.span_s is None:
            return []
        span = store.span_s
        rows = list(store.predictions(*span))
        windows = list(store.windows(*span))
        numbers = [number_of(row) for row in rows]
        assert sum(store.counts(*span).values()) == len(rows)
        assert sum(sum(n.values()) for n in store.timeline(*span).values()) == len(rows)
        for window in windows:
            assert (window.data == samples_of(number_of(window))).all()
        missing = {number_of(row) for row in rows} - {number_of(window) for window in windows}
        assert missing <= ({numbers[0]} if first_partial else set())
        return numbers
