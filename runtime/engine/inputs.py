"""What stands before every graph, whichever engine runs it: the checks and the pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle, Manifest
from runtime.errors import BundleError, InputError


class Inputs:
    """Windows as the graph of a bundle takes them.

    Args:
        manifest: of the bundle.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.name, self.shape = manifest.input_name, manifest.input_shape
        self._draw: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
        if self.name == "images":
            from runtime.spectrogram import Spectrogram

            self._draw = Spectrogram(manifest).images

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows of shape (n, length_samples, n_channels), float32, as they are; for a model of images, their images.

        A model that takes images also takes them ready-made, shape (n, 3, height_px, width_px).

        Raises:
            InputError: another shape or dtype.
        """
        if self._draw is not None and windows.shape[1:] != self.shape:
            windows = self._draw(windows)
        if windows.shape[1:] != self.shape or windows.dtype != np.float32:
            raise InputError(
                self.name,
                expected=f"float32 of shape (n, {', '.join(map(str, self.shape))})",
                got=f"{windows.dtype} of shape {windows.shape}",
                fix="Cut the samples with the bundle's own window.",
            )
        return windows

    def zeros(self) -> NDArray[np.float32]:
        """One input of the graph, shape (1, *shape), for a first run."""
        return np.zeros((1, *self.shape), np.float32)


def check_graph(bundle: Bundle, found: Mapping[str, Sequence[object]]) -> None:
    """The manifest and the graph must speak of the same windows or images, features and classes.

    Args:
        bundle: whose manifest.
        found: the graph's inputs and outputs by name, with their sizes per window.

    Raises:
        BundleError: they do not.
    """
    manifest = bundle.manifest
    expected = {
        manifest.input_name: [*manifest.input_shape],
        "features": [manifest.features],
        "logits": [len(manifest.labels)],
    }
    if {name: [*sizes] for name, sizes in found.items()} != expected:
        raise BundleError(
            bundle.path / "model.onnx",
            expected=f"per window {expected}, as the manifest says",
            got=dict(found),
            fix="Export the bundle again.",
        )
