"""Engines: from windows to features and logits. One file per engine, the same verbs for all.

ort     onnxruntime on the CPU     OrtEngine
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle

Output = Literal["features", "logits"]


class Engine(Protocol):
    """What every engine does."""

    name: str

    def run(self, windows: NDArray[np.float32], output: Output = "logits") -> NDArray[np.float32]:
        """Windows of shape (n, length_samples, n_channels) to logits (n, n_classes) or features (n, n_features)."""

    def close(self) -> None:
        """Give back the engine's memory. Further calls of `run` are wrong use."""


def open_engine(bundle: Bundle, *, threads: int = 1) -> Engine:
    """Open the engine for a bundle, in the version that the bundle was opened with.

    Args:
        bundle: a verified bundle.
        threads: within one operator. One is the fastest for encoders of this size and leaves the board to others.

    Raises:
        BundleError: the engine cannot read the graph.
    """
    from runtime.engine.ort import OrtEngine  # onnxruntime takes longer to import than all of the runtime

    return OrtEngine(bundle, threads=threads)


def open_prefix(bundle: Bundle, cut: str, *, threads: int = 1) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The frozen part of a model: from windows to the value at which a training graph goes on.

    Args:
        bundle: in the version to start from.
        cut: name of a value of the graph, as in `TrainingSpec.cut`; "windows" gives back the windows themselves.
        threads: within one operator.

    Returns:
        Windows of shape (n, length_samples, n_channels), float32, to activations of shape (n, *cut_shape).

    Raises:
        BundleError: the graph has no such value.
    """
    if cut == "windows":
        return lambda windows: windows
    from runtime.engine.ort import run_to

    return run_to(bundle, cut, threads)


__all__ = ["Engine", "Output", "open_engine", "open_prefix"]
