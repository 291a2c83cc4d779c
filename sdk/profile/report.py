"""What a profile holds, and its JSON: schema 1, described in docs/profile.md.

    runs        one fresh process after another; all that was measured in each, raw
    phases      what the machine did when, with the energy and the power of each: idle, start, warm-up, measured
    the rest    is computed from these: cold start, latency, deadlines, memory, energy

Durations of single windows are whole ticks of 0.1 us, so that percentiles can be computed again from the file, to the
bit: `ticks * 1e-7`, then NumPy. What was not measured is None, with the reason beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sdk.meters import Energy, Fingerprint, GpuMemory, GroupPeak, Idle, Latency, add_energies, latency_summary

KIND, SCHEMA = "sensedge profile", 1
TICK_S = 1e-7
STAGES = ("window", "engine", "decide", "total")  # total: one push, as its caller sees it
COLD_STAGES = ("interpreter", "imports", "open", "session", "first_prediction")


@dataclass(frozen=True)
class BundleFacts:
    """Which bundle, and which version of it."""

    name: str
    version: str
    model_sha256: str
    model_bytes: int


@dataclass(frozen=True)
class Workload:
    """What was asked of the machine; two reports are alike only if all of this is."""

    input_sha256: str  # of the golden rows that were fed
    window_samples: int
    hop_samples: int
    n_channels: int
    rate_hz: float
    hop_s: float
    deadline_s: float  # a window that takes longer is a miss
    pace: str  # "flat out": window after window; "real time": each when its last sample would arrive


@dataclass(frozen=True)
class Setup:
    """The engine and the options that a profile was made with."""

    engine: str
    precision: str
    threads: int
    hops: int  # windows asked for, over all runs; the name is that of schema 1
    runs: int
    cap_s: float  # seconds of measuring after which no more windows were begun
    reason: str = ""  # why this engine, these threads and this precision, where "auto" chose them


@dataclass(frozen=True)
class MemoryMark:
    """This process at one moment of its start."""

    after: str  # what had just ended: "interpreter", "imports", "open", "session", "first_prediction", "measured"
    rss_bytes: int
    uss_bytes: int | None  # private to the process; None: the kernel has no smaps_rollup


@dataclass(frozen=True)
class RunMemory:
    """The memory of one run; the baseline is the process with its libraries imported, before the bundle was opened."""

    baseline_bytes: int
    peak_bytes: int  # resident
    method: str  # "VmHWM" (by the kernel, exact) or "sampled"
    marks: tuple[MemoryMark, ...]
    timeline: tuple[tuple[float, int], ...] = ()  # (seconds from the beginning of the report, resident bytes)


@dataclass(frozen=True)
class Run:
    """What one fresh process measured."""

    cold_s: dict[str, float]  # by stage of COLD_STAGES
    warm_up_hops: int  # windows that were found to differ from what followed; the name is that of schema 1
    steady: bool  # False: the warm-up was still going on when its time was up
    warm_up: tuple[int, ...]  # ticks of "total", all windows before the measured ones
    samples: dict[str, tuple[int, ...]]  # ticks by stage, measured windows
    late: tuple[int, ...] | None  # ticks from when a window was due to when it was begun; None: flat out
    seconds: float  # of the measured windows, pauses included
    cpu_seconds: float  # of the same, all threads
    memory: RunMemory
    engine_reason: str = ""  # what the engine says of itself, such as who answers in its place


@dataclass(frozen=True)
class Phase:
    """A stretch of time in which the machine did one thing."""

    name: str  # "idle", "start", "warm-up", "measured"
    run: int | None  # index into `runs`; None: idle
    begin_s: float  # from the beginning of the report
    end_s: float
    energy: Energy  # its `timeline` is the power in this phase, from `begin_s` on


@dataclass(frozen=True)
class SweepPoint:
    """One setting of a sweep, over some runs that took turns with those of the other settings."""

    value: str  # "2" threads, "openvino", "16" windows in a batch
    p50_s: float | None  # per window; None: not measured
    p99_s: float | None
    low_s: float | None  # the lowest and the highest median of a single run
    high_s: float | None
    cpu_s: float | None  # of all threads, per window
    reason: str = ""  # why it was not measured


@dataclass(frozen=True)
class FinetunePhase:
    """One phase of a fine-tuning run: prefix, judging, training, commit."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int  # resident
    above_baseline_bytes: int
    energy: Energy


@dataclass(frozen=True)
class FinetuneProfile:
    """What a fine-tuning run costs, on a copy of the bundle."""

    plan: dict[str, Any]
    accepted: bool
    reason: str
    points: float | None  # macro-F1 on held-out labels, in percentage points gained; None: not accepted
    labelled_windows: int
    phases: tuple[FinetunePhase, ...]
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    above_baseline_bytes: int
    energy: Energy  # of all phases
    seconds_per_point: float | None  # None: not accepted, or no point gained
    joules_per_point: float | None  # the same, or no meter
    net_joules_per_point: float | None


@dataclass(frozen=True)
class ProfileReport:
    """What was measured, on what."""

    taken_at: str  # UTC, ISO 8601
    seconds: float  # of everything
    bundle: BundleFacts
    workload: Workload
    setup: Setup
    machine: Fingerprint  # before
    machine_after: Fingerprint
    throttled: str | None  # one sentence, if the machine did not hold its speed
    runs: tuple[Run, ...]
    phases: tuple[Phase, ...]
    idle: Idle | None  # None: there is no meter
    meters: tuple[dict[str, Any], ...]  # every source of energy: name, found, detail, fix
    group_peak: GroupPeak
    gpu_memory: GpuMemory
    sweeps: dict[str, tuple[SweepPoint, ...]] = dataclasses.field(
        default_factory=dict
    )  # by "threads", "engines", "batch"
    finetune: FinetuneProfile | None = None
    series: str | None = None  # the same of two reports whose runs took turns
    notes: tuple[str, ...] = ()  # what makes the figures doubtful

    @property
    def n_windows(self) -> int:
        """Windows that were measured, over all runs."""
        return sum(len(run.samples["total"]) for run in self.runs)

    @property
    def latency(self) -> dict[str, Latency]:
        """By stage, over the measured windows of all runs."""
        return {stage: latency_summary([tick * TICK_S for tick in self._ticks(stage)]) for stage in STAGES}

    def _ticks(self, stage: str) -> Iterator[int]:
        return (tick for run in self.runs for tick in run.samples[stage])

    @property
    def misses(self) -> int:
        """Windows that were ready later than the deadline: in real time after they were due, else after they began."""
        deadline = self.workload.deadline_s / TICK_S
        return sum(
            late + total > deadline
            for run in self.runs
            for late, total in zip(run.late or [0] * len(run.samples["total"]), run.samples["total"], strict=True)
        )

    @property
    def cold_start(self) -> dict[str, Any]:
        """By stage: median, lowest and highest of the runs."""
        columns = {stage: [run.cold_s[stage] for run in self.runs] for stage in COLD_STAGES}
        columns["total"] = [sum(run.cold_s.values()) for run in self.runs]
        return {
            stage: {"median_s": median(values), "low_s": min(values), "high_s": max(values)}
            for stage, values in columns.items()
        }

    @property
    def cpu_share(self) -> float:
        """CPU seconds per second of the measured windows: 1 is one core."""
        return sum(run.cpu_seconds for run in self.runs) / sum(run.seconds for run in self.runs)

    @property
    def energy(self) -> Energy:
        """Of the measured windows of all runs, with the idle power beside it."""
        return add_energies([phase.energy for phase in self.phases if phase.name == "measured"]).above(self.idle)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        own = {field.name: plain(getattr(self, field.name)) for field in dataclasses.fields(self)}
        machines = {"before": own.pop("machine"), "after": own.pop("machine_after"), "throttled": own.pop("throttled")}
        memory = {"group_peak": own.pop("group_peak"), "gpu": own.pop("gpu_memory")}
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "tick_s": TICK_S,
            **own,
            "machine": machines,
            "latency": plain(self.latency),
            "deadline": {"deadline_s": self.workload.deadline_s, "misses": self.misses, "hops": self.n_windows},
            "cold_start": self.cold_start,
            "cpu_share": self.cpu_share,
            "memory": memory_summary(self.runs) | memory,
            "energy": energy_summary(self.energy, self.n_windows) | {"meters": own.pop("meters")},
        }


def memory_summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Over the runs: the highest peaks, and the medians of what each step of the start added."""

    def added(before: str, after: str) -> dict[str, int | None]:
        return {key: _added(runs, before, after, key) for key in ("rss_bytes", "uss_bytes")}

    uss = [mark.uss_bytes for run in runs for mark in run.memory.marks if mark.uss_bytes is not None]
    return {
        "baseline_bytes": int(median(run.memory.baseline_bytes for run in runs)),
        "peak_rss_bytes": max(run.memory.peak_bytes for run in runs),
        "above_baseline_bytes": max(run.memory.peak_bytes - run.memory.baseline_bytes for run in runs),
        "method": runs[0].memory.method,
        "peak_uss_bytes": max(uss) if uss else None,  # at the marks: nobody keeps the peak of it
        "bundle": added("imports", "open"),
        "engine": added("open", "session"),
        "first_prediction": added("session", "first_prediction"),
    }


def _added(runs: Sequence[Run], before: str, after: str, key: str) -> int | None:
    marks = [{mark.after: getattr(mark, key) for mark in run.memory.marks} for run in runs]
    steps = [by[after] - by[before] for by in marks if by[after] is not None and by[before] is not None]
    return int(median(steps)) if steps else None


def energy_summary(energy: Energy, n_windows: int) -> dict[str, Any]:
    """The measured windows together, and each ("per_hop" in schema 1); None and the reason where there is no meter."""
    per_hop = {
        f"{name}_per_hop": None if joules is None else joules / n_windows
        for name, joules in (
            ("joules", energy.joules),
            ("uncertainty_j", energy.uncertainty_j),
            ("net_joules", energy.net_joules),
            ("net_uncertainty_j", energy.net_uncertainty_j),
        )
    }
    return {**energy.to_dict(), **per_hop}


def plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as JSON has them."""
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value
