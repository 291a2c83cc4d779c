"""The pictures of the page: one function per picture, report in, SVG out.

Colours are drawn as place holders and become CSS variables, so that the page decides on light, dark or paper. Text
stays text. The same report gives the same bytes: no dates, no random names.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

COLOURS = {  # place holder: variable of the page
    "#010101": "--ink",
    "#020202": "--grey",
    "#080808": "--grid",
    "#030303": "--c1",
    "#040404": "--c2",
    "#050505": "--c3",
    "#060606": "--c4",
    "#070707": "--c5",
}
INK, GREY, GRID, *SERIES = COLOURS
WIDTH_IN = 10.0
CDF_TICKS = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)
PHASES = {"idle": SERIES[3], "start": SERIES[1], "warm-up": SERIES[2], "measured": SERIES[0]}
STAGES = {"window": SERIES[2], "engine": SERIES[0], "decide": SERIES[1], "rest": GREY}
COLD = ("interpreter", "imports", "open", "session", "first_prediction")
RC: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sensedge",
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.7,
    "grid.linewidth": 0.5,
    "grid.color": GRID,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}

Report = Mapping[str, Any]
Values = NDArray[np.float64]


@contextmanager
def style() -> Iterator[None]:
    """Our settings and matplotlib's own, whatever the user's file says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def totals_s(report: Report, stage: str = "total") -> Values:
    """The seconds of every measured window, shape (n_windows,)."""
    ticks = [tick for run in report["runs"] for tick in run["samples"][stage]]
    seconds: Values = np.asarray(ticks, np.float64) * report["tick_s"]
    return seconds


def latency(report: Report) -> str:
    """Histogram and cumulative distribution, push to prediction, with the deadline."""
    seconds, deadline_s = np.maximum(totals_s(report), 1e-7), report["deadline"]["deadline_s"]
    with style():
        figure = Figure((WIDTH_IN, 3.3), layout="constrained")
        left, right = figure.subplots(1, 2)
        low, high = seconds.min(), max(seconds.max(), seconds.min() * 1.1)
        bins = np.geomspace(low, high * 1.0001, 61).tolist()
        left.hist(seconds, bins=bins, color=SERIES[0])
        left.set(xscale="log", yscale="log", ylabel="windows (log)", title="Histogram")
        left.set_ylim(bottom=0.7)
        left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        left.yaxis.set_minor_locator(NullLocator())
        p50_s, p99_s = (report["latency"]["total"][key] for key in ("p50_s", "p99_s"))
        marks = {"p50": p50_s, "p99": p99_s} if p99_s > 1.1 * p50_s else {"p50 and p99": p50_s}
        for name, mark_s in marks.items():
            _mark(left, mark_s, name)
        deadline(left, deadline_s, high)
        cdf(right, seconds, SERIES[0])
        right.set_title("Cumulative distribution")
        deadline(right, deadline_s, high)
        for axes in (left, right):
            time_axis(axes, "push to prediction (log)")
        return svg(figure, "latency")


def stages(report: Report) -> str:
    """How long each stage takes, and its share of the mean."""
    with style():
        figure = Figure((WIDTH_IN, 2.7), layout="constrained")
        boxes, shares = figure.subplots(2, 1, height_ratios=(3, 1))
        names = [name for name in STAGES if name != "rest"]
        stats = [_box(totals_s(report, name), name) for name in names]
        drawn = boxes.bxp(stats, orientation="horizontal", showfliers=True, patch_artist=True, widths=0.55)
        for name, box in zip(names, drawn["boxes"], strict=True):
            box.set(facecolor=STAGES[name], edgecolor=INK, linewidth=0.7)
        for part in ("medians", "whiskers", "caps", "fliers"):
            for line in drawn[part]:
                line.set(color=INK, markeredgecolor=INK, markersize=3, linewidth=0.8)
        boxes.invert_yaxis()
        boxes.grid(visible=False, axis="y")
        boxes.set(xscale="log", title="Box: p25, p50, p75. Whiskers: p1 and p99. Ring: maximum")
        time_axis(boxes, "per window (log)")
        means = {name: report["latency"][name]["mean_s"] for name in names}
        means["rest"] = max(report["latency"]["total"]["mean_s"] - sum(means.values()), 0.0)
        _stack(shares, {"mean": means}, STAGES, ms=1e3)
        return svg(figure, "stages")


def cold_start(report: Report) -> str:
    """From a new process to the first prediction: a bar per run would say the same several times; medians."""
    colours = dict(zip((name.replace("_", " ") for name in COLD), (GREY, *SERIES), strict=False))
    with style():
        figure = Figure((WIDTH_IN, 1.4), layout="constrained")
        parts = {name.replace("_", " "): report["cold_start"][name]["median_s"] for name in COLD}
        _stack(figure.subplots(), {"cold start": parts}, colours, ms=1e3)
        return svg(figure, "cold")


def memory(report: Report) -> str:
    """Resident memory of each run from the start of its process on; the first with its phases."""
    with style():
        figure = Figure((WIDTH_IN, 2.7), layout="constrained")
        axes = figure.subplots()
        starts = {phase["run"]: phase["begin_s"] for phase in report["phases"] if phase["name"] == "start"}
        for number in reversed(range(len(report["runs"]))):
            line = np.asarray(report["runs"][number]["memory"]["timeline"] or [[np.nan, np.nan]], np.float64)
            colour, width = (SERIES[0], 1.6) if number == 0 else (GREY, 0.9)
            axes.plot(line[:, 0] - starts.get(number, 0.0), line[:, 1] / 1e6, color=colour, linewidth=width)
        axes.set_ylim(bottom=0, top=report["memory"]["peak_rss_bytes"] / 1e6 * 1.25)
        for phase in report["phases"]:
            if phase["run"] == 0:
                _span(axes, phase, starts[0])
        for text, key in (("libraries imported", "baseline_bytes"), ("peak", "peak_rss_bytes")):
            axes.axhline(report["memory"][key] / 1e6, color=INK, linewidth=0.8, linestyle="--")
            axes.annotate(
                f"{text} {report['memory'][key] / 1e6:.1f} MB",
                (1, report["memory"][key] / 1e6),
                **inside(-4, 3, "right", "bottom"),
                xycoords=axes.get_yaxis_transform(),
            )
        axes.set(xlabel="time since the process was started, s", ylabel="resident memory, MB")
        axes.margins(x=0.01)
        return svg(figure, "memory")


def power(report: Report) -> str:
    """The power of all rails together over the whole measurement, with what the machine did then."""
    with style():
        figure = Figure((WIDTH_IN, 2.9), layout="constrained")
        axes = figure.subplots()
        seen: dict[str, Any] = {}
        highest = 0.0
        for phase in report["phases"]:
            colour = PHASES.get(phase["name"], GREY)
            seen[phase["name"]] = axes.axvspan(phase["begin_s"], phase["end_s"], color=colour, alpha=0.22, linewidth=0)
            timeline = phase["energy"]["timeline"]
            if timeline and timeline["watts"]:
                watts = np.asarray(timeline["watts"], np.float64).sum(axis=1)
                edges_s = np.asarray(timeline["edges_s"]) + phase["begin_s"]
                axes.stairs(watts, edges_s, baseline=None, color=INK, linewidth=1.1)
                highest = max(highest, float(watts.max()))
        idle = report["idle"]
        if idle and idle["watts"] is not None:
            line = axes.axhline(idle["watts"], color=SERIES[4], linewidth=1.1, linestyle="--")
            seen[f"idle power, {idle['watts']:.3g} W"] = line
        axes.set_ylim(bottom=0, top=highest * 1.15 or 1)
        axes.set(xlabel="time, s", ylabel="power, W")
        axes.margins(x=0.01)
        figure.legend(list(seen.values()), list(seen), loc="outside upper left", ncols=len(seen), fontsize=7.5)
        return svg(figure, "power")


def sweep(name: str, points: Sequence[Mapping[str, Any]], axis: str) -> str:
    """One row per setting: the median with the range of single runs, and p99."""
    rows = [point for point in points if point["p50_s"] is not None]
    with style():
        figure = Figure((WIDTH_IN, 0.75 + 0.28 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for y, point in enumerate(rows):
            axes.plot([point["low_s"], point["high_s"]], [y, y], color=SERIES[0], linewidth=4, solid_capstyle="butt")
        where = range(len(rows))
        p50 = axes.plot([point["p50_s"] for point in rows], where, "o", color=INK, markersize=4)
        p99 = axes.plot([point["p99_s"] for point in rows], where, "D", color=SERIES[1], markersize=4)
        axes.set_yticks(list(where), [point["value"] for point in rows])
        axes.set(xscale="log", ylim=(len(rows) - 0.5, -0.5), ylabel=axis)
        axes.grid(visible=False, axis="y")
        time_axis(axes, "per window (log)")
        figure.legend(
            [*p50, *p99], ["p50, bar: of single runs", "p99"], loc="outside upper left", ncols=2, fontsize=7.5
        )
        return svg(figure, f"sweep-{name}")


def finetune(tuned: Mapping[str, Any]) -> str:
    """The seconds of each phase of a fine-tuning run."""
    colours = dict(zip((phase["name"] for phase in tuned["phases"]), (*SERIES, GREY, INK), strict=False))
    with style():
        figure = Figure((WIDTH_IN, 1.4), layout="constrained")
        parts = {phase["name"]: phase["seconds"] for phase in tuned["phases"]}
        _stack(figure.subplots(), {"fine-tuning": parts}, colours, ms=1e3)
        return svg(figure, "finetune")


def _box(seconds: Values, label: str) -> dict[str, Any]:
    p1, q1, med, q3, p99 = np.maximum(np.percentile(seconds, [1, 25, 50, 75, 99]), 1e-7)
    ends = {"whislo": p1, "q1": q1, "med": med, "q3": q3, "whishi": p99, "fliers": [seconds.max()]}
    return ends | {"label": label}


def cdf(axes: Any, seconds: Values, colour: str, **more: Any) -> None:
    """Draw the share that is as fast as x, on a scale on which 90, 99 and 99.9 % are equally far apart.

    Args:
        axes: of matplotlib.
        seconds: shape (n,), in any order.
        colour: of the line.
        **more: options of the line.
    """
    ordered = np.sort(seconds)
    slower = 1 - np.arange(len(ordered)) / len(ordered)
    axes.plot(ordered, -np.log10(slower), color=colour, drawstyle="steps-post", **more)
    ticks = [share for share in CDF_TICKS if 1 - share >= 0.5 / len(ordered)]
    where = [-np.log10(1 - share) + 0.0 for share in ticks]
    if not axes.lines[:-1] or where[-1] > axes.get_yticks()[-1]:
        axes.set_yticks(where, [f"{share * 100:g} %" for share in ticks])
    axes.set(xscale="log", ylabel="share of windows that are faster")
    axes.set_ylim(bottom=0)


def _mark(axes: Any, seconds: float, text: str) -> None:
    axes.axvline(seconds, color=INK, linewidth=0.9, linestyle=":")
    place = inside(2, -2, "left", "top")
    axes.annotate(text, (seconds, 1), xycoords=axes.get_xaxis_transform(), **place)


def deadline(axes: Any, deadline_s: float, high_s: float) -> None:
    """A line, named above the axes; far to the right of all values an arrow, so that these keep their room."""
    near = deadline_s <= high_s * 10
    if near:
        axes.axvline(deadline_s, color=SERIES[1], linewidth=1.4)
    text = f"deadline {duration(deadline_s)}" if near else f"deadline {duration(deadline_s)} →"
    place = inside(0, 4, "right", "bottom") | {"color": SERIES[1]}
    axes.annotate(text, (1, 1), xycoords=axes.transAxes, **place)


def inside(x: float, y: float, ha: str, va: str) -> dict[str, Any]:
    """Where a small text stands, in points from its place."""
    return {"xytext": (x, y), "textcoords": "offset points", "ha": ha, "va": va, "fontsize": 7.5}


def _span(axes: Any, phase: Mapping[str, Any], start_s: float) -> None:
    begin_s, end_s = phase["begin_s"] - start_s, phase["end_s"] - start_s
    axes.axvspan(begin_s, end_s, color=PHASES[phase["name"]], alpha=0.18, linewidth=0)
    place = inside(3, -2, "left", "top")
    axes.annotate(phase["name"], (begin_s, 1), xycoords=axes.get_xaxis_transform(), **place)


def _stack(axes: Any, rows: Mapping[str, Mapping[str, float]], colours: Mapping[str, str], *, ms: float) -> None:
    """Stacked bars with the seconds of each part; their names in a legend above, since some parts are thin."""
    for y, (name, parts) in enumerate(rows.items()):
        left = 0.0
        for part, seconds in parts.items():
            label = f"{part} {duration(seconds)}"
            axes.barh(y, seconds * ms, left=left, height=0.6, color=colours[part], edgecolor=INK, lw=0.4, label=label)
            left += seconds * ms
        axes.set_yticks([y], [name])
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("ms")
    axes.margins(x=0.01)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, fontsize=7.5, borderaxespad=0.2, handlelength=1.2)


def time_axis(axes: Any, label: str) -> None:
    """Decades by their names; where there is less than one, what lies between."""
    low, high = axes.get_xlim()
    steps = (1, 2, 5) if high / low < 300 else (1,)
    ticks = [step * 10.0**power for power in range(-8, 5) for step in steps if low <= step * 10.0**power <= high]
    if len(ticks) < 2:
        ticks = np.geomspace(low, high, 5)[1:-1].tolist()
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    axes.set_xlim(low, high)
    axes.set_xlabel(label)


def duration(seconds: float) -> str:
    """Three digits and the unit that suits: "97.2 µs", "1.28 s"."""
    unit, scale = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e-3)) if abs(seconds) >= s * 0.9995), ("µs", 1e-6))
    value = seconds / scale
    return f"{value:.0f} {unit}" if abs(value) >= 1000 else f"{value:.3g} {unit}"


def svg(figure: Any, name: str) -> str:
    """The picture as text, with the page's colours; `name` sets its marks apart from those of other pictures."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r'<svg[^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', text, count=1)
    for colour, variable in COLOURS.items():
        text = text.replace(colour, f"var({variable})")
    return text.replace("xlink:href", "href").strip()
