"""`python -m sdk.bundle`: a bundle as one file for sending it, and back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.command import DONE, add_trust, guarded, parser

_EXAMPLES = """\
  python -m sdk.bundle pack walk.bundle walk.bundle.zip        without the versions that this device trained
  python -m sdk.bundle unpack walk.bundle.zip walk.bundle      verified before the folder is there
  python -m sdk.bundle unpack walk.bundle.zip walk.bundle --trust vendor.pub"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    p = parser("sdk.bundle", "Make one file of a bundle, or a bundle of one file.", _EXAMPLES)
    p.add_argument("what", choices=("pack", "unpack"))
    p.add_argument("source", type=Path, help="pack: the folder; unpack: the zip")
    p.add_argument("to", type=Path, help="pack: the zip; unpack: the folder, which is not there yet")
    add_trust(p)
    arguments = p.parse_args(argv)
    return guarded(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    from runtime.bundle import pack, unpack
    from runtime.command import open_bundle

    if arguments.what == "pack":
        open_bundle(arguments.source, "base", trust=arguments.trust)
        print(pack(arguments.source, arguments.to))
        return DONE
    from runtime.bundle import Trust

    trust = None if arguments.trust is None else Trust.of(arguments.trust)
    bundle = unpack(arguments.source, arguments.to, trust=trust)
    open_bundle(arguments.to, "base", trust=arguments.trust)
    print(f"{arguments.to}: {bundle.manifest.name}")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
