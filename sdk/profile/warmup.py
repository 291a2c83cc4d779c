"""Where a warm-up ends: found in the durations, not assumed.

The rule is MSER-5 (White 1997, "An effective truncation heuristic for bias reduction in simulation output"; batches of
five: White, Cobb and Spratt 2000): cut off as much of the beginning as makes the standard error of the rest smallest,

    d* = argmin over d of  sum_{i >= d} (y[i] - mean(y[d:]))^2 / (n - d)^2 ,      d <= n / 2

with y the medians of five windows each, where White takes their means: one stall of the machine is no warm-up. A d* at
the end of what is allowed means that the beginning has not ended.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BATCH = 5
LEAST_BATCHES = 8


def warm_up_windows(durations: Sequence[float]) -> int | None:
    """How many windows at the beginning are unlike the rest; None: too few, or no end in sight."""
    n = len(durations) // BATCH
    if n < LEAST_BATCHES:
        return None
    medians = np.median(np.asarray(durations[: n * BATCH], np.float64).reshape(n, BATCH), axis=1)
    rests = (medians[d:] for d in range(n // 2 + 1))
    errors = [float(np.square(rest - rest.mean()).sum()) / len(rest) ** 2 for rest in rests]
    best = int(np.argmin(errors))
    return None if best == n // 2 else best * BATCH
