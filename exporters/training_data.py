"""What the training data were like, put into a bundle: see runtime.bundle.reference for the arrays.

    windows -> quantiles per channel; per modality the mean's length without motion, and the loudness
    windows -> features -> 768 of them -> 24 principal components -> class means, one covariance (Ledoit and Wolf 2004)

The 768 features are drawn by a fixed seed: all of them answer no better, and cost a device more time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.bundle.check import REFERENCE
from runtime.bundle.reference import FAR, MOST_COMPONENTS, MOST_FEATURES, QUANTILES, Reference
from runtime.engine import open_engine
from runtime.errors import InputError
from runtime.files.atomic import write_atomic
from runtime.specs import BASE, Signal, WindowSpec

LEAST_WINDOWS = 50  # in all; a class counts from a tenth of them
_BATCH = 64
_STILL = 0.25  # of the windows, those with the least motion
Encode = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def reference_of(
    signal: Signal, window: WindowSpec, windows: NDArray[np.float32], labels: NDArray[np.int64], encode: Encode
) -> Reference:
    """What training windows were like.

    Args:
        signal: names and units of the channels.
        window: length.
        windows: shape (n, *window_shape), float32, in the units of the signal.
        labels: shape (n,), class indices; below 0: no class.
        encode: windows, some at a time, to features (n, n_features).

    Raises:
        InputError: fewer than 50 windows, none of a class that has at least five, or numbers that are none.
    """
    counts = np.bincount(labels[labels >= 0], minlength=1)
    if not are_enough(labels) or len(labels) != len(windows):
        got = f"{len(windows)} windows, {int(counts.max())} of the largest class"
        raise InputError("training windows", expected=f"at least {LEAST_WINDOWS}", got=got, fix="Give more data.")
    parts = [_part(windows, signal, window, at) for at in range(len(signal.modalities))]
    channels = [part[:, :, i] for part in parts for i in range(part.shape[2])]
    quantiles = np.array([np.quantile(channel, QUANTILES) for channel in channels], np.float32)
    rest, rms = zip(*[_levels(part) for part in parts], strict=True)
    index = _index(encode(windows[:1]).shape[1])
    features = [encode(windows[i : i + _BATCH])[:, index] for i in range(0, len(windows), _BATCH)]
    statistics = _statistics(np.concatenate(features).astype(np.float64), labels, counts)
    if not all(np.isfinite(array).all() for array in statistics.values()):
        raise InputError("features", expected="finite numbers", got="others", fix="Look at the windows.")
    levels = [np.array(values, np.float32) for values in (rest, rms, index)]
    return Reference(quantiles, *levels, **statistics)


def are_enough(labels: NDArray[np.int64]) -> bool:
    """Whether so many training windows say what they were like.

    Args:
        labels: class index of each window, shape (n,); below 0: no class.
    """
    return len(labels) >= LEAST_WINDOWS and np.bincount(labels[labels >= 0], minlength=1).max() >= LEAST_WINDOWS // 10


def _part(windows: NDArray[np.float32], signal: Signal, window: WindowSpec, at: int) -> NDArray[np.float32]:
    """The rows of one modality, shape (n, rows, channels)."""
    begin = 0
    for i, m in enumerate(signal.modalities):
        rows, width = window.at(m.rate_hz, signal.rate_hz)[0], len(m.channels)
        if i == at:
            flat = None if signal.is_even else windows[:, begin : begin + rows * width]
            return windows[:, :, begin : begin + width] if flat is None else flat.reshape(-1, rows, width)
        begin += width if signal.is_even else rows * width
    raise IndexError(at)


def _levels(part: NDArray[np.float32]) -> tuple[float, NDArray[np.float64]]:
    """Length of the mean in the stillest windows, and the rms of all at QUANTILES."""
    mean = part.mean(1, dtype=np.float64)
    length, power = np.sqrt((mean**2).sum(1)), (part.astype(np.float64) ** 2).sum(2).mean(1)
    motion = power - length**2
    still = motion <= np.quantile(motion, _STILL)
    return float(np.median(length[still])), np.quantile(np.sqrt(power), QUANTILES)


def _index(n_features: int) -> NDArray[np.int64]:
    if n_features <= MOST_FEATURES:
        return np.arange(n_features)
    return np.sort(np.random.default_rng(0).choice(n_features, MOST_FEATURES, replace=False))


def _statistics(
    features: NDArray[np.float64], labels: NDArray[np.int64], counts: NDArray[np.int64]
) -> dict[str, NDArray[np.float32]]:
    """Projection, centre, means and scale; a class of few windows has no mean."""
    classes = [int(i) for i in np.flatnonzero(counts >= max(5, min(LEAST_WINDOWS, counts.max() // 10)))]
    known = np.isin(labels, classes)
    features, labels = features[known], labels[known]
    off = features - features.mean(0)
    values, vectors = np.linalg.eigh(off.T @ off / len(off))
    n = min(MOST_COMPONENTS, int((values > values[-1] * 1e-9).sum())) or 1
    plane = vectors[:, ::-1][:, :n]
    points = features @ plane
    means = np.stack([points[labels == i].mean(0) for i in classes])
    within = np.concatenate([points[labels == i] - mean for i, mean in zip(classes, means, strict=True)])
    white = np.linalg.cholesky(np.linalg.inv(shrunken_covariance(within)))
    points, means, centre = points @ white, means @ white, features.mean(0) @ plane @ white
    pairs = zip(classes, means, strict=True)
    scale = [np.quantile(np.linalg.norm(points[labels == i] - mean, axis=1), FAR) for i, mean in pairs]
    found = {"projection": plane @ white, "centre": centre, "means": means - centre, "scale": np.maximum(scale, 1e-6)}
    return {name: np.asarray(array, np.float32) for name, array in found.items()}


def shrunken_covariance(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariance, drawn towards a multiple of the identity as Ledoit and Wolf do, shape (d, d).

    Args:
        points: centred, shape (n, d).
    """
    n, d = points.shape
    sample = points.T @ points / n
    target = np.eye(d) * np.trace(sample) / d
    distance = float(((sample - target) ** 2).sum())
    noise = float((((points**2).T @ (points**2)) / n - sample**2).sum()) / n
    share = min(noise, distance) / distance if distance > 0 else 0.0
    shrunken: NDArray[np.float64] = (1 - share) * sample + share * target
    floor = float(np.trace(shrunken)) / d * 1e-6 or 1e-12  # a feature that never changes has no inverse
    return shrunken + np.eye(d) * floor


def add_reference(path: str | Path, windows: NDArray[np.float32], labels: NDArray[np.int64] | None = None) -> Bundle:
    """Put what training windows were like into a bundle, in place of what it says; all else stays byte for byte.

    A signature no longer holds afterwards: sign the bundle again.

    Args:
        path: of the bundle.
        windows: those that it was trained on, shape (n, *window_shape), in the units of its signal.
        labels: shape (n,), class indices; None: as the model itself says.

    Raises:
        InputError: windows of another shape, too few, or not finite.
        BundleError: the bundle is broken.
    """
    bundle = Bundle.open(path, BASE)
    manifest, path = bundle.manifest, bundle.path
    if windows.shape[1:] != manifest.window_shape or not np.isfinite(windows).all():
        expected = f"finite numbers of shape (n, {', '.join(map(str, manifest.window_shape))})"
        raise InputError("training windows", expected=expected, got=windows.shape, fix="Cut them with the manifest.")
    engine = open_engine(bundle)
    windows = np.ascontiguousarray(windows, np.float32)
    if labels is None:
        parts = [windows[i : i + _BATCH] for i in range(0, len(windows), _BATCH)]
        labels = np.concatenate([engine.run(part).argmax(1) for part in parts] or [np.zeros(0, np.int64)])
    found = reference_of(manifest.signal, manifest.window, windows, labels, lambda part: engine.run(part, "features"))
    data = found.dump()
    bare = replace(manifest, files={name: spec for name, spec in manifest.files.items() if name != REFERENCE})
    complete = replace(manifest, files={**bare.files, **manifest.with_files({REFERENCE: data}).files})
    write_atomic(path / "manifest.json", bare.to_json().encode())  # a kill leaves a bundle without it
    write_atomic(path / REFERENCE, data)
    write_atomic(path / "manifest.json", complete.to_json().encode())
    return Bundle.open(path, BASE)
