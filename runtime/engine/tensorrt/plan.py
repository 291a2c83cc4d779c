r"""A built engine at work: deserialised, with its memory, its queue and one execution context.

    window -> page-locked row -> device -> execute_async_v3 -> device -> page-locked row -> answer
              \__________________________ one queue, one wait _________________________/

All memory is taken once, for the largest batch of the engine's profile; a larger batch is run in pieces. What TensorRT
needs to stay alive (logger before runtime before engine before context) is held here and let go in that order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engine.inputs import check_graph
from runtime.engine.tensorrt.build import make_logger
from runtime.engine.tensorrt.cuda import Cuda, CudaError
from runtime.errors import EngineError


class TensorrtError(EngineError):
    """TensorRT refused an engine, or failed while it ran."""


class Plan:
    """An engine that has been checked against its bundle's manifest.

    Args:
        trt: the library.
        cuda: a device of its own for this plan, closed with it.
        data: the serialised engine. It is code: only what `runtime.engine.tensorrt.cache` vouches for may come here.
        bundle: whose graph it was built from.
        model: refit the engine with the weights of these ONNX bytes; None: as it was built.

    Raises:
        TensorrtError, CudaError, BundleError: the engine cannot be used.
    """

    def __init__(self, trt: Any, cuda: Cuda, data: bytes, bundle: Bundle, model: bytes | None = None) -> None:
        self._trt, self._cuda, self._input = trt, cuda, bundle.manifest.input_name
        self._log = make_logger(trt)
        cuda.start()
        try:
            self._runtime = self._made(trt.Runtime(self._log), "a runtime")
            self._engine = self._made(self._runtime.deserialize_cuda_engine(data), "an engine")
            if model is not None:
                self._refit(model)
            self._context = self._made(self._engine.create_execution_context(), "an execution context")
            self._allocate(self._sizes(bundle))
        except BaseException:
            self.close()
            raise

    def _sizes(self, bundle: Bundle) -> dict[str, tuple[int, ...]]:
        """Sizes per window of every input and output, which must be those of the manifest, in float32."""
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        for name in names:
            inward = engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT
            if engine.get_tensor_dtype(name) != self._trt.DataType.FLOAT or inward != (name == self._input):
                raise self._error(f"{self._input} in, features and logits out, all float32", f"{name} is not so")
        sizes = {name: tuple(engine.get_tensor_shape(name))[1:] for name in names}
        check_graph(bundle, sizes)
        return sizes

    def _allocate(self, sizes: Mapping[str, tuple[int, ...]]) -> None:
        self.max_batch = int(self._engine.get_tensor_profile_shape(self._input, 0)[2][0])
        self._shape, self._batch = sizes[self._input], 0
        self._host = {name: self._cuda.host_array((self.max_batch, *shape)) for name, shape in sizes.items()}
        self._device = {name: self._cuda.device_bytes(array.nbytes) for name, array in self._host.items()}
        for name, address in self._device.items():
            if not self._context.set_tensor_address(name, address):
                raise self._error(f"an address for {name}", "a refusal")

    def _refit(self, model: bytes) -> None:
        """Put the weights of an ONNX graph of the same shape into the engine."""
        refitter = self._trt.Refitter(self._engine, self._log)
        parser = self._trt.OnnxParserRefitter(refitter, self._log)
        if not parser.refit_from_bytes(model) or not refitter.refit_cuda_engine():
            raise self._error("an engine that takes other weights", "a refusal")

    def run(self, inputs: NDArray[np.float32], output: str) -> NDArray[np.float32]:
        """One row of the output for each input.

        Args:
            inputs: shape (n, ...) as the graph takes them, for any n: more than `max_batch` go in parts.
            output: its name.

        Returns:
            Shape (n, ...).

        Raises:
            TensorrtError: it cannot be computed.
        """
        result = np.empty((len(inputs), *self._host[output].shape[1:]), np.float32)
        for begin in range(0, len(inputs), self.max_batch):
            piece = inputs[begin : begin + self.max_batch]
            self._host[self._input][: len(piece)] = piece
            result[begin : begin + len(piece)] = self._execute(len(piece), output)
        return result

    def one(self, window: NDArray[np.float32]) -> list[float]:
        """The logits of one input, which has the shape of one row of what the graph takes."""
        self._host[self._input][0] = window
        logits: list[float] = self._execute(1, "logits")[0].tolist()
        return logits

    def _execute(self, n: int, output: str) -> NDArray[np.float32]:
        try:
            return self._executed(n, output)
        except CudaError as error:
            raise self._error("an answer", str(error)) from error

    def _executed(self, n: int, output: str) -> NDArray[np.float32]:
        cuda, context = self._cuda, self._context
        cuda.use()
        if n != self._batch:
            self._batch = 0
            if not context.set_input_shape(self._input, (n, *self._shape)) or context.infer_shapes():
                raise self._error(f"a batch of {n}", "a refusal")
            self._batch = n
        cuda.copy_in(self._device[self._input], self._host[self._input][:n])
        if not context.execute_async_v3(cuda.stream):
            raise self._error("an answer", "a refusal")
        rows = self._host[output][:n]
        cuda.copy_out(rows, self._device[output])
        cuda.synchronise()
        return rows

    def layers(self) -> list[dict[str, Any]]:
        """What the engine's inspector tells of each layer; detailed, as all engines are built so."""
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        told = json.loads(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))
        layers = told.get("Layers", [])
        return [layer if isinstance(layer, dict) else {"Name": layer} for layer in layers]

    def memory_bytes(self) -> int:
        """What the engine takes on the device while it runs, its weights and our buffers not counted."""
        name = "device_memory_size_v2" if hasattr(self._engine, "device_memory_size_v2") else "device_memory_size"
        return int(getattr(self._engine, name))

    def close(self) -> None:
        """Let go of context, engine, runtime and memory, in this order."""
        for name in ("_context", "_engine", "_runtime"):
            self.__dict__.pop(name, None)
        self.__dict__.pop("_host", None)
        self._cuda.close()

    def _made(self, thing: Any, what: str) -> Any:
        if thing is None:
            raise self._error(what, "nothing")
        return thing

    def _error(self, expected: str, got: str) -> TensorrtError:
        why = f"{got}: {self._log.reason()}"
        return TensorrtError(
            "TensorRT", expected=expected, got=why, fix="Remove the cached engine; see docs/tensorrt.md."
        )
