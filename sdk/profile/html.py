"""The report as a page: one file with everything in it, for a browser or a printer.

It needs nothing from the network and runs no script; its pictures are SVG, drawn by `sdk.profile.html_figures`. The
figures of a picture are in a table beside it. Whatever a bundle or a machine is called is text here, never markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from sdk.profile import html_figures as figures
from sdk.profile.html_figures import duration

Report = Mapping[str, Any]

_LATENCY = {"p50": "p50_s", "p90": "p90_s", "p95": "p95_s", "p99": "p99_s", "p99.9": "p99_9_s", "max": "max_s"}
_STAGES = {"window": "window", "engine": "engine", "decide": "decide", "total": "push to prediction"}
_SWEEPS = {"threads": ("Threads", "threads"), "engines": ("Engines", ""), "batch": ("Batch", "windows in a batch")}
_STYLE = """
:root { --ink: #1a1a1a; --paper: #fff; --soft: #666; --grey: #b4b4b4; --grid: #e4e4e4; --warn: #a33a00;
  --c1: #0072b2; --c2: #d55e00; --c3: #009e73; --c4: #cc79a7; --c5: #a67c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #161616; --soft: #a0a0a0; --grey: #6a6a6a;
  --grid: #303030; --warn: #ffa066; --c1: #56b4e9; --c2: #ff8c42; --c3: #2ec4a0; --c4: #e3a0c4; --c5: #e6c34a; } }
@media print { :root { --ink: #000; --paper: #fff; --soft: #444; --grey: #b4b4b4; --grid: #e0e0e0; --warn: #a33a00;
  --c1: #0072b2; --c2: #d55e00; --c3: #009e73; --c4: #cc79a7; --c5: #a67c00; }
  section, figure, table { break-inside: avoid; } }
* { font-family: "DejaVu Sans", Verdana, sans-serif; }
body { max-width: 960px; margin: 2em auto; padding: 0 1em; color: var(--ink); background: var(--paper);
  font-size: 13px; line-height: 1.5; }
h1 { font-size: 21px; margin: 0 0 .2em; } h2 { font-size: 15px; margin: 2.2em 0 .5em; }
p { margin: .4em 0; } .soft { color: var(--soft); }
.warn { border: 2px solid var(--warn); color: var(--warn); padding: .5em .8em; margin: 0 0 1.2em; font-weight: bold; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(145px, 1fr)); gap: .8em; margin: 1.3em 0 0; }
dl div { border-top: 2px solid var(--ink); padding-top: .3em; } dt { color: var(--soft); font-size: 11.5px; }
dd { margin: 0; font-size: 19px; }
dd small { display: block; font-size: 11.5px; color: var(--soft); line-height: 1.35; }
figure { margin: .8em 0; } figure svg { width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: 11.5px; }
table { border-collapse: collapse; margin: .6em 0; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .15em 1.1em .15em 0; vertical-align: top; white-space: nowrap; }
table.text td { white-space: normal; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: normal; border-bottom: 1px solid var(--grey); }
th:first-child, td:first-child, table.text th, table.text td { text-align: left; }
table.text td:first-child { white-space: nowrap; }
ul { padding-left: 1.2em; }
"""


def render(report: Report) -> str:
    """A report as one HTML file.

    Args:
        report: of schema 1, as `ProfileReport.to_dict()` gives it or JSON gives it back.

    Returns:
        The file's text; the same for the same report.
    """
    return document(_title(report), (*_head(report), *_sections(report)))


def document(title: str, parts: Iterable[str]) -> str:
    """A whole file; the title and the parts are markup."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _title(report: Report) -> str:
    return f"Profile of {escape(report['bundle']['name'])}, version {escape(report['bundle']['version'])}"


def _head(report: Report) -> Iterator[str]:
    """What throttled, if anything did; what was measured, on what; the figures that most people look for."""
    if report["machine"]["throttled"]:
        yield f'<p class="warn">THROTTLED: {escape(report["machine"]["throttled"])}</p>'
    setup, bundle, work, before = report["setup"], report["bundle"], report["workload"], report["machine"]["before"]
    yield f"<h1>{_title(report)}</h1>"
    parts = [before["board"] or before["cpu"] or before["machine"]]
    parts += [_count(before["cores"], "core")] if before["cores"] else []
    parts += [f"{setup['engine']}, {setup['precision']}, {_count(setup['threads'], 'thread')}"]
    parts += [f"model {bundle['model_bytes'] / 1e3:.0f} kB", report["taken_at"]]
    yield f'<p class="soft">{escape("; ".join(parts))}</p>'
    runs = _count(len(report["runs"]), "process", "processes")
    windows, shape = (
        _count(report["deadline"]["hops"], "window"),
        f"{work['window_samples']} samples of {work['n_channels']}",
    )
    rate = f"{work['rate_hz']:g} Hz, a new one every {duration(work['hop_s'])}"
    yield f"<p>{windows} in {runs}, {escape(work['pace'])}: {shape} channels at {rate}.</p>"
    yield f"<dl>{''.join(_tile(*tile) for tile in _tiles(report))}</dl>"


def _tile(name: str, value: str, small: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(small)}</small></dd></div>"


def _tiles(report: Report) -> Iterator[tuple[str, str, str]]:
    total, deadline, memory = report["latency"]["total"], report["deadline"], report["memory"]
    cold = report["cold_start"]["total"]
    yield "latency, p50", duration(total["p50_s"]), "push to prediction"
    yield "latency, p99", duration(total["p99_s"]), f"max {duration(total['max_s'])}"
    missed = f"of {deadline['hops']} over {duration(deadline['deadline_s'])}"
    yield "deadline misses", str(deadline["misses"]), missed
    yield "cold start", duration(cold["median_s"]), f"{duration(cold['low_s'])} to {duration(cold['high_s'])}"
    above = f"of {memory['peak_rss_bytes'] / 1e6:.1f} MB in all"
    yield "memory above libraries", f"{memory['above_baseline_bytes'] / 1e6:.1f} MB", above
    energy = report["energy"]
    if energy["joules_per_hop"] is None:
        yield "energy", "not measured", "no meter" if energy["source"] == "none" else energy["source"]
    else:
        unsure_j = energy["uncertainty_j_per_hop"]
        spread = "" if unsure_j is None else f"± {unsure_j * 1e3:.2g} mJ, "
        text = f"{spread}{energy['tier'] or 'tier unknown'}"
        yield "energy per window, gross", f"{energy['joules_per_hop'] * 1e3:.4g} mJ", text


def _plus_minus(joules: float, uncertainty_j: float | None) -> str:
    spread = "" if uncertainty_j is None else f" ± {uncertainty_j * 1e3:.2g}"
    return f"{joules * 1e3:.4g}{spread} mJ"


def _sections(report: Report) -> Iterator[str]:
    yield section("Latency", _latency_table(report), figure(figures.latency(report), "Latency", _DISTRIBUTION))
    yield section("Stages", figure(figures.stages(report), "Stages", "From samples to a prediction."))
    yield section("Cold start", *_cold(report))
    yield section("Memory", *_memory(report))
    yield section("Energy", *_energy(report))
    for name, points in report["sweeps"].items():
        yield section(_SWEEPS[name][0], *_sweep(name, points))
    if report["finetune"] is not None:
        yield section("Fine-tuning", *_finetune(report["finetune"]))
    yield from last_sections(report, report["notes"])


def last_sections(report: Report, notes: Sequence[str]) -> Iterator[str]:
    """What makes the figures doubtful, and the machine."""
    if notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in notes)
        yield section("What makes these figures doubtful", f"<ul>{items}</ul>")
    yield section("The machine", _machine(report["machine"]), _versions(report))


_DISTRIBUTION = "Every measured window of all processes. On the right, 90, 99 and 99.9 % are equally far apart."


def section(title: str, *parts: str) -> str:
    """Parts under a heading; empty ones are left out."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(filter(None, parts)) + "\n</section>"


def figure(svg: str, label: str, caption: str) -> str:
    """A picture with what it is called, and the sentence below it."""
    svg = svg.replace('role="img"', f'role="img" aria-label="{escape(label)}"', 1)
    return f"<figure>\n{svg}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, text: bool = False) -> str:
    """Rows of cells, whatever they are; `text`: to the left, and broken into lines."""

    def line(tag: str, cells: Sequence[object]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    kind = ' class="text"' if text else ""
    return f"<table{kind}>\n{line('th', header)}\n" + "\n".join(line("td", row) for row in rows) + "\n</table>"


def _latency_table(report: Report) -> str:
    rows = [
        (name, *(duration(report["latency"][stage][key]) for key in (*_LATENCY.values(), "jitter_s")))
        for stage, name in _STAGES.items()
    ]
    return table(("", *_LATENCY, "jitter"), rows)


def _cold(report: Report) -> Iterator[str]:
    cold = report["cold_start"]
    rows = [
        (name.replace("_", " "), *(duration(spread[key]) for key in ("median_s", "low_s", "high_s")))
        for name, spread in cold.items()
    ]
    yield table(("", "median", "lowest", "highest"), rows)
    yield figure(figures.cold_start(report), "Cold start", "Medians, from a new process to its first prediction.")


def _memory(report: Report) -> Iterator[str]:
    memory = report["memory"]
    rows = [
        ("resident, libraries imported", memory["baseline_bytes"]),
        *((f"resident, added by the {name.replace('_', ' ')}", memory[name]["rss_bytes"]) for name in _ADDED),
        (f"peak ({memory['method']})", memory["peak_rss_bytes"]),
        ("peak above the libraries", memory["above_baseline_bytes"]),
        ("of its own (USS)", memory["peak_uss_bytes"]),
        (f"control group {memory['group_peak']['method']}".strip(), memory["group_peak"]["bytes"]),
        (f"graphics card {memory['gpu']['method']}".strip(), memory["gpu"]["bytes"]),
    ]
    yield table(("", "MB"), [(name, f"{value / 1e6:.1f}") for name, value in rows if value is not None])
    caption = "Resident memory. Blue: the first process, with its phases; grey: the others."
    yield figure(figures.memory(report), "Memory over time", caption)


_ADDED = ("bundle", "engine", "first_prediction")


def _energy(report: Report) -> Iterator[str]:
    energy, idle = report["energy"], report["idle"]
    if energy["joules"] is None:
        source = "no meter" if energy["source"] == "none" else energy["source"]
        yield f"<p>energy: not measured ({escape(source)}: {escape(energy['reason'])})</p>"
    else:
        yield _joules_table(energy, idle)
    if any(phase["energy"]["timeline"] for phase in report["phases"]):
        caption = "Power of all summed rails, with what the machine did."
        yield figure(figures.power(report), "Power over time", caption)
    notes = [*energy["notes"], *(idle["notes"] if idle else ())]
    yield "".join(f"<p>{escape(note)}</p>" for note in dict.fromkeys(notes))


def _joules_table(energy: Mapping[str, Any], idle: Mapping[str, Any] | None) -> str:
    rows = [("per window, gross", _plus_minus(energy["joules_per_hop"], energy["uncertainty_j_per_hop"]))]
    if energy["net_joules_per_hop"] is not None:
        net = _plus_minus(energy["net_joules_per_hop"], energy["net_uncertainty_j_per_hop"])
        rows.append(("per window, above idle", net))
    if idle is not None and idle["watts"] is None:
        rows.append(("idle", f"not measured ({idle['reason']})"))
    elif idle is not None:
        spread = "" if idle["uncertainty_w"] is None else f" ± {idle['uncertainty_w']:.2g}"
        rows.append(("idle", f"{idle['watts']:.4g}{spread} W, watched for {idle['seconds'] or 0:.3g} s"))
    rows.append(("source", f"{energy['source']}: {' + '.join(energy['rails'])}; {energy['method']}"))
    rows.append(("tier", energy["tier"] or "unknown"))
    if energy["leaves_out"]:
        rows.append(("leaves out", energy["leaves_out"]))
    if energy["metering_share"] is not None:
        rows.append(("the metering took", f"{energy['metering_share']:.2%} of one core"))
    return table(("", ""), rows, text=True)


def _sweep(name: str, points: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    measured = [point for point in points if point["p50_s"] is not None]
    rows = [
        (
            *(point["value"], duration(point["p50_s"])),
            f"{duration(point['low_s'])} to {duration(point['high_s'])}",
            duration(point["p99_s"]),
            "" if point["cpu_s"] is None else duration(point["cpu_s"]),
        )
        for point in measured
    ]
    title, axis = _SWEEPS[name]
    cpu = "CPU per window" if name != "batch" else ""
    if measured:
        yield table((axis or "engine", "p50", "of single runs", "p99", cpu), rows)
        yield figure(figures.sweep(name, measured, axis), title, f"{title}, in turn, each in fresh processes.")
    reasons = [(point["value"], point["reason"]) for point in points if point["reason"]]
    if reasons:
        yield table(("not measured", "because"), reasons, text=True)


def _finetune(tuned: Mapping[str, Any]) -> Iterator[str]:
    gained = "" if tuned["points"] is None else f", {tuned['points']:+.1f} points of macro-F1"
    method = f"{tuned['plan']['method']}, {tuned['labelled_windows']} labelled windows{gained}: {tuned['reason']}"
    yield f"<p>{escape(method)}</p>"
    rows = [_finetune_row(phase["name"], phase) for phase in tuned["phases"]] + [_finetune_row("all", tuned)]
    yield table(("phase", "time", "CPU", "peak MB", "above start, MB", "J, gross"), rows)
    yield figure(figures.finetune(tuned), "Fine-tuning", "Time of each phase.")
    if tuned["seconds_per_point"] is not None:
        joules = "" if tuned["joules_per_point"] is None else f", {tuned['joules_per_point']:.3g} J gross"
        yield f"<p>Per point gained: {duration(tuned['seconds_per_point'])}{joules}.</p>"


def _finetune_row(name: str, part: Mapping[str, Any]) -> tuple[str, ...]:
    joules = part["energy"]["joules"]
    memory = (f"{part[key] / 1e6:.1f}" for key in ("peak_bytes", "above_baseline_bytes"))
    times = (duration(part["seconds"]), duration(part["cpu_seconds"]))
    return (name, *times, *memory, "not measured" if joules is None else f"{joules:.3g}")


def _machine(machine: Mapping[str, Any]) -> str:
    before, after = machine["before"], machine["after"]
    rows = []
    for key, name in _FIELDS.items():
        first, last = _value(key, before[key]), _value(key, after[key])
        if first or last:
            rows.append((name, first, "" if last == first else last))
    return table(("", "before", "after, if another"), rows, text=True)


_FIELDS = {
    "board": "board",
    "soc": "SoC",
    "cpu": "processor",
    "cores": "cores",
    "memory_bytes": "memory",
    "governor": "governor",
    "frequencies_khz": "frequency",
    "temperature_c": "temperature",
    "throttled_bits": "throttling flags",
    "power_mode": "power mode",
    "over_currents": "over-current events",
    "load_average": "load, over 1, 5, 15 min",
    "release": "release",
    "kernel": "kernel",
    "machine": "architecture",
    "python": "Python",
}


def _value(key: str, value: Any) -> str:
    if value is None:
        return ""
    if key == "memory_bytes":
        return f"{value / 1e9:.1f} GB"
    if key == "frequencies_khz":
        return ", ".join(f"{khz / 1e3:.0f} MHz" for khz in value)
    if key == "temperature_c":
        return f"{value:.1f} °C"
    if key == "throttled_bits":
        return f"{value:#x}"
    if key == "over_currents":
        return ", ".join(f"{name}: {count}" for name, count in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _versions(report: Report) -> str:
    versions = [(name, version or "not installed") for name, version in report["machine"]["before"]["versions"].items()]
    meters = [
        (f"meter {meter['name']}", f"{meter['detail']}" + (f"; {meter['fix']}" if meter["fix"] else ""))
        for meter in report["energy"]["meters"]
    ]
    rows = [*versions, ("model SHA-256", report["bundle"]["model_sha256"]), *meters]
    return table(("software, model, meters", ""), rows, text=True)


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"
