"""The same work with other settings: threads, engines, sizes of a batch.

Settings take turns, each time in a fresh process, so that a machine that changes its speed changes it for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from statistics import median
from typing import TYPE_CHECKING, Any

from runtime.engine import engines_here
from runtime.errors import SensedgeError
from sdk.profile.report import TICK_S, Run, SweepPoint

if TYPE_CHECKING:
    from runtime import Bundle

SWEEPS = ("threads", "engines", "batch")
ROUNDS = 3
HOPS, CAP_S = 500, 3.0  # of one run
BATCHES = (1, 2, 4, 8, 16, 32)

Progress = Callable[[int, int, str], None]
Settings = dict[str, dict[str, Any]]  # by what the report calls it


def sweep(name: str, bundle: Bundle, options: dict[str, Any], progress: Progress) -> tuple[SweepPoint, ...]:
    """One of SWEEPS; what a setting lacks is in its `reason`.

    Args:
        name: which.
        bundle: to be run.
        options: for `sdk.profile.child`, of everything that the sweep does not change.
        progress: called with runs done, all, and a text.
    """
    hops = min(HOPS, options["hops"])
    options = options | {"hops": hops, "cap_s": min(CAP_S, options["cap_s"]), "least_s": 0.0, "pace_s": None}
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


def thread_counts(cores: int | None = None) -> list[int]:
    """Powers of two up to the cores that this process may use, and all of them."""
    cores = cores or len(os.sched_getaffinity(0))
    return sorted({2**i for i in range(cores.bit_length()) if 2**i <= cores} | {cores})


def _take_turns(
    name: str, settings: Settings, options: dict[str, Any], progress: Progress
) -> tuple[dict[str, list[Run]], dict[str, str]]:
    from sdk.meters import NoMeter
    from sdk.profile.parent import Phases, one_run

    phases = Phases(NoMeter("not in a sweep"))
    runs: dict[str, list[Run]] = {value: [] for value in settings}
    failed: dict[str, str] = {}
    for turn in range(ROUNDS):
        for i, (value, changes) in enumerate(settings.items()):
            progress(turn * len(settings) + i, ROUNDS * len(settings), f"{name} {value}")
            try:
                if value not in failed:
                    runs[value].append(one_run(options | changes, phases, turn))
            except (SensedgeError, OSError) as error:
                failed[value] = str(error)
    progress(1, 1, name)
    return runs, failed


def _point(value: str, runs: list[Run]) -> SweepPoint:
    totals = [[tick * TICK_S for tick in run.samples["total"]] for run in runs]
    cpu_s = sum(run.cpu_seconds for run in runs) / sum(map(len, totals))
    return _summary(value, totals, cpu_s)


def _summary(value: str, runs: list[list[float]], cpu_s: float | None) -> SweepPoint:
    import numpy as np

    p50, p99 = np.percentile(np.concatenate(runs), [50, 99])
    medians = [median(run) for run in runs]
    return SweepPoint(value, float(p50), float(p99), min(medians), max(medians), cpu_s)


def _batches(options: dict[str, Any], progress: Progress) -> tuple[SweepPoint, ...]:
    from sdk.profile.parent import batch_run

    rounds: list[Mapping[str, list[float]]] = []
    for turn in range(ROUNDS):
        progress(turn, ROUNDS, "batches")
        rounds.append(batch_run(options | {"batches": list(BATCHES)}))
    progress(1, 1, "batches")
    return tuple(
        _summary(str(size), [[s / size for s in calls[str(size)]] for calls in rounds], None) for size in BATCHES
    )
