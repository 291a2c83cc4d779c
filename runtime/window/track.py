"""One clock's part of a stream: samples in, rows of the grid out, and what happens at a gap.

    samples  ->  readable?
             ->  Order      reordered within a bound, or the jitter of arrival smoothed away
             ->  Rate       how fast the source is; of stamps of arrival before they are smoothed
             ->  gaps       joined, bridged, or the end of a segment
             ->  LowPass    where the source is faster than the model
             ->  Grid       rows at the model's beat: Stretch, Stretch, Segment, Stretch, ...

A `Segment` says that a new grid begins: after a gap under `split`, or when the clock was set back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.specs import ClockSpec
from runtime.window.grid import ON_GRID, REAL_PERIODS, Grid
from runtime.window.lowpass import DECIMATES, LowPass
from runtime.window.order import Order, Smoother
from runtime.window.pieces import SATURATED, Counters, Piece, Rows, Stretch, Times, joined, no_samples
from runtime.window.rate import Rate

SPARSE = 0.25  # times the model's rate: of a slower source three rows of four are made up, and that is said
_SLACK_S = 1e-6  # stamps are rounded: a step of exactly `gap_s` is no gap
_LATEST_S = 1e11  # the year 5138: a stamp beyond it has another unit or is damaged
_HELD_WINDOWS, _MOST_HELD = 4, 1 << 14  # of a clock that waits for another one to begin: windows, and samples at most
_FILLED_WINDOWS, _FILLED_ROWS = 8, 1024  # what a step fills at most: the more of them
_FARTHEST_ROWS = 2.0**52  # from the origin of a grid: beyond, float64 does not tell a row from the next one


def lies_within(values: NDArray[np.floating], limit: float) -> bool:
    """Whether all are numbers, and nearer to 0 than the limit.

    Args:
        values: shape (n,), n at least 1.
        limit: above 0.
    """
    item: Callable[[np.intp], float] = values.item  # a NaN would be both the largest and the least
    return item(values.argmax()) < limit and item(values.argmin()) > -limit


class Segment(NamedTuple):
    """Says that a new grid begins."""

    origin_s: float  # time of its row 0; NaN where several clocks have yet to agree on it


Out: TypeAlias = list[Iterable[Stretch] | Segment]  # a Segment is a tuple, too: look for it first


class Track:
    """What one clock's samples go through.

    Args:
        rate_hz: rows per second that the model wants.
        full_scale: shape (n_channels,), the largest float32 where the range of the sensor is not known.
        length: rows of a window.
        spec: what is done about an uneven clock.
        source_hz: samples per second of the source; None measures it.
        counters: of the stream.
        shared: other clocks run beside this one: the grid begins where it is told, and a gap leaves rows out of it
            instead of ending it.
    """

    def __init__(
        self,
        rate_hz: float,
        full_scale: NDArray[np.float32],
        length: int,
        spec: ClockSpec,
        source_hz: float | None,
        counters: Counters,
        *,
        shared: bool = False,
    ) -> None:
        self._rate_hz, self._full_scale, self._length, self._shared = rate_hz, full_scale, length, shared
        self._spec, self._counters, self._least_scale = spec, counters, float(full_scale.min())
        self._given_hz = None if source_hz is None else float(source_hz)
        self._most_s = max(_FILLED_WINDOWS * length, _FILLED_ROWS) / rate_hz  # that a step fills
        self._nothing = no_samples(len(full_scale))
        self._held: list[tuple[int | None, Piece]] = []  # of a grid without an origin: runs, and how far to leap before
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next sample is the first of a new stream."""
        self._source_hz: float | None = None
        self._rate: Rate | None = None  # none for samples without time stamps
        self._order: Order | Smoother | None = None  # the latter once the rate is known
        self._low_pass: LowPass | None = None
        self._index = 0  # of the next sample, where there are no time stamps
        self.restart()

    def restart(self) -> None:
        """The next sample begins a new grid."""
        self._last_s = math.nan  # time of the newest sample
        self._grid: Grid | None = None
        self._counters.rows_dropped += sum(len(run.t) for _, run in self._held)
        self._held = []

    @property
    def first_s(self) -> float | None:
        """Time of the first sample that waits for the grid to get an origin."""
        return float(self._held[0][1].t[0]) if self._held and len(self._held[0][1].t) else None

    def begin(self, origin_s: float) -> Out:
        """Give a shared grid its origin; the rows of the samples that waited for it."""
        held, self._held = self._held, []
        self._grid = self._new_grid(origin_s)
        out: Out = []
        for bridge, run in held:
            if bridge is not None:
                self._grid.leap(bridge)
            out += self._read(run)
        return out

    def _new_grid(self, origin_s: float) -> Grid:
        source_hz = self._source_hz or self._rate_hz
        return Grid(origin_s, self._rate_hz, source_hz, self._hold_s, stamped=self._rate is not None)

    @property
    def _hold_s(self) -> float:
        return self._gap_s + _SLACK_S if self._spec.gap == "hold" else math.inf

    @property
    def delay_s(self) -> float:
        """Seconds that samples are held back: to be put in order, and by the low-pass."""
        return self._spec.reorder_s + (self._low_pass.delay_s if self._low_pass else 0.0)

    def push(self, rows: Rows, t: Times | None) -> Out:
        """Samples in, rows of the grid and beginnings of grids out, in order.

        Args:
            rows: shape (n, n_channels).
            t: shape (n,), seconds; None: they follow one another at the source's rate.
        """
        if t is None:
            source_hz = self._source_hz or self._given_hz or self._rate_hz
            if self._source_hz is None:
                self._settle(source_hz)
            t = np.arange(self._index, self._index + len(rows)) / source_hz
            self._index += len(rows)
            piece = self._readable(t, rows)
            return self._accept(piece) if len(piece.t) else []
        piece = self._readable(t, rows)
        if not len(piece.t):
            return []
        if self._rate is None:
            self._open()
        if not isinstance(self._order, Order):
            return self._rated(piece)
        out: Out = []
        for i, part in enumerate(self._order.push(piece)):
            if i:
                out += self._set_back()
            if len(part.t):
                out += self._rated(part)
        return out

    @property
    def is_even(self) -> bool:
        """Whether samples without time stamps that are all numbers would now be rows of the grid as they are."""
        if self._grid is None or self._rate is not None or self._source_hz != self._rate_hz:
            return False
        return self._grid.is_next(self._index / self._rate_hz)

    def follow(self, n: int, last: Rows) -> None:
        """Samples took the short way of which `is_even` was true.

        Args:
            n: so many.
            last: the last of them, shape (1, n_channels).
        """
        self._index += n
        self._last_s = (self._index - 1) / self._rate_hz
        if self._grid is not None:
            self._grid.follow(n, last, self._last_s)

    def flush(self) -> Out:
        """What is still held back; nothing more comes."""
        out: Out = []
        if isinstance(self._order, Order):
            held = self._order.flush()
            out += self._rated(held) if len(held.t) else []
        return out + self._guess() + self._drain()

    def _readable(self, t: Times, rows: Rows) -> Piece:
        """The samples that are numbers, with a flag on those at the end of the sensor's range."""
        flags = np.zeros(len(t), np.uint8)
        if lies_within(rows.ravel(), self._least_scale) and lies_within(t, _LATEST_S):
            return Piece(t, rows, flags)
        good = (np.abs(t) <= _LATEST_S) & np.isfinite(rows).all(axis=1)
        flags[(np.abs(rows) >= self._full_scale).any(axis=1)] = SATURATED
        if not good.all():
            self._counters.not_finite += len(good) - int(good.sum())
            t, rows, flags = t[good], rows[good], flags[good]
        self._counters.saturated += int(np.count_nonzero(flags))
        return Piece(t, rows, flags)

    def _open(self) -> None:
        """The first stamp has come."""
        arrival = self._spec.stamps == "arrival"
        first_s = (self._length - 1.5) / self._rate_hz  # no longer: with the last row the first window is full
        back_s = self._spec.back_s if arrival else None
        self._rate = Rate(self._rate_hz, first_s, self._given_hz, back_s, self._counters)
        if not arrival:
            self._order = Order(self._spec, len(self._full_scale), self._counters)

    def _rated(self, piece: Piece) -> Out:
        """Samples go on as soon as the source's rate is known."""
        assert self._rate is not None
        if self._rate.passes(piece.t):
            return self._accept(piece) if isinstance(self._order, Order) else self._go_on([piece])
        return self._go_on(self._rate.take(piece))

    def _guess(self) -> Out:
        """Samples that wait for the rate to be known go on without."""
        return self._go_on(self._rate.end()) if self._rate is not None else []

    def _go_on(self, items: list[Piece | float]) -> Out:
        out: Out = []
        for item in items:
            if isinstance(item, float):
                out += self._settle(item)
            elif isinstance(self._order, Smoother):
                for i, part in enumerate(self._order.push(item)):
                    out += self._set_back() if i else []
                    out += self._accept(part) if len(part.t) else []
            else:
                out += self._accept(item)
        return out

    def _settle(self, source_hz: float) -> Out:
        """The source has this rate from the next sample on."""
        out = self._drain()
        self._source_hz, self._low_pass = source_hz, None
        if source_hz < SPARSE * self._rate_hz:
            self._counters.note_sparse(source_hz, self._rate_hz)
        if source_hz > DECIMATES * self._rate_hz:
            self._low_pass = LowPass(source_hz, self._rate_hz, len(self._full_scale))
        gap_s = REAL_PERIODS / source_hz if self._spec.gap_s is None else self._spec.gap_s
        self._gap_s = min(gap_s, self._most_s)
        if self._grid is not None:
            self._grid.retune(source_hz, self._hold_s)
        if isinstance(self._order, Smoother):
            self._order.retune(1 / source_hz)
        elif self._rate is not None and self._order is None:
            self._order = Smoother(1 / source_hz, self._spec, self._counters)
        return out

    def _accept(self, piece: Piece) -> Out:
        """Samples in order, of a source whose rate is known: find the gaps between them."""
        longest_s = self._gap_s + _SLACK_S
        steps = piece.t[1:] - piece.t[:-1]
        first_is_near = not piece.t[0] - self._last_s > longest_s  # nothing came before: no gap
        if first_is_near and not (steps > longest_s).any():
            return self._run(piece)
        gaps = np.flatnonzero(np.concatenate([[not first_is_near], steps > longest_s]))
        out: Out = []
        for begin, end in pairwise([0, *gaps[gaps > 0].tolist(), len(piece.t)]):
            if begin in gaps:
                out += self._gap(float(piece.t[begin]) - self._last_s)
            out += self._run(piece.part(begin, end))
        return out

    def _run(self, piece: Piece) -> Out:
        """Samples without a gap between them."""
        self._last_s = float(piece.t[-1])
        return self._read(self._low_pass.push(piece) if self._low_pass else piece)

    def _read(self, piece: Piece) -> Out:
        if not len(piece.t):
            return []
        if self._grid is not None:
            if self._shared and piece.t[0] < self._grid.origin_s:  # before the other clocks began
                before_s = self._grid.origin_s - (1 - ON_GRID) / self._rate_hz  # later ones are the left ends of lines
                self._counters.rows_dropped += int(np.searchsorted(piece.t, before_s))
            return [self._grid.push(piece)]
        if self._shared:
            self._hold(piece)
            return []
        self._grid = self._new_grid(float(piece.t[0]))
        return [Segment(self._grid.origin_s), self._grid.push(piece)]

    def _hold(self, piece: Piece) -> None:
        """Keep samples until the other clocks have begun, but no more than some windows of them."""
        bridge, run = self._held.pop() if self._held else (None, self._nothing)
        self._held.append((bridge, joined(run, piece)))
        oldest_s = float(piece.t[-1]) - _HELD_WINDOWS * self._length / self._rate_hz
        excess = sum(len(run.t) for _, run in self._held) - _MOST_HELD
        while self._held[0][1].t[0] < oldest_s or excess > 0:
            bridge, run = self._held[0]
            n = min(max(int(np.searchsorted(run.t, oldest_s)), excess), len(run.t))
            excess -= n
            self._counters.rows_dropped += n
            self._held[:1] = [(None, run.part(n))] if n < len(run.t) else []

    def _gap(self, step_s: float) -> Out:
        """The next sample comes so long after the last one."""
        self._counters.gaps += 1
        out = self._drain()
        if self._grid is not None and self._grid.place(self._last_s + step_s) > _FARTHEST_ROWS:
            return out + self._set_back()
        longest_s = min(self._spec.longest_hold_s, self._most_s)
        ends = self._spec.gap == "split" or (self._spec.gap == "hold" and step_s > longest_s)
        bridge = self._length if self._spec.gap == "mark" else 0 if ends else None
        if ends and not self._shared:
            self.restart()
        elif self._grid is None:
            self._held.append((bridge, self._nothing))
        elif bridge is not None:
            self._grid.leap(bridge)
        return out

    def _set_back(self) -> Out:
        """The clock was set back: what came before stands for itself."""
        out = [*(self._guess() if isinstance(self._order, Order) else []), *self._drain()]
        self.restart()
        return [*out, Segment(math.nan)] if self._shared else out

    def _drain(self) -> Out:
        return self._read(self._low_pass.drain()) if self._low_pass else []
