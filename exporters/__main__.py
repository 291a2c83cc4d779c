"""`python -m exporters COMMAND`: make a bundle, look into it, add to it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from exporters.commands import COMMANDS
from runtime.command import BAD_INPUT, DONE, guarded, parser


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the rest of the command line to a command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_listing())
        return DONE if words else BAD_INPUT
    name = words[0]
    if name not in COMMANDS:
        print(f"error: no command {name!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return BAD_INPUT
    return guarded(lambda: _run(name, words[1:]))


def _run(name: str, words: Sequence[str]) -> int:
    module = import_module(f"exporters.commands.{name}")
    p = parser(f"exporters {name}", module.HELP, getattr(module, "EXAMPLES", ""))
    module.add_arguments(p)
    code: int = module.run(p.parse_args(words))
    return code


def _listing() -> str:
    lines = [f"  {name:<9} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        ["usage: python -m exporters COMMAND [...]", "", *lines, "", "COMMAND --help tells more, with examples."]
    )


if __name__ == "__main__":
    sys.exit(main())
