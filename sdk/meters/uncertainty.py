"""How far the joules of a window may be off, from what the readings themselves show.

All figures are standard uncertainties (one sigma). A value that is known to lie within a step q, and nowhere in it
more likely, has q / sqrt(12).

    integrated power    u^2 = (T q)^2 / 12 + sum over i of (P[i] - P[i-1])^2 d[i]^2 / 12
    counter             u^2 = (q^2 + (P r)^2) / 6

    T     seconds of the window
    q     smallest step of a reading: watts of a power, joules of a counter. Where a chip does not tell it, the smallest
          change that was seen stands in for it
    P     power; of a counter its mean over the window
    d[i]  seconds between two readings, or r if that is longer: the load changed somewhere in this time
    r     refresh of the sensor; of a power the shortest time between two changes of its reading. It exceeds d where a
          sensor is polled faster than it measures and repeats itself

The step of a power does not average out over readings, since a steady load is rounded the same way each time; that of
a counter counts twice, at the two ends. Rails add as independent. The accuracy of the chip and its shunt (gain,
typically 1 to 2 %) is not in it: only a comparison with another meter tells that.
"""

from __future__ import annotations

import math


class PowerSpread:
    """The uncertainty of one integrated power, reading by reading.

    Args:
        step_w: q; None: take the smallest change.
    """

    def __init__(self, step_w: float | None) -> None:
        self._step_w = step_w
        self._smallest_w = self._refresh_s = math.inf
        self._changed_s: float | None = None
        self._jumps_j2 = self._jumps_w2 = 0.0

    def add(self, before_w: float, after_w: float, before_s: float, after_s: float) -> None:
        """Take in two neighbours, at their times."""
        jump_w = abs(after_w - before_w)
        if jump_w == 0:
            return
        self._smallest_w = min(self._smallest_w, jump_w)
        self._jumps_j2 += (jump_w * (after_s - before_s)) ** 2
        self._jumps_w2 += jump_w**2
        if self._changed_s is not None:
            self._refresh_s = min(self._refresh_s, after_s - self._changed_s)
        self._changed_s = after_s

    def joules(self, energy_j: float, seconds: float) -> float | None:
        """Return u; None where neither the chip nor a change tells the step of a rail that is not simply off."""
        step_w = self._smallest_w if self._step_w is None else self._step_w
        if not math.isfinite(step_w):
            return None if energy_j else 0.0
        slow_j2 = self._refresh_s**2 * self._jumps_w2 if math.isfinite(self._refresh_s) else 0.0
        return math.sqrt(((seconds * step_w) ** 2 + max(self._jumps_j2, slow_j2)) / 12)


class CountSpread:
    """The uncertainty of one counter.

    Args:
        step_j: q; None: not known.
        refresh_s: r.
    """

    def __init__(self, step_j: float | None, refresh_s: float) -> None:
        self._step_j, self._refresh_s = step_j, refresh_s

    def add(self, before_w: float, after_w: float, before_s: float, after_s: float) -> None:
        """Do nothing: only the two ends of a counter matter."""

    def joules(self, energy_j: float, seconds: float) -> float | None:
        """Return u; None without a step or a duration."""
        if self._step_j is None or seconds <= 0:
            return None
        return math.hypot(self._step_j, energy_j / seconds * self._refresh_s) / math.sqrt(6)


def combined(parts: list[float | None]) -> float | None:
    """Return the root of the sum of squares; None if one is not known."""
    known = [part for part in parts if part is not None]
    return math.hypot(*known) if len(known) == len(parts) else None
