"""The onnxruntime engine: one thread, no spinning, and nothing allocated between windows.

A single window takes the short way: it is copied into an input that is bound to the session once, and the output is
bound too, which saves the dictionary, the name look-ups and the allocation of `InferenceSession.run`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.bundle.graph_bytes import with_output
from runtime.engine.base import Interrupted, Output
from runtime.engine.inputs import Inputs, check_graph
from runtime.errors import BundleError, EngineError
from runtime.process.signals import interrupts
from runtime.specs import FLOAT32


def session_options(threads: int = 1) -> onnxruntime.SessionOptions:
    """Options with good manners on a battery: no spinning threads, memory as asked for and no more."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def training_options(threads: int = 1) -> onnxruntime.SessionOptions:
    """The same for training graphs, which have thousands of nodes and a free batch.

    Planning which values may share memory takes most of the time in which such a session is made, and saves nothing:
    the sizes are not known then, and at run time the arena gives back what is no longer needed. Nor is the first run
    taken as the pattern of the others, which would double the memory: it is laid beside what that run filled.
    """
    options = session_options(threads)
    options.enable_mem_reuse = options.enable_mem_pattern = False
    return options


@cache
def _run_options() -> onnxruntime.RunOptions:
    """Of all runs of this process: `terminate` ends them between two nodes, also those of an endless loop."""
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4  # what goes wrong is told by the error, in one line
    interrupts.append(partial(setattr, options, "terminate", True))
    return options


def _failed(error: Exception) -> EngineError:
    """The error for a run that was given up.

    Raises:
        Interrupted: because somebody asked for it.
    """
    if _run_options().terminate:
        _run_options().terminate = False
        raise Interrupted from None
    got = str(error).splitlines() or [type(error).__name__]
    return EngineError("onnxruntime", expected="a graph that runs", got=got[0], fix="Free memory, or export it again.")


class Session(onnxruntime.InferenceSession):  # type: ignore[misc]  # onnxruntime has no types
    """A session whose runs end when the process is asked to, and whose errors are ours."""

    def run(self, output_names: Any, input_feed: Any, run_options: Any = None) -> Any:
        """As of onnxruntime.

        Raises:
            EngineError: the graph cannot be computed.
        """
        try:
            return super().run(output_names, input_feed, run_options or _run_options())
        except Exception as error:
            raise _failed(error) from error

    def run_with_iobinding(self, iobinding: onnxruntime.IOBinding, run_options: Any = None) -> None:
        """As of onnxruntime.

        Raises:
            EngineError: the graph cannot be computed.
        """
        try:
            super().run_with_iobinding(iobinding, run_options or _run_options())
        except Exception as error:
            raise _failed(error) from error


def open_session(
    model: bytes,
    where: object = "the graph",
    *,
    options: onnxruntime.SessionOptions | None = None,
    provider: str = "",
) -> Session:
    """A session on the processor, or with a provider before it.

    Args:
        model: bytes of the ONNX file.
        where: what to call it in an error.
        options: None: `session_options()`.
        provider: of onnxruntime; "": none but the processor's.

    Raises:
        BundleError: onnxruntime cannot read it.
    """
    providers = [*([provider] if provider else []), "CPUExecutionProvider"]
    try:
        return Session(model, options or session_options(), providers=providers)
    except Exception as error:  # onnxruntime's own errors share no base class of their own
        raise BundleError(
            where,
            expected="a graph that onnxruntime can open",
            got=str(error).splitlines()[0],
            fix="Update onnxruntime or export the bundle again.",
        ) from error


def run_to(bundle: Bundle, name: str, threads: int) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """A function from windows to a value inside the graph; what follows that value is not computed.

    Args:
        bundle: in the version in use.
        name: of the value, as the graph has it.
        threads: that one call may use.

    Returns:
        A function from windows, shape (n, *window_shape), to the value, shape (n, ...).
    """
    model, inputs = with_output(bundle.model(), name), Inputs(bundle.manifest)
    session = open_session(model, bundle.path / "model.onnx", options=session_options(threads))

    def run(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        activations: NDArray[np.float32] = session.run([name], {inputs.name: inputs(windows)})[0]
        return activations

    return run


def _short_run(session: onnxruntime.InferenceSession, binding: onnxruntime.IOBinding) -> Callable[[], None]:
    """One run of a binding without the checks that `run_with_iobinding` makes before each, for WebGPU alone.

    What lies beneath it has no public name. Where it is called otherwise, the public way is taken.
    """
    try:
        return partial(session._sess.run_with_iobinding, binding._iobinding, _run_options())
    except AttributeError:
        return partial(session.run_with_iobinding, binding)


class OrtEngine:
    """A bundle's graph in an onnxruntime session on the CPU.

    Streams of one thread may share it. Threads may not: a single window goes through buffers that belong to the engine.
    """

    name, reason = "onnxruntime", ""
    keeps_features = True  # those of the window that `logits` was last asked of are in `last_features`

    def __init__(self, bundle: Bundle, *, threads: int = 1, precision: str = FLOAT32) -> None:
        self.threads, self.precision = threads, precision
        self._inputs, manifest = Inputs(bundle.manifest), bundle.manifest
        self._session = self._open(bundle)
        values = (*self._session.get_inputs(), *self._session.get_outputs())
        check_graph(bundle, {value.name: value.shape[1:] for value in values})
        self._one = self._inputs.zeros()
        self._outputs = {
            "features": np.zeros((1, manifest.features), np.float32),
            "logits": np.zeros((1, len(manifest.labels)), np.float32),
        }
        self._bindings = {name: self._bind(name) for name in self._outputs}
        both = self._bind(*self._outputs) if self.keeps_features else self._bindings["logits"]
        self._run_logits = _short_run(self._session, both)
        self.last_features = self._outputs["features"][0] if self.keeps_features else None
        self._input_row, self._logits_row = self._one[0], self._outputs["logits"][0]

    def _open(self, bundle: Bundle) -> Session:
        model = bundle.model(self.precision)
        return open_session(model, bundle.path / "model.onnx", options=session_options(self.threads))

    def _bind(self, *outputs: str) -> onnxruntime.IOBinding:
        """A binding from the one input to some outputs; an output that is not bound is not computed."""
        binding = self._session.io_binding()
        binding.bind_input(self._inputs.name, "cpu", 0, np.float32, self._one.shape, self._one.ctypes.data)
        for output in outputs:
            array = self._outputs[output]
            binding.bind_output(output, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return binding

    def run(self, windows: NDArray[np.float32], output: Output = "logits") -> NDArray[np.float32]:
        """Windows of shape (n, length_samples, n_channels), float32, to one row of the output each.

        A model that takes images also takes them ready-made, shape (n, 3, height_px, width_px), from a spectrogram.
        """
        windows = self._inputs(windows)
        if len(windows) == 1:
            self._one[:] = windows
            self._session.run_with_iobinding(self._bindings[output])
            bound: NDArray[np.float32] = self._outputs[output].copy()
            return bound
        result: NDArray[np.float32] = self._session.run([output], {self._inputs.name: windows})[0]
        return result

    def logits(self, window: NDArray[np.float32]) -> list[float]:
        """The short way for one input of the graph, of the right shape and dtype: nothing is checked or allocated.

        Raises:
            EngineError: the graph cannot be computed.
        """
        self._input_row[:] = window
        try:
            self._run_logits()
        except Exception as error:
            raise _failed(error) from error
        logits: list[float] = self._logits_row.tolist()
        return logits

    def warm_up(self) -> None:
        """Run once on zeros, so that the first window does not pay for it."""
        self.run(self._inputs.zeros())

    def close(self) -> None:
        """Drop the session and its memory; the engine cannot be used afterwards."""
        self._bindings.clear()
        self.last_features = None
        del self._session, self._run_logits
