"""What every engine does, the table of those that there are, and how one of them is opened.

No engine's library is imported before the engine is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.errors import InputError, MissingError
from runtime.process.signals import Stopped
from runtime.specs import FLOAT32

Output = Literal["features", "logits"]


class Interrupted(Stopped):
    """Somebody asked for the end, and the window that was being computed was given up for it."""


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
        "runtime.engine.providers",
        "ProviderEngine",
        "onnxruntime",
        "pip install onnxruntime-gpu (in place of onnxruntime)",
        "CUDAExecutionProvider",
        on_gpu=True,
    ),
    "onnxruntime-tensorrt": EngineKind(
        "runtime.engine.providers",
        "ProviderEngine",
        "onnxruntime",
        "pip install onnxruntime-gpu tensorrt (in place of onnxruntime)",
        "TensorrtExecutionProvider",
        on_gpu=True,
    ),
    "onnxruntime-xnnpack": EngineKind(
        "runtime.engine.providers",
        "ProviderEngine",
        "onnxruntime",
        "build onnxruntime with --use_xnnpack: no wheel has it",
        "XnnpackExecutionProvider",
    ),
    "onnxruntime-openvino": EngineKind(
        "runtime.engine.providers",
        "ProviderEngine",
        "onnxruntime",
        "pip install onnxruntime-openvino (in place of onnxruntime)",
        "OpenVINOExecutionProvider",
    ),
    "openvino": EngineKind("runtime.engine.openvino", "OpenvinoEngine", "openvino", 'pip install "sensedge[openvino]"'),
    "tensorrt": EngineKind(
        "runtime.engine.tensorrt.engine",
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


def engines_here(table: Mapping[str, EngineKind] = ENGINES) -> tuple[EngineStatus, ...]:
    """Every engine of the table, with what it lacks. No engine is opened for it: some may still refuse the device.

    Args:
        table: of the engines.
    """
    statuses = []
    for name, kind in table.items():
        missing = kind.missing()
        statuses.append(EngineStatus(name, not missing, missing and f"{missing}. Install it: {kind.install}"))
    return tuple(statuses)


def open_of(
    table: Mapping[str, EngineKind], bundle: Bundle, engine: str, *, threads: int = 1, precision: str = FLOAT32
) -> Engine:
    """`open_engine` with a table of one's own, in which "auto" is no name.

    Args:
        table: engines by name.
        bundle: what is run.
        engine: a name in the table.
        threads: that one call may use.
        precision: "float32", or that of a variant which the bundle holds.

    Raises:
        InputError: no such engine, or no thread at all.
        MissingError: the engine's library is not installed.
    """
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
