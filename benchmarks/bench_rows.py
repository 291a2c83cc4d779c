"""Microseconds per pushed row with time stamps against numpy.interp over the whole.

Ours: `Windower.push` of 1, 16 or 128 rows with their stamps, six channels at 49.3 Hz for a model of 50 Hz: checked, put
in order, its rate measured, read at the model's beat, cut into windows. The peer: one `numpy.interp` per channel over
all of it at once, which knows nothing of gaps, rates or pieces. The rows of our windows are the peer's.
"""

from __future__ import annotations

import numpy as np

from benchmarks._bench import Options, Result, interleave, ratio
from runtime import Modality, Signal, Windower, WindowSpec

RATE_HZ, SOURCE_HZ = 50.0, 49.3
SIZES = (1, 16, 128)
SIGNAL = Signal(
    tuple(Modality(name, unit, ("x", "y", "z"), RATE_HZ) for name, unit in (("acc", "m/s^2"), ("gyro", "rad/s")))
)
WINDOW = WindowSpec(128, 64)


def run(options: Options) -> Result:
    """Measure the sizes of pushes."""
    result, n = Result("rows"), 2048
    rows = np.random.default_rng(0).normal(size=(n, 6)).astype(np.float32)
    t = np.arange(n) / SOURCE_HZ
    beat = np.arange(int(t[-1] * RATE_HZ) + 1) / RATE_HZ
    columns = [np.ascontiguousarray(column) for column in rows.T]
    candidates = {f"push{size}": lambda size=size: _pushed(rows, t, size) for size in SIZES}
    candidates["interp"] = lambda: [np.interp(beat, t, column) for column in columns]
    seconds = interleave(candidates, rounds=6 if options.quick else 60, calls=1)
    result.figures["us_per_row"] = {size: float(np.median(seconds[f"push{size}"])) / n * 1e6 for size in SIZES}
    result.figures["us_per_row_interp"] = float(np.median(seconds["interp"])) / n * 1e6
    expected = np.stack([np.interp(beat, t, column) for column in columns], axis=1)
    for size in SIZES:
        name = f"push{size}_vs_interp"
        result.ratios[name], result.ratios[f"{name}_spread"] = ratio(seconds[f"push{size}"], seconds["interp"])
        result.checks[f"answers_{size}"] = _are_those_of(_pushed(rows, t, size), expected)
    return result


def _pushed(rows: np.ndarray, t: np.ndarray, size: int) -> list:
    windower, windows = Windower(SIGNAL, WINDOW), []
    for begin in range(0, len(rows), size):
        windows += windower.push(rows[begin : begin + size], t[begin : begin + size])
    return windows + windower.flush()


def _are_those_of(windows: list, expected: np.ndarray) -> bool:
    """Whether these are the windows of the rows expected; a sample within 20 us of the beat is the row."""
    starts = range(0, len(expected) - WINDOW.length_samples + 1, WINDOW.hop_samples)
    return len(windows) == len(starts) and all(
        np.allclose(window.samples, expected[i : i + WINDOW.length_samples], rtol=0, atol=6e-3)
        for window, i in zip(windows, starts, strict=True)
    )
