"""Hand-made features of windows in NumPy: what the field has always computed, in one recipe for device and workstation.

Per sensor, which is up to three columns side by side, and for each column and their norm:

    mean, log of the spread, log of the mean step from row to row
    seven quantiles, as distances from the mean on a scale that is linear near 0 and logarithmic far away
    log energy in bands of an octave each, of the window without its mean, under a Hann window
    autocorrelation at six lags

and the correlations of all pairs. Three columns give 98 features in windows of 128 rows: bands and lags are shares of
the window. Logs have a floor (FLOOR, in the units of normalised windows), far below the sway of a body that stands
still: a gyroscope that somebody wears is told from one on a table. Nothing is learned. `sdk.encoders.hand` is the same
as a torch module, for export.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FLOOR = 1e-3  # of what goes into a log
LINEAR = 0.1  # where the scale of the quantiles turns from linear to logarithmic
SENSOR = 3  # columns of one
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_LAGS = (1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 1 / 2)  # of a window
_BATCH = 256  # windows at once: a bound on memory


class Recipe(NamedTuple):
    """What the features of windows of one length are computed with; all float32."""

    fourier: Floats  # shape (length_samples, 2 x bins): cosines, then sines, under a Hann window
    bands: Floats  # shape (bins, n_bands): 1 where a bin lies in a band
    waves: Floats  # shape (bins, n_lags): cosines, from energies to the autocorrelation at a lag
    quantiles: Floats  # shape (length_samples, n_quantiles): from sorted rows to quantiles


def recipe(length_samples: int) -> Recipe:
    """The recipe for windows of so many rows, at least 8."""
    bins, rows = length_samples // 2, np.arange(length_samples)
    turn = 2 * np.pi / length_samples
    phase = turn * np.outer(rows, np.arange(1, bins + 1))
    hann = np.sin(np.pi * (rows + 0.5) / length_samples)[:, None] ** 2
    fourier = np.concatenate([np.cos(phase), np.sin(phase)], axis=1) * hann / hann.sum()
    octave = np.floor(np.log2(np.arange(1, bins + 1)) + 1e-9).astype(int)
    bands = np.eye(octave.max() + 1)[octave]
    lags = [max(1, round(share * length_samples)) for share in _LAGS]
    waves = np.cos(turn * np.outer(np.arange(1, bins + 1), lags))
    quantiles = np.zeros((length_samples, len(QUANTILES)))
    for column, quantile in enumerate(QUANTILES):
        low = min(int(quantile * (length_samples - 1)), length_samples - 2)
        share = quantile * (length_samples - 1) - low
        quantiles[low, column], quantiles[low + 1, column] = 1 - share, share
    return Recipe(*(part.astype(np.float32) for part in (fourier, bands, waves, quantiles)))


def pairs(n_signals: int) -> list[tuple[int, int]]:
    """The pairs of signals whose correlation is a feature."""
    return list(itertools.combinations(range(n_signals), 2))


def hand_features(windows: Floats) -> Floats:
    """The features of normalised windows.

    Args:
        windows: shape (n, length_samples, n_channels), at least 8 rows each.

    Returns:
        Shape (n, n_features), the sensors side by side.
    """
    made = recipe(windows.shape[1])
    parts = [_features(windows[at : at + _BATCH], made) for at in range(0, max(len(windows), 1), _BATCH)]
    return np.concatenate(parts)


def _features(windows: Floats, made: Recipe) -> Floats:
    columns = range(0, windows.shape[2], SENSOR)
    return np.concatenate([_of_sensor(windows[:, :, at : at + SENSOR], made) for at in columns], axis=1)


def _of_sensor(columns: Floats, made: Recipe) -> Floats:
    x = np.ascontiguousarray(columns.transpose(0, 2, 1))
    n, width, length = x.shape
    if width > 1:
        x = np.concatenate([x, np.sqrt((x * x).sum(axis=1, keepdims=True))], axis=1)
    mean = x.mean(axis=2, keepdims=True)
    x = x - mean
    spread = np.sqrt((x * x).mean(axis=2, keepdims=True))
    step = np.abs(np.diff(x, axis=2)).mean(axis=2, keepdims=True)
    turns = (x @ made.fourier) ** 2
    energy = turns[..., : len(made.waves)] + turns[..., len(made.waves) :]
    logs = np.log(np.concatenate([spread, step, np.sqrt(energy @ made.bands)], axis=2) + np.float32(FLOOR))
    ordered = np.sort(x, axis=2) @ made.quantiles
    ordered = np.sign(ordered) * np.log(np.abs(ordered) / np.float32(LINEAR) + 1)
    again = energy @ made.waves / (energy.sum(axis=2, keepdims=True) + np.float32(FLOOR**2))
    told = [np.concatenate([mean, logs, ordered, again], axis=2).reshape(n, -1)]
    if width > 1:
        both = x @ x.transpose(0, 2, 1) / np.float32(length)
        both /= spread @ spread.transpose(0, 2, 1) + np.float32(FLOOR**2)
        first, second = zip(*pairs(x.shape[1]), strict=True)
        told.append(both[:, first, second])
    features: Floats = np.concatenate(told, axis=1)
    return features
