"""`sensedge COMMAND`: one door to all commands, those of exporters too.

`sensedge stream ...` is `python -m sdk.stream ...`, and `sensedge inspect ...` is `python -m exporters inspect ...`. A
module is imported when it is chosen; runtime.command says what it holds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "on the device": {
        "demo": ("sdk.demo.__main__", "the whole way on what the package carries, in under a minute"),
        "info": ("sdk.info", "what a bundle is: labels, signal, window, versions, size, licence"),
        "stream": ("sdk.stream", "samples of a recording, a sensor or a network through a bundle"),
        "live": ("sdk.live.__main__", "the same on a page: see it, say what it was, personalise, go back"),
        "label": ("sdk.label", "what a recorder kept: list it, say what it was, export it"),
        "ask": ("sdk.ask", "which recorded windows to ask the wearer about; take the answers"),
        "finetune": ("sdk.finetune.__main__", "adapt a bundle to its wearer's labels; list versions; go back"),
        "bundle": ("sdk.bundle", "a bundle as one file, and back"),
        "optimize": ("sdk.optimize.__main__", "which engine and precision earn their place on this device"),
        "profile": ("sdk.profile.__main__", "what a bundle costs here, in time, memory and energy"),
        "doctor": ("sdk.doctor.__main__", "what this machine is, what it lacks, and how to mend it"),
        "tensorrt": ("exporters.commands.tensorrt", "build and check TensorRT engines"),
    },
    "on the workstation": {
        "datasets": ("sdk.datasets.__main__", "public data sets: list, get, check"),
        "pretrain": ("sdk.pretrain.__main__", 'train an encoder and export it (needs "sensedge[train,export]")'),
        "onnx": ("exporters.commands.onnx", "a torch module or an ONNX model becomes a bundle"),
        "train": ("exporters.commands.train", "add the graphs that a device trains with"),
        "inspect": ("exporters.commands.inspect", "what a bundle is: signal, window, layers, memory, files"),
        "parity": ("exporters.commands.parity", "compare the engines of this machine on a bundle"),
        "fp16": ("exporters.commands.fp16", "add a variant in half precision"),
        "int8": ("exporters.commands.int8", "add a variant in 8-bit integers"),
        "reference": ("exporters.commands.reference", "say in a bundle what its training data were like"),
        "sign": ("exporters.commands.sign", "sign a bundle, or check its signature"),
        "keys": ("exporters.commands.keys", "make and list signing keys"),
    },
}


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the rest of the command line to the command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_listing())
        return 0 if words else 2
    from runtime.command import BAD_INPUT, DONE, no_command, run_command, version_line

    name = words[0]
    if name == "--version":
        print(version_line())
        return DONE
    modules = {name: module for group in COMMANDS.values() for name, (module, _) in group.items()}
    if name not in modules:
        return no_command(name, modules)
    try:
        it = import_module(modules[name])
    except ImportError as error:  # of an extra that is not installed; the text says how to get it
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    return run_command(words[1:], f"sensedge {name}", it.HELP, it.EXAMPLES, it.add_arguments, it.run)


def _listing() -> str:
    lines = ["usage: sensedge COMMAND [...]"]
    for where, group in COMMANDS.items():
        lines += ["", f"{where}:", *(f"  {name:<10} {text}" for name, (_, text) in group.items())]
    return "\n".join(
        [*lines, "", "sensedge COMMAND --help tells more, with examples; --version says what is installed."]
    )


if __name__ == "__main__":
    sys.exit(main())
