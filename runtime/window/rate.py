"""How fast a source is, told by its stamps alone: one rule for streams and files, in pieces of any size.

    stamps   |-- held: 64 steps, or a window --|-- 16 --|-- 16 --|-- 16 --|-- 16 --|-- ...
                      the median step          |---------------- 64 --------------|

At first samples are held back until the rate is known. From then on each block of 16 steps, and each of 64, is asked
whether it contradicts: by its mean, which bursts and jitter do not move, and by its median, which losses do not. Where
both do, in one direction, the median is the new step. What a source was told to be stays; a contradiction is said.

Stamps of arrival come in bursts: of them counts what lies between the beginnings of bursts, in blocks of 128.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from runtime.window.pieces import Counters, Piece, Times, joined

_FASTEST = 50.0  # times the model's rate, and as many times slower: what a measurement is believed, at most
_LEAST, _MOST_HELD = 16, 64  # steps: before so many no rate is settled; after so many one is
_ANOTHER = 1.2  # a rate that is off by this factor is another one; less is a better measurement of the same
_NEAR = 1.25  # arrivals so near to the model's rate count as of that rate: the line through them finds theirs


class _Block(NamedTuple):
    """Steps that are asked together, and the factor by which they must be off to contradict."""

    steps: int
    by: float
    most: int = 0  # of its steps must be off so much themselves: what is lost in a short block may move its median


_MEASURED = (_Block(16, 1.5, 12), _Block(64, 1.05))  # the longer one a multiple of the shorter
_TOLD = (_Block(64, _ANOTHER),)
_ARRIVED = (_Block(128, 1.5),)  # the end of a block that cuts a burst of 40 moves its mean by a third


class Rate:
    """Samples pass; where the rate of their source becomes known, or becomes another, it stands between them.

    Args:
        rate_hz: rows per second that the model wants.
        held_s: for how long the first samples are held back at most, once they are 17.
        told_hz: samples per second that the source was told to have; None: measured.
        back_s: of stamps of arrival, a longer step says nothing of the rate; None: the stamps are of measurement.
        counters: of the stream.
    """

    def __init__(
        self, rate_hz: float, held_s: float, told_hz: float | None, back_s: float | None, counters: Counters
    ) -> None:
        self._rate_hz, self._held_s, self._told_hz, self._back_s = float(rate_hz), held_s, told_hz, back_s
        self._counters = counters
        self._blocks = _ARRIVED if back_s is not None else _TOLD if told_hz else _MEASURED
        self._hz: float | None = None
        self._is_settled = False
        self._held: Piece | None = None
        self._stamps = np.zeros(self._blocks[-1].steps + 1)  # of the longest block that has begun
        self._n = self._due = 0  # stamps there, and how many when a block ends
        self._begin(np.zeros(0))

    def passes(self, t: Times) -> bool:
        """Whether samples may go on as they are, which then need not be taken: what is common.

        Args:
            t: shape (n,), seconds, of the next samples.
        """
        n = self._n + len(t)
        if n >= self._due or not self._is_settled:
            return False
        self._stamps[self._n : n] = t
        self._n = n
        return True

    def take(self, piece: Piece) -> list[Piece | float]:
        """The samples that may go on, and before those of another rate that rate.

        Args:
            piece: one sample or more, in the order in which they are to be read.
        """
        if self._is_settled:
            return self._watch(piece)
        if self._told_hz:
            self._hz, self._is_settled = self._told_hz, True
            return [self._told_hz, *self._watch(piece)]
        held = joined(piece) if self._held is None else joined(self._held, piece)
        late = np.searchsorted(np.maximum.accumulate(held.t[_LEAST:_MOST_HELD]), held.t[0] + self._held_s)
        n = _LEAST + int(late) + 1
        if len(held.t) < n:
            self._held = held
            return []
        self._held, self._is_settled = None, True
        self._begin(held.t[n - 1 : n])
        return [*self._settle(held.part(0, n)), *(self._watch(held.part(n)) if len(held.t) > n else [])]

    def end(self) -> list[Piece | float]:
        """No more samples come, or the clock was set back: those held back, and a guess at their rate."""
        held, self._held = self._held, None
        self._begin(np.zeros(0))
        return [] if held is None else self._settle(held)

    def _settle(self, held: Piece) -> list[Piece | float]:
        hz = self._measure(held.t) or self._hz or self._rate_hz
        known, self._hz = self._hz, hz
        return [held] if hz == known else [hz, held]

    def _begin(self, t: Times) -> None:
        """Blocks begin anew, after one stamp or none."""
        self._stamps[: len(t)] = t
        self._n, self._due = len(t), self._blocks[0].steps + 1

    def _watch(self, piece: Piece) -> list[Piece | float]:
        n = len(piece.t)
        out: list[Piece | float] = []
        gone = end = 0  # samples that stand in `out`, and that were looked at
        while end + self._due - self._n <= n:
            begin, end = end, end + self._due - self._n
            self._stamps[self._n : self._due] = piece.t[begin:end]
            self._n = self._due
            hz = self._contradicted()
            if hz is not None:
                out += [piece.part(gone, end), hz]
                self._hz, gone = hz, end
            if hz is not None or self._n == len(self._stamps):
                self._begin(piece.t[end - 1 : end])
            else:
                self._due += self._blocks[0].steps
        self._stamps[self._n : self._n + n - end] = piece.t[end:]
        self._n += n - end
        return out if gone == n else [*out, piece.part(gone) if gone else piece]

    def _contradicted(self) -> float | None:
        """The rate that a block which has just ended gives, where it is not the one that was known."""
        for steps, by, most in self._blocks:
            if (self._n - 1) % steps:
                continue
            known, block = self._hz, self._stamps[self._n - 1 - steps : self._n]
            assert known is not None
            off = float(block[-1] - block[0]) * known / steps
            if 1 / by <= off <= by:
                continue
            scaled = np.diff(block) * known
            if np.count_nonzero(scaled > by if off > 1 else scaled < 1 / by) < most:
                continue
            found = self._measure(block)
            if found is None or known / by <= found <= known * by or (found < known) != (off > 1):
                continue
            if self._told_hz:
                self._counters.note_told(self._told_hz, found)
            else:
                if not known / _ANOTHER <= found <= known * _ANOTHER:
                    self._counters.note_change(known, found)
                return found
        return None

    def _measure(self, t: Times) -> float | None:
        """Samples per second by these stamps, to four digits: the others are the rounding of stamps."""
        steps = np.diff(t)
        step_s = _median(steps) if self._back_s is None else _arrived(steps, self._back_s)
        if not step_s > 0:
            return None
        hz = min(max(1 / step_s, self._rate_hz / _FASTEST), self._rate_hz * _FASTEST)
        if self._back_s is not None and self._rate_hz / _NEAR <= hz <= self._rate_hz * _NEAR:
            return self._rate_hz
        return float(f"{hz:.4g}")


def _arrived(steps: Times, back_s: float) -> float:
    """Seconds per sample from the first beginning of a burst to the last; 0 where that is not known."""
    good = (steps >= 0) & (steps <= back_s)
    if not good.any():
        return 0.0
    rises = np.flatnonzero(good & (steps > steps[good].mean() / 2)) + 1
    first = int(rises[0]) if len(rises) > 1 else 0
    between = slice(first, int(rises[-1]) if len(rises) else 0)
    n = np.count_nonzero(good[between])
    return float(steps[between][good[between]].sum()) / n if n else 0.0


def _median(steps: Times) -> float:
    """As NumPy's, which takes longer than everything else here; 0 of none."""
    n = len(steps)
    middle = np.sort(steps)[(n - 1) // 2 : n // 2 + 1]
    return float(middle.mean()) if n else 0.0
