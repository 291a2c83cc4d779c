"""Python, the wheels on it, and what is known to be bad about some of them.

An import that dies of an illegal instruction cannot be caught: each library is imported in a process of its own first,
and those that this process needs are not touched before theirs came back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sdk.doctor.finding import NOTE, OK, PROBLEM, Finding
from sdk.doctor.host import Host

LEAST_PYTHON = (3, 10)
LEAST_GLIBC = (2, 27)
LIBRARIES = {  # package: module; in the order in which they build on each other
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "psutil": "psutil",
    "scipy": "scipy",
    "openvino": "openvino",
    "onnx": "onnx",
    "matplotlib": "matplotlib",
    "nvidia-ml-py": "pynvml",
    "tensorrt": "tensorrt",
    "torch": "torch",
}
NEEDED = ("numpy", "onnxruntime", "psutil")
FLAVOURS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")  # of one module: the last one installed wins
TELEMETRY = "ORT_DISABLE_TELEMETRY"


@dataclass(frozen=True)
class KnownBad:
    """A version that does not work somewhere."""

    package: str
    fits: Callable[[tuple[int, ...], Host], bool]
    state: str
    text: str
    fix: str
    at_import: bool = False  # it explains an import that failed; one that did not is proof of the contrary


def _torch_for(host: Host) -> str:
    pin = "torch==2.9.1" if host.old_core else "torch<2.11"
    return f'Streaming and fine-tuning need no torch: `pip uninstall torch`; to keep one, `pip install "{pin}"`.'


KNOWN_BAD = (
    KnownBad(
        "onnxruntime",
        lambda version, host: version[:3] == (1, 21, 0) and bool(host.old_core),
        PROBLEM,
        "dies of an illegal instruction on a Cortex-A53 or A72 (Raspberry Pi 3, 4, Zero 2)",
        'Take another: `pip install "onnxruntime!=1.21.0"`.',
    ),
    KnownBad(
        "onnxruntime",
        lambda version, host: version < (1, 19),
        PROBLEM,
        "is older than 1.19, which the runtime asks for",
        'Update it: `pip install "onnxruntime>=1.19"`.',
    ),
    KnownBad(
        "torch",
        lambda version, host: version[:2] == (2, 10) and bool(host.old_core),
        PROBLEM,
        "is known to die on a Cortex-A72 (Raspberry Pi 4)",
        "TORCH",
        at_import=True,
    ),
    KnownBad(
        "torch",
        lambda version, host: version[:2] == (2, 6) and bool(host.old_core),
        NOTE,
        "dies of an illegal instruction in its ONNX export on a Raspberry Pi 4",
        "TORCH",
    ),
    KnownBad(
        "torch",
        lambda version, host: version[:2] >= (2, 11) and host.is_pi and "+cpu" not in str(host.version_of("torch")),
        NOTE,
        "is a CUDA 13 build on PyPI: 0.5 GB and more that a Raspberry Pi has no use for",
        "TORCH",
    ),
)


def system(host: Host) -> Iterator[Finding]:
    """Interpreter, word size, C library, telemetry."""
    version = ".".join(map(str, host.python))
    if host.python[:2] < LEAST_PYTHON:
        fix = "Take Python 3.10 or newer: JetPack 6 and Raspberry Pi OS 12 have one."
        yield Finding("python", PROBLEM, f"Python {version}", fix)
    else:
        yield Finding("python", OK, f"Python {version}, {host.machine}")
    if host.bits == 32:
        text = f"a 32-bit Python on {host.machine}: there is no onnxruntime for it"
        yield Finding("word size", PROBLEM, text, "Install the 64-bit system (Raspberry Pi OS 64-bit).")
    name, release = host.libc
    if not name:
        text, fix = "no glibc (musl?): onnxruntime has no wheels for it", "Take a system with glibc, such as Debian."
        yield Finding("C library", PROBLEM, text, fix)
    elif _numbers(release) < LEAST_GLIBC:
        text, fix = f"{name} {release}: onnxruntime's wheels need 2.27", "Update the system: JetPack 6, Debian 12."
        yield Finding("C library", PROBLEM, text, fix)
    else:
        yield Finding("C library", OK, f"{name} {release}")
    yield _telemetry(host)


def _telemetry(host: Host) -> Finding:
    value = host.environ.get(TELEMETRY)
    if value in (None, "1"):
        return Finding("telemetry", OK, f"off: {TELEMETRY}=1, which the runtime sets unless you did")
    text = f"{TELEMETRY}={value}: onnxruntime 1.31 and later send telemetry and write a device id"
    return Finding("telemetry", NOTE, text, f"`export {TELEMETRY}=1`, or unset it: the runtime sets it then.")


def libraries(host: Host) -> Iterator[Finding]:
    """Every package of LIBRARIES that is installed or needed."""
    there = [name for name in FLAVOURS if host.version_of(name)]
    if len(there) > 1:
        text = f"{' and '.join(there)} are installed: they overwrite each other's files"
        fix = f"`pip uninstall -y {' '.join(there)}`, then install the one you want."
        yield Finding("library onnxruntime", PROBLEM, text, fix)
    for package, module in LIBRARIES.items():
        name = there[0] if package == "onnxruntime" and there else package
        version = host.version_of(name)
        if version is not None:
            yield _library(name, module, version, host)
        elif package in NEEDED:
            yield Finding(f"library {package}", PROBLEM, "is not installed", f"`pip install {package}`.")


def _library(package: str, module: str, version: str, host: Host) -> Finding:
    numbers = _numbers(version)
    kind = "onnxruntime" if package in FLAVOURS else package
    ending = host.probe(module)
    fitting = (bad for bad in KNOWN_BAD if bad.package == kind and bad.fits(numbers, host))
    bad = next((bad for bad in fitting if ending or not bad.at_import), None)
    fix = "" if bad is None else _torch_for(host) if bad.fix == "TORCH" else bad.fix
    topic, facts = f"library {package}", {"version": version, "import": ending or "ok"}
    if ending:
        text = f"{version}: import {ending}" + (f"; this version {bad.text}" if bad else "")
        return Finding(topic, PROBLEM, text, fix or _reinstall(package, ending), facts)
    if bad is not None:
        return Finding(topic, bad.state, f"{version} {bad.text}", fix, facts)
    return Finding(topic, OK, version, facts=facts)


def _reinstall(package: str, ending: str) -> str:
    if "SIGILL" in ending:
        return f"This wheel has instructions that the processor lacks: try an older {package}, and report it."
    if package == "tensorrt":
        return "It comes with JetPack: `sudo apt install python3-libnvinfer`; elsewhere uninstall it."
    optional = "" if package in NEEDED else f", or leave it out: `pip uninstall {package}`"
    return f"Install it again: `pip install --force-reinstall {package}`{optional}."


def _numbers(version: str) -> tuple[int, ...]:
    """Turn 1.21.0rc1 into (1, 21, 0)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
