"""Samples as they arrive, in the order of their times: by their own stamps, or by a line through their arrivals.

    Order      stamps of measurement: reordered within a bound; late and doubled ones left out, and counted
    Smoother   stamps of arrival: the jitter of the wire is smoothed away

Both notice a clock that was set back, and both give the same for any chunking.
"""

from __future__ import annotations

import math

import numpy as np

from runtime.specs import ClockSpec
from runtime.window.pieces import Counters, Piece, Times, joined, no_samples

_MOST_HELD = 4096  # samples: so many are put in order at once, whatever `reorder_s` says
_SMOOTHING = 0.02, 0.0001  # gains of the line through the arrival times: position, period


class Order:
    """Puts samples into the order of their stamps, as far as `reorder_s` allows, and notices a clock that is set back.

    A sample is let through when one arrives that is newer by `reorder_s`: no older one is then waited for. Where 4,096
    are held back, the older half of them is let through.
    """

    def __init__(self, spec: ClockSpec, n_channels: int, counters: Counters) -> None:
        self._spec, self._counters = spec, counters
        self._nothing = no_samples(n_channels)
        self.reset()

    def reset(self) -> None:
        """The next sample is the first."""
        self._newest = self._last = -math.inf  # stamp of the newest sample that came, of the last one let through
        self._held = self._nothing

    def push(self, piece: Piece) -> list[Piece]:
        """Samples as they came to samples in order; between two pieces of the answer the clock was set back."""
        t = piece.t
        if self._spec.reorder_s == 0 and t[0] > self._newest and bool((t[1:] > t[:-1]).all()):
            self._newest = self._last = float(t[-1])
            return [piece]
        ready = [[self._nothing]]
        while len(piece.t):
            part = piece.part(0, _MOST_HELD - len(self._held.t))  # so the limit is met at the end of a part only
            newest = np.maximum.accumulate(np.concatenate([[self._newest], part.t[:-1]]))
            back = np.flatnonzero(part.t < newest - self._spec.back_s)
            n = int(back[0]) if len(back) else len(part.t)
            if n:
                ready[-1].append(self._in_order(part.part(0, n), newest[:n]))
            if len(back):
                ready[-1].append(self.flush())
                ready.append([self._nothing])
                self._counters.clock_back += 1
                self.reset()
            piece = piece.part(n)
        return [joined(*parts) for parts in ready]

    def flush(self) -> Piece:
        """Give the samples that are still held back; no more will come."""
        held, self._held = self._held, self._nothing
        return self._without_doubles(held)

    def _in_order(self, piece: Piece, newest: Times) -> Piece:
        late = piece.t < newest - self._spec.reorder_s
        self._counters.late += int(late.sum())
        self._counters.reordered += int((~late & (piece.t < newest)).sum())
        waiting = joined(self._held, piece.at(~late))
        waiting = waiting.at(np.argsort(waiting.t, kind="stable"))
        self._newest = max(self._newest, float(piece.t.max()))
        n = int(np.searchsorted(waiting.t, self._newest - self._spec.reorder_s, side="right"))
        if len(waiting.t) - n >= _MOST_HELD:
            n += _MOST_HELD // 2
        self._held = waiting.part(n)
        return self._without_doubles(waiting.part(0, n))

    def _without_doubles(self, piece: Piece) -> Piece:
        new = np.diff(piece.t, prepend=self._last) > 0
        self._counters.duplicates += len(new) - int(new.sum())
        if len(new):
            self._last = max(self._last, float(piece.t[-1]))
        return piece.at(new)


class Smoother:
    """Times of measurement from times of arrival: a line is tracked through them, its slope the source's true period.

    Each arrival moves the line by 2 % of what it is off (an alpha-beta filter). Samples that arrive in bursts come out
    evenly. A sample off by more than `back_s` starts a new line: there the clock jumped, or samples were lost.
    """

    def __init__(self, period_s: float, spec: ClockSpec, counters: Counters) -> None:
        self._nominal_s, self._spec, self._counters = period_s, spec, counters
        self.reset()

    def reset(self) -> None:
        """The next sample is the first."""
        self._at_s, self._period_s = -math.inf, self._nominal_s

    def push(self, piece: Piece) -> list[Piece]:
        """Samples with smoothed times; between two pieces the clock was set back."""
        times, backs = [], []
        alpha, beta = _SMOOTHING
        for i, arrived in enumerate(piece.t.tolist()):
            expected = self._at_s + self._period_s
            off = arrived - expected
            if abs(off) > self._spec.back_s:
                if off < 0:
                    backs.append(i)
                self._at_s, self._period_s = arrived, self._nominal_s
            else:
                self._at_s = expected + max(alpha * off, -self._period_s / 2)
                period_s = self._period_s + beta * off  # a clock that stands still would turn the line backward
                self._period_s = min(max(period_s, self._nominal_s / 2), self._nominal_s * 2)
            times.append(self._at_s)
        self._counters.clock_back += len(backs)
        bounds = [*backs, len(times)]
        smoothed = np.array(times)
        smooth = Piece(smoothed, piece.rows, piece.flags, piece.t - smoothed)
        return [smooth.part(begin, end) for begin, end in zip([0, *backs], bounds, strict=True)]

    def retune(self, period_s: float) -> None:
        """The source has another rate from the next sample on."""
        self._nominal_s = self._period_s = period_s
