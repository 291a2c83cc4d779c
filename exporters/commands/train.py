"""`python -m exporters train BUNDLE`: add the graphs that a device trains with."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.command import DONE, Progress, add_trust, open_bundle, say, table, trust_of

HELP = "Add training graphs to a bundle, in place of those that it has; the model and personal versions stay."
EXAMPLES = """\
  python -m exporters train walk.bundle                from every layer where it is possible
  python -m exporters train walk.bundle --layers 3,4   from these; the table of `inspect` has their numbers"""


def add_arguments(p: argparse.ArgumentParser) -> None:
    """The bundle, and from which layers."""
    p.add_argument("bundle", type=Path, help="folder of the bundle")
    p.add_argument("--layers", metavar="N[,N...]", type=_layers, help="first layers to train from (default: all)")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Add them, and say what each costs.

    Raises:
        MissingError: onnx is not installed.
    """
    from runtime.errors import MissingError
    from runtime.specs import BASE

    try:
        from exporters.training import add_training
    except ImportError as error:
        raise MissingError(
            "train", expected="the package onnx", got="none", fix='Install it: pip install "sensedge[graphs]"'
        ) from error
    bundle = open_bundle(arguments.bundle, BASE, trust=trust_of(arguments))
    manifest = add_training(bundle, arguments.layers, progress=Progress().show).manifest
    rows = [
        (
            spec.file,
            len(spec.tensors),
            f"{manifest.files[spec.file].bytes / 1e3:.0f}",
            f"{(spec.fixed_bytes + 16 * spec.bytes_per_window) / 1e6:.2f}",
        )
        for spec in manifest.training
    ]
    print(table(rows, ("graph", "tensors", "kB", "MB, 16 windows")))
    for layer, why in manifest.provenance.get("no_training_from", {}).items():
        say(f"none from layer {layer}: {why}")
    return DONE


def _layers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]
