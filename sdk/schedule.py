"""The learning rate of each step: a line up, then constant, or half a cosine down.

step   0                          w                    n
rate   peak / w    line upwards   peak   half a cosine   0      the last step is n - 1
"""

from __future__ import annotations

import math


def learning_rate(peak: float, step: int, n_steps: int, *, warm_up: int = 0, cosine: bool = True) -> float:
    """The rate of one step.

    Args:
        peak: the highest rate.
        step: counted from 0.
        n_steps: of the whole training.
        warm_up: steps in which the rate rises, w above.
        cosine: afterwards half a cosine down to zero; otherwise the peak.
    """
    if step < warm_up:
        return peak * (step + 1) / warm_up
    if not cosine:
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(n_steps - warm_up, 1)))
