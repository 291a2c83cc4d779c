"""The OpenVINO engine: one stream of single windows on the processor, in float32 unless a variant says otherwise.

A window goes through a graph that is compiled for a batch of one, whose input and outputs are bound once: fixed shapes
are up to twice as fast as free ones. Other batches go through a second compilation, made when the first of them comes.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engine.base import Output
from runtime.engine.inputs import Inputs, check_graph
from runtime.errors import BundleError, EngineError
from runtime.specs import FLOAT32

# What OpenVINO computes in; it would take 16 bits by itself where the processor has them.
_HINTS = {"fp16": "f16"}


def library() -> Any:
    """Import openvino without its telemetry, which sends an event and writes an id into the home folder on import.

    Without that package, openvino uses a stand-in of its own that does nothing.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None refuses the import
    import openvino

    return openvino


def _failed(error: Exception) -> EngineError:
    got = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return EngineError(
        "OpenVINO", expected="a graph that runs", got=got[-1].strip(), fix="Free memory, or take another."
    )


class OpenvinoEngine:
    """A bundle's graph in OpenVINO on the processor.

    Streams of one thread may share it. Threads may not: a single window goes through buffers that belong to the engine.
    """

    name, reason = "openvino", ""

    def __init__(self, bundle: Bundle, *, threads: int = 1, precision: str = FLOAT32) -> None:
        self.threads, self.precision = threads, precision
        self._openvino, self._core = library(), library().Core()
        self._inputs, manifest = Inputs(bundle.manifest), bundle.manifest
        self._one = self._inputs.zeros()
        self._outputs = {
            "features": np.zeros((1, manifest.features), np.float32),
            "logits": np.zeros((1, len(manifest.labels)), np.float32),
        }
        self._model = self._read(bundle, bundle.model(precision))
        self._request = self._compile(self._model, (1, *self._inputs.shape))
        self._batches: Any = None
        for name, array in ((self._inputs.name, self._one), *self._outputs.items()):
            self._request.set_tensor(name, self._openvino.Tensor(array, shared_memory=True))
        self._infer = self._request.infer
        self._input_row, self._logits_row = self._one[0], self._outputs["logits"][0]

    def _read(self, bundle: Bundle, graph: bytes) -> Any:
        try:
            model = self._core.read_model(graph, b"")
        except RuntimeError as error:
            raise BundleError(
                bundle.path / "model.onnx",
                expected="a graph that OpenVINO can open",
                got=str(error).strip().splitlines()[-1],
                fix='Use engine="onnxruntime", or update openvino.',
            ) from error
        found = {
            port.any_name: [size.get_length() if size.is_static else str(size) for size in [*port.partial_shape][1:]]
            for port in (*model.inputs, *model.outputs)
        }
        check_graph(bundle, found)
        return model

    def _compile(self, model: Any, shape: tuple[int, ...]) -> Any:
        """A request for inputs of this shape; -1 is any size."""
        model = model.clone()
        model.reshape({self._inputs.name: list(shape)})
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": _HINTS.get(self.precision, "f32"),
            "CACHE_DIR": "",
        }
        return self._core.compile_model(model, "CPU", options).create_infer_request()

    def run(self, windows: NDArray[np.float32], output: Output = "logits") -> NDArray[np.float32]:
        """Windows of shape (n, length_samples, n_channels), float32, to one row of the output each.

        A model that takes images also takes them ready-made, shape (n, 3, height_px, width_px), from a spectrogram.

        Raises:
            EngineError: the graph cannot be computed.
        """
        windows = self._inputs(windows)
        try:
            return self._run(windows, output)
        except (RuntimeError, MemoryError) as error:
            raise _failed(error) from error

    def _run(self, windows: NDArray[np.float32], output: Output) -> NDArray[np.float32]:
        if len(windows) == 1:
            self._one[:] = windows
            self._infer()
            bound: NDArray[np.float32] = self._outputs[output].copy()
            return bound
        if len(windows) == 0:
            return np.zeros((0, self._outputs[output].shape[1]), np.float32)
        self._batches = self._batches or self._compile(self._model, (-1, *self._inputs.shape))
        tensor = self._openvino.Tensor(np.require(windows, requirements=("C", "W")), shared_memory=True)
        self._batches.set_tensor(self._inputs.name, tensor)
        self._batches.infer()
        result: NDArray[np.float32] = self._batches.get_tensor(output).data.copy()
        return result

    def logits(self, window: NDArray[np.float32]) -> list[float]:
        """The short way for one input of the graph, of the right shape and dtype: nothing is checked or allocated.

        Raises:
            EngineError: the graph cannot be computed.
        """
        self._input_row[:] = window
        try:
            self._infer()
        except (RuntimeError, MemoryError) as error:
            raise _failed(error) from error
        logits: list[float] = self._logits_row.tolist()
        return logits

    def warm_up(self) -> None:
        """Run once on zeros, so that the first window does not pay for it."""
        self.run(self._inputs.zeros())

    def close(self) -> None:
        """Drop the compiled graphs and their memory; the engine cannot be used afterwards."""
        del self._request, self._infer, self._batches, self._model, self._core
