"""onnxruntime with an execution provider of its own: CUDA, TensorRT, XNNPACK, OpenVINO.

A provider may be listed and yet run nothing: its library may be missing, or it knows none of the operators, and then
onnxruntime goes on with the processor without a word. So the first run is recorded, and an engine whose provider ran no
node of the graph is refused.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

from runtime.bundle import Bundle
from runtime.engine.ort import OrtEngine, Session, session_options
from runtime.errors import MissingError
from runtime.specs import FLOAT32


class ProviderEngine(OrtEngine):
    """A bundle's graph in an onnxruntime session, as much of it as the provider takes; the processor runs the rest.

    Args:
        bundle: a verified bundle.
        threads: within one operator, where the provider runs on the processor.
        precision: of the graph.
        provider: as onnxruntime names it.
        name: of the engine.

    Raises:
        MissingError: the provider runs no node of the graph.
    """

    keeps_features = False  # from another device's memory they would cost a copy per window

    def __init__(self, bundle: Bundle, *, threads: int = 1, precision: str = FLOAT32, provider: str, name: str):
        self._provider, self.name = provider, name
        with tempfile.TemporaryDirectory() as folder:
            self._record = Path(folder) / "run"
            super().__init__(bundle, threads=threads, precision=precision)
            self.warm_up()
            placed = nodes_by_provider(Path(self._session.end_profiling()))
        if not placed[provider]:
            raise MissingError(
                f"engine {name}",
                expected=f"nodes of the graph that {provider} runs",
                got=f"none: {', '.join(f'{n} on {other}' for other, n in placed.items())}",
                fix="Use another engine, or install the libraries that this provider needs.",
            )

    def _open(self, bundle: Bundle) -> Session:
        options = session_options(self.threads)
        options.log_severity_level = 4  # what it says about a missing library is found by the placement
        options.enable_profiling, options.profile_file_prefix = True, str(self._record)
        providers = [(self._provider, provider_options(self._provider, self.threads))]  # and the processor, always
        graph = bundle.model(self.precision)
        try:
            return Session(graph, options, providers=providers)
        except Exception as error:  # onnxruntime's own errors share no base class of their own
            raise MissingError(
                f"engine {self.name}",
                expected=f"{self._provider} to take the graph",
                got=str(error).splitlines()[0],
                fix="Use another engine, or install the libraries that this provider needs.",
            ) from error


def provider_options(provider: str, threads: int) -> dict[str, str]:
    """Options that keep the answers those of float32, and the threads ours.

    TensorRT's engines are not kept: onnxruntime names them by the graph and not by its weights, so that a personal
    version could be answered by the base's engine.
    """
    return {
        "CUDAExecutionProvider": {"use_tf32": "0"},
        "TensorrtExecutionProvider": {"trt_engine_cache_enable": "0"},
        "XnnpackExecutionProvider": {"intra_op_num_threads": str(threads)},
        "OpenVINOExecutionProvider": {"device_type": "CPU", "precision": "FP32", "num_of_threads": str(threads)},
    }.get(provider, {})


def nodes_by_provider(record: Path) -> Counter[str]:
    """How many runs of nodes each provider had, from a profile that onnxruntime wrote."""
    events = json.loads(record.read_text())
    return Counter(event["args"]["provider"] for event in events if event.get("args", {}).get("provider"))
