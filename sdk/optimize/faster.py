"""Whether one thing is faster than another, and how sure that is.

    round 1:  c  baseline  a  b        each for some milliseconds, in a random order
    round 2:  a  c  b  baseline        ratio of a round: a / baseline of the same round, so that drift falls out
    ...                                median of the ratios, with an interval from their order alone

Nothing is assumed of the distribution: the k-th smallest and the k-th largest of n ratios enclose the true median with
a probability that the binomial distribution gives.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

CONFIDENCE = 0.95
_SLICE_S, _WARM_UP = 0.005, 3
_LEAST_ROUNDS, _MOST_ROUNDS = 15, 101


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


def race(calls: Mapping[str, Callable[[], object]], budget_s: float) -> dict[str, list[float]]:
    """Seconds per call of each, one value per round.

    Args:
        calls: what is timed, by name.
        budget_s: for all rounds; at least 15 are run, at most 101.
    """
    counts = {name: _count(call) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order, turns, until = list(calls), random.Random(0), perf_counter() + budget_s  # noqa: S311  # no secret
    for done in range(_MOST_ROUNDS):
        if done >= _LEAST_ROUNDS and perf_counter() > until:
            break
        turns.shuffle(order)
        for name in order:
            calls[name]()  # the caches are the other one's
            seconds[name].append(_time(calls[name], counts[name]))
    return seconds


def _count(call: Callable[[], object]) -> int:
    once_s = min(_time(call, 1) for _ in range(_WARM_UP))
    return max(1, round(_SLICE_S / max(once_s, 1e-7)))


def _time(call: Callable[[], object], times: int) -> float:
    began = perf_counter()
    for _ in range(times):
        call()
    return (perf_counter() - began) / times
