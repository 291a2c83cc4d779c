"""Hand-made features of windows in NumPy: what the field has always computed, in one recipe for device and workstation.

Per sensor, which is up to three columns side by side, and for each column and their norm:

    mean, log of the spread, log of the mean step from row to row
    seven quantiles, as distances from the mean on a scale that is linear near 0 and logarithmic far away
    log energy in bands of an octave each, of the window without its mean, under a Hann window
    autocorrelation at six lags

and the correlations of all pairs. Three columns give 98 features, in 2.56 s of 50 Hz as of anything else: bands and lags
are shares of the window. Logs have a floor (FLOOR, in the units of normalised windows), far below the sway of a body that
stands still: a gyroscope at rest is told from one that lies on a table. Nothing is learned. `sdk.encoders.hand` is the
same as a torch module, for export.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FLOOR = 1e-3  # of what goes into a log
SENSOR = 3  # columns of one
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_LAGS = (1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 1 / 2)  # of a window
_BATCH = 256  # windows at once: a bound on memory


class Recipe(NamedTuple):
    """What the features of windows of one length are computed with."""

    fourier: Floats  # shape (length_samples, 2 x bins): cosines, then sines, under a Hann window
    bands: tuple[tuple[int, int], ...]  # first bin and the bin after the last one
    lags: tuple[int, ...]  # in rows
    places: tuple[tuple[int, int, float], ...]  # of the quantiles among sorted rows: two neighbours, share of the second


def recipe(length_samples: int) -> Recipe:
    """The recipe for windows of so many rows, at least 8."""
    bins = length_samples // 2
    phase = 2 * np.pi * np.outer(np.arange(length_samples), np.arange(1, bins + 1)) / length_samples
    hann = np.hanning(length_samples + 1)[:-1, None]
    waves = np.concatenate([np.cos(phase), np.sin(phase)], axis=1) * hann / hann.sum()
    edges = [2**k for k in range(bins.bit_length()) if 2**k < bins]
    bands = tuple(zip([edge - 1 for edge in edges], [*(edge - 1 for edge in edges[1:]), bins], strict=True))
    lags = tuple(max(1, round(share * length_samples)) for share in _LAGS)
    places = []
    for quantile in QUANTILES:
        at = quantile * (length_samples - 1)
        low = min(int(at), length_samples - 2)
        places.append((low, low + 1, at - low))
    return Recipe(waves.astype(np.float32), bands, lags, tuple(places))


def sensors(n_channels: int) -> list[slice]:
    """Which columns lie in one sensor: three each, the rest in the last."""
    return [slice(begin, min(begin + SENSOR, n_channels)) for begin in range(0, n_channels, SENSOR)]


def pairs(n_columns: int) -> list[tuple[int, int]]:
    """The pairs of signals whose correlation is a feature."""
    return list(itertools.combinations(range(n_columns), 2))


def hand_features(windows: Floats) -> Floats:
    """The features of normalised windows.

    Args:
        windows: shape (n, length_samples, n_channels), at least 8 rows each.

    Returns:
        Shape (n, n_features), the sensors side by side.
    """
    made = recipe(windows.shape[1])
    parts = [_features(windows[at : at + _BATCH], made) for at in range(0, len(windows), _BATCH)]
    return np.concatenate(parts) if parts else np.zeros((0, _features(windows[:0], made).shape[1]), np.float32)


def _features(windows: Floats, made: Recipe) -> Floats:
    return np.concatenate([_of_sensor(windows[:, :, part], made) for part in sensors(windows.shape[2])], axis=1)


def _of_sensor(columns: Floats, made: Recipe) -> Floats:
    n = len(columns)
    x = np.ascontiguousarray(columns.transpose(0, 2, 1))
    if x.shape[1] > 1:
        x = np.concatenate([x, np.sqrt((x * x).sum(axis=1, keepdims=True))], axis=1)
    mean = x.mean(axis=2, keepdims=True)
    x = x - mean
    power = (x * x).mean(axis=2)
    spread = np.sqrt(power)
    step = np.abs(np.diff(x, axis=2)).mean(axis=2)
    ordered = np.sort(x, axis=2)
    quantiles = [ordered[..., a] * np.float32(1 - share) + ordered[..., b] * np.float32(share) for a, b, share in made.places]
    waves = (x @ made.fourier) ** 2
    bins = waves.shape[2] // 2
    energy = waves[..., :bins] + waves[..., bins:]
    bands = [_log(np.sqrt(energy[..., a:b].sum(axis=2))) for a, b in made.bands]
    floor = np.float32(FLOOR**2)
    length = np.float32(x.shape[2])
    again = [(x[..., lag:] * x[..., :-lag]).sum(axis=2) / length / (power + floor) for lag in made.lags]
    both = [
        (x[:, a] * x[:, b]).mean(axis=1, keepdims=True) / (spread[:, a : a + 1] * spread[:, b : b + 1] + floor)
        for a, b in pairs(x.shape[1])
    ]
    told = [mean[..., 0], _log(spread), _log(step), *(_signed_log(q) for q in quantiles), *bands, *again, *both]
    return np.concatenate(told, axis=1).reshape(n, -1).astype(np.float32)


def _log(values: Floats) -> Floats:
    logs: Floats = np.log(values + np.float32(FLOOR))
    return logs


def _signed_log(values: Floats) -> Floats:
    logs: Floats = np.sign(values) * np.log(np.abs(values) * np.float32(1 / _LINEAR) + 1)
    return logs


_LINEAR = 0.1  # where the scale of the quantiles turns from linear to logarithmic
