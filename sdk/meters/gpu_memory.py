"""The memory of NVIDIA's graphics cards, by NVML; `pip install sensedge[nvml]`.

A card tells what each process has, unless the process is in a container or the driver does not say; then only what all
of them have together is known. The memory of a Jetson is the machine's own, and NVML does not tell it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdk.meters.energy import MeterError
from sdk.meters.nvml import load_nvml


@dataclass(frozen=True)
class GpuMemory:
    """Graphics memory that came into use."""

    bytes: int | None
    method: str  # "process"; "card": by all of its processes; "": not measured
    reason: str  # why not


class GpuWatch:
    """Made before the work; `look` while the work holds its memory; `result`: the most that was seen.

    Args:
        root: of the machine; a recorded tree has no driver to ask.
        nvml: a module like pynvml instead of the installed one.
    """

    def __init__(self, root: str | Path = "/", *, nvml: Any = None) -> None:
        self._reason, self._cards, self._seen = "", [], []  # type: tuple[str, list[Any], list[tuple[str, int]]]
        try:
            if nvml is None and Path(root) != Path("/"):
                raise MeterError("NVML: a recorded tree has no driver to ask")
            self._nvml = nvml or load_nvml()
            self._nvml.nvmlInit()
            count = self._nvml.nvmlDeviceGetCount()
            self._cards = [self._nvml.nvmlDeviceGetHandleByIndex(i) for i in range(count)]
            self._before_bytes = self._used_bytes()
        except Exception as error:  # NVML raises classes of its own
            self._reason = str(error) if isinstance(error, MeterError) else f"NVML: {error}"

    def look(self, pid: int) -> None:
        """Read what a process has now."""
        if self._reason:
            return
        try:
            own = self._process_bytes(pid)
            used = self._used_bytes() - self._before_bytes if own is None else own
            self._seen.append(("card" if own is None else "process", used))
        except Exception as error:
            self._reason = f"NVML: {error}"

    def _used_bytes(self) -> int:
        return sum(int(self._nvml.nvmlDeviceGetMemoryInfo(card).used) for card in self._cards)

    def _process_bytes(self, pid: int) -> int | None:
        processes = [p for card in self._cards for p in self._nvml.nvmlDeviceGetComputeRunningProcesses(card)]
        own = [p.usedGpuMemory for p in processes if p.pid == pid and p.usedGpuMemory is not None]
        return sum(own) if own else None

    def result(self) -> GpuMemory:
        """Return the most that was seen."""
        if self._reason or not self._seen:
            return GpuMemory(None, "", self._reason or "nobody looked")
        method = "card" if any(how == "card" for how, _ in self._seen) else "process"
        return GpuMemory(max(used for how, used in self._seen if how == method), method, "")
