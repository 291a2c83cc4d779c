"""Ask runtime.engine.tensorrt.build something, and end it when it takes too long or too much memory.

    ask ----> child: import, probe, parse, build        no crash of a library reaches this process
     |          |
     | 20 x / s | resident memory over its limit?        kill
     |          | memory of the machine nearly gone?     kill: on a Jetson what the GPU takes is in no process's count
     |          | out of time, or cancelled?             kill
     v          v
    report.json, always: what the child wrote, or why there is nothing

The memory is watched, not limited by RLIMIT_AS: CUDA reserves far more addresses than it uses, so a limit on them
ends builds that need little. A cgroup would be exact, but takes rights that an app does not have.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.process.child import Child
from runtime.progress import ShowProgress, silent

_POLL_S = 0.05
_LAZY = {"CUDA_MODULE_LOADING": "LAZY"}  # kernels in memory as they are needed


@dataclass(frozen=True)
class Limits:
    """What one request to the process that builds engines may take."""

    seconds: float = 900.0
    rss_bytes: int = 4 << 30  # of the child
    spare_bytes: int = 128 << 20  # that the machine must still have available


@dataclass(frozen=True)
class Builder:
    """How the process that builds engines is started."""

    arguments: tuple[str, ...] = ("-m", "runtime.engine.tensorrt.build")  # of the interpreter, before the folder
    python: str | None = None  # an interpreter; None: this one
    environment: Mapping[str, str] = field(default_factory=dict)  # over this process's own


def ask(
    folder: Path,
    request: Mapping[str, Any],
    *,
    limits: Limits | None = None,
    builder: Builder | None = None,
    cancel: threading.Event | None = None,
    progress: ShowProgress = silent,
) -> dict[str, Any]:
    """The child's report on a request. It does not raise for what goes wrong there.

    Args:
        folder: of this request alone, with the files that the task reads; nobody else may write to it.
        request: see runtime.engine.tensorrt.build.
        limits: beyond which the child is ended; None: the usual ones.
        builder: how it is started; None: this interpreter.
        cancel: ends the child when it is set.
        progress: called with steps done, steps in all and the builder's phase.

    Returns:
        The report. `ok` is whether it succeeded, `reason` why not; `final` that the same request would fail again;
        `peak_bytes` and `seconds` are of the whole child where it was ended.
    """
    limits, builder, cancel = limits or Limits(), builder or Builder(), cancel or threading.Event()
    (folder / "request.json").write_text(json.dumps(request))
    began, peak, reason = time.monotonic(), 0, ""
    environment = {**_LAZY, **os.environ, **builder.environment}
    arguments = [*builder.arguments, str(folder.absolute())]
    with Child(arguments, python=builder.python, environment=environment, answers=False, alone=True) as child:
        child.start()
        while not child.is_over and not reason:
            peak = max(peak, _status_bytes(child.pid, "VmHWM"))
            reason = _over(child.pid, limits, time.monotonic() - began) or ("stopped" if cancel.is_set() else "")
            _tell(progress, folder / "progress")
            cancel.wait(_POLL_S)
        if not reason:
            reason = _death(child)
    _tell(progress, folder / "progress")
    try:
        report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    except (OSError, ValueError):
        report = {"ok": False, "refused": [], "reason": reason}
        report.update(seconds=time.monotonic() - began, peak_bytes=peak or None)
    return report


def _over(pid: int, limits: Limits, seconds: float) -> str:
    """Which limit is broken, as a sentence; "" where none is."""
    rss_bytes, available = _status_bytes(pid, "VmRSS"), _available_bytes()
    if seconds > limits.seconds:
        return f"not done after {limits.seconds:.0f} s"
    if rss_bytes > limits.rss_bytes:
        return f"more than {limits.rss_bytes >> 20} MB of memory"
    if available is not None and available < limits.spare_bytes:
        return f"the machine had only {available >> 20} MB of memory left"
    return ""


def _status_bytes(pid: int, name: str) -> int:
    """A line of /proc/PID/status; 0 once the process is gone."""
    return _kilobytes(Path(f"/proc/{pid}/status"), name) or 0


def _available_bytes() -> int | None:
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable")


def _kilobytes(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:")), None)


def _tell(progress: ShowProgress, path: Path) -> None:
    if path.exists():
        phase, done, total = json.loads(path.read_text())
        progress(done, total, phase)


def _death(child: Child) -> str:
    """How a child ended that left no report."""
    last = child.last_line()
    return f"its process ended with {child.ending()}" + (f": {last[:300]}" if last else "")
