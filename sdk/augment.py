"""Changes of a window that leave its activity as it is: another body, device or day. Drawn anew in every step.

jitter     white noise, 5 % of each channel's spread
scale      each modality times a factor near 1 (spread 10 %)
rotate     every sensor turned by up to 20 degrees about one random axis: worn askew
tilt       the same by up to 15 degrees about a horizontal axis, where a frame has made z up
yaw        the same by any angle about z: all that a frame leaves open
anyhow     the same by any angle about any axis
mirror     every other window: left and right, S = diag(1, -1, 1)
drop       every fifth window: no gyroscope, its columns are 0
lowpass    every other window: twice the mean of three neighbours, as a slower sensor sees
speed      the same motion up to 15 % faster or slower
time_warp  the clock runs up to a fifth faster or slower in smooth waves; start and end stay
permute    four pieces of the window in another order

jitter, scale, rotate, time_warp and permute are of "Data Augmentation of Wearable Sensor Data for Parkinson's Disease
Monitoring using Convolutional Neural Networks" (Um et al., 2017); the strengths are ours.

The sensors are on one rigid body. A rotation turns every sensor of three axes alike. In a mirror, positions become S p
and orientations S R S; so accelerations become S a, but rates of rotation -S w, as they are turns and no arrows; and
the magnetic field of the earth S m, for the mirror that stands along it. In a motion s times as fast, w becomes s w,
and of the acceleration what is not gravity s^2 a; gravity is taken to be the window's mean. An accelerometer is what is
in m/s^2, a gyroscope what is in rad/s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.specs import Modality, Signal

Windows = NDArray[np.float32]  # shape (n, length_samples, n_channels)
Augmentation = Callable[[Windows, Signal, np.random.Generator], Windows]

JITTER, SCALE, ASKEW_DEG, WARP, PIECES = 0.05, 0.1, 20.0, 0.2, 4
TILT_DEG, MIRRORED, DROPPED, SMOOTHED, SPEED = 15.0, 0.5, 0.2, 0.5, 0.15
_ACCELERATION, _ROTATION_RATE = "m/s^2", "rad/s"
_MIRROR = np.array([1, -1, 1], np.float32)


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
    """Turn windows, shape (n, length_samples, n_channels), by up to ASKEW_DEG about any axis."""
    return _turned(windows, signal, _rotations(_axes(len(windows), rng), ASKEW_DEG, rng))


def tilt(windows: Windows, signal: Signal, rng: np.random.Generator) -> Windows:
    """Turn windows, shape (n, length_samples, n_channels), by up to TILT_DEG about a horizontal axis."""
    around = rng.uniform(0, 2 * np.pi, len(windows))
    level = np.stack([np.cos(around), np.sin(around), np.zeros(len(windows))], 1)
    return _turned(windows, signal, _rotations(level, TILT_DEG, rng))


def yaw(windows: Windows, signal: Signal, rng: np.random.Generator) -> Windows:
    """Turn windows, shape (n, length_samples, n_channels), by any angle about z."""
    up = np.tile([0.0, 0.0, 1.0], (len(windows), 1))
    return _turned(windows, signal, _rotations(up, 360.0, rng))


def anyhow(windows: Windows, signal: Signal, rng: np.random.Generator) -> Windows:
    """Turn windows, shape (n, length_samples, n_channels), by uniform rotations."""
    quaternions = rng.standard_normal((len(windows), 4))
    return _turned(windows, signal, _matrices(quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)))


def mirror(windows: Windows, signal: Signal, rng: np.random.Generator) -> Windows:
    """Mirror some windows, shape (n, length_samples, n_channels)."""
    signs = np.ones(windows.shape[2], np.float32)
    for modality, columns in _triples(signal):
        signs[columns] = -_MIRROR if modality.unit == _ROTATION_RATE else _MIRROR
    return np.where(_some(windows, MIRRORED, rng), windows * signs, windows)


def drop(windows: Windows, signal: Signal, rng: np.random.Generator) -> Windows:
    """Silence the gyroscopes of some windows, shape (n, length_samples, n_channels)."""
    kept = np.ones(windows.shape[2], np.float32)
    for modality, columns in _triples(signal):
        kept[columns] = modality.unit != _ROTATION_RATE
    return np.where(_some(windows, DROPPED, rng), windows * kept, windows)


def lowpass(windows: Windows, signal: Signal, rng: np.random.Generator) -> Windows:
    """Smooth some windows, shape (n, length_samples, n_channels); the ends count twice."""
    smooth = windows
    for _ in range(2):
        wide = np.concatenate([smooth[:, :1], smooth, smooth[:, -1:]], axis=1)
        smooth = (wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]) / 3
    return np.where(_some(windows, SMOOTHED, rng), smooth, windows)


def speed(windows: Windows, signal: Signal, rng: np.random.Generator) -> Windows:
    """Read windows, shape (n, length_samples, n_channels), faster or slower from the middle; ends are repeated."""
    length = windows.shape[1]
    factors = rng.uniform(1 - SPEED, 1 + SPEED, (len(windows), 1))
    middle = (length - 1) / 2
    at = np.clip((np.arange(length) - middle) * factors + middle, 0, length - 1)
    read, factor = _read(windows, at), factors[:, :, None].astype(np.float32)
    for modality, columns in _triples(signal):
        if modality.unit == _ROTATION_RATE:
            read[:, :, columns] *= factor
        elif modality.unit == _ACCELERATION:
            still = windows[:, :, columns].mean(1, keepdims=True)
            read[:, :, columns] = (read[:, :, columns] - still) * factor**2 + still
    return read


def _triples(signal: Signal) -> Iterator[tuple[Modality, slice]]:
    """The sensors of three axes, and their columns."""
    for modality, columns in zip(signal.modalities, signal.columns, strict=True):
        if len(modality.channels) == 3:
            yield modality, columns


def _some(windows: Windows, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which windows, shape (n, 1, 1)."""
    return rng.random((len(windows), 1, 1)) < share


def _turned(windows: Windows, signal: Signal, turns: NDArray[np.float32]) -> Windows:
    """Every sensor of three axes turned, those of one window by the same matrix of (n, 3, 3)."""
    turned: Windows = windows.copy()
    for _, columns in _triples(signal):
        turned[:, :, columns] = windows[:, :, columns] @ turns
    return turned


def _axes(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    axes = rng.standard_normal((n, 3))
    uniform: NDArray[np.float64] = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    return uniform


def _rotations(axes: NDArray[np.float64], most_deg: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rotation matrices, shape (n, 3, 3), about unit axes (n, 3), by an angle of up to `most_deg`."""
    half = np.deg2rad(rng.uniform(0, most_deg, len(axes)))[:, None] / 2
    return _matrices(np.concatenate([np.cos(half), axes * np.sin(half)], 1))


def _matrices(quaternions: NDArray[np.float64]) -> NDArray[np.float32]:
    """Unit quaternions (n, 4), the real part first, as matrices (n, 3, 3)."""
    w, x, y, z = quaternions.T
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
    at = np.empty((len(windows), length))
    for i in range(len(windows)):
        waves = np.mean(
            [rng.uniform(-1, 1) * np.cos(np.pi * k * place + rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3)], axis=0
        )
        clock = np.concatenate([[0.0], np.cumsum(1 + WARP * waves[1:])])
        at[i] = clock / clock[-1] * (length - 1) if length > 1 else clock
    return _read(windows, at)


def _read(windows: Windows, at: NDArray[np.float64]) -> Windows:
    """Windows read at places (n, length_samples) between their rows, on straight lines."""
    length = windows.shape[1]
    low = np.minimum(at.astype(int), max(length - 2, 0))[:, :, None]
    share = (at[:, :, None] - low).astype(np.float32)
    before, after = (np.take_along_axis(windows, np.minimum(rows, length - 1), axis=1) for rows in (low, low + 1))
    read: Windows = before * (1 - share) + after * share
    return read


def permute(windows: Windows, signal: Signal, rng: np.random.Generator) -> Windows:
    """Cut each of the windows, shape (n, length_samples, n_channels), into pieces and put these in a random order."""
    pieces = np.array_split(np.arange(windows.shape[1]), PIECES)
    order = [np.concatenate([pieces[i] for i in rng.permutation(PIECES)]) for _ in windows]
    return np.take_along_axis(windows, np.array(order)[:, :, None], axis=1)


AUGMENTATIONS: dict[str, Augmentation] = {
    f.__name__: f for f in (jitter, scale, rotate, tilt, yaw, anyhow, mirror, drop, lowpass, speed, time_warp, permute)
}
