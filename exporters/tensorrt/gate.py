"""One ONNX graph through TensorRT's parser and builder, without a GPU.

    model.onnx -> supports_model_v2: which operators are refused -> parse -> build, unless the graph is recurrent

TensorRT for RTX 1.x has the parser of TensorRT 10 and 11 and builds without a driver. Its engines run on RTX cards
only and are thrown away here; what counts is that there is one. It lives in an environment of its own, because it
is large and under NVIDIA's licence: any Python that has it and numpy will do.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runtime.engine.tensorrt.child import Builder, Limits, ask
from runtime.engine.tensorrt.engine import BuildOptions
from runtime.errors import MissingError
from runtime.process.child import Child

LIBRARY = "tensorrt_rtx"
PYTHON = "SENSEDGE_TENSORRT_PYTHON"  # names an interpreter that has it
INSTALL = (
    f"python3 -m venv .venv-tensorrt && .venv-tensorrt/bin/pip install tensorrt-rtx-cu13 numpy, {PYTHON}=that python"
)
LIMITS = Limits(seconds=120.0)


@dataclass(frozen=True)
class GateReport:
    """What TensorRT said of a graph."""

    ok: bool
    reason: str  # why not; "" where it is accepted
    version: str | None
    refused: tuple[dict[str, Any], ...]  # node, operator, why
    layers: int | None
    recurrent: bool | None  # then it was parsed, not built
    build_s: float | None  # None: not built
    plan_bytes: int | None
    peak_bytes: int | None  # of the process that parsed and built
    seconds: float  # of all of it
    cpu_s: float | None  # of the process; None: it was ended

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "refused": list(self.refused)}


def find_python() -> str:
    """An interpreter with TensorRT for RTX: the one that SENSEDGE_TENSORRT_PYTHON names, this one, or .venv-tensorrt.

    Raises:
        MissingError: there is none; the message has the line that makes one.
    """
    named, local = os.environ.get(PYTHON), Path(".venv-tensorrt/bin/python")
    own = find_spec(LIBRARY) is not None or not local.is_file()
    python = _absolute(named or (sys.executable if own else str(local)))
    known = f"from importlib.util import find_spec as f; raise SystemExit(not (f({LIBRARY!r}) and f('numpy')))"
    try:
        with Child(["-c", known], python=python, answers=False) as child:
            child.start()
            there = child.wait() == 0
    except OSError:
        there = False
    if not there:
        raise MissingError("TensorRT for RTX", expected=f"{LIBRARY} and numpy", got=f"none in {python}", fix=INSTALL)
    return python


def _absolute(python: str) -> str:
    """Where it is, for a child that starts in a folder of its own; a bare name is looked up in PATH."""
    return os.path.abspath(python) if os.sep in python else python


def check_model(
    model: bytes, *, python: str | None = None, build: bool = True, max_batch: int = 64, limits: Limits = LIMITS
) -> GateReport:
    """Ask TensorRT for RTX about a graph.

    Args:
        model: ONNX with a free batch.
        python: that has it; None: `find_python`.
        build: also build an engine, unless the graph is recurrent: such a build may take minutes and gigabytes.
        max_batch: of the engine.
        limits: beyond which the process is ended, with that as the reason.

    Raises:
        MissingError: no Python has it.
    """
    builder = Builder(python=_absolute(python or find_python()))
    options = BuildOptions(max_batch=max_batch)
    request = options.request("build" if build else "check", library=LIBRARY, check=True)
    with tempfile.TemporaryDirectory(prefix="sensedge-") as folder:
        (Path(folder) / "model.onnx").write_bytes(model)
        told = ask(Path(folder), request, limits=limits, builder=builder)
    return GateReport(
        told["ok"],
        told["reason"],
        told.get("version"),
        tuple(told["refused"]),
        told.get("layers"),
        told.get("recurrent"),
        told.get("build_s"),
        told.get("plan_bytes"),
        told["peak_bytes"],
        told["seconds"],
        told.get("cpu_s"),
    )
