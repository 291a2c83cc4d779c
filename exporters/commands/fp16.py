"""`python -m exporters fp16 BUNDLE`: add the model in float16."""

from __future__ import annotations

import argparse
from pathlib import Path

from exporters.commands import need_packages
from runtime.command import DONE, add_trust, json_text, open_bundle, trust_of

HELP = "add a variant in half precision"
EXAMPLES = """\
  python -m exporters fp16 walk.bundle
  python -m sdk.optimize walk.bundle          then, on the device: is it worth it there?"""


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    p.add_argument("bundle", type=Path, help="the folder to add to")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Convert and add; the exit code."""
    need_packages("fp16")
    from exporters.fp16 import to_fp16
    from exporters.variants import add_variant, describe
    from runtime.specs import BASE

    bundle = open_bundle(arguments.bundle, BASE, trust=trust_of(arguments))
    variant = to_fp16(bundle.model(), bundle.manifest)
    facts = describe(add_variant(bundle, variant), variant.spec.precision)
    if arguments.json:
        print(json_text(facts))
    else:
        kept = ", ".join(facts["record"]["float32_operators"]) or "none"
        print(
            f"{facts['file']}: {facts['bytes']:,} bytes, {facts['size_ratio']:.2f} of float32; left in float32: {kept}"
        )
    return DONE
