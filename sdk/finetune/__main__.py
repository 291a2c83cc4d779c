"""`python -m sdk.finetune`: adapt a bundle to its wearer's own labels, list versions, go back."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.errors import InputError
from sdk._command import DONE, REFUSED, Progress, guarded, parser, table

_EXAMPLES = """\
  python -m sdk.finetune walk.bundle --labels mine.csv --recording today.npz
                                     mine.csv has the columns start_s,end_s,label (and weight, recording if you like)
  python -m sdk.finetune walk.bundle --labels labelled.npz
                                     a recording that has a label for each sample
  python -m sdk.finetune walk.bundle --list
  python -m sdk.finetune walk.bundle --rollback base

The encoder stays as it is; its features are computed once and the linear head is fitted to them. Blocks of the labels
are held back, and the new head becomes a version of the bundle only if it is no worse on them. The bundle's own files
are never changed, and a kill at any moment leaves it as it was."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    p = parser("sdk.finetune", "Adapt a bundle on this device to its wearer's own labels, without torch.", _EXAMPLES)
    p.add_argument("bundle", type=Path, help="folder of the bundle")
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--labels", metavar="FILE", type=Path, help="spans of time with labels, or a labelled recording")
    what.add_argument("--list", action="store_true", help="show the versions of this bundle")
    what.add_argument("--rollback", metavar="VERSION", help="use another version: base, 0001, ...")
    p.add_argument("--recording", metavar="FILE", type=Path, help="what the spans of --labels refer to (.csv or .npz)")
    p.add_argument("--l2", type=float, help="pull towards the pretrained head (default: chosen on held-out labels)")
    p.add_argument("--anchor", choices=("pretrained", "zero"), default="pretrained", help="default %(default)s")
    p.add_argument("--folds", metavar="N", type=int, default=5, help="held-out blocks (default %(default)s)")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = p.parse_args(argv)
    return guarded(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    from runtime.bundle import Bundle

    if arguments.l2 is not None and not 0 < arguments.l2 < math.inf:
        raise InputError(
            "--l2", expected="a finite number above 0", got=arguments.l2, fix="Leave it out to have it chosen."
        )
    if arguments.folds < 2:
        raise InputError("--folds", expected="at least 2", got=arguments.folds, fix="Hold back at least one block.")
    if arguments.rollback is not None:
        bundle = Bundle.open(arguments.bundle, "base").rollback(arguments.rollback)
        print(json.dumps({"version": bundle.version}) if arguments.json else f"in use: {bundle.version}")
        return DONE
    if arguments.list:
        return _list(arguments)
    return _finetune(arguments)


def _list(arguments: argparse.Namespace) -> int:
    from runtime.bundle import Bundle, current_version

    bundle = Bundle.open(arguments.bundle, "base")
    records = {name: bundle.record(name) for name in bundle.versions()}
    current = current_version(arguments.bundle)
    if arguments.json:
        print(json.dumps({"current": current, "versions": records}))
        return DONE
    rows = [("base", "", "", "in use" if current == "base" else "")]
    for name, record in records.items():
        scores = [_macro_f1(record.get(when)) for when in ("before", "after")]
        rows.append((name, *scores, "in use" if current == name else ""))  # type: ignore[arg-type]
    print(table(rows, ("version", "before", "after", "")))
    return DONE


def _macro_f1(scores: Any) -> str:
    """A score out of a record; empty where a version was committed without one."""
    value = scores.get("macro_f1") if isinstance(scores, dict) else None
    return f"{value:.3f}" if isinstance(value, float) else ""


def _finetune(arguments: argparse.Namespace) -> int:
    from runtime.bundle import Bundle
    from sdk.finetune import FinetunePlan, finetune, read_labels
    from sdk.meters import open_meter

    bundle = Bundle.open(arguments.bundle)
    data = read_labels(arguments.labels, bundle.manifest, arguments.recording)
    plan = FinetunePlan(anchor=arguments.anchor, l2=arguments.l2, folds=arguments.folds)
    _, report = finetune(bundle, data, plan, meter=open_meter(), progress=Progress().show)
    print(json.dumps(report.to_dict()) if arguments.json else describe(report))
    return DONE if report.accepted else REFUSED


def describe(report: Any) -> str:
    """A fine-tuning report as text."""
    counts = ", ".join(f"{n} {name}" for name, n in report.windows_per_label.items() if n)
    cost = report.cost
    return "\n".join(
        (
            f"labelled windows   {counts}",
            f"held-out labels    macro-F1 {report.before.macro_f1:.3f} -> {report.after.macro_f1:.3f}, "
            f"log-loss {report.before.log_loss:.3f} -> {report.after.log_loss:.3f} (l2 {report.l2:g})",
            f"cost               {cost.seconds:.3f} s, peak memory {cost.memory.peak_bytes / 1e6:.1f} MB "
            f"({cost.memory.above_baseline_bytes / 1e6:.1f} MB above the start)",
            f"energy             {cost.energy.describe()}",
            f"in use             {report.version} ({report.reason})",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
