"""Torch against the engine: the same windows through both, at several batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.bundle import Bundle
from runtime.engine import Output, open_engine
from runtime.manifest import Manifest
from runtime.spectrogram import Spectrogram

TOLERANCE = 1e-4  # of the largest value of an output
_BATCHES = (1, 2, 7)
_RANDOM_WINDOWS = 7


class ParityError(RuntimeError):
    """The exported graph does not give what the module gives."""


def check_parity(
    bundle: Bundle,
    module: Callable[[Tensor], tuple[Tensor, Tensor]],
    windows: NDArray[np.float32],
    tolerance: float = TOLERANCE,
) -> dict[Output, float]:
    """Compare a module with the engine that runs its bundle.

    Args:
        bundle: the exported bundle.
        module: what the graph takes, windows or images, to (features, logits).
        windows: shape (n, length_samples, n_channels), real ones; random ones are added.
        tolerance: how far an output may be off, as a share of its largest value.

    Returns:
        The worst share per output.

    Raises:
        ParityError: an output is further off; the message says which, by how much and at which batch size.
    """
    manifest = bundle.manifest
    mean, std = manifest.spread(manifest.normalise.mean), manifest.spread(manifest.normalise.std)
    noise = np.random.default_rng(0).normal(mean, std, (_RANDOM_WINDOWS, *windows.shape[1:]))
    everything = np.concatenate([windows, noise.astype(np.float32)])
    engine = open_engine(bundle)
    with torch.inference_mode():
        truth = [output.cpu().numpy() for output in module(torch.from_numpy(graph_inputs(bundle.manifest, everything)))]
    worst: dict[Output, float] = {"features": 0.0, "logits": 0.0}
    for (name, expected), batch in ((pair, b) for pair in zip(worst, truth, strict=True) for b in _BATCHES):
        found = np.concatenate([engine.run(part, name) for part in _batches(everything, batch)])
        error = float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))
        if not error <= tolerance:
            raise ParityError(
                f"{name} at batch {batch}: the engine is off by {error:.2e} of the largest value, allowed are "
                f"{tolerance:.0e}. Look for an operator that the exporter translates differently."
            )
        worst[name] = max(worst[name], error)
    engine.close()
    return worst


def graph_inputs(manifest: Manifest, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the graph takes for these windows: themselves or the images that the runtime draws of them."""
    return Spectrogram(manifest).images(windows) if manifest.input_name == "images" else windows


def _batches(windows: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    return (windows[i : i + size] for i in range(0, len(windows), size))
