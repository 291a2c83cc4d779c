"""Light changes of a window that leave its activity as it is, to be drawn anew in every step.

jitter     white noise, 5 % of each channel's spread
scale      each modality times a factor near 1 (spread 10 %)
rotate     every modality of three axes turned by up to 20 degrees about one random axis: a sensor worn askew
time_warp  the clock runs up to a fifth faster or slower in smooth waves; start and end stay
permute    four pieces of the window in another order

The first four are of "Data Augmentation of Wearable Sensor Data for Parkinson's Disease Monitoring using Convolutional
Neural Networks" (Um et al., 2017), as is permute; the strengths are ours. Units do not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.specs import Signal

Windows = NDArray[np.float32]  # shape (n, length_samples, n_channels)
Augmentation = Callable[[Windows, Signal, np.random.Generator], Windows]

JITTER, SCALE, TILT_DEG, WARP, PIECES = 0.05, 0.1, 20.0, 0.2, 4


def augment(names: Sequence[str], windows: Windows, signal: Signal, rng: np.random.Generator) -> Windows:
    """New windows with the named changes, one after the other; the given ones stay as they are.

    Args:
        names: of AUGMENTATIONS.
        windows: shape (n, length_samples, n_channels).
        signal: whose modalities share the channels.
        rng: what the changes are drawn from.
    """
    for name in names:
        windows = AUGMENTATIONS[name](windows, signal, rng)
    return np.ascontiguousarray(windows, np.float32)


def jitter(windows: Windows, signal: Signal, rng: np.random.Generator) -> Windows:
    """Add noise to windows, shape (n, length_samples, n_channels), in proportion to each channel's spread."""
    spread = windows.std(axis=(0, 1))
    noisy: Windows = windows + JITTER * spread * rng.standard_normal(windows.shape, np.float32)
    return noisy


def scale(windows: Windows, signal: Signal, rng: np.random.Generator) -> Windows:
    """Multiply each modality of each of the windows, shape (n, length_samples, n_channels), by one factor."""
    factors = 1 + SCALE * rng.standard_normal((len(windows), len(signal.modalities)), np.float32)
    widths = [len(modality.channels) for modality in signal.modalities]
    scaled: Windows = windows * np.repeat(factors, widths, axis=1)[:, None, :]
    return scaled


def rotate(windows: Windows, signal: Signal, rng: np.random.Generator) -> Windows:
    """Turn every modality of three axes, those of one window by the same rotation: they sit in one case.

    Windows have the shape (n, length_samples, n_channels).
    """
    turns = _rotations(len(windows), rng)
    turned: Windows = windows.copy()
    begin = 0
    for modality in signal.modalities:
        end = begin + len(modality.channels)
        if end - begin == 3:
            turned[:, :, begin:end] = windows[:, :, begin:end] @ turns
        begin = end
    return turned


def _rotations(n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rotation matrices, shape (n, 3, 3), from unit quaternions: a uniform axis, an angle of up to TILT_DEG."""
    axes = rng.standard_normal((n, 3))
    half = np.deg2rad(rng.uniform(0, TILT_DEG, n)) / 2
    x, y, z = (axes / np.linalg.norm(axes, axis=1, keepdims=True) * np.sin(half)[:, None]).T
    w = np.cos(half)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrices: NDArray[np.float32] = np.moveaxis(np.array(rows, np.float32), 2, 0)
    return matrices


def time_warp(windows: Windows, signal: Signal, rng: np.random.Generator) -> Windows:
    """Read each of the windows, shape (n, length_samples, n_channels), by a clock of uneven speed."""
    length = windows.shape[1]
    place = np.linspace(0, 1, length)
    warped = np.empty_like(windows)
    for i, window in enumerate(windows):
        waves = np.mean(
            [rng.uniform(-1, 1) * np.cos(np.pi * k * place + rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3)], axis=0
        )
        clock = np.concatenate([[0.0], np.cumsum(1 + WARP * waves[1:])])
        at = clock / clock[-1] * (length - 1) if length > 1 else clock
        low = np.minimum(at.astype(int), max(length - 2, 0))
        share = (at - low).astype(np.float32)[:, None]
        warped[i] = window[low] * (1 - share) + window[np.minimum(low + 1, length - 1)] * share
    return warped


def permute(windows: Windows, signal: Signal, rng: np.random.Generator) -> Windows:
    """Cut each of the windows, shape (n, length_samples, n_channels), into pieces and put these in a random order."""
    pieces = np.array_split(np.arange(windows.shape[1]), PIECES)
    order = [np.concatenate([pieces[i] for i in rng.permutation(PIECES)]) for _ in windows]
    return np.take_along_axis(windows, np.array(order)[:, :, None], axis=1)


AUGMENTATIONS: dict[str, Augmentation] = {f.__name__: f for f in (jitter, scale, rotate, time_warp, permute)}
