"""`python -m sdk.optimize BUNDLE`: the best precision and engine for this device, kept for engine="auto"."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command import (
    DONE,
    Progress,
    add_trust,
    add_version,
    json_text,
    open_bundle,
    run_command,
    say,
    table,
    trust_of,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime.bundle import Bundle
    from runtime.window import LabelledWindows
    from sdk.optimize import Optimized, Verdict

HELP = (
    "Measure the precisions that a bundle holds on this device and keep the best: another than float32 only if it "
    'is faster beyond doubt and as accurate. engine="auto" then uses it.'
)
EXAMPLES = """\
  python -m sdk.optimize walk.bundle                            judged on the bundle's golden windows
  python -m sdk.optimize walk.bundle --labels me.npz you.npz    judged by macro-F1 on labelled recordings
  python -m sdk.optimize walk.bundle --recording me.csv         judged by equal labels on what was recorded"""
_AGREEMENT = 0.99


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return run_command(argv, "python -m sdk.optimize", HELP, EXAMPLES, add_arguments, run)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """The bundle, what it is judged by, and how strictly."""
    p.add_argument("bundle", type=Path, help="folder of the bundle")
    data = p.add_mutually_exclusive_group()
    data.add_argument("--labels", metavar="RECORDING", nargs="+", help="labelled recordings: macro-F1 decides")
    data.add_argument("--recording", metavar="RECORDING", nargs="+", help="any recordings: agreement decides")
    add_version(p)
    p.add_argument("--max-f1-loss", metavar="X", type=float, default=0.01, help="macro-F1 (default %(default)s)")
    p.add_argument(
        "--min-agreement", metavar="X", type=float, default=_AGREEMENT, help="of labels (default %(default)s)"
    )
    p.add_argument("--seconds", metavar="S", type=float, default=4.0, help="for the race (default %(default)s)")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, keep; the exit code."""
    from sdk.meters import open_meter
    from sdk.optimize import Limits, optimize

    limits = Limits(arguments.max_f1_loss, arguments.min_agreement, arguments.seconds)
    bundle = open_bundle(arguments.bundle, arguments.version, trust=trust_of(arguments))
    windows = _windows(bundle, arguments.labels, arguments.recording)
    found = optimize(bundle, windows, limits=limits, meter=open_meter(), progress=Progress().show)
    say(json_text(found.to_dict()) if arguments.json else _text(found, len(bundle.manifest.labels)))
    return DONE


def _windows(
    bundle: Bundle, labelled: list[str] | None, recorded: list[str] | None
) -> LabelledWindows | NDArray[np.float32] | None:
    import numpy as np

    from runtime.recording import Recording
    from runtime.window import cut_windows, labelled_windows

    manifest = bundle.manifest
    recordings = [Recording.load(name) for name in labelled or recorded or []]
    if labelled:
        return labelled_windows(recordings, manifest.signal, manifest.window, manifest.labels, manifest.clock)
    if recorded:
        cuts = [cut for one in recordings for cut in cut_windows(one, manifest.signal, manifest.window, manifest.clock)]
        return np.array([cut.samples for cut in cuts], np.float32).reshape(-1, *manifest.window_shape)
    return None


def _text(found: Optimized, n_classes: int) -> str:
    header = ("candidate", "ms", "of float32", "interval", "mJ", "macro-F1", "agree", "verdict")
    rows = [_row(one, kept=one.candidate == found.chosen) for one in found.verdicts]
    share = 1 - _AGREEMENT
    classes = [one.macro_f1_classes for one in found.verdicts if one.macro_f1_classes is not None]
    over = f" over {', '.join(map(str, dict.fromkeys(classes)))} of {n_classes} classes" if classes else ""
    doubt = f"{found.windows} windows are too few to see {share:.0%} of wrong labels: give --labels or --recording"
    return (
        f"{table(rows, header)}\n\n{found.reason}\n"
        f"judged by {found.judged_by}{over} on {found.windows} windows; energy: {found.energy}; kept: {found.kept}"
        + (f"\n{doubt}" if found.windows * share < 1 else "")
    )


def _row(one: Verdict, *, kept: bool) -> tuple[str, ...]:
    def cell(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return (
        str(one.candidate),
        cell(None if one.latency_s is None else one.latency_s * 1e3, ".3f"),
        cell(one.ratio, ".2f"),
        "-" if one.interval is None else f"{one.interval[0]:.2f} to {one.interval[1]:.2f}",
        cell(None if one.joules is None else one.joules * 1e3, ".3f"),
        cell(one.macro_f1, ".3f"),
        cell(one.agreement, ".1%"),
        f"{'KEPT: ' if kept else ''}{one.why}",
    )


if __name__ == "__main__":
    sys.exit(main())
