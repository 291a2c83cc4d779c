r"""Candidates against one another: the right answers first, then the time, in turn.

    for each candidate     open -> golden windows -> a few calls    wrong, or three times as slow as another: closed
    in rounds, in turn     against the default, until it is clear who is faster: runtime.engine.auto.faster
    best                   who is faster beyond doubt; else the default stays

The base version of the bundle is measured, since the golden answers are the base's; a personal version has the same
graph with other numbers in it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engine.auto.device import thread_counts
from runtime.engine.auto.faster import TimeRatio, compare, race
from runtime.engine.base import ENGINES, Engine, EngineKind, engines_here, open_of
from runtime.engine.inputs import Inputs
from runtime.specs import BASE, FLOAT32

BUDGET_S = 3.0  # for the rounds; opening the engines comes on top
LARGEST_ERROR = 1e-3  # of the largest golden value of an output
NEAR = 1.01  # as fast as the fastest: then the one with fewer threads
_SLOW = 3.0
_TRIES, _TRIES_S = 3, 0.03  # the first calls of an engine are slow: as many as fit, and at least these
_WAITS, _WAIT_S = 60, 10.0  # for an engine that is still being built


@dataclass(frozen=True)
class Candidate:
    """An engine as it could be opened."""

    engine: str
    precision: str = FLOAT32
    threads: int = 1

    def __str__(self) -> str:
        """As it is said in a sentence."""
        precision = "" if self.precision == FLOAT32 else f" in {self.precision}"
        return f"{self.engine}{precision} with {self.threads} thread{'s' if self.threads > 1 else ''}"


@dataclass(frozen=True)
class Measured:
    """What was found of a candidate; None: not measured."""

    candidate: Candidate
    latency_s: float | None = None  # of one call, median over the rounds
    spread_s: tuple[float, float] | None = None  # the 10th and the 90th percentile of the rounds
    rounds: int = 0  # 0: a few calls told that it is too slow
    labels_agree: float | None = None  # share of the golden windows
    relative_error: float | None = None  # largest difference from the golden answers / the largest of these
    ratio: TimeRatio | None = None  # to the default's time; None: the default itself, or no rounds
    dropped: str = ""  # why it cannot be chosen

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Measured:
        """The same from JSON.

        Raises:
            TypeError: fields that this has not.
            KeyError: no candidate.
        """
        spread, ratio = plain.get("spread_s"), plain.get("ratio")
        if ratio is not None:
            median, interval, tenth = ratio
            ratio = TimeRatio(median, interval and tuple(interval), tuple(tenth))
        changed = {"candidate": Candidate(**plain["candidate"]), "spread_s": spread and tuple(spread), "ratio": ratio}
        return cls(**{**plain, **changed})


DEFAULT = Candidate("onnxruntime")


@dataclass
class _Runner:
    """A candidate in the race."""

    index: int
    measured: Measured
    engine: Engine | None = None
    call: Callable[[], object] | None = None
    seconds: list[float] = field(default_factory=list)  # of a call: those of the tries, then one per round


def candidates_here(
    *, precisions: Sequence[str] = (FLOAT32,), cores: int | None = None, table: Mapping[str, EngineKind] = ENGINES
) -> tuple[Candidate, ...]:
    """Every engine that is here, with one thread, two, four, ... and all physical cores.

    Args:
        precisions: to be considered.
        cores: None: those that this process may use.
        table: of the engines.
    """
    threads = thread_counts(cores)
    return tuple(
        Candidate(status.name, precision, n)
        for status in engines_here(table=table)
        if status.available
        for precision in precisions
        for n in ((1,) if table[status.name].on_gpu else threads)
    )


def measure_candidates(
    bundle: Bundle,
    candidates: Sequence[Candidate],
    *,
    batch: int = 1,
    budget_s: float = BUDGET_S,
    largest_error: float = LARGEST_ERROR,
    table: Mapping[str, EngineKind] = ENGINES,
    tell: Callable[[int], None] = lambda index: None,
    clock: Callable[[], float] = perf_counter,
) -> tuple[Measured, ...]:
    """Open the candidates in this process, check their answers, and time them in turn.

    Args:
        bundle: whose base version is run.
        candidates: what to measure.
        batch: windows per call; 1 is the way of a `Stream`, more that of a `Hub`.
        budget_s: for the rounds; slow models take twelve rounds, however long.
        largest_error: how far an answer may be off, as a share of the largest; for a variant with fewer bits, more.
        table: of the engines.
        tell: is told the number of the candidate that is about to be used, so that whoever watches knows which one
            brought the process down.
        clock: in seconds.

    Returns:
        One for each candidate, in their order.
    """
    base = bundle.again(BASE)
    inputs = Inputs(base.manifest)(base.golden().windows)
    runners = [_Runner(index, Measured(candidate)) for index, candidate in enumerate(candidates)]
    try:
        for runner in runners:
            tell(runner.index)
            _try(runner, base, inputs, batch, largest_error, table, tell, clock)
            _close_slow(runners)
        _race([runner for runner in runners if runner.engine is not None], budget_s, tell, clock)
    finally:
        for runner in runners:
            _close(runner)
    return tuple(_result(runner) for runner in runners)


def best(measured: Sequence[Measured]) -> Measured | None:
    """Who is faster than the default beyond doubt, or the default; within 1 % the one with the fewest threads.

    None: all were dropped.
    """
    base = _base(measured)
    shares = {} if base is None else {base: 1.0}
    for one in measured:
        if one.ratio is not None and one.ratio.is_faster() and not one.dropped:
            shares[one] = one.ratio.median
    near = [one for one, share in shares.items() if share <= NEAR * min(shares.values())]
    return min(near, key=lambda one: one.candidate.threads, default=None)


def open_questions(measured: Sequence[Measured]) -> tuple[Measured, ...]:
    """Who might be faster than the default that was kept, had there been more rounds or a quieter machine."""
    if best(measured) is not _base(measured):
        return ()
    return tuple(one for one in measured if one.ratio is not None and one.ratio.is_open() and not one.dropped)


def _base(measured: Sequence[Measured]) -> Measured | None:
    """The one that the others were compared with."""
    return next((one for one in measured if one.rounds and one.ratio is None and not one.dropped), None)


def _try(
    runner: _Runner,
    bundle: Bundle,
    inputs: NDArray[np.float32],
    batch: int,
    largest_error: float,
    table: Mapping[str, EngineKind],
    tell: Callable[[int], None],
    clock: Callable[[], float],
) -> None:
    """Open it, compare its answers, and take a first look at its speed."""
    candidate = runner.measured.candidate
    try:
        runner.engine = engine = open_of(
            table, bundle, candidate.engine, threads=candidate.threads, precision=candidate.precision
        )
        if not _answers(engine, lambda: tell(runner.index)):
            runner.measured = Measured(candidate, dropped=engine.reason)
            _close(runner)
            return
        agree, off = _agreement(engine, inputs, bundle.golden().logits, largest_error)
        runner.call = _call(engine, np.resize(inputs, (batch, *inputs.shape[1:])))
        while sum(runner.seconds) < _TRIES_S or len(runner.seconds) < _TRIES:
            began = clock()
            runner.call()
            runner.seconds.append(clock() - began)
    except Exception as error:  # whatever a foreign library raises
        runner.measured = Measured(candidate, dropped=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        _close(runner)
        return
    dropped = ""
    if agree < 1 or not off <= largest_error:
        dropped = f"other answers than the golden ones: {agree:.0%} of the labels, off by {off:.1e} of the largest"
    runner.measured = Measured(candidate, labels_agree=agree, relative_error=off, dropped=dropped)
    if dropped:
        runner.seconds = []
        _close(runner)


def _answers(engine: Engine, tell: Callable[[], None]) -> bool:
    """Whether it answers by itself: one that is being built is waited for, and another one answers meanwhile."""
    wait = getattr(engine, "wait", None)
    if wait is None:
        return True
    for _ in range(_WAITS):
        tell()
        if wait(_WAIT_S):
            return True
    return False


def _agreement(
    engine: Engine, inputs: NDArray[np.float32], truth: NDArray[np.float32], largest_error: float
) -> tuple[float, float]:
    """Share of labels that agree, and the largest error, of single windows and of all in one batch.

    A label also agrees where the golden answer has a tie within the allowed error.
    """
    scale = max(float(np.abs(truth).max()), 1e-12)
    ways = np.array([engine.logits(window) for window in inputs], np.float32), engine.run(inputs)
    agree = [
        truth[row, label] >= truth[row].max() - 2 * largest_error * scale
        for found in ways
        for row, label in enumerate(found.argmax(1))
    ]
    return float(np.mean(agree)), float(np.max([np.abs(found - truth).max() for found in ways])) / scale  # or NaN


def _call(engine: Engine, windows: NDArray[np.float32]) -> Callable[[], object]:
    if len(windows) == 1:
        return lambda: engine.logits(windows[0])
    return lambda: engine.run(windows)


def _close_slow(runners: list[_Runner]) -> None:
    """Close what is out of the question: engines that are open take memory. The default stays to be compared with."""
    tried = {runner.index: min(runner.seconds) for runner in runners if runner.seconds}
    for runner in runners:
        slow = runner.engine is not None and tried[runner.index] > _SLOW * min(tried.values())
        if slow and runner.measured.candidate != DEFAULT:
            _close(runner)


def _close(runner: _Runner) -> None:
    if runner.engine is not None:
        runner.engine.close()
    runner.engine = runner.call = None


def _race(runners: list[_Runner], budget_s: float, tell: Callable[[int], None], clock: Callable[[], float]) -> None:
    if not runners:
        return
    base = next((runner for runner in runners if runner.measured.candidate == DEFAULT), runners[0])
    calls = {runner.index: runner.call for runner in runners if runner.call is not None}
    seconds = race(calls, base.index, budget_s, tell, clock)
    for runner in runners:
        runner.seconds = seconds[runner.index]
        ratio = compare(runner.seconds, seconds[base.index], len(runners) - 1) if runner is not base else None
        runner.measured = replace(runner.measured, rounds=len(runner.seconds), ratio=ratio)


def _result(runner: _Runner) -> Measured:
    if not runner.seconds:
        return runner.measured
    tenth, ninetieth = np.quantile(runner.seconds, (0.1, 0.9)).tolist()
    return replace(runner.measured, latency_s=statistics.median(runner.seconds), spread_s=(tenth, ninetieth))
