"""`python -m sdk.bundle`: a bundle as one file for sending it, and back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.command import DONE, add_trust, open_bundle, run_command, say, trust_of

HELP = "Make one file of a bundle, or a bundle of one file."
EXAMPLES = """\
  python -m sdk.bundle pack walk.bundle walk.bundle.zip        without the versions that this device trained
  python -m sdk.bundle unpack walk.bundle.zip walk.bundle      verified before the folder is there
  python -m sdk.bundle unpack walk.bundle.zip walk.bundle --trust vendor.pub"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return run_command(argv, "python -m sdk.bundle", HELP, EXAMPLES, add_arguments, run)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """From where and to where."""
    p.add_argument("what", choices=("pack", "unpack"))
    p.add_argument("source", type=Path, help="pack: the folder; unpack: the zip")
    p.add_argument("to", type=Path, help="pack: the zip; unpack: the folder, which is not there yet")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Pack or unpack; the exit code."""
    from runtime.bundle import pack, unpack
    from runtime.specs import BASE

    trust = trust_of(arguments)
    if arguments.what == "pack":
        bundle = open_bundle(arguments.source, BASE, trust=trust)
        print(pack(bundle, arguments.to))
        return DONE
    bundle = unpack(arguments.source, arguments.to, trust=trust)
    open_bundle(arguments.to, BASE, trust=trust)
    say(f"{arguments.to}: {bundle.manifest.name}")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
