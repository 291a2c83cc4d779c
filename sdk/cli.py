"""`sensedge COMMAND`: one door to all commands; `sensedge stream ...` is `python -m sdk.stream ...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "demo": ("sdk.demo.__main__", "the whole way on what the package carries, in under a minute"),
    "stream": ("sdk.stream", "samples of a recording, a sensor or a network through a bundle"),
    "label": ("sdk.label", "what a recorder kept: list it, say what it was, export it"),
    "finetune": ("sdk.finetune.__main__", "adapt a bundle to its wearer's labels; list versions; go back"),
    "bundle": ("sdk.bundle", "a bundle as one file, and back"),
    "optimize": ("sdk.optimize.__main__", "which engine and precision earn their place on this device"),
    "profile": ("sdk.profile.__main__", "what a bundle costs here, in time, memory and energy"),
    "doctor": ("sdk.doctor.__main__", "what this machine is, what it lacks, and how to mend it"),
    "datasets": ("sdk.datasets.__main__", "public data sets: list, get, check"),
    "pretrain": ("sdk.pretrain.__main__", 'train an encoder and export it (needs "sensedge[train,export]")'),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the rest of the command line to the command."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: sensedge COMMAND [...]\n")
        print("\n".join(f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items()))
        print("\nsensedge COMMAND --help tells more, with examples.")
        return 0 if arguments else 2
    if arguments[0] not in COMMANDS:
        print(f"error: no command {arguments[0]!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        module = import_module(COMMANDS[arguments[0]][0])
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    code: int = module.main(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
