"""The precisions that a bundle holds, with every engine that is here, against the best float32 engine.

baseline   the fastest engine in float32 with the right answers (measured in a child process)
probe      every other precision with every engine, in a child process: one that crashes takes nothing down
race       those that ran, in turn with the baseline                    runtime.engine.auto.faster
accuracy   macro-F1 on labelled windows, or equal labels                 of the version in use
verdict    faster beyond doubt and accurate enough: the fastest of these; else the baseline
remember   in the cache that engine="auto" reads
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engine import ENGINES, Engine, EngineKind, open_of
from runtime.engine.auto.choice import (
    DEFAULT,
    Candidate,
    Choice,
    Measured,
    best,
    candidates_here,
    measure_apart,
    remember,
)
from runtime.engine.auto.faster import TimeRatio, compare, race
from runtime.engine.inputs import Inputs
from runtime.errors import InputError
from runtime.progress import ShowProgress, silent
from runtime.specs import FLOAT32
from runtime.window import LabelledWindows
from sdk.meters import Meter, NoMeter, measure
from sdk.scores import require_finite, score

_BATCH = 64
_JOULES_S = 0.5  # of calls under the meter


@dataclass(frozen=True)
class Limits:
    """What a candidate must keep to.

    Raises:
        InputError: a share outside 0 to 1, or no time at all.
    """

    max_f1_loss: float = 0.01  # macro-F1 below float32's
    min_agreement: float = 0.99  # share of windows with float32's label, where no labels are given
    budget_s: float = 4.0  # for the race; opening and scoring come on top

    def __post_init__(self) -> None:
        if not (0 <= self.max_f1_loss <= 1 and 0 <= self.min_agreement <= 1 and self.budget_s > 0):
            raise InputError("limits", expected="shares from 0 to 1, seconds above 0", got=self, fix="Correct them.")


@dataclass(frozen=True)
class Verdict:
    """What was found of one candidate, and whether it is taken; None: not measured."""

    candidate: Candidate
    why: str  # it is kept or not, as a sentence
    accepted: bool = False
    latency_s: float | None = None  # of one window, median over the rounds
    ratio: float | None = None  # to the baseline's, median over the rounds; below 1 is faster
    interval: tuple[float, float] | None = None  # of the ratio's median
    tenth: tuple[float, float] | None = None  # interval of the ratio of the fastest tenths
    rounds: int = 0
    joules: float | None = None  # per window, gross
    macro_f1: float | None = None
    macro_f1_classes: int | None = None  # it is the mean over so many
    agreement: float | None = None  # share of windows with the baseline's label
    not_finite: int | None = None  # windows for which an answer is no finite number; none of them has a label


@dataclass(frozen=True)
class Optimized:
    """What was measured and what follows."""

    chosen: Candidate
    reason: str  # a sentence
    verdicts: tuple[Verdict, ...]  # the baseline is the first
    windows: int  # that accuracy was judged on
    judged_by: str  # "macro-F1" or "agreement"
    energy: str  # source of the joules, or why there are none
    kept: str  # file of the cache, or why there is none

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def optimize(
    bundle: Bundle,
    windows: LabelledWindows | NDArray[np.float32] | None = None,
    *,
    limits: Limits | None = None,
    meter: Meter | None = None,
    table: Mapping[str, EngineKind] = ENGINES,
    progress: ShowProgress = silent,
) -> Optimized:
    """Measure the candidates and keep the best.

    Args:
        bundle: in the version to judge; latency does not depend on it.
        windows: labelled ones, judged by macro-F1; or shape (n, *window_shape), judged by agreement with float32;
            None: the golden windows, by agreement.
        limits: None: the defaults.
        meter: of energy; None: joules are not measured.
        table: of the engines.
        progress: told steps done, steps in all, and what comes next.

    Raises:
        InputError: no windows, or some for which the baseline's answers are not finite numbers.
    """
    limits = Limits() if limits is None else limits
    samples = _samples(bundle, windows)
    truth = windows.labels if isinstance(windows, LabelledWindows) else None
    progress(0, 4, "float32 with every engine")
    floats = measure_apart(bundle, candidates_here(table=table), table=table)
    winner = best(floats)
    baseline = DEFAULT if winner is None else winner.candidate
    progress(1, 4, "the other precisions")
    others = _others(bundle, floats)
    probed = measure_apart(bundle, others, budget_s=1e-3, table=table) if others else ()
    failed = [Verdict(one.candidate, f"does not run: {one.dropped}") for one in probed if one.relative_error is None]
    runners = [baseline, *(one.candidate for one in probed if one.relative_error is not None)]
    with ExitStack() as stack:
        engines: dict[str, Engine] = {}
        for runner in runners:
            engines[str(runner)] = opened = open_of(
                table, bundle, runner.engine, threads=runner.threads, precision=runner.precision
            )
            stack.callback(opened.close)
        progress(2, 4, "in turn")
        window = Inputs(bundle.manifest)(samples[:1])[0]
        calls = {name: _call(engine, window) for name, engine in engines.items()}
        seconds = race(calls, str(baseline), limits.budget_s)
        progress(3, 4, "accuracy and energy")
        logits = {name: _logits(engine, samples) for name, engine in engines.items()}
        require_finite(logits[str(baseline)])
        joules = {name: _joules(_call(engine, window), meter) for name, engine in engines.items()}
    measured = [
        _measured(runner, str(runner), str(baseline), seconds, logits, joules[str(runner)], truth, len(runners) - 1)
        for runner in runners
    ]
    verdicts = [measured[0], *(_judge(one, measured[0], limits) for one in measured[1:]), *failed]
    chosen = min((one for one in verdicts if one.accepted), key=lambda one: one.ratio or 1.0, default=measured[0])
    reason = _reason(chosen, verdicts, limits)
    choice = remember(bundle, Choice(chosen.candidate, reason, tuple(map(_plain, verdicts))))
    progress(4, 4, "")
    judged_by = "agreement" if truth is None else "macro-F1"
    energy = "not measured (no meter was given)" if meter is None else _source(meter)
    return Optimized(chosen.candidate, reason, tuple(verdicts), len(samples), judged_by, energy, choice.kept)


def _samples(bundle: Bundle, windows: LabelledWindows | NDArray[np.float32] | None) -> NDArray[np.float32]:
    given = windows.samples if isinstance(windows, LabelledWindows) else windows
    samples = bundle.golden().windows if given is None else given
    if not len(samples):
        raise InputError(
            "windows",
            expected=f"windows of the labels {', '.join(bundle.manifest.labels)}",
            got="none",
            fix="Give recordings that are longer than a window and use these labels.",
        )
    return samples


def _others(bundle: Bundle, floats: Sequence[Measured]) -> list[Candidate]:
    """Every precision but float32 with every engine, with the threads that served that engine best."""
    fastest: dict[str, Measured] = {}
    for one in floats:
        engine = one.candidate.engine
        best_s = fastest[engine].latency_s if engine in fastest else None
        if best_s is None or (one.latency_s is not None and one.latency_s < best_s):
            fastest[engine] = one
    precisions = [precision for precision in bundle.precisions if precision != FLOAT32]
    return [
        Candidate(engine, precision, one.candidate.threads)
        for engine, one in fastest.items()
        for precision in precisions
    ]


def _call(engine: Engine, window: NDArray[np.float32]) -> Callable[[], object]:
    return lambda: engine.logits(window)


def _logits(engine: Engine, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([engine.run(samples[at : at + _BATCH]) for at in range(0, len(samples), _BATCH)])


def _joules(call: Callable[[], object], meter: Meter | None) -> float | None:
    """Gross joules per call; None without a meter."""
    if meter is None or isinstance(meter, NoMeter):
        return None
    calls, until = 0, perf_counter() + _JOULES_S
    with measure(meter) as measuring:
        while perf_counter() < until:
            call()
            calls += 1
    joules = measuring.result.energy.joules
    return None if joules is None else joules / calls


def _source(meter: Meter) -> str:
    with measure(meter) as measuring:
        pass
    energy = measuring.result.energy
    return energy.describe() if isinstance(meter, NoMeter) else energy.source


def _measured(
    candidate: Candidate,
    name: str,
    baseline: str,
    seconds: Mapping[str, list[float]],
    logits: Mapping[str, NDArray[np.float32]],
    joules: float | None,
    truth: NDArray[np.int64] | None,
    n_candidates: int,
) -> Verdict:
    ratio = compare(seconds[name], seconds[baseline], n_candidates)
    labels, finite = logits[name].argmax(1), np.isfinite(logits[name]).all(1)
    labels[~finite] = -1  # no label at all
    scores = None if truth is None or not finite.all() else score(truth, labels, logits[name].shape[1])
    return Verdict(
        candidate,
        "the float32 baseline",
        latency_s=statistics.median(seconds[name]),
        ratio=ratio.median,
        interval=ratio.interval,
        tenth=ratio.tenth,
        rounds=len(seconds[name]),
        joules=joules,
        macro_f1=None if scores is None else scores.macro_f1,
        macro_f1_classes=None if scores is None else scores.macro_f1_classes,
        agreement=float((labels == logits[baseline].argmax(1)).mean()),
        not_finite=int((~finite).sum()),
    )


def _judge(one: Verdict, baseline: Verdict, limits: Limits) -> Verdict:
    """The same with the verdict."""
    reasons = [f"{one.not_finite} answers are not finite numbers"] if one.not_finite else []
    if one.ratio is None or one.tenth is None or not TimeRatio(one.ratio, one.interval, one.tenth).is_faster():
        slower = one.interval is not None and one.interval[0] > 1
        reasons.append("slower" if slower else "not faster beyond doubt")
    if one.macro_f1 is not None and baseline.macro_f1 is not None:
        loss = baseline.macro_f1 - one.macro_f1
        if loss > limits.max_f1_loss:
            reasons.append(f"macro-F1 lower by {loss:.3f}, allowed are {limits.max_f1_loss:g}")
    elif one.agreement is None or one.agreement < limits.min_agreement:
        reasons.append(f"{one.agreement or 0:.1%} of the labels agree, asked are {limits.min_agreement:.1%}")
    why = "; ".join(reasons) or "faster and as good"
    return Verdict(**{**vars(one), "why": why, "accepted": not reasons})


def _reason(chosen: Verdict, verdicts: Sequence[Verdict], limits: Limits) -> str:
    if chosen.accepted and chosen.ratio is not None and chosen.interval is not None:
        low, high = chosen.interval
        good = (
            f"{chosen.agreement or 0:.1%} of the labels as in float32"
            if chosen.macro_f1 is None
            else f"macro-F1 {chosen.macro_f1:.3f} against {verdicts[0].macro_f1 or 0:.3f}"
        )
        return f"{chosen.candidate}: {chosen.ratio:.2f} of the float32 time ({low:.2f} to {high:.2f}), {good}"
    if len(verdicts) == 1:
        return f"{chosen.candidate}: the bundle holds no other precision"
    return f"{chosen.candidate}: no other precision is faster and good enough here"


def _plain(one: Verdict) -> Measured:
    """As the cache keeps it."""
    dropped = "" if one.accepted or one.why == "the float32 baseline" else one.why
    return Measured(one.candidate, one.latency_s, rounds=one.rounds, labels_agree=one.agreement, dropped=dropped)
