"""`python -m exporters COMMAND`: make a bundle, look into it, add to it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from exporters.commands import COMMANDS
from runtime.command import BAD_INPUT, DONE, no_command, run_command, version_line


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the rest of the command line to a command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_listing())
        return DONE if words else BAD_INPUT
    name = words[0]
    if name == "--version":
        print(version_line())
        return DONE
    if name not in COMMANDS:
        return no_command(name, COMMANDS)
    it = import_module(f"exporters.commands.{name}")
    return run_command(words[1:], f"python -m exporters {name}", it.HELP, it.EXAMPLES, it.add_arguments, it.run)


def _listing() -> str:
    lines = [f"  {name:<9} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        ["usage: python -m exporters COMMAND [...]", "", *lines, "", "COMMAND --help tells more, with examples."]
    )


if __name__ == "__main__":
    sys.exit(main())
