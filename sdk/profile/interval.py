"""How well the median of some runs is known: a bootstrap.

Windows that follow each other are not independent, and a process differs from the next by more than its windows tell
(Kalibera and Jones 2013): so whole runs are drawn, with replacement (a block bootstrap in the sense of Kuensch 1989,
"The jackknife and the bootstrap for general stationary observations", whose block is the run). For few blocks the
percentile interval is too narrow; it is widened to Student's t, as the expanded percentile interval of Hesterberg
(2015, "What teachers should know about the bootstrap").
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

DRAWS = 20_000

Values = NDArray[np.float64]


def interval(level: float, values: Values, less: Values | None = None, seed: int = 0) -> tuple[float, float]:
    """The expanded percentile interval of the median of values, or of its distance from the median of `less`.

    Args:
        level: of confidence, from 0 to 1.
        values: shape (n,).
        less: shape (m,); None: the median itself.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    draws = _medians(values, rng) if less is None else _medians(values, rng) - _medians(less, rng)
    n = len(values) if less is None else min(len(values), len(less))
    z = math.sqrt(n / (n - 1)) * student_t(level, n - 1)
    tail = NormalDist().cdf(-z)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _medians(values: Values, rng: np.random.Generator) -> Values:
    drawn: Values = np.median(values[rng.integers(len(values), size=(DRAWS, len(values)))], axis=1)
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
