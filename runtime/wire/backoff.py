"""How long to wait before another try to reach what went away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the next attempt: twice as long each time, up to a cap, a random half of it less."""

    first_s: float = 0.5
    cap_s: float = 30.0

    def wait_s(self, attempt: int) -> float:
        """Seconds before an attempt, counted from 0."""
        longest_s = min(self.first_s * 2.0 ** min(attempt, 60), self.cap_s)
        return float(longest_s * np.random.default_rng().uniform(0.5, 1.0))
