"""What the training data were like: reference.safetensors, for a device that asks whether its own are of that kind.

    quantiles   (n_channels, 9)       of the samples, at QUANTILES
    rest        (n_modalities,)       length of the mean in the stillest quarter of the windows: gravity, or about 0
    rms         (n_modalities, 9)     of a window's rms, all channels of the modality together, at QUANTILES
    index       (k,)                  places of the features that are used, at most 768
    projection  (k, d)                onto their first principal components, made white by one shrunken covariance
    centre      (d,)                  what is taken off after that
    means       (c, d)                of each class that was there
    scale       (c,)                  a distance to each mean that 5 % of the class's own windows exceed

A bundle need not have the file; then these questions have no answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.check import REFERENCE
from runtime.bundle.folder import Bundle
from runtime.bundle.manifest import Manifest
from runtime.bundle.tensors import dump_tensors, parse_tensors
from runtime.errors import BundleError

QUANTILES = (0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0)
MEDIAN = QUANTILES.index(0.5)
FAR = 0.95  # of a class's windows are nearer than its scale
MOST_FEATURES, MOST_COMPONENTS = 768, 24
_FARTHEST = np.float32(1e15)  # of a feature; the square of more leaves float32


@dataclass(frozen=True)
class Reference:
    """The arrays of the file, float32; shapes above."""

    quantiles: NDArray[np.float32]
    rest: NDArray[np.float32]
    rms: NDArray[np.float32]
    index: NDArray[np.float32]
    projection: NDArray[np.float32]
    centre: NDArray[np.float32]
    means: NDArray[np.float32]
    scale: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", self.index.astype(np.intp))
        object.__setattr__(self, "_lengths", (self.means**2).sum(-1))

    def distance(self, features: NDArray[np.float32]) -> float:
        """Mahalanobis distance of features, shape (n_features,), to the nearest class, over that class's scale."""
        places: NDArray[np.intp] = self._places  # type: ignore[attr-defined]
        lengths: NDArray[np.float32] = self._lengths  # type: ignore[attr-defined]
        near = np.fmax(np.fmin(features[places], _FARTHEST), -_FARTHEST)  # also what is no number is far away
        point = near.dot(self.projection) - self.centre
        squares: list[float] = (lengths - 2 * self.means.dot(point)).tolist()  # of the distances, less the point's own
        least = min(squares)
        distance = math.sqrt(max(least + float(point.dot(point)), 0.0))
        return distance / float(self.scale[squares.index(least)])

    def dump(self) -> bytes:
        """The bytes of reference.safetensors that hold these arrays."""
        return dump_tensors(self._arrays())

    def _arrays(self) -> Mapping[str, NDArray[np.float32]]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def check(self, manifest: Manifest, where: object) -> None:
        """Refuse arrays that do not fit a manifest.

        Raises:
            BundleError: names the first of them.
        """
        channels, modalities = len(manifest.signal.channel_names), len(manifest.signal.modalities)
        k, d, c = len(self.index), self.centre.size, len(self.means)
        shapes = {"quantiles": (channels, 9), "rest": (modalities,), "rms": (modalities, 9), "index": (k,)}
        shapes |= {"projection": (k, d), "centre": (d,), "means": (c, d), "scale": (c,)}
        for name, array in self._arrays().items():
            if array.shape != shapes[name] or not array.size:
                raise _wrong(where, name, f"shape {shapes[name]}, not empty", array.shape)
        if not ((self.index >= 0) & (self.index < max(manifest.features, 1))).all():
            raise _wrong(where, "index", f"places of {manifest.features} features", "others")
        if not (self.scale > 0).all():
            raise _wrong(where, "scale", "distances above 0", "others")


def open_reference(bundle: Bundle) -> Reference | None:
    """What a bundle says of its training data; None where it says nothing.

    Raises:
        BundleError: the file is not the one that the manifest lists, or not what it should be.
    """
    if REFERENCE not in bundle.manifest.files:
        return None
    return parse_reference(bundle.shipped_file(REFERENCE), bundle.manifest, bundle.path / REFERENCE)


def parse_reference(data: bytes, manifest: Manifest, where: Path) -> Reference:
    """The file's bytes, checked against the manifest.

    Raises:
        BundleError: not in the format, arrays missing, too many, or of other shapes than the manifest's.
    """
    arrays = parse_tensors(data, where)
    names = set(Reference.__dataclass_fields__)
    if set(arrays) != names:
        raise _wrong(where, "arrays", ", ".join(sorted(names)), ", ".join(sorted(arrays)) or "none")
    reference = Reference(**{name: np.atleast_1d(array) for name, array in arrays.items()})
    reference.check(manifest, where)
    return reference


def _wrong(where: object, name: str, expected: str, got: object) -> BundleError:
    return BundleError(
        f"{where}: {name}", expected=expected, got=got, fix="Make it again: python -m exporters reference"
    )
