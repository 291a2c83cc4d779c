"""Two reports of the same work: the ratio of each figure with its interval, and a verdict.

    a run       gives one value per figure: its median, its mean, its p99, joules per hop, memory
    a side      the geometric mean of its runs
    ratio       second side to first; above 1 is worse
    interval    runs are drawn again with replacement, 20,000 times: the bootstrap of whole runs

Hops that follow each other are not independent, and a process differs from the next by more than its hops tell
(Kalibera and Jones 2013): so the run is the block that is drawn (a block bootstrap in the sense of Kuensch 1989, "The
jackknife and the bootstrap for general stationary observations", whose block is the whole run). For few runs the
percentile interval is too narrow; it is widened to Student's t, as the expanded percentile interval of Hesterberg
(2015, "What teachers should know about the bootstrap") is. All judged intervals together hold with 95 %: each has
1 - 0.05 / m of m figures (Bonferroni).

Mean and p99 follow what else the machine does, which changes from minute to minute: two reports do not know by how
much. They are judged only if there are five reports or more of each side, taken in turn. Then the report is the block.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.command import table
from runtime.errors import InputError
from sdk.profile.report import KIND, SCHEMA

LEVEL = 0.95  # of all intervals together
LEAST_RUNS = 5  # per side
LEAST_REPORTS = 5  # per side, to be drawn instead of runs
MOODY = ("mean", "p99")  # judged only over so many reports
DRAWS = 20_000
MARGIN = 0.01

MACHINE = ("board", "soc", "cpu", "cores", "machine", "governor", "power_mode")  # must be alike
MAY_DIFFER: dict[str, tuple[str, ...]] = {  # what a comparison may be about; told beside it
    **{f"bundle.{name}": ("bundle", name) for name in ("name", "version", "model_sha256")},
    **{f"setup.{name}": ("setup", name) for name in ("engine", "precision", "threads")},
    **{name: ("machine", "before", name) for name in ("kernel", "release", "python")},
    **{name: ("machine", "before", "versions", name) for name in ("numpy", "onnxruntime", "sensedge")},
}
_REPORT = "a report of `python -m sdk.profile --json`"

Report = Mapping[str, Any]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Ratio:
    """One figure of the second side over that of the first."""

    figure: str  # "p50", "mean", "p99", "energy", "memory"
    first: float  # seconds, joules or bytes
    second: float
    ratio: float
    low: float  # the interval
    high: float
    verdict: str  # "worse", "better": the whole interval lies beyond the margin; "alike"; "not judged"


@dataclass(frozen=True)
class Comparison:
    """What came out."""

    ratios: tuple[Ratio, ...]
    runs: tuple[int, int]  # of both sides
    block: str  # what was drawn again: "run" or "report"
    margin: float
    level: float
    differs: dict[str, tuple[str, str]]  # what is not the same on both sides, though it may differ
    notes: tuple[str, ...]

    @property
    def worse(self) -> bool:
        """Whether any figure is."""
        return any(ratio.verdict == "worse" for ratio in self.ratios)

    @property
    def verdict(self) -> str:
        """Of all figures: worse if one is; better if one is, and none worse."""
        verdicts = {ratio.verdict for ratio in self.ratios}
        return next(verdict for verdict in ("worse", "better", "alike") if verdict in verdicts)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"schema": SCHEMA, "kind": "sensedge comparison", "verdict": self.verdict}


def read_report(path: str | Path) -> dict[str, Any]:
    """A report from its file.

    Raises:
        InputError: it is not one, or of another schema.
    """
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        got = error.strerror if isinstance(error, OSError) else "no JSON"
        raise InputError(path, expected=_REPORT, got=got, fix="Check the path.") from None
    if not isinstance(report, dict) or report.get("kind") != KIND:
        raise InputError(path, expected=_REPORT, got="other JSON", fix="Check the path.")
    if report.get("schema") != SCHEMA:
        raise InputError(path, expected=f"schema {SCHEMA}", got=report.get("schema"), fix="Measure again.")
    return report


def compare_reports(first: Sequence[Report], second: Sequence[Report], *, margin: float = MARGIN) -> Comparison:
    """Compare two sides of one report each, or several that were taken in turn.

    Args:
        first: reports as dictionaries.
        second: of the same work on the same machine.
        margin: a ratio is worse when its whole interval lies above 1 + margin.

    Raises:
        InputError: unlike work or machines; fewer than 5 runs on a side.
    """
    if not margin >= 0:
        raise InputError("--margin", expected="a share of at least 0", got=margin, fix="0.01 is 1 %.")
    _check_alike([*first, *second])
    sides = _figures(first), _figures(second)
    runs = sum(map(len, sides[0]["p50"])), sum(map(len, sides[1]["p50"]))
    if min(runs) < LEAST_RUNS:
        raise InputError(
            "--compare",
            expected=f"at least {LEAST_RUNS} runs on each side, to know how runs differ",
            got=f"{runs[0]} and {runs[1]}",
            fix="Measure with --runs 10, or give several reports of each.",
        )
    by_report = min(len(first), len(second)) >= LEAST_REPORTS
    shared = [name for name in sides[0] if name in sides[1]]
    judged = [name for name in shared if by_report or name not in MOODY]
    level = 1 - (1 - LEVEL) / len(judged)
    ratios = []
    for name in shared:
        a, b = (_blocks(side[name], by_report) for side in sides)
        ratios.append(_ratio(name, a, b, level, margin if name in judged else None))
    return Comparison(
        ratios=tuple(ratios),
        runs=runs,
        block="report" if by_report else "run",
        margin=margin,
        level=LEVEL,
        differs=_differences(first[0], second[0]),
        notes=_notes(first, second),
    )


def _check_alike(reports: Sequence[Report]) -> None:
    """All must be of the same work, on the same machine.

    Raises:
        InputError: the first field that differs.
    """
    fields: dict[str, tuple[str, ...]] = {f"workload.{name}": ("workload", name) for name in reports[0]["workload"]}
    fields |= {f"machine.{name}": ("machine", "before", name) for name in MACHINE}
    for name, path in fields.items():
        found = [_at(report, path) for report in reports]
        other = next((value for value in found if value != found[0]), found[0])
        if other != found[0]:
            raise InputError(
                f"--compare: {name}",
                expected=f"the same on both sides: {_short(found[0])}",
                got=_short(other),
                fix="Only the same work on the same machine can be compared.",
            )


def _at(report: Any, path: Sequence[str]) -> Any:
    for name in path:
        report = report.get(name) if isinstance(report, dict) else None
    return report


def _short(value: object) -> str:
    return "unknown" if value is None else str(value)[:12] if len(str(value)) == 64 else str(value)


def _differences(first: Report, second: Report) -> dict[str, tuple[str, str]]:
    found = {name: (_short(_at(first, path)), _short(_at(second, path))) for name, path in MAY_DIFFER.items()}
    return {name: values for name, values in found.items() if values[0] != values[1]}


def _notes(*sides: Sequence[Report]) -> tuple[str, ...]:
    notes = [
        f"{side}: {note}"
        for side, reports in zip(("first", "second"), sides, strict=True)
        for report in reports
        for note in (report["machine"]["throttled"], *report["notes"])
        if note
    ]
    return tuple(dict.fromkeys(notes))


def _figures(reports: Sequence[Report]) -> dict[str, list[Values]]:
    """The logarithm of each figure by report, shape (n_runs,); what was not measured in every run is left out."""
    tables = [_figures_of(report) for report in reports]
    whole = [name for name in tables[0] if all(None not in runs[name] and min(runs[name]) > 0 for runs in tables)]
    return {name: [np.log(np.asarray(runs[name], np.float64)) for runs in tables] for name in whole}


def _figures_of(report: Report) -> dict[str, list[Any]]:
    """Each figure of one report with one value per run."""
    phases = [phase for phase in report["phases"] if phase["name"] == "measured"]
    joules = {phase["run"]: phase["energy"]["joules"] for phase in phases}
    totals = [np.asarray(run["samples"]["total"]) * report["tick_s"] for run in report["runs"]]
    memories = [run["memory"] for run in report["runs"]]
    per_hop = [None if joules.get(i) is None else joules[i] / len(total) for i, total in enumerate(totals)]
    return {name: [figure(total) for total in totals] for name, figure in _FIGURES.items()} | {
        "energy": per_hop,
        "memory": [float(memory["peak_bytes"] - memory["baseline_bytes"]) for memory in memories],
    }


def _blocks(reports: list[Values], by_report: bool) -> Values:
    """One value per block: the mean of each report, or every run."""
    return np.asarray([runs.mean() for runs in reports]) if by_report else np.concatenate(reports)


_FIGURES: dict[str, Callable[[Values], float]] = {
    "p50": lambda totals: float(np.percentile(totals, 50)),
    "mean": lambda totals: float(totals.mean()),
    "p99": lambda totals: float(np.percentile(totals, 99)),
}


def _ratio(name: str, a: Values, b: Values, level: float, margin: float | None) -> Ratio:
    """From the logarithms of one figure, one per block; without a margin it is not judged."""
    low, high = map(math.exp, interval(a, b, level))
    first, second = math.exp(a.mean()), math.exp(b.mean())
    verdict = "alike"
    if margin is None:
        verdict = "not judged"
    elif low > 1 + margin:
        verdict = "worse"
    elif high < 1 / (1 + margin):
        verdict = "better"
    return Ratio(name, first, second, second / first, low, high, verdict)


def interval(first: Values, second: Values, level: float, seed: int = 0) -> tuple[float, float]:
    """The expanded percentile interval of mean(second) - mean(first), each shape (n_blocks,)."""
    rng = np.random.default_rng(seed)
    draws = _means(second, rng) - _means(first, rng)
    n = min(len(first), len(second))
    z = math.sqrt(n / (n - 1)) * student_t(level, n - 1)
    tail = NormalDist().cdf(-z)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _means(values: Values, rng: np.random.Generator) -> Values:
    drawn: Values = values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(axis=1)
    return drawn


@lru_cache
def student_t(level: float, freedom: int) -> float:
    """The t that |T| stays below with a probability of `level`.

    With T = sqrt(freedom) tan(u), the density of u is proportional to cos(u)^(freedom - 1) on [0, pi / 2].
    """
    u = np.linspace(0, math.pi / 2, 20_001)
    density = np.cos(u) ** (freedom - 1)
    mass = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    return math.sqrt(freedom) * math.tan(float(np.interp(level * mass[-1], mass, u)))


_UNITS = {"p50": (1e3, "ms"), "mean": (1e3, "ms"), "p99": (1e3, "ms"), "energy": (1e3, "mJ"), "memory": (1e-6, "MB")}


def describe(found: Comparison) -> str:
    """The comparison as text."""
    rows = []
    for r in found.ratios:
        scale, unit = _UNITS[r.figure]
        rows.append(
            (
                f"{r.figure}, {unit}",
                *(f"{r.first * scale:.4g}", f"{r.second * scale:.4g}", f"{r.ratio:.3f}"),
                *(f"{r.low:.3f} to {r.high:.3f}", r.verdict),
            )
        )
    lines = [table(rows, ("second to first", "first", "second", "ratio", f"{found.level:.0%} together", ""))]
    lines += [
        "",
        f"runs         {found.runs[0]} and {found.runs[1]}; alike: not shown to differ by {found.margin:.1%}",
    ]
    if found.block == "run":
        lines.append("not judged   they follow what else the machine does: give 5 reports of each, taken in turn")
    lines += [f"differs      {name}: {a} -> {b}" for name, (a, b) in found.differs.items()]
    lines += [f"note         {note}" for note in found.notes]
    return "\n".join((*lines, f"verdict      {_VERDICTS[found.verdict]}"))


_VERDICTS = {
    "worse": "the second is WORSE",
    "better": "the second is better",
    "alike": "no difference was shown",
}
