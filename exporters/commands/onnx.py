"""`python -m exporters onnx OUT --module MODULE:FUNCTION ...`: a torch module becomes a bundle."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.command import DONE, FAILED, Progress
from runtime.errors import InputError, MissingError
from runtime.files.npz import check_unpacked

if TYPE_CHECKING:
    from torch import nn

    from runtime.bundle import Manifest

HELP = "A torch module, a manifest and some real windows become a bundle, checked against the module."
EXAMPLES = """\
  python -m exporters onnx walk.bundle --module mynets.walk:make --weights walk.safetensors \\
      --manifest walk.json --windows windows.npz --training

mynets/walk.py (in this folder or installed)
  def make():                          gives the encoder and its last layer: windows -> features -> logits
      return Encoder(), torch.nn.Linear(128, 6)

walk.safetensors   their tensors as encoder.NAME and head.NAME, as a bundle's own weights.safetensors has them (with
                   the running statistics of batch normalisations); without --weights the factory has loaded them
walk.json          a manifest: name, signal, window, labels, normalise, provenance ...; any bundle's manifest.json
                   does, what the exporter fills in is made anew
windows.npz        real windows, float32 (n, length, channels), in an array called windows"""


def add_arguments(p: argparse.ArgumentParser) -> None:
    """What is exported, and how."""
    p.add_argument("out", metavar="OUT", type=Path, help="folder of the bundle; one that is there is replaced")
    p.add_argument("--module", metavar="MODULE:FUNCTION", required=True, help="gives (encoder, head); it is run")
    p.add_argument("--manifest", metavar="FILE", type=Path, required=True, help=".json")
    p.add_argument("--windows", metavar="FILE", type=Path, required=True, help=".npz or .npy: the golden windows")
    p.add_argument("--weights", metavar="FILE", type=Path, help=".safetensors")
    p.add_argument("--opset", metavar="N", type=int, default=17, help="17 (default: JetPack 5 reads it) or newer")
    p.add_argument("--tolerance", metavar="T", type=float, default=1e-4, help="of the comparison (default 1e-4)")
    p.add_argument("--training", action="store_true", help="add the graphs that a device trains with")
    p.add_argument("--as-traced", action="store_true", help="do not simplify the graph")


def run(arguments: argparse.Namespace) -> int:
    """Export, and say what came out.

    Raises:
        MissingError: torch, onnx or onnxscript is not installed.
    """
    manifest, windows = _manifest(arguments.manifest), _windows(arguments.windows)
    try:
        import torch  # noqa: F401

        from exporters.export import export_bundle
        from exporters.parity import ParityError
    except ImportError as error:
        raise MissingError(
            "export",
            expected="torch, onnx and onnxscript",
            got=error,
            fix='Install them: pip install "sensedge[export]"',
        ) from error
    encoder, head = _made(arguments.module)
    if arguments.weights:
        _load(arguments.weights, encoder, head)
    try:
        bundle = export_bundle(
            arguments.out,
            encoder,
            head,
            manifest,
            windows,
            tolerance=arguments.tolerance,
            training=arguments.training,
            opset=arguments.opset,
            simplified=not arguments.as_traced,
            progress=Progress().show,
        )
    except ParityError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    exporter, parity = bundle.manifest.provenance["exporter"], bundle.manifest.provenance["parity"]
    print(
        f"{bundle.path}: opset {exporter['opset']}, {sum(exporter['operators'].values())} nodes, "
        f"{bundle.manifest.files['model.onnx'].bytes / 1e3:.0f} kB, off from torch by at most "
        f"{max(parity.values()):.0e}, {len(bundle.manifest.training)} training graphs"
    )
    return DONE


def _manifest(path: Path) -> Manifest:
    """The file's manifest without what belongs to the files of another bundle."""
    from dataclasses import replace

    from runtime.bundle import Manifest

    manifest = Manifest.from_json(path.read_text(), path)
    made = ("exporter", "parity", "no_training_from")
    provenance = {key: value for key, value in manifest.provenance.items() if key not in made}
    return replace(manifest, tensors=(), training=(), variants=(), files={}, provenance=provenance)


def _windows(path: Path) -> NDArray[np.float32]:
    try:
        with path.open("rb") as file:
            check_unpacked(file)
            loaded = np.load(file, allow_pickle=False)
            windows = loaded if isinstance(loaded, np.ndarray) else loaded["windows"]
    except (ValueError, KeyError, EOFError) as error:
        raise InputError(path, expected="an array called windows", got=error, fix="See --help.") from None
    return np.ascontiguousarray(windows, np.float32)


def _made(name: str) -> tuple[nn.Module, nn.Linear]:
    """What the user's factory gives."""
    module, _, function = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError("--module", expected="MODULE:FUNCTION", got=f"{name} ({error})", fix="See --help.") from error
    from torch import nn

    parts = found()
    if not isinstance(parts, tuple) or len(parts) != 2 or not isinstance(parts[1], nn.Linear):
        raise InputError(
            name, expected="(encoder, head), the head a torch.nn.Linear", got=type(parts).__name__, fix="See --help."
        )
    encoder, head = parts
    return encoder, head


def _load(path: Path, encoder: nn.Module, head: nn.Linear) -> None:
    """Lay a file's tensors into both; all must be there, and no others."""
    import torch
    from safetensors.torch import load_file

    whole = torch.nn.ModuleDict({"encoder": encoder, "head": head})
    tensors = load_file(path)
    wanted = {key for key in whole.state_dict() if not key.endswith("num_batches_tracked")}
    wrong = sorted(wanted ^ {key for key in tensors if not key.endswith("num_batches_tracked")})
    if wrong:
        raise InputError(
            path,
            expected="each tensor of the encoder and the head, by name",
            got=f"missing or unknown: {', '.join(wrong[:5])}{' ...' * (len(wrong) > 5)}",
            fix="Save them as encoder.NAME and head.NAME.",
        )
    try:
        whole.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise InputError(path, expected="tensors of the module's shapes", got=error, fix="See --help.") from None
