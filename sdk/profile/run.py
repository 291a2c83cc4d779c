"""A profile from beginning to end.

    idle | start warm-up measured | start warm-up measured | ... | idle        the phases; a run is a fresh process

Processes differ from each other, by where their memory lies and by what else the machine does: several short ones say
more than a long one, and how far they differ is what a comparison must know (Kalibera and Jones 2013, "Rigorous
benchmarking in reasonable time").
"""

from __future__ import annotations

import datetime
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import InputError
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
    open_meter,
    throttled,
)
from sdk.profile.parent import Phases, one_run
from sdk.profile.report import BundleFacts, ProfileReport, Setup, Workload
from sdk.profile.sweeps import SWEEPS, sweep

if TYPE_CHECKING:
    from runtime import Bundle
    from sdk.finetune import FinetunePlan, LabelledSet

HOPS = 10_000
RUNS, HOPS_PER_RUN = 10, 200  # at most so many runs, of at least so many hops
CAP_S = 60.0
IDLE_S, IDLE_WINDOWS = 5.0, 5
LEAST_METERED_S = 1.0  # of a run with a meter: sensors take a while to see a load
SHORTEST_SLACK = 1.1  # of the shortest window that a slow meter can measure
TAIL_HOPS = 5000  # that p99.9 needs: five beyond it
BUSY = 0.3  # of the cores
TIMELINE = 200  # intervals of power per phase

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class ProfileOptions:
    """How to measure."""

    hops: int = HOPS  # over all runs
    runs: int | None = None  # None: 10, fewer for few hops; one in real time
    engine: str = "onnxruntime"
    precision: str = "float32"
    threads: int = 1
    cap_s: float = CAP_S  # of measuring, over all runs: no hop is begun after it
    deadline_s: float | None = None  # None: a hop
    real_time: bool = False  # each hop when its last sample would arrive
    idle_s: float = IDLE_S  # watched before and after, where there is a meter
    sweeps: Sequence[str] = ()  # of SWEEPS

    def __post_init__(self) -> None:
        for name, expected, good in (
            ("windows", "at least 1", self.hops >= 1),
            ("runs", "at least 1", self.runs is None or self.runs >= 1),
            ("threads", "at least 1", self.threads >= 1),
            ("seconds", "a number above 0", self.cap_s > 0),
            ("deadline-ms", "a number above 0", self.deadline_s is None or self.deadline_s > 0),
            ("idle-seconds", "a number above 0", self.idle_s > 0),
            ("sweep", f"names among {', '.join(SWEEPS)}", set(self.sweeps) <= set(SWEEPS)),
        ):
            if not good:
                field = {"windows": "hops", "seconds": "cap_s", "deadline-ms": "deadline_s", "sweep": "sweeps"}
                got = getattr(self, field.get(name, name.replace("-seconds", "_s")))
                got = ",".join(got) if name == "sweep" else got
                raise InputError(f"--{name}", expected=expected, got=got, fix="Correct the option.")

    @property
    def n_runs(self) -> int:
        """How many processes."""
        if self.runs is not None:
            return min(self.runs, self.hops)
        return 1 if self.real_time else max(1, min(RUNS, self.hops // HOPS_PER_RUN))


def profile(
    path: str | Path | Bundle,
    options: ProfileOptions | None = None,
    *,
    meter: Meter | None = None,
    finetune: tuple[FinetunePlan, LabelledSet] | None = None,
    root: str | Path = "/",
    progress: Progress = lambda done, total, text: None,
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
    from runtime import Bundle

    bundle = path if isinstance(path, Bundle) else Bundle.open(path)
    options, reason = _chosen(bundle, options or ProfileOptions())
    sha256 = bundle.manifest.files["model.onnx"].sha256
    meter = meter or open_meter(root=root, timeline=TIMELINE)
    taken_at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    before, phases = fingerprint(root, bundle_sha256=sha256), Phases(meter)
    group, card = GroupMemory(root), GpuWatch(root)
    idle = watch_idle(phases, options.idle_s)
    runs = []
    for number in range(options.n_runs):
        progress(number, options.n_runs, "runs")
        runs.append(one_run(run_options(bundle, options, meter), phases, number, card.look))
    progress(options.n_runs, options.n_runs, "runs")
    if idle is not None:
        idle = idle_between(idle, watch_idle(phases, options.idle_s) or idle)
    after = fingerprint(root, bundle_sha256=sha256)
    report = ProfileReport(
        taken_at=taken_at,
        seconds=phases.now_s(),
        bundle=facts_of(bundle),
        workload=workload_of(bundle, options),
        setup=Setup(
            *(options.engine, options.precision, options.threads, options.hops, options.n_runs, options.cap_s),
            reason=reason,
        ),
        machine=before,
        machine_after=after,
        throttled=throttled(before, after),
        runs=tuple(runs),
        phases=tuple(phases.done),
        idle=idle,
        meters=tuple(vars(status) for status in list_meters(root)),
        group_peak=group.peak(),
        gpu_memory=card.result(),
        sweeps={name: sweep(name, bundle, run_options(bundle, options), progress) for name in options.sweeps},
        finetune=None if finetune is None else _finetune(bundle, *finetune, meter, idle, progress),
        notes=(),
    )
    return replace(report, notes=notes_of(report), seconds=phases.now_s())


def _chosen(bundle: Bundle, options: ProfileOptions) -> tuple[ProfileOptions, str]:
    """The options with what "auto" stands for here, and why: chosen once, as an app would find it in the cache."""
    from runtime.engine import AUTO

    if options.engine != AUTO:
        return options, ""
    from runtime.engine.choice import choose, recall

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


def run_options(bundle: Bundle, options: ProfileOptions, meter: Meter | None = None) -> dict[str, Any]:
    """What `sdk.profile.child` is told."""
    cap_s = options.cap_s / options.n_runs
    least_s = 0.0
    if meter is not None and not isinstance(meter, NoMeter):
        least_s = max(LEAST_METERED_S, SHORTEST_SLACK * getattr(meter, "shortest_s", 0.0))
    return {
        "bundle": str(bundle.path),
        "version": bundle.version,
        "trust": None if bundle.trust is None else vars(bundle.trust) | {"keys": [k.hex() for k in bundle.trust.keys]},
        "engine": options.engine,
        "precision": options.precision,
        "threads": options.threads,
        "hops": -(-options.hops // options.n_runs),
        "cap_s": cap_s,
        "least_s": min(least_s, cap_s),
        "pace_s": bundle.manifest.hop_s if options.real_time else None,
        "batches": [],
    }


def facts_of(bundle: Bundle) -> BundleFacts:
    """Which bundle it is."""
    spec = bundle.manifest.files["model.onnx"]
    return BundleFacts(bundle.manifest.name, bundle.version, spec.sha256, spec.bytes)


def workload_of(bundle: Bundle, options: ProfileOptions) -> Workload:
    """What is asked of the machine."""
    manifest, windows = bundle.manifest, bundle.golden().windows
    return Workload(
        input_sha256=hashlib.sha256(windows.tobytes()).hexdigest(),
        window_samples=manifest.window.length_samples,
        hop_samples=manifest.window.hop_samples,
        n_channels=windows.shape[2],
        rate_hz=manifest.signal.rate_hz,
        hop_s=manifest.hop_s,
        deadline_s=manifest.hop_s if options.deadline_s is None else options.deadline_s,
        pace="real time" if options.real_time else "flat out",
    )


def notes_of(report: ProfileReport) -> tuple[str, ...]:
    """What makes the figures doubtful, as sentences."""
    notes, hops, runs = [], report.n_hops, report.runs
    if hops < report.setup.hops:
        notes.append(f"{hops} of {report.setup.hops} hops fitted into {report.setup.cap_s:g} s: give --seconds more.")
    if hops < TAIL_HOPS:
        notes.append(f"p99.9 of {hops} hops is little more than their maximum.")
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


def _finetune(
    bundle: Bundle, plan: FinetunePlan, data: LabelledSet, meter: Meter, idle: Idle | None, progress: Progress
) -> Any:
    from sdk.profile.finetune import profile_finetune

    return profile_finetune(bundle, data, plan, meter=meter, idle=idle, progress=progress)
