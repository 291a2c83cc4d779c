"""One bundle and one way to measure it: the machine looked at before, run after run, the machine after, the report."""

from __future__ import annotations

import datetime
import hashlib
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime import Bundle
from runtime.engine import AUTO
from runtime.engine.auto.choice import choose, recall
from sdk.meters import (
    Fingerprint,
    GpuWatch,
    GroupMemory,
    Idle,
    Meter,
    NoMeter,
    fingerprint,
    idle_between,
    idle_of,
    list_meters,
    throttled,
)
from sdk.profile.child import golden_rows
from sdk.profile.options import ProfileOptions
from sdk.profile.parent import Phases, one_run
from sdk.profile.report import BundleFacts, ProfileReport, Run, Setup, Workload
from sdk.profile.talk import ChildOptions

IDLE_WINDOWS = 5
LEAST_METERED_S = 1.0  # of a run with a meter: sensors take a while to see a load
SHORTEST_SLACK = 1.1  # of the shortest window that a slow meter can measure
TAIL_WINDOWS = 5000  # that p99.9 needs: five beyond it
BUSY = 0.3  # of the cores


class Side:
    """One bundle and one way to measure it.

    Args:
        path: folder of the bundle, or the bundle.
        options: how to measure.
        meter: of energy.
        root: where /sys, /proc and /dev of the machine are.
        rows: a .npy file of what is fed, shape (n, n_channels); None: the rows of its own golden windows.
    """

    def __init__(
        self,
        path: str | Path | Bundle,
        options: ProfileOptions,
        meter: Meter,
        root: str | Path,
        rows: Path | None = None,
    ) -> None:
        self.bundle = path if isinstance(path, Bundle) else Bundle.open(path)
        self._rows = rows
        self.workload = workload_of(self.bundle, options, golden_rows(self.bundle) if rows is None else np.load(rows))
        self.options, self._reason = _chosen(self.bundle, options)
        self._meter, self._root = meter, root
        self._runs: list[Run] = []
        self._group: GroupMemory | None = None

    def begin(self) -> None:
        """Look at the machine before the first run."""
        self._taken_at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self._before, self.phases = self._fingerprint(), Phases(self._meter)
        self._group, self._card = GroupMemory(self._root), GpuWatch(self._root)
        self.idle = watch_idle(self.phases, self.options.idle_s)

    def run(self) -> None:
        """Measure in one more fresh process."""
        options = child_options(self.bundle, self.options, self._meter, self._rows)
        self._runs.append(one_run(options, self.phases, len(self._runs), self._card.look))

    def end(self) -> None:
        """Look at the machine after the last run."""
        if self.idle is not None:
            self.idle = idle_between(self.idle, watch_idle(self.phases, self.options.idle_s) or self.idle)
        self._after = self._fingerprint()
        assert self._group is not None
        self._peak = self._group.peak()

    def close(self) -> None:
        """Give back what `begin` took, whether it came to `end` or not."""
        if self._group is not None:
            self._group.close()

    def report(self) -> ProfileReport:
        """All that was measured."""
        report = ProfileReport(
            taken_at=self._taken_at,
            seconds=self.phases.now_s(),
            bundle=facts_of(self.bundle),
            workload=self.workload,
            setup=self._setup(),
            machine=self._before,
            machine_after=self._after,
            throttled=throttled(self._before, self._after),
            runs=tuple(self._runs),
            phases=tuple(self.phases.done),
            idle=self.idle,
            meters=tuple(vars(status) for status in list_meters(self._root)),
            group_peak=self._peak,
            gpu_memory=self._card.result(),
        )
        return replace(report, notes=notes_of(report))

    def _setup(self) -> Setup:
        o = self.options
        return Setup(o.engine, o.precision, o.threads, o.windows, o.n_runs, o.cap_s, reason=self._reason)

    def _fingerprint(self) -> Fingerprint:
        return fingerprint(self._root, bundle_sha256=self.bundle.manifest.files["model.onnx"].sha256)


def _chosen(bundle: Bundle, options: ProfileOptions) -> tuple[ProfileOptions, str]:
    """The options with what "auto" stands for here, and why: chosen once, as an app would find it in the cache."""
    if options.engine != AUTO:
        return options, ""
    choice = recall(bundle) or choose(bundle)
    one = choice.candidate
    return replace(options, engine=one.engine, precision=one.precision, threads=one.threads), choice.reason


def watch_idle(phases: Phases, seconds: float) -> Idle | None:
    """The idle power, in phases of their own; None: there is no meter."""
    if isinstance(phases.meter, NoMeter):
        return None
    first = len(phases.done)
    for _ in range(IDLE_WINDOWS):
        with phases.phase("idle"):
            time.sleep(seconds / IDLE_WINDOWS)
    return idle_of([phase.energy for phase in phases.done[first:]])


def facts_of(bundle: Bundle) -> BundleFacts:
    """Which bundle was measured, and in which version."""
    spec = bundle.manifest.files["model.onnx"]
    return BundleFacts(bundle.manifest.name, bundle.version, spec.sha256, spec.bytes)


def workload_of(bundle: Bundle, options: ProfileOptions, rows: NDArray[np.float32]) -> Workload:
    """What is asked of the machine: these rows, shape (n, n_channels), in hops."""
    manifest = bundle.manifest
    return Workload(
        input_sha256=hashlib.sha256(rows.tobytes()).hexdigest(),
        window_samples=manifest.window.length_samples,
        hop_samples=manifest.window.hop_samples,
        n_channels=bundle.golden().windows.shape[2],
        rate_hz=manifest.signal.rate_hz,
        hop_s=manifest.hop_s,
        deadline_s=manifest.hop_s if options.deadline_s is None else options.deadline_s,
        pace="real time" if options.real_time else "flat out",
    )


def notes_of(report: ProfileReport) -> tuple[str, ...]:
    """What makes the figures doubtful, as sentences."""
    notes, n, asked, runs = [], report.n_windows, report.setup.hops, report.runs
    if n < asked:
        notes.append(f"{n} of {asked} windows fitted into {report.setup.cap_s:g} s: give --seconds more.")
    if n < TAIL_WINDOWS:
        notes.append(f"p99.9 of {n} windows is little more than their maximum.")
    unsteady = sum(not run.steady for run in runs)
    if unsteady:
        notes.append(f"No end of the warm-up was found in {unsteady} of {len(runs)} runs.")
    busy = _busy(report.machine)
    return (*notes, busy) if busy else tuple(notes)


def _busy(machine: Fingerprint) -> str:
    if machine.load_average is None or machine.cores is None or machine.load_average[0] < BUSY * machine.cores:
        return ""
    load = machine.load_average[0]
    return f"The machine was busy before it began: load {load:g} on {machine.cores} cores."


def child_options(
    bundle: Bundle, options: ProfileOptions, meter: Meter | None = None, rows: Path | None = None
) -> ChildOptions:
    """What one process is told."""
    cap_s = options.cap_s / options.n_runs
    least_s = 0.0
    if meter is not None and not isinstance(meter, NoMeter):
        least_s = max(LEAST_METERED_S, SHORTEST_SLACK * getattr(meter, "shortest_s", 0.0))
    return ChildOptions(
        bundle=str(bundle.path.absolute()),
        version=bundle.version,
        trust=None if bundle.trust is None else bundle.trust.to_plain(),
        manifest_sha256=bundle.manifest_sha256,
        rows=None if rows is None else str(rows.absolute()),
        engine=options.engine,
        precision=options.precision,
        threads=options.threads,
        windows=-(-options.windows // options.n_runs),
        cap_s=cap_s,
        least_s=min(least_s, cap_s),
        pace_s=bundle.manifest.hop_s if options.real_time else None,
    )
