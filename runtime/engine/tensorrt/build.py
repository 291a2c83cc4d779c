"""What talks to TensorRT's builder, in a process of its own: `python -m runtime.engine.tensorrt.build FOLDER`.

    FOLDER/request.json   task, library, batches, workspace ...         written by runtime.engine.tensorrt.child
    FOLDER/model.onnx     with the precision in it: float16 nodes, or quantise and dequantise
    FOLDER/timing         what earlier builds measured, if there is any
             |
           probe          cuInit, import, version, a builder and a runtime
           check          + parse the model, ask which of its nodes are supported
           build          + build the engine
             |
    FOLDER/report.json    ok, reason, version, device, refused nodes, seconds, peak memory
    FOLDER/plan, timing   the engine, and the measured times for the next build
    FOLDER/progress       the phase that the builder is in

One way for TensorRT 8.5, 10 and 11: only calls that all of them have, and four questions with `hasattr`. A crash, an
endless build or too much memory ends this process, never the one that asked.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from runtime.engine.tensorrt.cuda import Cuda
from runtime.process.parent import hold

LOOPS = {"TRIP_LIMIT", "RECURRENCE", "ITERATOR"}  # layers that only recurrent graphs have
_TYPES = {"HALF": "FP16", "INT8": "INT8"}  # type of a value: builder flag that lets TensorRT 8 use its kernels
_MESSAGES = 50  # of the logger's, kept


def run(folder: Path, open_cuda: Callable[[], Any] = Cuda) -> dict[str, Any]:
    """Do what `folder`/request.json asks for. What goes wrong becomes the report's `reason`."""
    request = json.loads((folder / "request.json").read_text())
    report: dict[str, Any] = {"ok": False, "reason": "", "library": request["library"], "refused": []}
    began = time.monotonic()
    try:
        if request["library"] != "tensorrt_rtx":  # that one builds without a device
            cuda = open_cuda()  # first: without a device, parts of TensorRT hand out null pointers
            report.update(device=cuda.name, sm=cuda.sm)
        trt = import_module(request["library"])
        report["version"] = str(trt.__version__)
        report.update(_TASKS[request["task"]](trt, request, folder))
    except Exception as error:  # of a library that raises what it likes; the reason is all that is wanted
        report["reason"] = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
    report.update(ok=not report["reason"], seconds=time.monotonic() - began)
    report.update(cpu_s=time.process_time(), peak_bytes=peak_bytes())
    return report


def _probe(trt: Any, request: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    log = make_logger(trt)
    for kind in (trt.Builder, trt.Runtime):
        if kind(log) is None:
            return {"reason": f"{kind.__name__} cannot be made: {log.reason()}"}
    return {}


def _check(trt: Any, request: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return _checked(trt, (folder / "model.onnx").read_bytes())[0]


def _checked(trt: Any, model: bytes) -> tuple[dict[str, Any], _Parsed]:
    """Which nodes are not supported, whether the model parses, and the parsed model."""
    asked = _Parsed(trt, model, query=True)
    parsed = _Parsed(trt, model)  # the query leaves its parser in an unknown state
    refused = _unique([*asked.refused, *parsed.refused])
    found = {**parsed.facts(), "refused": refused, "supported": asked.ok}
    if not (asked.ok and parsed.ok):
        found["reason"] = _refusal(refused) or parsed.log.reason()
    return found, parsed


def _build(trt: Any, request: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    model = (folder / "model.onnx").read_bytes()
    if request.get("check"):
        found, parsed = _checked(trt, model)
        if found.get("reason") or found["recurrent"]:  # a recurrent graph may take minutes and gigabytes: parsed only
            return found
    else:
        parsed = _Parsed(trt, model)
        found = parsed.facts()
        if not parsed.ok:
            return {**found, "reason": _refusal(parsed.refused) or parsed.log.reason(), "final": True}
    config, kept = _config(trt, parsed, request, folder)
    began = time.monotonic()
    plan = parsed.builder.build_serialized_network(parsed.network, config)
    found["build_s"] = time.monotonic() - began
    if plan is None:
        return {**found, "reason": parsed.log.reason()}  # perhaps for want of memory: the next start tries again
    data = bytes(plan)
    (folder / "plan").write_bytes(data)
    (folder / "timing").write_bytes(bytes(config.get_timing_cache().serialize()))
    del kept
    return {**found, "plan_bytes": len(data), "messages": parsed.log.messages[-_MESSAGES:]}


_TASKS = {"probe": _probe, "check": _check, "build": _build}


class _Parsed:
    """A model in TensorRT's hands, with everything that must stay alive as long as the parser does.

    Args:
        trt: the library.
        model: ONNX bytes.
        query: ask which nodes are supported instead of parsing.
    """

    def __init__(self, trt: Any, model: bytes, *, query: bool = False) -> None:
        self.log = make_logger(trt)
        self.builder = trt.Builder(self.log)
        self.network = self.builder.create_network(_network_flags(trt))
        self.parser = trt.OnnxParser(self.network, self.log)
        self.ok = _supported(self.parser, model) if query else bool(self.parser.parse(model))
        self.refused = [_refused(self.parser.get_error(i)) for i in range(self.parser.num_errors)]

    def facts(self) -> dict[str, Any]:
        """Of the network as far as it was parsed."""
        kinds = {layer.type.name for layer in self.layers()}
        return {"layers": self.network.num_layers, "recurrent": bool(kinds & LOOPS), "parsed": self.ok}

    def layers(self) -> Iterable[Any]:
        return (self.network.get_layer(i) for i in range(self.network.num_layers))


def _network_flags(trt: Any) -> int:
    """8.5 wants the batch said to be explicit, 11 has no word for it; 10 is made as strict with types as 11."""
    kinds = trt.NetworkDefinitionCreationFlag
    return sum(1 << int(getattr(kinds, name)) for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED") if hasattr(kinds, name))


def _supported(parser: Any, model: bytes) -> bool:
    if hasattr(parser, "supports_model_v2"):
        return bool(parser.supports_model_v2(model))
    return bool(parser.supports_model(model)[0])  # 8.5: with a list of subgraphs


def _refused(error: Any) -> dict[str, Any]:
    """One of the parser's errors; 8.5 knows the number of the node only."""
    named = hasattr(error, "node_operator")
    return {
        "node": error.node_name() if named else f"node {error.node()}",
        "operator": error.node_operator() if named else None,
        "why": " ".join(str(error.desc()).split()),
    }


def _refusal(refused: Iterable[Mapping[str, Any]]) -> str:
    return "; ".join(f"{node['operator'] or 'an operator'} ({node['node']}): {node['why']}" for node in refused)


def _unique(refused: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({json.dumps(node): node for node in refused}.values())


def _config(trt: Any, parsed: _Parsed, request: Mapping[str, Any], folder: Path) -> tuple[Any, list[Any]]:
    """The builder's options, and what must not be collected before the build is done."""
    config = parsed.builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request["workspace_bytes"])
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that the engine can tell its layers' precision
    if not request["tf32"]:
        config.clear_flag(trt.BuilderFlag.TF32)
    if request["refit"]:
        config.set_flag(trt.BuilderFlag.REFIT)
    if not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        for flag in _type_flags(parsed):
            config.set_flag(getattr(trt.BuilderFlag, flag))
    profile = _profile(parsed, request["batch"])
    config.add_optimization_profile(profile)
    timing = _timing(config, folder / "timing")
    config.set_timing_cache(timing, False)
    kept = [profile, timing]
    if hasattr(trt, "IProgressMonitor"):
        config.progress_monitor = monitor = _monitor(trt, folder / "progress")
        kept.append(monitor)
    return config, kept


def _type_flags(parsed: _Parsed) -> list[str]:
    """A float16 graph alone does not make TensorRT 8 choose float16 kernels; the flags allow it to."""
    types = {layer.get_output(i).dtype.name for layer in parsed.layers() for i in range(layer.num_outputs)}
    return [flag for name, flag in _TYPES.items() if name in types]


def _profile(parsed: _Parsed, batch: tuple[int, int, int]) -> Any:
    """The one range of shapes: batches of min, opt and max windows."""
    profile = parsed.builder.create_optimization_profile()
    for i in range(parsed.network.num_inputs):
        value = parsed.network.get_input(i)
        sizes = tuple(value.shape)
        if sizes[0] != -1 or min(sizes[1:]) < 1:
            raise ValueError(f"input {value.name} of shape {sizes}: only the batch may be free, and must be")
        profile.set_shape(value.name, *((n, *sizes[1:]) for n in batch))
    return profile


def _timing(config: Any, path: Path) -> Any:
    data = path.read_bytes() if path.exists() else b""
    return config.create_timing_cache(data) or config.create_timing_cache(b"")


def make_logger(trt: Any) -> Any:
    """A logger that keeps what was said: where a build gives nothing, the reason is there only."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[str] = []
            self.errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            serious = severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR)
            kept = self.errors if serious else self.messages
            if serious or severity == trt.ILogger.WARNING:
                kept.append(" ".join(text.split())[:500])
                del kept[:-_MESSAGES]

        def reason(self) -> str:
            return "; ".join(self.errors[-3:]) or "TensorRT gave no reason"

    return Log()


def _monitor(trt: Any, path: Path) -> Any:
    """Writes the outermost phase and its steps to a file, at most ten times a second."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[str, int] = {}
            self.written = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self.phases[phase_name] = num_steps
                self._write(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self.phases and time.monotonic() - self.written > 0.1:
                self._write(phase_name, step + 1)
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.phases.pop(phase_name, None)

        def _write(self, phase: str, done: int) -> None:
            self.written = time.monotonic()
            temporary = path.with_suffix(".new")
            temporary.write_text(json.dumps([phase, done, self.phases.get(phase, 0)]))
            os.replace(temporary, path)

    return Monitor()


def peak_bytes() -> int | None:
    """The most memory that this process held at once; None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), None)


def main(arguments: list[str], open_cuda: Callable[[], Any] = Cuda) -> int:
    """Run one request; end with whoever asked."""
    folder = Path(arguments[0])
    hold()
    os.nice(10)  # a stream of samples beside it comes first
    report = run(folder, open_cuda)
    temporary = folder / "report.new"
    temporary.write_text(json.dumps(report))
    os.replace(temporary, folder / "report.json")
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # the libraries' own endings, in whatever order, can no longer spoil a finished report
