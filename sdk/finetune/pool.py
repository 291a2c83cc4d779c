"""The wearer's own days out of a store: windows without labels, all of them or so many as cover what there is.

    up to MOST windows          all
    more                        stretches of windows in a row, so that changes within seconds can be seen; a quarter
                                of an hour gets as many as it holds of what is rare in the store

Marked windows are labelled ones and do not come along.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.errors import OneLine
from runtime.recorder import Store

MOST = 5000  # windows: a bound on time and memory
_STRETCH = 8  # windows in a row
_QUARTER_S = 900.0
_EDGE_S = 1e-6


@dataclass(frozen=True, repr=False)
class Days(OneLine):
    """Windows without labels, in the order of time."""

    windows: NDArray[np.float32]  # shape (n, *window_shape)
    start_s: NDArray[np.float64]  # shape (n,), Unix seconds
    recorded: int  # windows that there are in the store


def read_days(path: str | Path, bundle: Bundle, most: int = MOST, *, marked: bool = False) -> Days:
    """The windows of a store that have no mark.

    Args:
        path: the store.
        bundle: of the model.
        most: windows to read at most.
        marked: those with a mark too.

    Raises:
        InputError: no store, or one of another signal or window; a damaged file.
    """
    with Store(path) as store:
        store.check_fits(bundle.manifest)
        span_s = store.span_s or (0.0, 0.0)
        starts_s = store.starts_us(*span_s) / 1e6
        spans = [] if marked else store.spans()
        windows: list[NDArray[np.float32]] = []
        at_s: list[float] = []
        for first_s, last_s in _stretches(store, starts_s, most):
            for entry in store.windows(first_s - _EDGE_S, last_s + store.window_s + _EDGE_S):
                end_s = entry.start_s + store.window_s
                told = any(span.start_s - _EDGE_S <= entry.start_s and end_s <= span.end_s + _EDGE_S for span in spans)
                if not told and len(windows) < most and entry.data.shape == bundle.manifest.window_shape:
                    windows.append(entry.data)
                    at_s.append(entry.start_s)
    shaped = np.stack(windows) if windows else np.zeros((0, *bundle.manifest.window_shape), np.float32)
    return Days(shaped, np.array(at_s), len(starts_s))


def _stretches(store: Store, starts_s: NDArray[np.float64], most: int) -> list[tuple[float, float]]:
    """First and last start of the windows to read, in the order of time; none overlap."""
    if len(starts_s) <= most:
        return [(float(starts_s[0]), float(starts_s[-1]))] if len(starts_s) else []
    counts = store.timeline(float(starts_s[0]), float(starts_s[-1]) + _QUARTER_S)
    total: Counter[str] = Counter()
    for found in counts.values():
        total.update(found)
    wanted = {at: sum(n / total[label] for label, n in found.items()) / len(total) for at, found in counts.items()}
    stretches = []
    for at_s, share in sorted(wanted.items()):
        rows = np.flatnonzero((starts_s >= at_s) & (starts_s < at_s + _QUARTER_S))
        n = min(int(share * most) // _STRETCH + 1, len(rows) // _STRETCH)
        for first in np.linspace(0, len(rows) // _STRETCH - 1, n).round().astype(int) if n else ():
            part = rows[first * _STRETCH : (first + 1) * _STRETCH]
            stretches.append((float(starts_s[part[0]]), float(starts_s[part[-1]])))
    keep = np.linspace(0, len(stretches) - 1, min(len(stretches), most // _STRETCH)).round().astype(int)
    return [stretches[i] for i in keep]
