"""A profile from beginning to end.

    idle | start warm-up measured | start warm-up measured | ... | idle        the phases; a run is a fresh process

Processes differ from each other, by where their memory lies and by what else the machine does: several short ones say
more than a long one, and how far they differ is what a comparison must know (Kalibera and Jones 2013, "Rigorous
benchmarking in reasonable time").

Two sides that are to be compared take turns, run by run, and the turns change: A B, B A, A B, ... What else the machine
does lasts longer than a run, and so meets both runs of a pair.
"""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime import Bundle
from runtime.progress import ShowProgress, silent
from sdk.meters import Idle, Meter, open_meter
from sdk.profile.child import golden_rows
from sdk.profile.compare import check_pairs, must_agree
from sdk.profile.finetune import profile_finetune
from sdk.profile.options import ProfileOptions
from sdk.profile.report import ProfileReport
from sdk.profile.side import Side, child_options
from sdk.profile.sweeps import sweep

if TYPE_CHECKING:
    from sdk.finetune import FinetunePlan, LabelledSet

TURNS = 20  # runs of each side, where two are measured to be compared
TIMELINE = 200  # intervals of power per phase

Way = tuple[str | Path | Bundle, ProfileOptions]


def profile(
    path: str | Path | Bundle,
    options: ProfileOptions | None = None,
    *,
    meter: Meter | None = None,
    finetune: tuple[FinetunePlan, LabelledSet] | None = None,
    root: str | Path = "/",
    progress: ShowProgress = silent,
) -> ProfileReport:
    """Measure a bundle.

    Args:
        path: folder of the bundle; or the bundle, whose `trust` every process then asks for anew.
        options: how to measure; None: 10,000 predictions in 10 processes.
        meter: of energy; None finds the one of this machine.
        finetune: a plan and labelled windows, to be profiled as well, on a copy of the bundle.
        root: where /sys, /proc and /dev of the machine are.
        progress: called with runs done, all, and a text.

    Raises:
        BundleError: the bundle does not open.
        InputError: an option that makes no sense.
        MissingError: the engine's library is not installed.
        OSError: a run ended without an answer.
    """
    meter = meter or open_meter(root=root, timeline=TIMELINE)
    side = Side(path, options or ProfileOptions(), meter, root)
    _run_in_turn([side], progress)
    told = child_options(side.bundle, side.options)
    report = replace(
        side.report(),
        sweeps={name: sweep(name, side.bundle, told, progress) for name in side.options.sweeps},
        finetune=None if finetune is None else _finetune(side.bundle, *finetune, meter, side.idle, progress),
    )
    return replace(report, seconds=side.phases.now_s())


def profile_in_turn(
    first: Way,
    second: Way,
    *,
    meter: Meter | None = None,
    root: str | Path = "/",
    progress: ShowProgress = silent,
) -> tuple[ProfileReport, ProfileReport]:
    """Measure two sides whose runs take turns, for `compare_reports`.

    Args:
        first: a bundle as for `profile`, and how to measure it; `runs` of None are 20.
        second: likewise, of the same work; it is fed the golden rows of the first.
        meter: of energy; None finds the one of this machine.
        root: where /sys, /proc and /dev of the machine are.
        progress: called with runs done, all, and a text.

    Raises:
        InputError: unlike work, or runs that cannot be judged; otherwise as `profile` does.
    """
    meter = meter or open_meter(root=root, timeline=TIMELINE)
    (path, how), (other, other_how) = ((path, replace(how, runs=how.runs or TURNS)) for path, how in (first, second))
    bundle = path if isinstance(path, Bundle) else Bundle.open(path)
    with TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.npy"
        np.save(rows, golden_rows(bundle))
        sides = [Side(bundle, how, meter, root, rows), Side(other, other_how, meter, root, rows)]
        for name in vars(sides[0].workload):
            must_agree(f"workload.{name}", [getattr(side.workload, name) for side in sides])
        check_pairs(*(side.options.n_runs for side in sides))
        _run_in_turn(sides, progress)
    series = uuid.uuid4().hex
    a, b = (replace(side.report(), series=series) for side in sides)
    return a, b


def _run_in_turn(sides: list[Side], progress: ShowProgress) -> None:
    """Begin all sides, let each run in its turn as often as its options say, and end them."""
    with ExitStack() as stack:
        for side in sides:
            stack.callback(side.close)
            side.begin()
        n_runs = sides[0].options.n_runs
        for number in range(n_runs):
            progress(number * len(sides), n_runs * len(sides), "runs")
            for side in sides[:: -1 if number % 2 else 1]:  # who follows a neighbour finds that one's caches
                side.run()
        progress(n_runs * len(sides), n_runs * len(sides), "runs")
        for side in sides:
            side.end()


def _finetune(
    bundle: Bundle, plan: FinetunePlan, data: LabelledSet, meter: Meter, idle: Idle | None, progress: ShowProgress
) -> Any:
    return profile_finetune(bundle, data, plan, meter=meter, idle=idle, progress=progress)
