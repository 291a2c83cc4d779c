"""`python -m exporters onnx OUT --module ... | --from own.onnx`: a model becomes a bundle; `--draft`: its manifest."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runtime.command import DONE, FAILED, Progress, note, say
from runtime.errors import InputError, MissingError
from runtime.files.npz import check_unpacked

if TYPE_CHECKING:
    from torch import nn

    from exporters.draft import Draft
    from runtime.bundle import Bundle

HELP = "A torch module or an ONNX model, a manifest and some real windows become a bundle, checked against the model."
EXAMPLES = """\
  python -m exporters onnx walk.bundle --module mynets/walk.py:make --weights walk.safetensors \\
      --manifest walk.json --windows windows.npz --training
  python -m exporters onnx --draft walk.json --from own.onnx        a manifest to fill in
  python -m exporters onnx walk.bundle --from own.onnx --manifest walk.json --windows windows.npz --training

mynets/walk.py (or mynets.walk:make, in this folder or installed)
  def make():                          gives the encoder and its last layer: windows -> features -> logits
      return Encoder(), torch.nn.Linear(128, 6)

own.onnx           of Keras, torch, scikit-learn ...: windows in, probabilities or logits out (docs/own_models.md)
walk.safetensors   the module's tensors as encoder.NAME and head.NAME, as a bundle's own weights.safetensors has them
                   (with the running statistics of batch normalisations); without --weights the factory has loaded them
walk.json          a manifest: name, signal, window, labels, normalise, provenance ...; any bundle's manifest.json
                   does, what the exporter fills in is made anew
windows.npz        real windows, float32 (n, length, channels), in an array called windows"""


def add_arguments(p: argparse.ArgumentParser) -> None:
    """What is exported, and how."""
    p.add_argument(
        "out", metavar="OUT", nargs="?", type=Path, help="folder of the bundle; one that is there is replaced"
    )
    what = p.add_mutually_exclusive_group()
    what.add_argument("--module", metavar="MODULE:FUNCTION", help="gives (encoder, head); it is run")
    what.add_argument("--from", metavar="FILE", dest="source", type=Path, help=".onnx of your own")
    p.add_argument("--draft", metavar="FILE", type=Path, help="write a manifest to fill in, and nothing else")
    p.add_argument("--manifest", metavar="FILE", type=Path, help=".json")
    p.add_argument("--windows", metavar="FILE", type=Path, help=".npz or .npy: the golden windows")
    p.add_argument("--weights", metavar="FILE", type=Path, help="of --module: .safetensors")
    p.add_argument("--head", metavar="NODE", help="of --from: its last linear layer (default: as its answers tell)")
    p.add_argument("--channels", choices=("first", "last"), help="of --from: where its input has them")
    p.add_argument("--opset", metavar="N", type=int, default=17, help="17 (default: JetPack 5 reads it) or newer")
    p.add_argument("--tolerance", metavar="T", type=float, default=1e-4, help="of the comparison (default 1e-4)")
    p.add_argument("--training", action="store_true", help="add the graphs that a device trains with")
    p.add_argument("--as-traced", action="store_true", help="do not simplify the graph")


def run(arguments: argparse.Namespace) -> int:
    """Export, and say what came out.

    Raises:
        InputError: not enough is said.
        MissingError: torch, onnx or onnxscript is not installed.
    """
    if arguments.draft is not None:
        return _draft(arguments)
    for name in ("out", "manifest", "windows"):
        if getattr(arguments, name) is None:
            option = "OUT" if name == "out" else f"--{name}"
            fix = "python -m exporters onnx --draft FILE writes a manifest." if name == "manifest" else "See --help."
            raise InputError(option, expected="a path", got="none", fix=fix)
    if arguments.module is None and arguments.source is None:
        fix = "Say which model: --module FILE.py:FUNCTION or --from FILE.onnx."
        raise InputError("--module, --from", expected="one of the two", got="none", fix=fix)
    _need(torch=arguments.source is None)
    from exporters.draft import read_draft
    from exporters.parity import ParityError

    draft, windows = read_draft(arguments.manifest), _windows(arguments.windows)
    export = _of_module if arguments.source is None else _of_onnx
    options = {
        "tolerance": arguments.tolerance,
        "training": arguments.training,
        "opset": arguments.opset,
        "simplified": not arguments.as_traced,
        "progress": Progress().show,
    }
    try:
        bundle = export(arguments, draft, windows, options)
    except ParityError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    exporter, parity = bundle.manifest.provenance["exporter"], bundle.manifest.provenance["parity"]
    original = "torch" if arguments.source is None else arguments.source.name
    print(
        f"{bundle.path}: opset {exporter['opset']}, {sum(exporter['operators'].values())} nodes, "
        f"{bundle.manifest.files['model.onnx'].bytes / 1e3:.0f} kB, off from {original} by at most "
        f"{max(parity.values()):.0e}, {len(bundle.manifest.training)} training graphs"
    )
    return DONE


def _need(*, torch: bool) -> None:
    """Ask for what is needed, before anything is read."""
    from importlib import import_module

    extra = "export" if torch else "graphs"
    names = ("torch", "onnx", "onnxscript") if torch else ("onnx", "onnxscript")
    try:
        for name in names:
            import_module(name)
    except ImportError as error:
        raise MissingError(
            "export",
            expected=f"{', '.join(names[:-1])} and {names[-1]}",
            got=error,
            fix=f'Install them: pip install "sensedge[{extra}]"',
        ) from error


def _of_module(
    arguments: argparse.Namespace, draft: Draft, windows: NDArray[np.float32], options: dict[str, Any]
) -> Bundle:
    from exporters.export import export_bundle
    from exporters.modules import fit_of

    encoder, head = _made(arguments.module)
    if arguments.weights:
        _load(arguments.weights, encoder, head)
    shape = draft.manifest.window_shape
    if draft.manifest.spectrogram is None and fit_of(encoder, shape, arguments.module).channels_first:
        note(
            f"{arguments.module} takes (n, {shape[1]}, {shape[0]}): the graph turns windows (n, {shape[0]}, {shape[1]})"
        )
    draft.check_classes(head.out_features)
    return export_bundle(arguments.out, encoder, head, draft.manifest, windows, **options)


def _of_onnx(
    arguments: argparse.Namespace, draft: Draft, windows: NDArray[np.float32], options: dict[str, Any]
) -> Bundle:
    from exporters.own import bundle_of_onnx

    told = {"head": arguments.head, "channels": arguments.channels}
    return bundle_of_onnx(arguments.out, arguments.source, draft, windows, **told, **options)


def _draft(arguments: argparse.Namespace) -> int:
    """Write a manifest to fill in, and say what is to be filled in."""
    from exporters.draft import draft_text, unfilled_of
    from runtime.files.atomic import write_atomic

    length, channels, labels, n_classes = 128, 6, [], 2
    if arguments.source is not None:
        _need(torch=False)
        from exporters.own import look

        found = look(arguments.source, arguments.head)
        length, channels = found.length_samples or 0, found.n_channels or 0
        labels, n_classes = found.labels, found.n_classes
    if arguments.draft.exists():
        raise InputError(arguments.draft, expected="no file yet", got="one", fix="Name another, or remove it.")
    text = draft_text(length, channels, labels, n_classes)
    write_atomic(arguments.draft, text.encode())
    say(f"{arguments.draft}: fill in\n" + "\n".join(f"  {place}" for place in unfilled_of(text)))
    return DONE


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
    from torch import nn

    from exporters.modules import own_function

    with own_function(name, "--module") as make:
        parts = make()
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
