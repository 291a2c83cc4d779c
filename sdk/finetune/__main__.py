"""`python -m sdk.finetune`: adapt a bundle to its wearer's own labels, list versions, go back."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command import (
    DONE,
    REFUSED,
    Progress,
    add_trust,
    json_text,
    open_bundle,
    run_command,
    say,
    table,
    trust_of,
)
from runtime.errors import InputError

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from sdk.finetune.labels import LabelledSet
    from sdk.finetune.pool import Days

HELP = "Adapt a bundle on this device to its wearer's own labels, without torch."
EXAMPLES = """\
  python -m sdk.finetune walk.bundle --labels mine.csv --recording today.npz
                                     mine.csv has the columns start_s,end_s,label (and weight, recording if you like)
  python -m sdk.finetune walk.bundle --labels mine.csv --recording 'today.csv?t=timestamp:ms&units=g,deg/s'
                                     times, units, names and axes as python -m sdk.stream --help explains them
  python -m sdk.finetune walk.bundle --labels labelled.npz
                                     a recording that has a label for each sample
  python -m sdk.finetune walk.bundle --labels me.db
                                     what a recorder kept and python -m sdk.label marked
  python -m sdk.finetune walk.bundle --layers
                                     which layers there are, and from which of them training can start
  python -m sdk.finetune walk.bundle --labels labelled.npz --method layers --from-layer 3 --budget-seconds 20
                                     layer 3 and the head; what lies below is run once per window and kept
  python -m sdk.finetune walk.bundle --labels labelled.npz --method full --gamma 1 --gamma-ratio 3 --replay 0.5
                                     all layers, each held three times as tightly as the next deeper one, while the
                                     shipped golden windows remind the model of what it knew
  python -m sdk.finetune walk.bundle --labels mine.csv --recording today.npz --new waving
                                     a new activity, from some windows of it; --merge, --drop: fewer activities
  python -m sdk.finetune walk.bundle --labels mine.csv --recording today.npz --sure
                                     labels that the model is sure are others are right nevertheless
  python -m sdk.finetune walk.bundle --list
  python -m sdk.finetune walk.bundle --rollback base
  python -m sdk.finetune walk.bundle --prune --keep 3     delete all versions but the latest three and the one in use

which method?
  head       five to ten labelled windows per class, any device: milliseconds, the encoder stays as it is
  layers     the sensor is worn another way, or the head alone is not enough: seconds; needs training graphs
  full       dozens of windows per class
  iterative  as full, but encoder and head take turns of --turn-epochs (Cosmo)

Labels that contradict what the model is sure of are listed, and nothing is trained (exit code 3). Else blocks of them
are held back, and the new version is taken only if it is no worse on them, does not forget what the model is sure of on
other windows and, where layers moved, still knows the bundle's golden windows. The bundle's own files are never
changed, and a kill at any moment leaves it as it was."""

_KEPT = 5  # versions
_STEPS = "layers, full and iterative"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return run_command(argv, "python -m sdk.finetune", HELP, EXAMPLES, add_arguments, run)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """The bundle, the labels, and how it learns from them."""
    p.add_argument("bundle", type=Path, help="folder of the bundle")
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--labels", metavar="FILE", type=Path, help="spans, a labelled recording, or a store (.db)")
    what.add_argument("--layers", action="store_true", help="show the layers of this bundle")
    what.add_argument("--list", action="store_true", help="show the versions of this bundle")
    what.add_argument("--rollback", metavar="VERSION", help="use another version: base, 0001, ...")
    what.add_argument("--prune", action="store_true", help="delete old versions; --keep N: all but the latest N (5)")
    p.add_argument(
        "--recording",
        metavar="FILE",
        type=Path,
        help="what the spans of --labels refer to: .csv, .npz, or a folder with a file for each sensor",
    )
    p.add_argument(
        "--leave-out",
        metavar="NAME[,...]",
        type=_names,
        default=(),
        help="labels whose windows are not wanted",
    )
    p.add_argument(
        "--unlabelled", metavar="STORE", type=Path, help="a store whose windows teach the head, too: labels are spread"
    )
    p.add_argument(
        "--space", choices=("hand", "encoder", "both"), help="features by which windows are near (default hand)"
    )
    p.add_argument("--method", choices=("head", "layers", "full", "iterative"), help="what moves (default head)")
    p.add_argument(
        "--l2",
        type=float,
        help="pull towards the anchor (default: head by held-out labels, others 1, to zero 0.001)",
    )
    p.add_argument("--anchor", choices=("pretrained", "zero"), help="what is pulled to (default pretrained)")
    p.add_argument("--folds", metavar="N", type=int, help="held-out blocks (default 5)")
    p.add_argument("--sure", action="store_const", const=True, help="labels are right, whatever the model is sure of")
    names = p.add_argument_group("activities (head)", "The version then has labels of its own; the base stays.")
    names.add_argument("--new", metavar="NAME[,...]", type=_names, help="names in --labels that the model is to learn")
    names.add_argument("--merge", metavar="NAME,...=NAME", type=_merged, help="call several activities by one name")
    names.add_argument("--drop", metavar="NAME[,...]", type=_names, help="activities that are not needed")
    names.add_argument("--null", metavar="NAME", help="one more for what is none of them, from windows without labels")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_trust(p)
    _add_steps(p.add_argument_group(f"layers ({_STEPS})"), p.add_argument_group(f"steps ({_STEPS})"))
    limits = p.add_argument_group("budgets", "A run stops when one is used up; what it has by then is judged as usual.")
    limits.add_argument("--budget-seconds", metavar="S", type=float, help="of wall time")
    limits.add_argument("--budget-joules", metavar="J", type=float, help="needs a meter")
    limits.add_argument("--budget-mb", metavar="MB", type=float, help="of memory: the batch shrinks until it fits")


def _add_steps(layers: Any, steps: Any) -> None:
    layers.add_argument("--from-layer", metavar="N", type=int, help="first layer that moves (default the last but one)")
    layers.add_argument("--gamma", metavar="G[,G...]", type=_gammas, help="how tightly layers are held; inf: frozen")
    layers.add_argument(
        "--gamma-ratio", metavar="R", type=float, help="times more for each layer further from the head"
    )
    layers.add_argument("--turn-epochs", metavar="N", type=int, help="of iterative: epochs per turn (default 5)")
    steps.add_argument("--epochs", metavar="N", type=int, help="default 30; always the last one counts")
    steps.add_argument("--batch", metavar="N", type=int, help="windows per step (default 16)")
    steps.add_argument("--learning-rate", metavar="R", type=float, help="default 0.001")
    steps.add_argument("--optimiser", choices=("adamw", "sgd"), help="default adamw")
    steps.add_argument("--weight-decay", metavar="W", type=float, help="of the optimiser (default 0)")
    steps.add_argument("--momentum", metavar="M", type=float, help="of sgd (default 0.9)")
    steps.add_argument("--schedule", choices=("constant", "cosine"), help="of the learning rate (default constant)")
    steps.add_argument("--warmup", metavar="SHARE", type=float, help="of the steps, with a rising rate (default 0)")
    steps.add_argument(
        "--unbalanced", dest="balanced", action="store_const", const=False, help="draw windows, not classes"
    )
    steps.add_argument("--augment", metavar="NAME[,...]", type=_names, help="jitter, scale, rotate, time_warp, permute")
    steps.add_argument("--replay", metavar="W", type=float, help="weight of the golden windows (default 0; 1: as much)")
    steps.add_argument("--judge", choices=("folds", "one"), help="hold back every block in turn (default), or one only")
    steps.add_argument(
        "--keep",
        metavar="SHARE",
        type=float,
        help="of golden windows, to keep their class (default 0.5); with --prune: of versions, how many stay",
    )
    steps.add_argument("--seed", metavar="N", type=int, help="default 0; the same seed gives the same bits")


def _gammas(text: str) -> float | tuple[float, ...]:
    values = tuple(float(part) for part in text.split(","))
    return values[0] if len(values) == 1 else values


def _merged(text: str) -> tuple[tuple[str, str], ...]:
    several, _, name = text.partition("=")
    if not name:
        raise ValueError
    return tuple((one, name) for one in several.split(","))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def run(arguments: argparse.Namespace) -> int:
    """Adapt, show, or go back; the exit code."""
    if arguments.rollback is not None:
        from runtime.specs import BASE

        bundle = open_bundle(arguments.bundle, BASE, trust=trust_of(arguments)).rollback(arguments.rollback)
        print(json_text({"version": bundle.version}) if arguments.json else f"in use: {bundle.version}")
        return DONE
    if arguments.list:
        from runtime.specs import BASE
        from sdk.finetune.listing import show

        return show(open_bundle(arguments.bundle, BASE, trust=trust_of(arguments)), as_json=arguments.json)
    if arguments.layers:
        return _layers(arguments)
    if arguments.prune:
        return _prune(arguments)
    return _finetune(arguments)


def _prune(arguments: argparse.Namespace) -> int:
    keep = _KEPT if arguments.keep is None else arguments.keep
    if not (keep >= 0 and float(keep).is_integer()):
        raise InputError("--keep", expected="with --prune, a number of versions", got=keep, fix="Such as --keep 3.")
    from runtime.specs import BASE

    done = open_bundle(arguments.bundle, BASE, trust=trust_of(arguments)).thin(int(keep))
    if arguments.json:
        print(json_text(done._asdict()))
        return DONE
    for what, names in (("removed", done.removed), ("only the record is left", done.records), ("kept", done.kept)):
        print(f"{what}: {', '.join(names) or 'none'}")
    return DONE


def _layers(arguments: argparse.Namespace) -> int:
    from runtime.specs import BASE

    manifest = open_bundle(arguments.bundle, BASE, trust=trust_of(arguments)).manifest
    graphs = {spec.layer for spec in manifest.training}
    layers: list[dict[str, Any]] = []
    for layer in sorted({spec.layer for spec in manifest.tensors}):
        specs = [spec for spec in manifest.tensors if spec.layer == layer]
        layers.append(
            {
                "layer": layer,
                "parameters": sum(math.prod(spec.shape) for spec in specs),
                "starts": layer in graphs,
                "tensors": [spec.name for spec in specs],
            }
        )
    if arguments.json:
        print(json_text(layers))
        return DONE
    rows = [
        (
            f"{entry['layer']}  {_common(entry['tensors'])}",
            entry["parameters"],
            "yes" if entry["starts"] else "no",
        )
        for entry in layers
    ]
    print(table(rows, ("layer", "parameters", "training can start here")))
    return DONE


def _common(names: Sequence[str]) -> str:
    """The words with which all dotted names begin."""
    words = zip(*(name.split(".") for name in names), strict=False)
    return ".".join(word[0] for word in takewhile(lambda word: len(set(word)) == 1, words))


def _finetune(arguments: argparse.Namespace) -> int:
    from runtime.recorder.schema import SUFFIXES
    from sdk.finetune import finetune, read_labels, read_store
    from sdk.meters import open_meter

    plan = plan_of(arguments)
    bundle = open_bundle(arguments.bundle, trust=trust_of(arguments))
    if arguments.labels.suffix.lower() in SUFFIXES:
        if arguments.recording is not None:
            raise InputError(
                "--recording", expected="none beside a store", got=arguments.recording, fix="Leave it out."
            )
        data = read_store(arguments.labels, bundle, leave_out=arguments.leave_out)
    else:
        data = read_labels(
            arguments.labels,
            bundle.manifest,
            arguments.recording,
            arguments.new or (),
            leave_out=arguments.leave_out,
        )
    days = _days(arguments, bundle, data)
    _, report = finetune(bundle, data, plan, meter=open_meter(), progress=Progress().show, days=days)
    if arguments.json:
        say(json_text(report.to_dict()))
    else:
        from sdk.finetune.described import describe

        say(describe(report))
    return DONE if report.accepted else REFUSED


def _days(arguments: argparse.Namespace, bundle: Bundle, data: LabelledSet) -> Days | None:
    """Windows without labels, of the store that was named.

    Raises:
        InputError: another method than head; a store that does not fit.
    """
    from sdk.finetune.pool import read_days

    if arguments.unlabelled is None:
        return None
    if arguments.method not in (None, "head") or data.features is not None:
        got = "another method, or labels with features alone"
        raise InputError("--unlabelled", expected="method head, labels with windows", got=got, fix="Leave it out.")
    return read_days(arguments.unlabelled, bundle)


def plan_of(arguments: argparse.Namespace) -> Any:
    """The plan that a command line describes.

    Raises:
        InputError: an option that the method does not use, or a value that makes no sense.
    """
    from sdk.finetune import Budget, FinetunePlan
    from sdk.finetune.plan import HEAD_FIELDS

    given = {name: value for name, value in vars(arguments).items() if value is not None}
    fields = {name: given[name] for name in FinetunePlan.__dataclass_fields__ if name in given}
    unused = sorted(fields.keys() - set(HEAD_FIELDS))
    if given.get("method", "head") == "head" and unused:
        raise InputError(
            f"--{unused[0].replace('_', '-')}",
            expected=f"one of the methods {_STEPS}",
            got="head, which takes no steps",
            fix="Name one with --method.",
        )
    budget = Budget(arguments.budget_seconds, arguments.budget_joules, arguments.budget_mb)
    try:
        return FinetunePlan(**fields, budget=budget)
    except InputError as error:
        option = {"budget.megabytes": "budget-mb", "balanced": "unbalanced"}.get(error.where, error.where)
        where = f"--{option.replace('_', '-').replace('.', '-')}"
        raise InputError(where, expected=error.expected, got=error.got, fix="Correct the option.") from None


if __name__ == "__main__":
    sys.exit(main())
