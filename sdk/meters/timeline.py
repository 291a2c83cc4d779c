"""The power over a window for a picture of it, in a memory that does not grow.

When the limit is reached, neighbours are joined two by two, as joules: a short peak becomes lower and wider, but the
area under the picture stays the energy of the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sdk.meters.energy import Timeline


@dataclass
class TimelineKeeper:
    """Joules per rail and interval; at most `limit` intervals, at least 2."""

    limit: int
    _ends_s: list[float] = field(default_factory=list)
    _joules: list[tuple[float, ...]] = field(default_factory=list)
    _began_s: float = 0.0
    _stride: int = 1  # of intervals that make one
    _joined: int = 0  # of them in the last one

    def begin(self, time_s: float) -> None:
        """Start a window at this time, in seconds; what was kept is forgotten."""
        self._ends_s, self._joules, self._began_s = [], [], time_s
        self._stride, self._joined = 1, 1

    def add(self, end_s: float, joules: Sequence[float]) -> None:
        """Append the interval from the last end to this one."""
        if self._joules and self._joined < self._stride:
            self._joined += 1
            self._ends_s[-1] = end_s
            self._joules[-1] = _sum(self._joules[-1], joules)
            return
        if len(self._joules) >= max(2, self.limit):
            self._halve()
            self.add(end_s, joules)
            return
        self._joined = 1
        self._ends_s.append(end_s)
        self._joules.append(tuple(joules))

    def _halve(self) -> None:
        """Join neighbours; an odd one stays alone at the end, half full."""
        n = len(self._joules)
        self._joined = self._stride if n % 2 else 2 * self._stride
        self._stride *= 2
        self._joules = [_sum(*self._joules[i : i + 2]) for i in range(0, n, 2)]
        self._ends_s = [self._ends_s[min(i + 1, n - 1)] for i in range(0, n, 2)]

    def timeline(self, rails: Sequence[str]) -> Timeline:
        """Return the window so far; intervals of no duration are left out."""
        edges_s, watts = [0.0], []
        for end_s, joules in zip(self._ends_s, self._joules, strict=True):
            seconds = end_s - self._began_s - edges_s[-1]
            if seconds > 0:
                edges_s.append(end_s - self._began_s)
                watts.append(tuple(joule / seconds for joule in joules))
        return Timeline(tuple(rails), tuple(edges_s) if watts else (), tuple(watts))


def _sum(*parts: Sequence[float]) -> tuple[float, ...]:
    return tuple(map(sum, zip(*parts, strict=True)))
