"""A comparison as a page: the verdict, each ratio with its interval, every run of both sides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from sdk.profile.compare import VERDICTS, Comparison, Report, logs_by_block, rows_of
from sdk.profile.html import document, figure, last_sections, section, table
from sdk.profile.html_figures import (
    GREY,
    INK,
    SERIES,
    WIDTH_IN,
    cdf,
    deadline,
    duration,
    inside,
    style,
    svg,
    time_axis,
    totals_s,
)

_COLOURS = {"worse": SERIES[1], "better": SERIES[2], "alike": INK, "not judged": GREY}
_SIDES = {"first": SERIES[0], "second": SERIES[1]}


def render_comparison(found: Comparison, first: Sequence[Report], second: Sequence[Report]) -> str:
    """A comparison as one HTML file.

    Args:
        found: by `compare_reports`, of the same reports.
        first: reports as dictionaries.
        second: likewise.

    Returns:
        The file's text; the same for the same comparison.
    """
    names = [escape(side[0]["bundle"]["name"]) for side in (first, second)]
    title = f"{names[1]} against {names[0]}" if names[0] != names[1] else f"Two sides of {names[0]}"
    return document(title, (*_head(found, title), *_sections(found, first, second)))


def _head(found: Comparison, title: str) -> Iterator[str]:
    yield f"<h1>{title}</h1>"
    kind = ' class="warn"' if found.worse else ""
    yield f"<p{kind}>{VERDICTS[found.verdict]}</p>"
    yield f'<p class="soft">Processes: {found.how}.</p>'
    if found.differs:
        rows = [(name, *values) for name, values in found.differs.items()]
        yield table(("what differs", *_SIDES), rows, text=True)


def _sections(found: Comparison, first: Sequence[Report], second: Sequence[Report]) -> Iterator[str]:
    margin, level = f"{found.margin:.1%}", f"{found.level:.0%}"
    caption = (
        f"Second to first, with the intervals that hold together with {level}. "
        f"Grey band: {margin}, which is alike. A figure is worse when its whole interval lies beyond it."
    )
    header = ("", "first", "second", "ratio", f"{level} together", "")
    yield section("Ratios", table(header, rows_of(found)), figure(_ratios(found), "Ratios", caption))
    yield section("Runs", figure(_runs(found, first, second), "Runs", _RUNS[found.block]))
    sides = [(name, *_facts(reports)) for name, reports in zip(_SIDES, (first, second), strict=True)]
    caption = "Every measured window of all processes of each side."
    yield section(
        "Distributions",
        table(("", "engine", "windows", "deadline misses", "cold start"), sides),
        figure(_distributions(first, second), "Distributions", caption),
    )
    yield from last_sections(first[0], found.notes)


_RUNS = {
    "pair of runs": "p50 of each process, in the order of the pairs, whose two follow each other. "
    "What else the machine does meets both.",
    "pair of reports": "p50 of each report, in the order of the pairs, whose two follow each other. "
    "What else the machine does meets both.",
    "run": "p50 of each process. The sides were measured at two times: what else the machine did differs.",
}


def _facts(reports: Sequence[Report]) -> tuple[str, ...]:
    """Of all reports of a side: the engine, windows, deadline misses, cold start."""
    setup = reports[0]["setup"]
    return (
        f"{setup['engine']}, {setup['precision']}, threads {setup['threads']}",
        *(f"{sum(report['deadline'][key] for report in reports)}" for key in ("hops", "misses")),
        duration(float(np.median([report["cold_start"]["total"]["median_s"] for report in reports]))),
    )


def _ratios(found: Comparison) -> str:
    """One row per figure: its ratio and its interval, around the margin."""
    with style():
        drawing = Figure((WIDTH_IN, 0.7 + 0.3 * len(found.ratios)), layout="constrained")
        axes = drawing.subplots()
        axes.axvspan(1 / (1 + found.margin), 1 + found.margin, color=GREY, alpha=0.35, linewidth=0)
        axes.axvline(1, color=INK, linewidth=0.7)
        for y, r in enumerate(found.ratios):
            axes.plot([r.low, r.high], [y, y], color=_COLOURS[r.verdict], linewidth=3, solid_capstyle="butt")
            axes.plot(r.ratio, y, "o", color=_COLOURS[r.verdict], markersize=5)
            axes.annotate(r.verdict, (1, y), xycoords=axes.get_yaxis_transform(), **inside(-2, 0, "right", "center"))
        axes.set_yticks(range(len(found.ratios)), [r.figure for r in found.ratios])
        axes.set(xscale="log", ylim=(len(found.ratios) - 0.5, -0.5), xlabel="second to first (log); right is worse")
        axes.margins(x=0.15)
        _ratio_axis(axes)
        axes.grid(visible=False, axis="y")
        return svg(drawing, "ratios")


def _ratio_axis(axes: Any) -> None:
    """Ratios as what is added, "+5 %"; from two on, and to a half, as they are."""
    low, high = axes.get_xlim()
    ticks: list[float] = []
    for tick in _TICKS:
        far = not ticks or math.log(tick / ticks[-1]) > 0.06 * math.log(high / low)
        if low <= tick <= high and far:
            ticks.append(tick)
    axes.set_xticks(ticks, [_added(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(low, high)


def _added(ratio: float) -> str:
    if ratio == 1:
        return "0 %"
    return f"{(ratio - 1) * 100:+.0f} %" if 0.5 < ratio < 2 else f"{ratio:g} x"


_ADDED = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_MORE = (2, 5, 10, 20, 50, 100)
_TICKS = sorted([1.0, *(1 + a for a in _ADDED), *(1 - a for a in _ADDED), *_MORE, *(1 / m for m in _MORE[1:])])


def _runs(found: Comparison, first: Sequence[Report], second: Sequence[Report]) -> str:
    """The p50 of every run, or of every report, in their order; a line joins the two of a pair."""
    by_report = found.block == "pair of reports"
    sides = [np.exp(logs_by_block(side, by_report=by_report)["p50"]) * 1e3 for side in (first, second)]
    with style():
        drawing = Figure((WIDTH_IN, 2.6), layout="constrained")
        axes = drawing.subplots()
        if found.block != "run":
            axes.vlines(range(1, len(sides[0]) + 1), sides[0], sides[1], color=GREY, linewidth=1)
        for (name, colour), values in zip(_SIDES.items(), sides, strict=True):
            axes.plot(range(1, len(values) + 1), values, "o", color=colour, markersize=4, label=name)
            axes.axhline(np.median(values), color=colour, linewidth=0.9, linestyle="--")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="pair" if found.block != "run" else "process", ylabel="p50, ms")
        drawing.legend(loc="outside upper left", ncols=2, fontsize=7.5)
        return svg(drawing, "runs")


def _distributions(first: Sequence[Report], second: Sequence[Report]) -> str:
    """The cumulative distributions of both sides over one another."""
    with style():
        drawing = Figure((WIDTH_IN, 3.3), layout="constrained")
        axes = drawing.subplots()
        highest_s = 0.0
        for (name, colour), reports in zip(_SIDES.items(), (first, second), strict=True):
            seconds = np.maximum(np.concatenate([totals_s(report) for report in reports]), 1e-7)
            cdf(axes, seconds, colour, label=name)
            highest_s = max(highest_s, float(seconds.max()))
        deadline(axes, first[0]["deadline"]["deadline_s"], highest_s)
        time_axis(axes, "push to prediction (log)")
        axes.legend(loc="lower right")
        return svg(drawing, "distributions")
