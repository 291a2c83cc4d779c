"""The commands of `python -m exporters`: one module each, imported when it is chosen.

runtime.command says what such a module holds; `sensedge COMMAND` (sdk.cli) runs them too.
"""

from __future__ import annotations

from importlib import import_module

COMMANDS = {
    "onnx": "a torch module or an ONNX model becomes a bundle",
    "train": "add the graphs that a device trains with",
    "inspect": "what a bundle is: signal, window, layers, memory, files",
    "parity": "compare the engines of this machine on a bundle",
    "fp16": "add a variant in half precision",
    "int8": "add a variant in 8-bit integers",
    "tensorrt": "build and check TensorRT engines",
    "reference": "say in a bundle what its training data were like",
    "sign": "sign a bundle, or check its signature",
    "keys": "make and list signing keys",
}


def need_packages(command: str) -> None:
    """What changes graphs wants onnx and onnxscript.

    Raises:
        MissingError: one of them is not here.
    """
    from runtime.errors import MissingError

    for name in ("onnx", "onnxscript"):
        try:
            import_module(name)
        except ImportError as error:  # noqa: PERF203
            raise MissingError(
                command, expected=f"the package {name}", got="none", fix='Install it: pip install "sensedge[graphs]"'
            ) from error


__all__ = ["COMMANDS", "need_packages"]
