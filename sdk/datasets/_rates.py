"""The rate at which a recording was made, as its own times tell: the nominal one is what somebody meant.

    steps       0.010 0.010 0.000 0.020 ... | 12 s | 0.050 0.050 ...
    blocks      32 steps each, without the gaps among them: rate = steps / seconds
    rate        the middle one of the blocks; where the faster tenth is CHANGES times the slower one or more,
                the recording changes its rate

Over a block it does not matter that stamps come in bunches, late, or twice. This is for the report on a whole data set;
windows are cut by the rule of a stream (runtime/window/rate.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

OFF = 0.05  # a rate further than this from the nominal one is another rate
CHANGES = 1.5
_BLOCK = 32  # steps
_GAP = 8  # times the median step: what is longer is a gap, which says nothing about the rate


class MeasuredRate(NamedTuple):
    """What the times of one recording say, in samples per second."""

    typical_hz: float
    slow_hz: float  # of the slowest tenth of its blocks
    fast_hz: float  # of the fastest tenth

    @property
    def changes(self) -> bool:
        """Whether one number does not tell the rate."""
        return self.fast_hz > CHANGES * self.slow_hz


def measured_rate(t: NDArray[np.float64] | None) -> MeasuredRate | None:
    """The rate that time stamps tell; None where there are too few of them.

    Args:
        t: shape (n,), seconds.
    """
    if t is None:
        return None
    steps = np.diff(t)
    rising = steps[steps > 0]
    if len(rising) < _BLOCK:
        return None
    steps = steps[(steps >= 0) & (steps <= _GAP * np.median(rising))]
    whole = len(steps) // _BLOCK * _BLOCK
    spans_s = steps[:whole].reshape(-1, _BLOCK).sum(axis=1)
    spans_s = spans_s[spans_s > 0]
    if not len(spans_s):
        return None
    slow, typical, fast = np.quantile(_BLOCK / spans_s, (0.1, 0.5, 0.9))
    return MeasuredRate(float(typical), float(slow), float(fast))


def summary_of_rates(recordings: Iterable[tuple[float, MeasuredRate | None]]) -> dict[str, float | int] | None:
    """How the measured rates of many recordings lie; None where none has times.

    Args:
        recordings: of each its nominal rate and the measured one.
    """
    pairs = [(nominal_hz, rate) for nominal_hz, rate in recordings if rate is not None]
    if not pairs:
        return None
    typical = np.array([rate.typical_hz for _, rate in pairs])
    return {
        "recordings": len(pairs),
        "least_hz": round(float(typical.min()), 2),
        "median_hz": round(float(np.median(typical)), 2),
        "most_hz": round(float(typical.max()), 2),
        "off_nominal": sum(abs(rate.typical_hz / nominal_hz - 1) > OFF for nominal_hz, rate in pairs),
        "changing": sum(rate.changes for _, rate in pairs),
    }
