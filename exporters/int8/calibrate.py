"""Calibration: from windows to the range that each value's 255 integers are spread over.

    minmax        the largest absolute value
    percentile    all but a few of the largest: outliers saturate, the rest is finer
    entropy       the range whose 128 steps tell the most of the distribution (Kullback-Leibler; Migacz, GTC 2017)

Zeros count in none of them: 0 is an integer whatever the range, and half of what leaves a ReLU is 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, get_args

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from runtime.bundle.graph_bytes import with_output
from runtime.engine.ort import open_session
from runtime.errors import InputError

RangeMethod = Literal["minmax", "percentile", "entropy"]
RANGE_METHODS: Final[tuple[RangeMethod, ...]] = get_args(RangeMethod)
BINS = 2048
_STEPS = 128  # integers of one sign, with 0
_BATCH = 16


def value_ranges(
    model: bytes, inputs: NDArray[np.float32], names: Sequence[str], method: RangeMethod, percentile: float
) -> dict[str, float]:
    """The range of values inside a graph; 0 for one that is always 0.

    Args:
        model: ONNX, with one input.
        inputs: what the graph takes, shape (n, ...).
        names: of float32 values of the graph.
        method: see above.
        percentile: 0 to 100, for the method of this name.

    Raises:
        InputError: some of them overflow inside the graph.
    """
    for name in names:
        model = with_output(model, name)
    session = open_session(model)
    largest = dict.fromkeys(names, 0.0)
    for values in _values(session, inputs, names):
        for name, value in values.items():
            largest[name] = max(largest[name], float(np.abs(value).max(initial=0)))
    beyond = [name for name, value in largest.items() if not np.isfinite(value)]
    if beyond:
        raise InputError(
            "calibration windows",
            expected="windows for which the model computes with finite numbers",
            got=f"some for which {beyond[0]} is none",
            fix="Leave those out whose samples no sensor gives.",
        )
    if method == "minmax":
        return largest
    counts = {name: np.zeros(BINS, np.int64) for name in names}
    for values in _values(session, inputs, names):
        for name, value in values.items():
            if largest[name] > 0:
                counts[name] += np.histogram(np.abs(value[value != 0]), BINS, (0, largest[name]))[0]
    if method == "percentile":
        return {name: percentile_range(counts[name], largest[name], percentile) for name in names}
    return {name: entropy_range(counts[name], largest[name]) for name in names}


def _values(
    session: onnxruntime.InferenceSession, inputs: NDArray[np.float32], names: Sequence[str]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    name = session.get_inputs()[0].name
    for at in range(0, len(inputs), _BATCH):
        yield dict(zip(names, session.run(list(names), {name: inputs[at : at + _BATCH]}), strict=True))


def percentile_range(counts: NDArray[np.int64], largest: float, percentile: float) -> float:
    """The upper edge of the bin in which so many percent are reached.

    Args:
        counts: shape (n_bins,), histogram of absolute values between 0 and `largest`.
        largest: of the absolute values.
        percentile: 0 to 100.
    """
    reached = np.cumsum(counts)
    at = int(np.searchsorted(reached, percentile / 100 * reached[-1]))
    return largest * min(at + 1, len(counts)) / len(counts)


def entropy_range(counts: NDArray[np.int64], largest: float, steps: int = _STEPS) -> float:
    """The range at which the distribution in `steps` steps differs least from the distribution itself.

    For each number of bins from `steps` on: what lies beyond is put into the last bin; the bins are merged into steps
    and each step is spread evenly over those of its bins that are not empty.

    Args:
        counts: shape (n_bins,), histogram of absolute values between 0 and `largest`.
        largest: of the absolute values.
        steps: integers of one sign.
    """
    if not counts.any():
        return largest
    best, at = np.inf, len(counts)
    for n in range(steps, len(counts) + 1):
        divergence = _divergence(counts, n, steps)
        if divergence < best:
            best, at = divergence, n
    return largest * at / len(counts)


def _divergence(counts: NDArray[np.int64], n: int, steps: int) -> float:
    inside = counts[:n].astype(np.float64)
    if not inside.any():
        return float("inf")
    true = inside.copy()
    true[-1] += counts[n:].sum()
    edges = np.arange(steps) * n // steps
    filled = np.add.reduceat((inside > 0).astype(np.float64), edges)
    level = np.add.reduceat(inside, edges) / np.maximum(filled, 1)
    coarse = np.where(inside > 0, np.repeat(level, np.diff([*edges, n])), 0)
    seen = true > 0
    p, q = true[seen] / true.sum(), np.maximum(coarse[seen] / coarse.sum(), 1e-9)
    return float((p * np.log(p / q)).sum())
