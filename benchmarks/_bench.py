"""What all benchmarks share: the result, the rounds, the machine."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Options:
    """How a benchmark is run."""

    quick: bool = False  # ends within 45 s
    data: Path | None = None  # folder with archives, for benchmarks on public data
    runs: Path = Path("runs")  # where trained checkpoints and environments of peers are kept
    peers: bool = False  # install peers that need an environment of their own
    only: tuple[str, ...] = ()  # of what the benchmark goes through by name; empty: all
    on: tuple[str, ...] = ()  # data sets or folders of one's own; empty: the benchmark's own choice


@dataclass
class Result:
    """What a benchmark found; printed as a table or as one JSON object."""

    name: str
    figures: dict[str, Any] = field(default_factory=dict)
    ratios: dict[str, Any] = field(default_factory=dict)  # medians over rounds; NAME_spread beside each
    checks: dict[str, bool] = field(default_factory=dict)
    text: str = ""  # printed in place of the figures


def use_one_core() -> None:
    """Stay on one of the cores that this process may use."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def interleave(candidates: dict[str, Callable[[], object]], *, rounds: int, calls: int) -> dict[str, list[float]]:
    """Seconds per call of each candidate in each round, after one round to warm up.

    The candidates take turns, forwards and backwards, as each finds the caches as its neighbour left them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates.items())
    for i in range(rounds + 1):
        for name, call in reversed(order) if i % 2 else order:
            began = perf_counter()
            for _ in range(calls):
                call()
            if i:
                seconds[name].append((perf_counter() - began) / calls)
    return seconds


def ratio(ours: list[float], peer: list[float]) -> tuple[float, tuple[float, float]]:
    """Median of ours / peer over the rounds, and the 10th and 90th percentile."""
    pairs = [a / b for a, b in zip(ours, peer, strict=True)]
    tenths = statistics.quantiles(pairs, n=10) if len(pairs) > 1 else [pairs[0]] * 9
    return statistics.median(pairs), (tenths[0], tenths[-1])


def commit() -> str | None:
    """The commit that is measured, with `-dirty` where files differ from it; None outside a repository."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
