"""The newest rows of one clock, from which windows are cut.

    queue    [stretch][stretch]        rows that wait, where another clock lags behind
                |
    rows     |..base..........end..|   room for four windows; when it is full, its tail moves to the front

Beside each row lie a flag (filled, saturated, padded) and its place among the source's samples, which tell the quality
of a window. Rows that came by the short way have neither, and cost neither.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from runtime.window.pieces import PADDED, Counters, Flags, Rows, Stretch, Times, after

CAPACITY_WINDOWS = 4


class Buffer:
    """The newest rows of one clock, with what there is to say of them, and the stretches that wait for room."""

    def __init__(self, length: int, hop: int, n_channels: int, counters: Counters) -> None:
        self.length, self.hop, self._counters = length, hop, counters
        self.used = 0  # place after the last row that a window held
        self._rows = np.zeros((length * CAPACITY_WINDOWS, n_channels), np.float32)
        self._flags = np.zeros(len(self._rows), np.uint8)
        self._places = np.zeros(len(self._rows), np.float64)
        self._offs: Times | None = None  # of stamps of arrival: how late each row's sample was
        self._steps = np.arange(length) - (length - 1) / 2
        self._steps_squared = float(np.dot(self._steps, self._steps))
        self.clear(0)

    def clear(self, first: int = 0) -> None:
        """Empty; the next row has this place on the grid."""
        self.base = self.end = first  # places of the first row held, and of the row that comes next
        self._flagged = self._unplaced = first  # no row from here on has a flag; no row before here has a place
        self._written = first  # flags of the rows before here are in place; those from here on are none
        self.queue: list[Stretch] = []

    def append(self, rows: Rows, begin: int) -> bool:
        """The short way for rows of which there is nothing to say; whether there was room.

        Args:
            rows: shape (n, n_channels), the next of the grid.
            begin: place on the grid; rows from there on are kept.
        """
        at, n = self.end - self.base, len(rows)
        if at + n > len(self._rows):
            self._forget(begin)
            at = self.end - self.base
            if at + n > len(self._rows):
                return False
        self._rows[at : at + n] = rows
        self.end = self._unplaced = self.end + n
        return True

    def reach(self, beat: int) -> bool:
        """Take rows until the window of this beat is complete; whether it is."""
        begin = beat * self.hop
        while self.end < begin + self.length and self.queue:
            stretch = self.queue.pop(0)
            if stretch.first != self.end:  # rows were left out: what is here will not be continued
                self.lose(beat)
                queue = self.queue
                self.clear(stretch.first)
                self.queue = queue
            self._put(stretch, begin)
        return self.end >= begin + self.length

    def _put(self, stretch: Stretch, begin: int) -> None:
        """Append as many rows as there is room for; the others go back into the queue."""
        n, at = len(stretch.rows), self.end - self.base
        if at + n > len(self._rows):
            self._forget(begin)
            at = self.end - self.base
            n = min(n, len(self._rows) - at)
            if n < len(stretch.rows):
                self.queue.insert(0, after(stretch, n))
        self._rows[at : at + n] = stretch.rows[:n]
        if stretch.flags is not None:
            self._write_flags(self.end)
            self._flags[at : at + n] = stretch.flags[:n]
            self._flagged = self._written = self.end + n
        if stretch.places is not None:
            self._places[at : at + n] = stretch.places[:n]
        if stretch.offs is not None:
            self._offs = np.zeros(len(self._rows)) if self._offs is None else self._offs
            self._offs[at : at + n] = stretch.offs[:n]
        self.end += n
        if stretch.places is None:
            self._unplaced = self.end

    def _write_flags(self, until: int) -> None:
        """Rows that came by the short way have no flags; that is written only when somebody asks."""
        self._flags[max(self._written - self.base, 0) : until - self.base] = 0
        self._written = max(self._written, until)

    def _forget(self, begin: int) -> None:
        """Make room: rows before this place are no longer needed."""
        first = max(min(begin, self.end), self.base)
        keep, left = slice(first - self.base, self.end - self.base), self.end - first
        for array in (self._rows, self._flags, self._places, self._offs):
            if array is not None:
                array[:left] = array[keep]
        self.base = first

    def bound(self, limit: int) -> None:
        """Let the oldest of the waiting rows go where other clocks lag too far behind."""
        excess = sum(len(stretch.rows) for stretch in self.queue) - limit
        while excess > 0:
            n = min(excess, len(self.queue[0].rows))
            self._counters.rows_dropped += n
            excess -= n
            self.queue[:1] = [after(self.queue[0], n)] if n < len(self.queue[0].rows) else []

    def pad(self, until: int, pad: Literal["hold", "zero"]) -> None:
        """Add rows that nobody measured, to fill up the last window."""
        n = max(until - self.end, 0)
        last = self._rows[self.end - self.base - 1] if pad == "hold" and self.end > self.base else 0
        rows = np.broadcast_to(np.float32(last), (n, self._rows.shape[1]))
        self.queue.append(Stretch(self.end, rows, np.full(n, PADDED), None))

    def lose(self, beat: int) -> None:
        """The rows that wait for the window of this beat, and for later ones, will have none."""
        self._counters.rows_dropped += self.unused(beat)

    def unused(self, beat: int, until: int | None = None) -> int:
        """Rows here for this window and later ones, in none that was given; all, or those before a place."""
        first = max(self.used, beat * self.hop, self.base)
        end = self.end if until is None else min(self.end, until)
        return max(self.wanted(end) - self.wanted(first), 0)

    def wanted(self, end: int) -> int:
        """How many rows before this place lie in windows; where the hop is longer than the window, some do not."""
        span = min(self.length, self.hop)
        return end // self.hop * span + min(end % self.hop, span)

    def rows(self, begin: int) -> Rows:
        """The window that begins at this place of the grid, shape (length, n_channels); a view."""
        return self._rows[begin - self.base : begin - self.base + self.length]

    def last(self) -> Rows:
        """A copy of the newest row, shape (1, n_channels)."""
        return np.array(self._rows[self.end - self.base - 1 : self.end - self.base])

    def is_clean(self, begin: int) -> bool:
        """Whether the window that begins here is whole, and there is nothing to say of it."""
        return self.base <= begin and self._flagged <= begin < self._unplaced

    def has_flags(self, begin: int) -> bool:
        """Whether there may be something to say of a row of the window that begins here."""
        return self._flagged > begin

    def has_places(self, begin: int) -> bool:
        """Whether it is known at which sample each row of the window lies."""
        return self._unplaced <= begin

    def flags(self, begin: int) -> Flags:
        """What is to be said of each row of the window that begins here, shape (length,); a view."""
        self._write_flags(self.end)
        return self._flags[begin - self.base : begin - self.base + self.length]

    def line(self, begin: int) -> tuple[float, float]:
        """Samples per row, and the rms in samples by which rows lie off that line."""
        places = self._places[begin - self.base : begin - self.base + self.length]
        off = places - places.sum() / self.length
        slope = float(np.dot(self._steps, off)) / self._steps_squared if self.length > 1 else 1.0
        off -= slope * self._steps
        return slope, math.sqrt(float(np.dot(off, off)) / self.length)

    def scatter_s(self, begin: int) -> float | None:
        """Seconds, rms, by which the rows' samples arrived unevenly; None where stamps are of measurement."""
        if self._offs is None:
            return None
        offs = self._offs[begin - self.base : begin - self.base + self.length]
        return float(offs.std())
