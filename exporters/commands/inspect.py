"""`python -m exporters inspect BUNDLE`: what a bundle is."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.command import DONE, add_trust, add_version, json_text, open_bundle, say, trust_of

HELP = (
    "What a bundle is: signal, window, layers with their products and parameters, memory, files, where it comes from."
)
EXAMPLES = """\
  python -m exporters inspect walk.bundle
  python -m exporters inspect walk.bundle --json | jq .graph.macs
  python -m exporters inspect walk.bundle --svg layers.svg"""


def add_arguments(p: argparse.ArgumentParser) -> None:
    """The bundle, and how it is to be shown."""
    p.add_argument("bundle", type=Path, help="folder of the bundle")
    add_version(p)
    p.add_argument("--json", action="store_true", help="print one JSON object")
    p.add_argument("--svg", metavar="FILE", type=Path, help="draw the layers into this file too")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Print the page or the JSON."""
    from exporters.inspect import describe, svg, text

    facts = describe(open_bundle(arguments.bundle, arguments.version, trust=trust_of(arguments)))
    if arguments.svg:
        from runtime.files.atomic import write_atomic

        write_atomic(arguments.svg, svg(facts).encode())
    say(json_text(facts, indent=1) if arguments.json else text(facts))
    return DONE
