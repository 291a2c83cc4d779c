"""From samples in order to even rows: straight lines between the samples, read at the beat of the model.

    samples        x    x     x   x      x    x     x         true times, jittered, at a rate of their own
    grid rows      |----|----|----|----|----|----|----|       origin + k / rate_hz

Every value is computed from its own neighbours in an order that does not depend on how the samples were pushed, so any
chunking gives the same rows, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from runtime.window.pieces import FILLED, SATURATED, Flags, Piece, Rows, Stretch, Times, joined

REAL_PERIODS = 1.5  # rows between samples further apart than this many periods of the source count as filled
ON_GRID = 1e-3  # rows; a sample nearer to the beat than this is the row
_MOST_ROWS = 2048  # that are read at once, where a step fills more of them than there are samples
_MOST_KEPT = 256  # samples since the newest row; of older ones only the flags are kept


class Grid:
    """Reads straight lines between stamped samples at an even beat.

    Args:
        origin_s: time of row 0.
        rate_hz: rows per second.
        source_hz: samples per second, about.
        hold_s: across longer steps than this the last sample is repeated instead of drawing a line.
        stamped: whether the source gave the times; if not, nothing is to be learnt of its clock.
    """

    def __init__(
        self, origin_s: float, rate_hz: float, source_hz: float, hold_s: float = math.inf, *, stamped: bool = True
    ) -> None:
        self._stamped = stamped
        self.origin_s, self._rate_hz = origin_s, rate_hz
        self.retune(source_hz, hold_s)
        self._samples = 0  # that came so far
        self._last: Piece | None = None  # the samples that later rows need, with their places on the grid for times
        self._flagged = False  # whether a sample was saturated that came since the newest row and is not kept
        self._tail: Rows | None = None  # the newest sample's values, if it took the short way
        self._tail_s = 0.0  # and its time: its place as of any other sample, to the last bit
        self._bridge: int | None = None
        self.next = 0  # the first row that is still to come

    def retune(self, source_hz: float, hold_s: float) -> None:
        """The source has this rate from the next sample on; the arguments are those of the class."""
        self._real = REAL_PERIODS * self._rate_hz / source_hz + ON_GRID  # rows between two samples
        self._hold = hold_s * self._rate_hz

    def leap(self, bridge: int) -> None:
        """Before the next sample lies a hole: fill only so many rows at either end of it."""
        self._bridge = bridge

    def is_next(self, t_s: float) -> bool:
        """Whether a sample of this instant would be the next row, and the one before it is the row before."""
        if self._last is None or abs(self.place(t_s) - self.next) > ON_GRID:
            return False
        return abs(float(self._last.t[-1]) - (self.next - 1)) <= ON_GRID

    def place(self, t_s: float) -> float:
        """Rows from the origin to an instant."""
        return (t_s - self.origin_s) * self._rate_hz

    def follow(self, n: int, last: Rows, last_s: float) -> None:
        """Samples were rows themselves, each right after the one before.

        Args:
            n: so many.
            last: the last of them, shape (1, n_channels).
            last_s: its time.
        """
        self._tail_s = last_s
        self.next += n
        self._samples += n
        self._tail = last

    def push(self, piece: Piece) -> Iterable[Stretch]:
        """Samples in, the rows up to the last of them out; read when they are asked for, some at a time."""
        if self._tail is not None:
            self._last = Piece(np.array([self.place(self._tail_s)]), self._tail, np.zeros(1, np.uint8))
            self._tail = None
        at = (piece.t - self.origin_s) * self._rate_hz
        placed, n = (
            Piece(at, piece.rows, piece.flags, piece.off),
            self._samples,
        )  # with places on the grid instead of times
        ranges = self._ranges(placed)
        self._samples = n + len(at)
        told = self._last is None or not (self._flagged or self._last.flags.any())
        if told and len(ranges) == 1 and _is_even(at, *ranges[0]):
            self._keep(placed)
            return [self._stretch(ranges[0][0], piece.rows, piece.flags, n + np.arange(float(len(at))), piece.off)]
        if self._last is not None:
            placed, n = joined(self._last, placed), n - len(self._last.t)
        most = max(_MOST_ROWS, len(placed.t))
        spans = [(i, min(i + most, end)) for begin, end in ranges for i in range(begin, end, most)]
        flagged, self._flagged = self._flagged, self._flagged and not spans
        self._keep(placed)
        longest = self._real, self._hold  # of this piece, whenever its rows are asked for
        return (self._read(span, placed, n, longest, flagged=flagged and span is spans[0]) for span in spans)

    def _keep(self, placed: Piece) -> None:
        """The samples since the newest row, and at least one."""
        first = min(int(np.searchsorted(placed.t + ON_GRID, self.next - 1)), len(placed.t) - 1)
        last = len(placed.t) - _MOST_KEPT
        if last > first:  # a clock that nearly stands still
            is_row = placed.t[first] - (self.next - 1) <= ON_GRID
            self._flagged = self._flagged or bool(placed.flags[first + is_row : last].any())
            first = last
        t, rows, flags, off = placed.part(first)
        self._last = Piece(t.copy(), rows.copy(), flags.copy(), off)  # the caller's array is the caller's

    def _ranges(self, placed: Piece) -> list[tuple[int, int]]:
        """Rows to read: all up to the newest sample, or without the middle of a hole."""
        bridge, self._bridge = self._bridge, None
        first, self.next = self.next, max(math.floor(float(placed.t[-1]) + ON_GRID) + 1, self.next)
        if bridge is not None and self._last is not None:
            left, right = first + bridge, math.ceil(float(placed.t[0]) - ON_GRID) - bridge
            if left < right:
                return [(first, left), (right, self.next)]
        return [(first, self.next)]

    def _read(
        self, span: tuple[int, int], placed: Piece, n: int, longest: tuple[float, float], *, flagged: bool
    ) -> Stretch:
        """Values at these rows; `n` samples came before those given, and one of them flagged the first row."""
        real, hold = longest
        beat = np.arange(*span)
        at, rows, flags, offs = placed
        after = np.searchsorted(at + ON_GRID, beat)  # the first sample that is not before the row
        before = np.maximum(after - 1, 0)
        earlier, later, lower, upper = at[before], at[after], rows.take(before, 0), rows.take(after, 0)
        step = later - earlier
        exact = (later - beat <= ON_GRID) | (step <= 0)
        between = not exact.any()  # what is common: then there is nothing to choose
        share = (beat - earlier) / (step if between else np.where(exact, 1.0, step))
        if not between:
            share[exact] = 1.0
        if hold < math.inf:
            share[(step > hold) & ~exact] = 0.0
        values = (lower + share[:, None] * (upper.astype(np.float64) - lower)).astype(np.float32)
        if not between:
            values[exact] = upper[exact]
        found = np.zeros(len(beat), np.uint8)
        if flags.any():
            found[_touched(at, beat, np.where(exact, after, before), after, flags)] = SATURATED
        if flagged:
            found[0] |= SATURATED
        far = step > real
        if far.any():
            found[far & ~exact] |= FILLED
        places: Times = n + before + share * (after - before)
        return self._stretch(int(beat[0]), values, found, places, None if offs is None else offs[after])

    def _stretch(self, first: int, rows: Rows, flags: Flags, places: Times, offs: Times | None) -> Stretch:
        return Stretch(first, rows, flags if flags.any() else None, places if self._stamped else None, offs)


def _touched(
    at: Times, beat: NDArray[np.int64], left: NDArray[np.intp], right: NDArray[np.intp], flags: Flags
) -> NDArray[np.bool_]:
    """Rows with a saturated sample among those they lie between, or among those that came since the row before."""
    since = np.searchsorted(at + ON_GRID, beat - 1)
    since += at[since] - (beat - 1) <= ON_GRID
    flagged = np.concatenate([[0], np.cumsum(flags & SATURATED > 0)])
    touched: NDArray[np.bool_] = flagged[right + 1] > flagged[np.minimum(since, left)]
    return touched


def _is_even(at: Times, begin: int, end: int) -> bool:
    """Whether the samples are the rows from begin to end."""
    if len(at) != end - begin or abs(at.item(-1) - (end - 1)) > ON_GRID:  # the last alone says no nearly always
        return False
    return bool((np.abs(at - np.arange(begin, end)) <= ON_GRID).all())
