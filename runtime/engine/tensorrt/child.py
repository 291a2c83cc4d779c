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
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_POLL_S = 0.05
_PACKAGES = Path(__file__).parents[2]


@dataclass(frozen=True)
class Limits:
    """What one request may take."""

    seconds: float = 900.0
    rss_bytes: int = 4 << 30  # of the child
    spare_bytes: int = 128 << 20  # that the machine must still have available


@dataclass(frozen=True)
class Child:
    """How the process is started."""

    command: tuple[str, ...] = (sys.executable, "-m", "runtime.engine.tensorrt.build")
    environment: Mapping[str, str] = field(default_factory=dict)  # over this process's own


def ask(
    folder: Path,
    request: Mapping[str, Any],
    *,
    limits: Limits | None = None,
    child: Child | None = None,
    cancel: threading.Event | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """The child's report on a request. It does not raise for what goes wrong there.

    Args:
        folder: of this request alone, with the files that the task reads; nobody else may write to it.
        request: see runtime.engine.tensorrt.build.
        limits: beyond which the child is ended; None: the usual ones.
        child: how it is started; None: this interpreter.
        cancel: ends the child when it is set.
        progress: called with the builder's phase, steps done and steps in all.

    Returns:
        The report. `ok` is whether it succeeded, `reason` why not; `final` that the same request would fail again;
        `peak_bytes` and `seconds` are of the whole child where it was ended.
    """
    limits, child, cancel = limits or Limits(), child or Child(), cancel or threading.Event()
    (folder / "request.json").write_text(json.dumps(request))
    began, peak, reason = time.monotonic(), 0, ""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*child.command, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,  # `-m` looks for modules there first; in a folder of someone's own could lie a tensorrt.py
            env=_environment(child.environment),
            start_new_session=True,
        )
        try:
            while process.poll() is None and not reason:
                peak = max(peak, _status_bytes(process.pid, "VmHWM"))
                reason = _over(process.pid, limits, time.monotonic() - began) or ("stopped" if cancel.is_set() else "")
                _tell(progress, folder / "progress")
                cancel.wait(_POLL_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    _tell(progress, folder / "progress")
    try:
        report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    except (OSError, ValueError):
        report = {"ok": False, "refused": [], "reason": reason or _death(process.returncode, folder / "log")}
        report.update(seconds=time.monotonic() - began, peak_bytes=peak or None)
    return report


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    environment = {"CUDA_MODULE_LOADING": "LAZY", **os.environ, **changes}  # kernels in memory as they are needed
    paths = [str(_PACKAGES), environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


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


def _tell(progress: Callable[[str, int, int], None] | None, path: Path) -> None:
    if progress is not None and path.exists():
        phase, done, total = json.loads(path.read_text())
        progress(phase, done, total)


def _death(code: int, log: Path) -> str:
    """How a child ended that left no report."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"its process ended with {how}" + (f": {lines[-1][:300]}" if lines else "")
