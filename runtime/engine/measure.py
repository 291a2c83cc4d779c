r"""Candidates against one another: the right answers first, then the time, in turn.

    for each candidate     open -> golden windows -> a few calls    wrong, or three times as slow as another: closed
    in rounds, in turn     one call to warm the caches, then calls for some milliseconds, timed
    until                  the budget is spent, or the fastest is so beyond doubt

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

from runtime.bundle import BASE, Bundle
from runtime.engine import ENGINES, Engine, EngineKind, engines_here, open_of
from runtime.engine.device import physical_cores
from runtime.engine.inputs import Inputs

BUDGET_S = 2.0  # for the rounds; opening the engines comes on top
LARGEST_ERROR = 1e-3  # of the largest golden value of an output
NEAR = 1.01  # as fast as the fastest: then the one with fewer threads
_SLICE_S, _SLOW = 0.004, 3.0
_TRIES, _TRIES_S = 3, 0.03  # the first calls of an engine are slow: as many as fit, and at least these
_LEAST_ROUNDS, _ENOUGH_ROUNDS, _MOST_ROUNDS = 3, 15, 61


@dataclass(frozen=True)
class Candidate:
    """An engine as it could be opened."""

    engine: str
    precision: str = "float32"
    threads: int = 1

    def __str__(self) -> str:
        """As it is said in a sentence."""
        precision = "" if self.precision == "float32" else f" in {self.precision}"
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
        spread = plain.get("spread_s")
        candidate = Candidate(**plain["candidate"])
        return cls(**{**plain, "candidate": candidate, "spread_s": spread and tuple(spread)})


@dataclass
class _Runner:
    """A candidate in the race."""

    index: int
    measured: Measured
    engine: Engine | None = None
    call: Callable[[], object] | None = None
    seconds: list[float] = field(default_factory=list)  # of a call: those of the tries, then one per round
    calls: int = 1  # in a slice
    in_race: bool = False


def candidates_here(
    *, precisions: Sequence[str] = ("float32",), cores: int | None = None, table: Mapping[str, EngineKind] = ENGINES
) -> tuple[Candidate, ...]:
    """Every engine that is here, with one thread, two, four, ... and all physical cores.

    Args:
        precisions: to be considered.
        cores: None: those that this process may use.
        table: of the engines.
    """
    cores = physical_cores() if cores is None else cores
    threads = sorted({*(1 << i for i in range(cores.bit_length())), cores})
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
) -> tuple[Measured, ...]:
    """Open the candidates in this process, check their answers, and time them in turn.

    Args:
        bundle: whose base version is run.
        candidates: what to measure.
        batch: windows per call; 1 is the way of a `Stream`, more that of a `Hub`.
        budget_s: for the rounds; slow models take three rounds, however long.
        largest_error: how far an answer may be off, as a share of the largest; for a variant with fewer bits, more.
        table: of the engines.
        tell: is told the number of the candidate that is about to be used, so that whoever watches knows which one
            brought the process down.

    Returns:
        One for each candidate, in their order.
    """
    base = Bundle.open(bundle.path, BASE)
    inputs = Inputs(base.manifest)(base.golden().windows)
    runners = [_Runner(index, Measured(candidate)) for index, candidate in enumerate(candidates)]
    try:
        for runner in runners:
            tell(runner.index)
            _try(runner, base, inputs, batch, largest_error, table)
            _close_slow(runners)
        _race([runner for runner in runners if runner.engine is not None], budget_s, tell)
    finally:
        for runner in runners:
            _close(runner)
    return tuple(_result(runner) for runner in runners)


def best(measured: Sequence[Measured]) -> Measured | None:
    """The fastest that was not dropped; of those within 1 % of it the one with the fewest threads, the first one.

    Fastest by the fastest tenth of its rounds: what else runs on the machine lengthens the others, the more the longer
    a candidate's calls are, and moves medians about from one measuring to the next.

    None: all were dropped.
    """
    left = {one: one.spread_s[0] for one in measured if one.spread_s is not None and not one.dropped}
    near = [one for one, fastest_s in left.items() if fastest_s <= NEAR * min(left.values())]
    return min(near, key=lambda one: one.candidate.threads, default=None)


def _try(
    runner: _Runner,
    bundle: Bundle,
    inputs: NDArray[np.float32],
    batch: int,
    largest_error: float,
    table: Mapping[str, EngineKind],
) -> None:
    """Open it, compare its answers, and take a first look at its speed."""
    candidate = runner.measured.candidate
    try:
        runner.engine = engine = open_of(
            table, bundle, candidate.engine, threads=candidate.threads, precision=candidate.precision
        )
        agree, off = _agreement(engine, inputs, bundle.golden().logits, largest_error)
        runner.call = _call(engine, np.resize(inputs, (batch, *inputs.shape[1:])))
        while sum(runner.seconds) < _TRIES_S or len(runner.seconds) < _TRIES:
            runner.seconds.append(_seconds(runner))
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
    return float(np.mean(agree)), max(float(np.abs(found - truth).max()) / scale for found in ways)


def _call(engine: Engine, windows: NDArray[np.float32]) -> Callable[[], object]:
    if len(windows) == 1:
        return lambda: engine.logits(windows[0])
    return lambda: engine.run(windows)


def _seconds(runner: _Runner) -> float:
    assert runner.call is not None
    call = runner.call
    began = perf_counter()
    for _ in range(runner.calls):
        call()
    return (perf_counter() - began) / runner.calls


def _close_slow(runners: list[_Runner]) -> None:
    """Close what is out of the question: engines that are open take memory."""
    tried = {id(runner): min(runner.seconds) for runner in runners if runner.seconds}
    for runner in runners:
        if runner.engine is not None and tried[id(runner)] > _SLOW * min(tried.values()):
            _close(runner)


def _close(runner: _Runner) -> None:
    if runner.engine is not None:
        runner.engine.close()
    runner.engine = runner.call = None


def _race(runners: list[_Runner], budget_s: float, tell: Callable[[int], None]) -> None:
    for runner in runners:
        runner.calls = max(1, round(_SLICE_S / max(min(runner.seconds), 1e-6)))
        runner.seconds, runner.in_race = [], True
    turns, began = np.random.default_rng(0), perf_counter()
    for n in range(_MOST_ROUNDS if runners else 0):
        late = perf_counter() - began > budget_s
        if n >= _LEAST_ROUNDS and (late or (n >= _ENOUGH_ROUNDS and _decided(runners))):
            return
        for i in turns.permutation(len(runners)):
            runner = runners[i]
            tell(runner.index)
            if runner.call is not None:
                runner.call()
            runner.seconds.append(_seconds(runner))


def _decided(runners: list[_Runner]) -> bool:
    """Whether the middle half of the fastest one's rounds is below that of every other."""
    quarters = sorted((statistics.quantiles(runner.seconds, n=4) for runner in runners), key=lambda three: three[1])
    return len(quarters) == 1 or quarters[0][2] < min(three[0] for three in quarters[1:])


def _result(runner: _Runner) -> Measured:
    if not runner.seconds:
        return runner.measured
    tenth, ninetieth = np.quantile(runner.seconds, (0.1, 0.9)).tolist()
    return replace(
        runner.measured,
        latency_s=statistics.median(runner.seconds),
        spread_s=(tenth, ninetieth),
        rounds=len(runner.seconds) if runner.in_race else 0,
    )
