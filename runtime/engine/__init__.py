"""Engines: from windows to features and logits. One file per engine, the same verbs for all.

ort     onnxruntime on the CPU     OrtEngine
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle

Output = Literal["features", "logits"]


class Engine(Protocol):
    """What every engine does."""

    name: str

    def run(self, windows: NDArray[np.float32], output: Output = "logits") -> NDArray[np.float32]:
        """Windows of shape (n, length_samples, n_channels) to logits (n, n_classes) or features (n, n_features).

        Of a model whose manifest says `input_name` "images", images of its `input_shape` are taken as well.
        """

    def logits(self, window: NDArray[np.float32]) -> list[float]:
        """The logits of one window, whose shape and dtype are not checked."""

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


__all__ = ["Engine", "Output", "open_engine"]
