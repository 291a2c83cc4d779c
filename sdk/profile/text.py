"""The report for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING, Any

from runtime.command import table
from sdk.profile.report import COLD_STAGES, TICK_S, memory_summary

if TYPE_CHECKING:
    from sdk.meters import Energy, Fingerprint
    from sdk.profile.report import FinetuneProfile, ProfileReport, SweepPoint

_COLUMNS = {
    "p50_s": "p50",
    "p90_s": "p90",
    "p95_s": "p95",
    "p99_s": "p99",
    "p99_9_s": "p99.9",
    "max_s": "max",
    "jitter_s": "jitter",
}
_ROWS = {"window": "window", "engine": "engine", "decide": "decide", "total": "push to prediction"}
_SWEEPS = {"threads": "threads", "engines": "engine", "batch": "windows in a batch"}


def describe(report: ProfileReport) -> str:
    """The report as text; what slowed the machine, if anything did, comes first."""
    setup, bundle, n = report.setup, report.bundle, len(report.runs)
    lines = [f"THROTTLED    {report.throttled}"] if report.throttled else []
    lines += [
        f"{bundle.name}, version {bundle.version}, model {bundle.model_bytes / 1e3:.0f} kB; "
        f"{setup.engine}, {setup.precision}, {_count(setup.threads, 'thread')}",
        _machine(report.machine, report.machine_after),
        *(f"engine       {reason}" for reason in dict.fromkeys((setup.reason, *_said(report))) if reason),
        "",
        _latency(report),
        "",
        f"runs         {_count(n, 'process', 'processes')}, {report.workload.pace}, p50 of each {_medians(report)} ms",
        _warm_up(report),
        _deadline(report),
        _cold_start(report),
        *_memory(report),
        *_energy(report),
        *(f"note         {note}" for note in report.notes),
    ]
    for name, points in report.sweeps.items():
        lines += ["", *_sweep(name, points)]
    if report.finetune is not None:
        lines += ["", *_finetune(report.finetune)]
    return "\n".join(lines)


def _said(report: ProfileReport) -> Iterator[str]:
    return (run.engine_reason for run in report.runs)


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _machine(before: Fingerprint, after: Fingerprint) -> str:
    parts = [before.board or before.cpu or before.machine]
    parts += [] if before.cores is None else [_count(before.cores, "core")]
    parts.append(f"governor {before.governor or 'unknown'}")
    if before.frequency_khz is not None:
        parts.append(_changed(before.frequency_khz / 1e3, after.frequency_khz, 1e3, "MHz"))
    if before.temperature_c is not None:
        parts.append(_changed(before.temperature_c, after.temperature_c, 1, "°C"))
    return ", ".join((*parts, *(f"{name} {version}" for name, version in before.versions.items() if version)))


def _changed(before: float, after: float | None, scale: float, unit: str) -> str:
    now = before if after is None else after / scale
    return f"{before:.0f} {unit}" if round(before) == round(now) else f"{before:.0f} -> {now:.0f} {unit}"


def _latency(report: ProfileReport) -> str:
    latency = report.latency
    rows = [(text, *(f"{getattr(latency[stage], key) * 1e3:.3f}" for key in _COLUMNS)) for stage, text in _ROWS.items()]
    return table(rows, (f"{report.n_windows} windows, ms", *_COLUMNS.values()))


def _medians(report: ProfileReport) -> str:
    medians = [median(run.samples["total"]) * TICK_S * 1e3 for run in report.runs]
    return _range(min(medians), max(medians), 3)


def _range(low: float, high: float, digits: int) -> str:
    a, b = f"{low:.{digits}f}", f"{high:.{digits}f}"
    return a if a == b else f"{a} to {b}"


def _warm_up(report: ProfileReport) -> str:
    cut = [run.warm_up_hops for run in report.runs]
    pushed = sum(len(run.warm_up) for run in report.runs)
    return f"warm-up      {_range(min(cut), max(cut), 0)} windows (MSER-5); {pushed} in all were not counted"


def _deadline(report: ProfileReport) -> str:
    work = report.workload
    own = "a hop" if work.deadline_s == work.hop_s else f"a hop is {work.hop_s:g} s"
    text = f"deadline     {report.misses} of {report.n_windows} windows later than {_seconds(work.deadline_s)} ({own})"
    if work.pace == "real time":
        late = [tick for run in report.runs for tick in run.late or ()]
        text += f"; woken up to {max(late) * TICK_S * 1e3:.2f} ms late; {report.cpu_share:.2%} of a core"
    return text


def _seconds(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms"


def _cold_start(report: ProfileReport) -> str:
    cold = report.cold_start
    parts = ", ".join(f"{stage.replace('_', ' ')} {cold[stage]['median_s'] * 1e3:.1f}" for stage in COLD_STAGES)
    total = cold["total"]
    low, high = total["low_s"] * 1e3, total["high_s"] * 1e3
    spread = "" if low == high else f" ({_range(low, high, 0)})"
    return f"cold start   {total['median_s'] * 1e3:.0f} ms{spread}: {parts}"


def _memory(report: ProfileReport) -> Iterator[str]:
    memory = memory_summary(report.runs)
    peak, above = memory["peak_rss_bytes"] / 1e6, memory["above_baseline_bytes"] / 1e6
    steps = [f"{key.replace('_', ' ')} {_step(memory[key])}" for key in ("bundle", "engine", "first_prediction")]
    yield (
        f"memory       {peak:.1f} MB peak, {above:.1f} MB above the imported libraries ({memory['method']}): "
        f"{', '.join(steps)}"
    )
    others = []
    if memory["peak_uss_bytes"] is not None:
        others.append(f"{memory['peak_uss_bytes'] / 1e6:.1f} MB of its own (USS)")
    if report.group_peak.bytes is not None:
        others.append(f"control group {report.group_peak.bytes / 1e6:.0f} MB ({report.group_peak.method})")
    if report.gpu_memory.bytes is not None:
        others.append(f"graphics card {report.gpu_memory.bytes / 1e6:.0f} MB (by {report.gpu_memory.method})")
    if others:
        yield f"             {', '.join(others)}"


def _step(added: dict[str, Any]) -> str:
    return f"{(added['uss_bytes'] if added['uss_bytes'] is not None else added['rss_bytes']) / 1e6:.1f}"


def _energy(report: ProfileReport) -> Iterator[str]:
    energy, n = report.energy, report.n_windows
    if energy.joules is None:
        yield f"energy       {energy.describe()}"
        return
    sign = "~" if energy.tier == "estimated" else ""
    text = f"energy       {sign}{_millijoules(energy.joules, energy.uncertainty_j, n)} per window, gross"
    if energy.net_joules is not None and energy.idle is not None:
        text += f"; {sign}{_millijoules(energy.net_joules, energy.net_uncertainty_j, n)} above idle"
    yield text
    if energy.idle is not None and energy.idle.watts is not None:
        spread = "" if energy.idle.uncertainty_w is None else f" ± {energy.idle.uncertainty_w:.2g}"
        yield f"             idle {energy.idle.watts:.4g}{spread} W, watched for {energy.idle.seconds or 0:.3g} s"
    elif energy.idle is not None:
        yield f"             idle not measured ({energy.idle.reason})"
    yield f"             {_meter(energy)}"
    notes = energy.notes + (energy.idle.notes if energy.idle is not None else ())
    yield from (f"             {note}" for note in dict.fromkeys(notes))


def _millijoules(joules: float, uncertainty_j: float | None, n: int) -> str:
    spread = "" if uncertainty_j is None else f" ± {uncertainty_j / n * 1e3:.2g}"
    return f"{joules / n * 1e3:.4g}{spread} mJ"


def _meter(energy: Energy) -> str:
    parts = [f"{energy.source}: {' + '.join(energy.rails)}", energy.method, energy.tier or "tier unknown"]
    if energy.leaves_out:
        parts.append(f"without {energy.leaves_out}")
    if energy.metering_share is not None:
        parts.append(f"the metering took {energy.metering_share:.2%} of one core")
    return "; ".join(parts)


def _sweep(name: str, points: tuple[SweepPoint, ...]) -> Iterator[str]:
    rows = []
    for point in points:
        if point.p50_s is not None and point.p99_s is not None and point.low_s is not None and point.high_s is not None:
            cpu = "" if point.cpu_s is None else f"{point.cpu_s * 1e3:.3f}"
            spread = _range(point.low_s * 1e3, point.high_s * 1e3, 3)
            rows.append((point.value, f"{point.p50_s * 1e3:.3f}", spread, f"{point.p99_s * 1e3:.3f}", cpu))
    yield table(rows, (_SWEEPS[name], "ms a window, p50", "of single runs", "p99", "CPU ms" if name != "batch" else ""))
    yield from (f"{point.value}: not measured ({point.reason})" for point in points if point.reason)


def _finetune(tuned: FinetuneProfile) -> Iterator[str]:
    gained = "" if tuned.points is None else f", {tuned.points:+.1f} points of macro-F1"
    yield f"fine-tune    {tuned.plan['method']}, {tuned.labelled_windows} labelled windows{gained}: {tuned.reason}"
    yield ""
    phases = [(p.name, p.seconds, p.cpu_seconds, p.peak_bytes, p.above_baseline_bytes, p.energy) for p in tuned.phases]
    phases.append(("all", tuned.seconds, tuned.cpu_seconds, tuned.peak_bytes, tuned.above_baseline_bytes, tuned.energy))
    rows = [
        (name, f"{s:.3f}", f"{cpu:.3f}", f"{peak / 1e6:.1f}", f"{above / 1e6:.1f}", _joules(energy))
        for name, s, cpu, peak, above, energy in phases
    ]
    yield table(rows, ("phase", "s", "CPU s", "peak MB", "above start", "J gross"))
    if tuned.energy.joules is None and tuned.energy.source != "none":  # without a meter, it was said above
        yield f"energy       {tuned.energy.describe()}"
    if tuned.seconds_per_point is not None:
        yield ""
        joules = "" if tuned.joules_per_point is None else f", {tuned.joules_per_point:.3g} J gross"
        net = "" if tuned.net_joules_per_point is None else f", {tuned.net_joules_per_point:.3g} J above idle"
        yield f"per point    {tuned.seconds_per_point:.3g} s{joules}{net}"


def _joules(energy: Energy) -> str:
    return "not measured" if energy.joules is None else f"{energy.joules:.3g}"
