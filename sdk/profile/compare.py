"""Two reports of the same work: the ratio of each figure with its interval, and a verdict.

    a run       gives one value per figure: its median, its p10, mean and p99, joules per window, memory
    a block     what is drawn again: a run; or a pair of neighbours, one of each side, if the sides took turns
    ratio       second side to first, the median over the blocks; above 1 is worse
    interval    of `interval`; all judged ones together hold with 95 %: each of m figures has 1 - 0.05 / m (Bonferroni)

What else the machine does changes from minute to minute, and comes in bursts: most runs are within 1 %, some are 10 %
and more too slow. Hence medians, which a burst does not move; pairs, whose two it meets together; and p10, the windows
that nothing disturbed, as what disturbs only ever adds (Chen and Revels 2016, "Robust benchmarking in noisy
environments"). Mean and p99 follow it wholly; they are judged of pairs only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from runtime.command import table
from runtime.errors import InputError
from sdk.profile.interval import Values, interval
from sdk.profile.report import KIND, SCHEMA

LEVEL = 0.95  # of all intervals together
LEAST_RUNS = 5  # per side
LEAST_PAIRS = 8  # the median lies within the range of 8 with 99.2 % (1 - 2 / 2^8), within that of 7 with 98.4 %
MOODY = ("mean", "p99")  # judged of pairs only
MARGIN = 0.01
COMPARISON = "sensedge comparison"

MACHINE = ("board", "soc", "cpu", "cores", "machine", "governor", "power_mode")  # must be alike
MAY_DIFFER: dict[str, tuple[str, ...]] = {  # what a comparison may be about; told beside it
    **{f"bundle.{name}": ("bundle", name) for name in ("name", "version", "model_sha256")},
    **{f"setup.{name}": ("setup", name) for name in ("engine", "precision", "threads")},
    **{name: ("machine", "before", name) for name in ("kernel", "release", "python")},
    **{name: ("machine", "before", "versions", name) for name in ("numpy", "onnxruntime", "sensedge")},
}
_REPORT = "a report of `python -m sdk.profile --json`"

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Ratio:
    """One figure of the second side over that of the first."""

    figure: str  # "p50", "p10", "mean", "p99", "energy", "memory"
    first: float  # seconds, joules or bytes
    second: float
    ratio: float
    low: float  # the interval
    high: float
    verdict: str  # "worse", "better": the whole interval lies beyond the margin; "alike"; "not judged"


@dataclass(frozen=True)
class Comparison:
    """What a comparison of two sets of reports came to."""

    ratios: tuple[Ratio, ...]
    runs: tuple[int, int]  # of both sides
    block: str  # what was drawn again: "run", "pair of runs", "pair of reports"
    blocks: int  # how many; of runs: of the side that has fewer
    margin: float
    level: float
    differs: dict[str, tuple[str, str]]  # what is not the same on both sides, though it may differ
    notes: tuple[str, ...]

    @property
    def worse(self) -> bool:
        """Whether any figure is worse."""
        return any(ratio.verdict == "worse" for ratio in self.ratios)

    @property
    def verdict(self) -> str:
        """Of all figures: worse if one is; better if one is, and none worse."""
        verdicts = {ratio.verdict for ratio in self.ratios}
        return next(verdict for verdict in ("worse", "better", "alike") if verdict in verdicts)

    @property
    def how(self) -> str:
        """Runs of both sides, and what they were judged as."""
        pairs = "" if self.block == "run" else f", judged as {self.blocks} {self.block.replace('pair', 'pairs')}"
        return f"{self.runs[0]} and {self.runs[1]}{pairs}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"schema": SCHEMA, "kind": COMPARISON, "verdict": self.verdict}


def read_reports(path: str | Path) -> list[dict[str, Any]]:
    """The reports of a file: one, or the two of a comparison by `--against`.

    Raises:
        InputError: it is not one, or of another schema.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        got = error.strerror if isinstance(error, OSError) else "no JSON"
        raise InputError(path, expected=_REPORT, got=got, fix="Check the path.") from None
    if not isinstance(found, dict) or found.get("kind") not in (KIND, COMPARISON):
        raise InputError(path, expected=_REPORT, got="other JSON", fix="Check the path.")
    if found.get("schema") != SCHEMA:
        raise InputError(path, expected=f"schema {SCHEMA}", got=found.get("schema"), fix="Measure again.")
    reports: list[dict[str, Any]] = [found] if found["kind"] == KIND else found.get("reports", [])
    if not reports:
        raise InputError(path, expected=_REPORT, got="a comparison of files", fix="Compare those files again.")
    return reports


def compare_reports(first: Sequence[Report], second: Sequence[Report], *, margin: float = MARGIN) -> Comparison:
    """Compare two sides of one report each, or several that were taken in turn.

    Args:
        first: reports as dictionaries.
        second: of the same work on the same machine.
        margin: a ratio is worse when its whole interval lies above 1 + margin.

    Raises:
        InputError: unlike work or machines; too few runs to judge.
    """
    if not margin >= 0:
        raise InputError("margin", expected="a share of at least 0", got=margin, fix="0.01 is 1 %.")
    _check_alike([*first, *second])
    block = _block(first, second)
    a, b = (logs_by_block(side, by_report=block == "pair of reports") for side in (first, second))
    n_blocks = min(len(a["p50"]), len(b["p50"]))
    if block == "run" and n_blocks < LEAST_RUNS:
        raise InputError(
            "runs",
            expected=f"at least {LEAST_RUNS} runs on each side, to know how runs differ",
            got=n_blocks,
            fix="Measure with --runs 10, or both together with --against.",
        )
    shared = [name for name in a if name in b]
    judged = [name for name in shared if block != "run" or name not in MOODY]
    level = 1 - (1 - LEVEL) / len(judged)
    return Comparison(
        ratios=tuple(
            _ratio(name, a[name], b[name], block, level, margin if name in judged else None) for name in shared
        ),
        runs=(sum(len(report["runs"]) for report in first), sum(len(report["runs"]) for report in second)),
        block=block,
        blocks=n_blocks,
        margin=margin,
        level=LEVEL,
        differs=_differences(first[0], second[0]),
        notes=_notes(first, second),
    )


def check_pairs(first: int, second: int) -> None:
    """As many runs on both sides, and enough.

    Raises:
        InputError: they are not.
    """
    if first != second or first < LEAST_PAIRS:
        got = first if first == second else f"{first} and {second}"
        raise InputError("runs", expected=f"at least {LEAST_PAIRS}, on both sides", got=got, fix="Leave it at 20.")


def must_agree(name: str, values: Sequence[object]) -> None:
    """All must be the same.

    Raises:
        InputError: the first that differs.
    """
    other = next((value for value in values if value != values[0]), values[0])
    if other != values[0]:
        raise InputError(
            name,
            expected=f"the same on both sides: {_short(values[0])}",
            got=_short(other),
            fix="Only the same work on the same machine can be compared.",
        )


def _check_alike(reports: Sequence[Report]) -> None:
    """All must be of the same work, on the same machine.

    Raises:
        InputError: the first field that differs.
    """
    fields: dict[str, tuple[str, ...]] = {f"workload.{name}": ("workload", name) for name in reports[0]["workload"]}
    fields |= {f"machine.{name}": ("machine", "before", name) for name in MACHINE}
    for name, path in fields.items():
        must_agree(name, [_at(report, path) for report in reports])


def _block(first: Sequence[Report], second: Sequence[Report]) -> str:
    """What is drawn again: pairs of neighbours, if the sides took turns."""
    if len(first) != len(second):
        return "run"
    pairs = list(zip(first, second, strict=True))
    if all(a.get("series") and a["series"] == b.get("series") and len(a["runs"]) == len(b["runs"]) for a, b in pairs):
        return "pair of runs"
    in_turn = all(
        max(a["taken_at"], b["taken_at"]) <= min(c["taken_at"], d["taken_at"]) for (a, b), (c, d) in pairwise(pairs)
    )
    return "pair of reports" if in_turn and len(pairs) >= LEAST_PAIRS else "run"


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


def logs_by_block(reports: Sequence[Report], *, by_report: bool) -> dict[str, Values]:
    """The logarithm of each figure by run or report, shape (n,); what was not measured in every run is left out."""
    tables = [_figures_of(report) for report in reports]
    whole = [name for name in tables[0] if all(None not in runs[name] and min(runs[name]) > 0 for runs in tables)]
    logs = {name: [np.log(np.asarray(runs[name], np.float64)) for runs in tables] for name in whole}
    return {
        name: np.asarray([np.median(runs) for runs in by]) if by_report else np.concatenate(by)
        for name, by in logs.items()
    }


def _figures_of(report: Report) -> dict[str, list[Any]]:
    """Each figure of one report with one value per run."""
    phases = [phase for phase in report["phases"] if phase["name"] == "measured"]
    joules = {phase["run"]: phase["energy"]["joules"] for phase in phases}
    totals = [np.asarray(run["samples"]["total"]) * report["tick_s"] for run in report["runs"]]
    memories = [run["memory"] for run in report["runs"]]
    per_window = [None if joules.get(i) is None else joules[i] / len(total) for i, total in enumerate(totals)]
    return {name: [figure(total) for total in totals] for name, figure in _FIGURES.items()} | {
        "energy": per_window,
        "memory": [float(memory["peak_bytes"] - memory["baseline_bytes"]) for memory in memories],
    }


_FIGURES: dict[str, Callable[[Values], float]] = {
    "p50": lambda totals: float(np.percentile(totals, 50)),
    "p10": lambda totals: float(np.percentile(totals, 10)),
    "mean": lambda totals: float(totals.mean()),
    "p99": lambda totals: float(np.percentile(totals, 99)),
}


def _ratio(name: str, a: Values, b: Values, block: str, level: float, margin: float | None) -> Ratio:
    """From the logarithms of one figure, one per run or report; without a margin it is not judged."""
    first, second = math.exp(np.median(a)), math.exp(np.median(b))
    if block == "run":
        ratio, found = second / first, interval(level, b, a)
    else:
        ratio, found = math.exp(np.median(b - a)), interval(level, b - a)
    low, high = map(math.exp, found)
    verdict = "alike"
    if margin is None:
        verdict = "not judged"
    elif low > 1 + margin:
        verdict = "worse"
    elif high < 1 / (1 + margin):
        verdict = "better"
    return Ratio(name, first, second, ratio, low, high, verdict)


_UNITS = {"energy": (1e3, "mJ"), "memory": (1e-6, "MB")}  # the others in ms


def rows_of(found: Comparison) -> list[tuple[str, ...]]:
    """A row of text for each figure: name, first, second, ratio, interval, verdict."""
    rows: list[tuple[str, ...]] = []
    for r in found.ratios:
        scale, unit = _UNITS.get(r.figure, (1e3, "ms"))
        rows.append(
            (
                f"{r.figure}, {unit}",
                *(f"{r.first * scale:.4g}", f"{r.second * scale:.4g}", f"{r.ratio:.3f}"),
                *(f"{r.low:.3f} to {r.high:.3f}", r.verdict),
            )
        )
    return rows


def describe(found: Comparison) -> str:
    """The comparison as text."""
    lines = [table(rows_of(found), ("second to first", "first", "second", "ratio", f"{found.level:.0%} together", ""))]
    lines += ["", f"runs         {found.how}; alike: not shown to differ by {found.margin:.1%}"]
    if found.block == "run":
        lines.append("not judged   they follow what else the machine does: measure both in turn, with --against")
    lines += [f"differs      {name}: {a} -> {b}" for name, (a, b) in found.differs.items()]
    lines += [f"note         {note}" for note in found.notes]
    return "\n".join((*lines, f"verdict      {VERDICTS[found.verdict]}"))


VERDICTS = {
    "worse": "The second is WORSE.",
    "better": "The second is better.",
    "alike": "No difference was shown.",
}
