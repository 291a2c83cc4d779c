"""Engines: from windows to features and logits. One file per engine, the same verbs for all.

    open_engine(bundle)                 onnxruntime on the processor, as it always was
    open_engine(bundle, "openvino")     the engine that one names
    open_engine(bundle, "auto")         the fastest that is here, measured once on this device: runtime.engine.choice
    engines_here()                      which of the table below can be opened, and what the others need

    ort            onnxruntime on the processor             OrtEngine
    ort_providers  onnxruntime with a provider of its own   ProviderEngine
    openvino       OpenVINO on the processor                OpenvinoEngine
    tensorrt       TensorRT on an NVIDIA GPU                TensorrtEngine

No engine's library is imported before the engine is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.errors import InputError, MissingError

Output = Literal["features", "logits"]


class Engine(Protocol):
    """What every engine does. Its class is made with `(bundle, *, threads, precision)`."""

    name: str  # as in ENGINES
    precision: str  # "float32", or that of a variant of the bundle
    threads: int  # within one operator; an engine on a GPU does without
    reason: str  # why it was chosen, as a sentence; "" where nobody chose

    def run(self, windows: NDArray[np.float32], output: Output = "logits") -> NDArray[np.float32]:
        """Windows of shape (n, length_samples, n_channels) to logits (n, n_classes) or features (n, n_features).

        Of a model whose manifest says `input_name` "images", images of its `input_shape` are taken as well.

        Raises:
            InputError: another shape or dtype.
        """

    def logits(self, window: NDArray[np.float32]) -> list[float]:
        """The logits of one window, whose shape and dtype are not checked."""

    def warm_up(self) -> None:
        """Run once on zeros: what an engine puts off until its first window is done then."""

    def close(self) -> None:
        """Give back the engine's memory. Further calls of `run` are wrong use."""


class EngineKind(NamedTuple):
    """Where an engine's class is, and what it needs."""

    module: str
    class_name: str
    library: str  # that must be importable
    install: str  # the line that brings it
    provider: str = ""  # of onnxruntime, where the engine is one
    on_gpu: bool = False  # then it has no use for threads

    def missing(self) -> str:
        """What is not here, as a sentence; "" where nothing is missing. Whether it works is seen when it is opened."""
        if not _is_there(self.library):
            return f"no Python package {self.library!r}"
        if self.provider and self.provider not in import_module("onnxruntime").get_available_providers():
            return f"this onnxruntime was built without {self.provider}"
        return ""


ENGINES: Mapping[str, EngineKind] = {
    "onnxruntime": EngineKind("runtime.engine.ort", "OrtEngine", "onnxruntime", "pip install onnxruntime"),
    "onnxruntime-cuda": EngineKind(
        "runtime.engine.ort_providers",
        "ProviderEngine",
        "onnxruntime",
        "pip install onnxruntime-gpu (in place of onnxruntime)",
        "CUDAExecutionProvider",
        on_gpu=True,
    ),
    "onnxruntime-tensorrt": EngineKind(
        "runtime.engine.ort_providers",
        "ProviderEngine",
        "onnxruntime",
        "pip install onnxruntime-gpu tensorrt (in place of onnxruntime)",
        "TensorrtExecutionProvider",
        on_gpu=True,
    ),
    "onnxruntime-xnnpack": EngineKind(
        "runtime.engine.ort_providers",
        "ProviderEngine",
        "onnxruntime",
        "build onnxruntime with --use_xnnpack: no wheel has it",
        "XnnpackExecutionProvider",
    ),
    "onnxruntime-openvino": EngineKind(
        "runtime.engine.ort_providers",
        "ProviderEngine",
        "onnxruntime",
        "pip install onnxruntime-openvino (in place of onnxruntime)",
        "OpenVINOExecutionProvider",
    ),
    "openvino": EngineKind("runtime.engine.openvino", "OpenvinoEngine", "openvino", 'pip install "sensedge[openvino]"'),
    "tensorrt": EngineKind(
        "runtime.engine.tensorrt",
        "TensorrtEngine",
        "tensorrt",
        "sudo apt install python3-libnvinfer (it comes with JetPack)",
        on_gpu=True,
    ),
}
AUTO = "auto"


class EngineStatus(NamedTuple):
    """Whether an engine can be opened here."""

    name: str
    available: bool
    reason: str  # what is missing and the line that brings it; "" where nothing is


def engines_here(
    bundle: Bundle | None = None, *, table: Mapping[str, EngineKind] = ENGINES
) -> tuple[EngineStatus, ...]:
    """Every engine of the table, with what it lacks. No engine is opened for it: some may still refuse the device.

    Args:
        bundle: None, or the bundle to be run. No engine asks for it so far.
        table: of the engines.
    """
    statuses = []
    for name, kind in table.items():
        missing = kind.missing()
        statuses.append(EngineStatus(name, not missing, missing and f"{missing}. Install it: {kind.install}"))
    return tuple(statuses)


def open_engine(bundle: Bundle, engine: str = "onnxruntime", *, threads: int = 1, precision: str = "float32") -> Engine:
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
        from runtime.engine.choice import open_auto

        return open_auto(bundle)
    return open_of(ENGINES, bundle, engine, threads=threads, precision=precision)


def open_of(
    table: Mapping[str, EngineKind], bundle: Bundle, engine: str, *, threads: int = 1, precision: str = "float32"
) -> Engine:
    """`open_engine` with a table of one's own, in which "auto" is no name."""
    if engine not in table:
        raise InputError(
            "engine", expected=f"one of {', '.join((*table, AUTO))}", got=repr(engine), fix="Choose one of these."
        )
    if threads < 1:
        raise InputError("threads", expected="at least 1", got=threads, fix="Allow one or more.")
    kind = table[engine]
    if engine != "onnxruntime" and (missing := kind.missing()):
        raise MissingError(f"engine {engine}", expected="its library", got=missing, fix=f"Install it: {kind.install}")
    make = getattr(import_module(kind.module), kind.class_name)
    named = {"provider": kind.provider, "name": engine} if kind.provider else {}
    opened: Engine = make(bundle, threads=threads, precision=precision, **named)
    return opened


def _is_there(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except (ImportError, ValueError):  # a parent that is not there, a module that was blocked
        return False


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


__all__ = [
    "AUTO",
    "ENGINES",
    "Engine",
    "EngineKind",
    "EngineStatus",
    "Output",
    "engines_here",
    "open_engine",
    "open_of",
    "open_prefix",
]
