"""What a measured choice of engine holds for: this processor, these cores, these libraries, this GPU."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path

from runtime.files.kernel import read_text

_LIBRARIES = (
    *("numpy", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "openvino", "sensedge"),
    *("tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
)


def device(root: str | Path = "/") -> dict[str, object]:
    """The device in plain values; two that are alike measure alike.

    Args:
        root: where /proc and /sys are; the libraries are always those of this process.
    """
    root = Path(root)
    return {
        "board": _text(root / "proc/device-tree/model").rstrip("\0"),
        "cpu": _cpu(_text(root / "proc/cpuinfo")),
        "machine": platform.machine(),
        "cores": physical_cores(root),
        "cpus": sorted(os.sched_getaffinity(0)),
        "gpu": _gpu(root),
        "libraries": {name: version for name in _LIBRARIES if (version := _version(name))},
    }


def physical_cores(root: str | Path = "/") -> int:
    """Cores that this process may use; two threads of one core count once."""
    cpus = os.sched_getaffinity(0)
    topology = Path(root) / "sys/devices/system/cpu"
    siblings = {_text(topology / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in cpus}
    return len(siblings)


def thread_counts(cores: int | None = None) -> list[int]:
    """How many threads of an engine are worth trying: the powers of two up to the cores, and all of these.

    Args:
        cores: None: `physical_cores`; two threads of one core share the units that a network keeps busy.
    """
    cores = physical_cores() if cores is None else cores
    return sorted({*(1 << i for i in range(cores.bit_length())), cores})


def _cpu(cpuinfo: str) -> list[str]:
    """All that /proc/cpuinfo says about the kinds of cores, once each: models on x86, part numbers on Arm."""
    return sorted(set(re.findall(r"^(?:model name|Hardware|CPU part|CPU implementer|stepping)\s*:.*", cpuinfo, re.M)))


def _gpu(root: Path) -> list[str]:
    """The NVIDIA driver, its cards, and the release of a Jetson's system."""
    cards = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    models = [line for card in cards for line in _text(card).splitlines() if line.startswith("Model:")]
    lines = [_text(root / "proc/driver/nvidia/version"), *models, _text(root / "etc/nv_tegra_release")]
    return [line.splitlines()[0] for line in lines if line]


def _text(path: Path) -> str:
    try:
        return read_text(path).strip()
    except OSError:
        return ""


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
