"""Whether one thing is faster than another, and how sure that is.

    round 1:  c  base  a  b        each for a millisecond, in a random order: most rounds are not interrupted
    round 2:  a  c  b  base        ratio of a round: a / base of the same round, so that drift falls out
    ...                            after 12 rounds, 24, 48, ... : is anything still open?
    end                            the median of the ratios and the ratio of the fastest tenths, each with an interval

Faster is what is faster in both. What runs beside lengthens the most rounds of a thing that hands its work to another
thread, and its fastest tenth hardly: that alone would say how it does on an idle machine. The median alone would say
how it did beside what happened to run.

Nothing is assumed of the distribution: the k-th smallest and the k-th largest of n ratios enclose the true median with
a probability that the binomial distribution gives; for the tenths, rounds are drawn again in pairs (Efron 1979,
"Bootstrap methods: another look at the jackknife", percentile interval).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import NamedTuple, TypeVar

import numpy as np

CONFIDENCE = 0.95  # of all intervals of a race together
OPEN = 0.03  # who could still be this much faster is an open question
_SLICE_S, _WARM_UP = 0.001, 3
_LOOKS = (12, 24, 48, 96, 192, 384)  # rounds after which is looked whether all is decided
_DRAWS = 2000

Key = TypeVar("Key")


class TimeRatio(NamedTuple):
    """One's time as a share of the base's; below 1 is faster."""

    median: float  # of the rounds
    interval: tuple[float, float] | None  # that holds the true median; None: too few rounds for one
    tenth: tuple[float, float]  # that holds the ratio of the fastest tenths

    def is_faster(self) -> bool:
        """Beyond doubt, in the median and in the fastest tenth."""
        return self.interval is not None and max(self.interval[1], self.tenth[1]) < 1

    def is_open(self) -> bool:
        """Not faster so far, and yet it may be."""
        low = 0.0 if self.interval is None else max(self.interval[0], self.tenth[0])
        return not self.is_faster() and low < 1 - OPEN


def compare(seconds: Sequence[float], base: Sequence[float], others: int = 1) -> TimeRatio:
    """One against the base, from the rounds that they ran in turn.

    Args:
        seconds: of one, per round.
        base: the same of the base.
        others: how many are compared with it: several have several chances to be lucky, so each must be surer
            (Bonferroni, over the looks of a race as well).
    """
    confidence = 1 - (1 - CONFIDENCE) / (max(others, 1) * len(_LOOKS))
    ratios = [mine / theirs for mine, theirs in zip(seconds, base, strict=True)]
    return TimeRatio(statistics.median(ratios), median_interval(ratios, confidence), _tenths(seconds, base, confidence))


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """An interval that holds the true median with at least this confidence; None: too few values for one.

    Args:
        values: independent ones.
        confidence: such as 0.95.
    """
    n, tail, below = len(values), (1 - confidence) / 2, 0.0
    k = 0
    while k < n // 2 and (below := below + math.comb(n, k) / 2**n) <= tail:
        k += 1
    ordered = sorted(values)
    return (ordered[k - 1], ordered[n - k]) if k else None


def _tenths(seconds: Sequence[float], base: Sequence[float], confidence: float) -> tuple[float, float]:
    drawn = np.random.default_rng(0).integers(len(base), size=(_DRAWS, len(base)))
    mine, theirs = (np.quantile(np.asarray(one)[drawn], 0.1, axis=1) for one in (seconds, base))
    low, high = np.quantile(mine / theirs, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return low, high


def race(
    calls: Mapping[Key, Callable[[], object]],
    base: Key,
    budget_s: float,
    tell: Callable[[Key], None] = lambda key: None,
    clock: Callable[[], float] = perf_counter,
) -> dict[Key, list[float]]:
    """Seconds per call of each, one value per round.

    Args:
        calls: what is timed.
        base: the one that the others are compared with.
        budget_s: for all rounds; at least 12 are run, and at most 384. It ends earlier when nothing is open.
        tell: is told who is about to be called.
        clock: in seconds.
    """
    counts = {}
    for key, call in calls.items():
        tell(key)
        counts[key] = max(1, round(_SLICE_S / max(min(_time(call, 1, clock) for _ in range(_WARM_UP)), 1e-7)))
    seconds: dict[Key, list[float]] = {key: [] for key in calls}
    keys, turns, until = list(calls), np.random.default_rng(0), clock() + budget_s
    for done in range(1, _LOOKS[-1] + 1):
        for i in turns.permutation(len(keys)):
            key = keys[i]
            tell(key)
            if counts[key] > 1:
                calls[key]()  # the caches are the other one's
            seconds[key].append(_time(calls[key], counts[key], clock))
        late = clock() > until
        if done >= _LOOKS[0] and (late or (done in _LOOKS and _decided(seconds, base))):
            break
    return seconds


def _decided(seconds: Mapping[Key, list[float]], base: Key) -> bool:
    others = [key for key in seconds if key != base]
    return not any(compare(seconds[key], seconds[base], len(others)).is_open() for key in others)


def _time(call: Callable[[], object], times: int, clock: Callable[[], float]) -> float:
    began = clock()
    for _ in range(times):
        call()
    return (clock() - began) / times
