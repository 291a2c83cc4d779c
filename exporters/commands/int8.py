"""`python -m exporters int8 BUNDLE`: add the model in 8-bit integers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.commands import need_packages
from runtime.command import DONE, Progress, add_trust, json_text, open_bundle, say, trust_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime.bundle import Bundle

HELP = "add a variant in 8-bit integers"
EXAMPLES = """\
  python -m exporters int8 walk.bundle --calibration person_1.npz person_2.npz
  python -m exporters int8 walk.bundle --method entropy --tolerance 0.05
  python -m exporters int8 walk.bundle --weights-only
  python -m sdk.optimize walk.bundle          then, on the device: is it worth it there?"""
_GOLDEN = "golden"
_IDLE = 0.9  # of float32's size: nothing was gained


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    p.add_argument("bundle", type=Path, help="the folder to add to")
    p.add_argument(
        "--calibration",
        metavar="RECORDING",
        nargs="+",
        default=[_GOLDEN],
        help="recordings (.npz, .csv) with all activities; golden: the bundle's few windows (default)",
    )
    p.add_argument("--windows", metavar="N", type=int, default=256, help="of them at most (default %(default)s)")
    p.add_argument("--method", choices=("minmax", "percentile", "entropy"), default="percentile")
    p.add_argument("--percentile", metavar="P", type=float, default=99.99, help="(default %(default)s)")
    p.add_argument("--weights-only", action="store_true", help="a variant int8-weights: arithmetic stays in float")
    p.add_argument(
        "--reduce-range",
        action=argparse.BooleanOptionalAction,
        help="weights of 7 bits, for processors without VNNI or dot product (default: as this one needs)",
    )
    p.add_argument("--tolerance", metavar="X", type=float, default=0.1, help="of the logits (default %(default)s)")
    p.add_argument(
        "--agreement", metavar="X", type=float, default=0.99, help="least share of equal labels (default %(default)s)"
    )
    p.add_argument("--float", metavar="WEIGHT", nargs="+", default=[], help="weights whose layers stay in float")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Calibrate, choose, add; the exit code."""
    need_packages("int8")
    from exporters.int8 import Int8Options, to_int8
    from exporters.variants import add_variant, describe
    from runtime.specs import BASE

    bundle = open_bundle(arguments.bundle, BASE, trust=trust_of(arguments))
    options = Int8Options(
        method=arguments.method,
        percentile=arguments.percentile,
        weights_only=arguments.weights_only,
        reduce_range=arguments.reduce_range,
        tolerance=arguments.tolerance,
        agreement=arguments.agreement,
        float_layers=tuple(arguments.float),
    )
    windows, data = _windows(bundle, arguments.calibration, arguments.windows)
    variant = to_int8(bundle.model(), bundle.manifest, windows, options, data=data, progress=Progress().show)
    facts = describe(add_variant(bundle, variant), variant.spec.precision)
    say(json_text(facts) if arguments.json else _text(facts))
    return DONE


def _windows(bundle: Bundle, names: list[str], most: int) -> tuple[NDArray[np.float32], str]:
    """Evenly spaced windows of all recordings, and what they are called in the record."""
    import numpy as np

    from runtime.errors import InputError
    from runtime.recording import Recording
    from runtime.window import cut_windows

    if most < 1:
        raise InputError("--windows", expected="at least 1", got=most, fix="Leave it out.")
    manifest = bundle.manifest
    if names == [_GOLDEN]:
        windows = bundle.golden().windows
    else:
        recordings = [Recording.load(name) for name in names]
        cuts = [cut for one in recordings for cut in cut_windows(one, manifest.signal, manifest.window, manifest.clock)]
        windows = np.array([cut.samples for cut in cuts], np.float32).reshape(-1, *manifest.window_shape)
    if not len(windows):
        raise InputError(
            "--calibration", expected="at least one window", got="shorter recordings", fix="Give longer ones."
        )
    chosen = np.unique(np.linspace(0, len(windows) - 1, most).round().astype(int))
    return windows[chosen], ", ".join(Path(name).name for name in names)


def _text(facts: dict[str, object]) -> str:
    record = facts["record"]
    assert isinstance(record, dict)
    calibration = record["calibration"]
    why = record["never_int8"]
    left = ", ".join(f"{name} ({why[name]})" if name in why else name for name in record["float_layers"]) or "none"
    worth = "\nalmost nothing of this model can be int8: the variant is as large as float32" if _is_idle(facts) else ""
    return (
        f"{facts['file']}: {facts['bytes']:,} bytes, {facts['size_ratio']:.2f} of float32\n"
        f"calibrated by {record['method']} on {calibration['windows']} windows of {calibration['data']} "
        f"({calibration['sha256'][:12]})\n"
        f"logits off by {record['logits_error']:.3f}, {record['agreement']:.1%} of the labels agree, on these windows\n"
        f"{len(record['int8_layers'])} tensors in int8; layers left in float: {left}{worth}"
    )


def _is_idle(facts: dict[str, object]) -> bool:
    ratio = facts["size_ratio"]
    return isinstance(ratio, float) and ratio > _IDLE
