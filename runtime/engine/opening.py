"""An engine for a bundle: by its name, or the fastest that is here; and the frozen part of a model alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engine.base import AUTO, ENGINES, Engine, open_of
from runtime.specs import FLOAT32


def open_engine(bundle: Bundle, engine: str = "onnxruntime", *, threads: int = 1, precision: str = FLOAT32) -> Engine:
    """Open an engine for a bundle, in the version that the bundle was opened with.

    Args:
        bundle: a verified bundle.
        engine: a name of ENGINES, or "auto": the fastest of those that are here. It is measured at the first time on
            this device, which takes seconds, and kept in the cache; it chooses threads and precision by itself.
        threads: within one operator. One is the fastest for encoders of this size and leaves the board to others.
        precision: of the graph: "float32" or that of a variant in the bundle.

    Raises:
        BundleError: the engine cannot read the graph, or the bundle has no graph of this precision.
        InputError: no engine of this name.
        MissingError: the engine's library is not here; the message has the line that installs it.
    """
    if engine == AUTO:
        from runtime.engine.auto.choice import open_auto

        return open_auto(bundle)
    return open_of(ENGINES, bundle, engine, threads=threads, precision=precision)


def open_prefix(bundle: Bundle, cut: str, *, threads: int = 1) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The frozen part of a model: from windows to the value at which a training graph goes on.

    Args:
        bundle: in the version to start from.
        cut: name of a value of the graph, as in `TrainingSpec.cut`. For the graph's input, nothing is run: "windows"
            are given back as they are, "images" are drawn.
        threads: within one operator.

    Returns:
        Windows of shape (n, length_samples, n_channels), float32, to activations of shape (n, *cut_shape).

    Raises:
        BundleError: the graph has no such value.
    """
    if cut == "windows":
        return lambda windows: windows
    if cut == "images":
        from runtime.spectrogram import Spectrogram

        return Spectrogram(bundle.manifest).images
    from runtime.engine.ort import run_to

    return run_to(bundle, cut, threads)
