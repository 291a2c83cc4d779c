"""The same work with other settings: threads, engines, sizes of a batch.

Settings take turns, each time in a fresh process, so that a machine that changes its speed changes it for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.engine import engines_here
from runtime.engine.auto.device import thread_counts
from runtime.errors import SensedgeError
from runtime.progress import ShowProgress
from sdk.meters import NoMeter
from sdk.profile.parent import Phases, batch_run, one_run
from sdk.profile.report import TICK_S, Run, SweepPoint
from sdk.profile.talk import ChildOptions

if TYPE_CHECKING:
    from runtime import Bundle

ROUNDS = 3
WINDOWS, CAP_S = 500, 3.0  # of one run
BATCHES = (1, 2, 4, 8, 16, 32)

Settings = dict[str, dict[str, Any]]  # what is changed of the options, by what the report calls it


def sweep(name: str, bundle: Bundle, options: ChildOptions, progress: ShowProgress) -> tuple[SweepPoint, ...]:
    """One of `sdk.profile.options.SWEEPS`; what a setting lacks is in its `reason`.

    Args:
        name: which.
        bundle: to be run.
        options: of everything that the sweep does not change.
        progress: called with runs done, all, and a text.
    """
    windows, cap_s = min(WINDOWS, options.windows), min(CAP_S, options.cap_s)
    options = replace(options, windows=windows, cap_s=cap_s, least_s=0.0, pace_s=None)
    if name == "batch":
        return _batches(options, progress)
    engines = engines_here() if name == "engines" else ()
    missing = {engine.name: engine.reason for engine in engines if not engine.available}
    settings: Settings = {engine.name: {"engine": engine.name} for engine in engines if engine.available}
    if name == "threads":
        settings = {str(n): {"threads": n} for n in thread_counts()}
    runs, failed = _take_turns(name, settings, options, progress)
    points = [_point(value, runs[value]) for value in settings if value not in failed]
    reasons = failed | missing
    return (*points, *(SweepPoint(value, None, None, None, None, None, reason) for value, reason in reasons.items()))


def _take_turns(
    name: str, settings: Settings, options: ChildOptions, progress: ShowProgress
) -> tuple[dict[str, list[Run]], dict[str, str]]:
    phases = Phases(NoMeter("not in a sweep"))
    runs: dict[str, list[Run]] = {value: [] for value in settings}
    failed: dict[str, str] = {}
    for turn in range(ROUNDS):
        for i, (value, changes) in enumerate(settings.items()):
            progress(turn * len(settings) + i, ROUNDS * len(settings), f"{name} {value}")
            try:
                if value not in failed:
                    runs[value].append(one_run(replace(options, **changes), phases, turn))
            except (SensedgeError, OSError) as error:
                failed[value] = str(error)
    progress(1, 1, name)
    return runs, failed


def _point(value: str, runs: list[Run]) -> SweepPoint:
    totals = [[tick * TICK_S for tick in run.samples["total"]] for run in runs]
    cpu_s = sum(run.cpu_seconds for run in runs) / sum(map(len, totals))
    return _summary(value, totals, cpu_s)


def _summary(value: str, runs: list[list[float]], cpu_s: float | None) -> SweepPoint:
    p50, p99 = np.percentile(np.concatenate(runs), [50, 99])
    medians = [median(run) for run in runs]
    return SweepPoint(value, float(p50), float(p99), min(medians), max(medians), cpu_s)


def _batches(options: ChildOptions, progress: ShowProgress) -> tuple[SweepPoint, ...]:
    rounds: list[Mapping[str, list[float]]] = []
    for turn in range(ROUNDS):
        progress(turn, ROUNDS, "batches")
        rounds.append(batch_run(replace(options, batches=BATCHES)))
    progress(1, 1, "batches")
    return tuple(
        _summary(str(size), [[s / size for s in calls[str(size)]] for calls in rounds], None) for size in BATCHES
    )
