"""What `python -m sdk.pretrain` may be asked for: its options, and how words become plans and clocks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.command import DONE
from runtime.errors import BundleError, InputError
from runtime.specs import ClockSpec
from sdk.augment import AUGMENTATIONS
from sdk.datasets import list_datasets
from sdk.encoders import encoder_info, list_encoders
from sdk.pretrain.photos import MOST, read_photos
from sdk.pretrain.plan import NAMINGS, OPTIMISERS, PretrainPlan
from sdk.pretrain.processes import PRECISIONS
from sdk.pretrain.registry import list_methods, method_info


def add_arguments(p: argparse.ArgumentParser) -> None:
    """The data, the encoder and how it is trained."""
    p.add_argument(
        "dataset",
        metavar="DATASET",
        help=f"one of {', '.join(list_datasets())}; a folder or zip with a dataset.toml; several with + between them",
    )
    p.add_argument("--data", metavar="DIR", help="folder with the official archive (see python -m sdk.datasets)")
    p.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for checkpoints and report.json")
    p.add_argument("--test", metavar="IDS", help="test people, with commas; all others train")
    p.add_argument("--folds", metavar="N", type=int, help="instead of --test: N groups of people, each tested once")
    p.add_argument(
        "--leave-out",
        metavar="SET[,SET]",
        type=_list,
        help="of a pool: test on this, train on the others; each in turn",
    )
    p.add_argument("--seeds", metavar="N", type=int, default=1, help="runs per split (default %(default)s)")
    p.add_argument("--method", metavar="NAME", default=PretrainPlan().method, help="default %(default)s; see --list")
    p.add_argument("--list", action=_List, help="print the methods, what they need, their papers and defaults")
    p.add_argument("--images", metavar="PATH", type=Path, help="folder or tar of photographs, for img2imu")
    p.add_argument(
        "--most-images", metavar="N", type=int, default=MOST, help="as many of them are used (default %(default)s)"
    )
    p.add_argument(
        "--encoder",
        metavar="NAME",
        type=_encoder,
        help=f"{', '.join(_of_windows())}; or FILE.py:FUNCTION, which makes one (default: the method's)",
    )
    _add_cut(p)
    _add_training(p)
    p.add_argument("--bundle", metavar="DIR", type=Path, help="export the first run for the device")
    p.add_argument("--json", action="store_true", help="print the report as JSON")


def _add_cut(p: argparse.ArgumentParser) -> None:
    """Which part of the data, and how it is cut."""
    p.add_argument(
        "--position",
        metavar="P[,P]",
        type=_list,
        default=(),
        help="place on the body; several count as one device",
    )
    p.add_argument(
        "--clock",
        metavar="HOW",
        type=clock_of,
        help="of uneven time stamps: arrival, hold, mark, or fields such as gap=hold,gap_s=0.2; the bundle keeps it",
    )
    p.add_argument("--rate", metavar="HZ", type=float, help="of recordings without times (default: the nominal one)")
    p.add_argument("--hz", metavar="HZ", type=float, help="of windows (default: the data set's, of a pool the first's)")
    p.add_argument("--modalities", default="acc,gyro", help="columns to use, in order (default %(default)s)")
    p.add_argument("--keep", metavar="NAMES", help="of several modalities, those that the model is left with")
    p.add_argument("--labels", help="classes to tell apart, with commas (default: all of the data set)")
    p.add_argument("--length", metavar="N", type=int, default=128, help="samples per window (default %(default)s)")
    p.add_argument("--hop", metavar="N", type=int, default=64, help="samples between windows (default %(default)s)")
    p.add_argument(
        "--balance",
        metavar="P",
        type=float,
        help="draw windows of a data set and class of n windows with weight n^-P: 0 as they are, 1 all alike "
        "(default: 0; of a pool 0.5)",
    )
    p.add_argument(
        "--norm",
        choices=("pool", "set"),
        default="pool",
        help="z-scores by the statistics of all that trains, or each data set by its own, the tested one too; "
        "such a model is not exported (default %(default)s)",
    )


def _add_training(p: argparse.ArgumentParser) -> None:
    """The numbers of a training."""
    p.add_argument("--epochs", metavar="N", type=int, help="default: the method's")
    p.add_argument("--batch", metavar="N", type=int, help="windows per step (default: the method's)")
    p.add_argument(
        "--lr", metavar="LR", dest="learning_rate", type=float, help="peak learning rate (default: the method's)"
    )
    p.add_argument(
        "--frame", choices=["gravity"], default="", help="turn windows so that up is +z, in the exported graph too"
    )
    p.add_argument(
        "--augment",
        metavar="NAME[,...]",
        type=_augmentations,
        default=(),
        help=f"changes of each batch, in this order: {', '.join(AUGMENTATIONS)}",
    )
    p.add_argument("--arcsinh", action="store_true", help="gyroscopes as arcsinh(x / 0.05 rad/s): for few labels")
    p.add_argument(
        "--set",
        metavar="NAME=NUMBER",
        dest="settings",
        action="append",
        default=[],
        help="one of the method's own numbers; --list shows them (may be given several times)",
    )
    p.add_argument("--optimiser", choices=OPTIMISERS, help="of the method's defaults, unless given; see --list")
    p.add_argument("--clip", metavar="X", type=float, help="shorten gradients that are longer than this; 0: none")
    p.add_argument("--few", metavar="N", type=int, help="labels of each class that are known (default: the method's)")
    p.add_argument("--naming", choices=("none", *NAMINGS), help="other windows are named by those few; see docs")
    p.add_argument("--validate", metavar="N", type=int, help="so many training people do not train, but are watched")
    p.add_argument("--patience", metavar="N", type=int, help="end after N epochs without a lower loss of theirs")
    p.add_argument("--device", default="cpu", help="torch's name of a device (default %(default)s)")
    p.add_argument("--precision", choices=tuple(PRECISIONS), default="float32", help="default %(default)s")
    p.add_argument("--threads", metavar="N", type=int, default=torch.get_num_threads(), help="default %(default)s")


def _of_windows() -> list[str]:
    """Encoders of windows of one rate."""
    return [name for name in list_encoders() if len(encoder_info(name).shape) == 2 and ":" not in name]


def _encoder(text: str) -> str:
    if ":" not in text and text not in _of_windows():
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {', '.join(_of_windows())})")
    return text


class _List(argparse.Action):
    """Like --help: prints, and the command is over."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print("\n\n".join(map(_about, list_methods())))
        parser.exit(DONE)


def _about(name: str) -> str:
    info = method_info(name)
    plan = info.plan
    own = "".join(f"\n  --set    {key}={value:g}" for key, value in plan.settings.items())
    others = f"{plan.optimiser}, rate {plan.learning_rate:g}" + (f", clipped at {plan.clip:g}" if plan.clip else "")
    return f"""{name}
  needs    {info.needs}
  paper    {info.paper}
  default  encoder {plan.encoder}, {plan.epochs} epochs of batches of {plan.batch}, {others}{own}"""


def front_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parts of a plan that lie in front of the encoder."""
    return {"arcsinh": arguments.arcsinh, "frame": arguments.frame, "augment": arguments.augment}


def photos_of(arguments: argparse.Namespace, plan: PretrainPlan) -> Tensor | None:
    """The photographs that were named, in the size that the method's own numbers say; None: none were.

    Raises:
        InputError: a method that takes none; images that cannot be read.
    """
    if arguments.images is None:
        return None
    if not method_info(plan.method).needs.pictures:
        expected = "a method of photographs, such as img2imu"
        raise InputError("--images", expected=expected, got=plan.method, fix="Leave it out.")
    size = int(plan.settings["height_px"]), int(plan.settings["width_px"])
    return read_photos(arguments.images, *size, arguments.most_images)


def setting(text: str) -> tuple[str, float]:
    """`NAME=NUMBER`, in two.

    Raises:
        InputError: another form.
    """
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise InputError("--set", expected="NAME=NUMBER", got=text, fix="Write it as --set tau=0.1.") from None


def clock_of(text: str) -> ClockSpec:
    """A clock as the command line has it: words of `stamps` and `gap`, or fields with values, with commas.

    Raises:
        ArgumentTypeError: no such word, field or value.
    """
    given: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            name, value = next((field for field, words in _CLOCK_WORDS.items() if name in words), name), name
        kind = {field.name: type(field.default) for field in fields(ClockSpec)}.get(name)
        if kind is None or (not equals and name not in _CLOCK_WORDS):
            words = [word for words in _CLOCK_WORDS.values() for word in words]
            raise argparse.ArgumentTypeError(f"expected {', '.join(words)} or FIELD=VALUE, got {part!r}")
        try:
            given[name] = value if kind is str else float(value)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a number of {name}, got {value!r}") from None
    try:
        return ClockSpec(**given)
    except BundleError as error:
        raise argparse.ArgumentTypeError(f"expected {error.expected}, got {error.got}") from None


_CLOCK_WORDS = {"stamps": ("measured", "arrival"), "gap": ("split", "hold", "mark")}


def _augmentations(text: str) -> tuple[str, ...]:
    names = _list(text)
    if unknown := [name for name in names if name not in AUGMENTATIONS]:
        raise argparse.ArgumentTypeError(f"expected names of {', '.join(AUGMENTATIONS)}, got {', '.join(unknown)}")
    return names


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))
