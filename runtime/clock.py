"""The clock of a source: from stamped samples, as they arrive, to even rows.

    arriving  ->  Order      reordered within a bound; late, doubled and unreadable samples left out, and counted
              ->  LowPass    where the source is faster than the model: nothing above the model's Nyquist rate is left
              ->  Grid       straight lines between the samples, read at the beat of the model:

    samples        x    x     x   x      x    x     x         true times, jittered, at a rate of their own
    grid rows      |----|----|----|----|----|----|----|       origin + k / rate_hz

Every value is computed from its own neighbours in an order that does not depend on how the samples were pushed, so any
chunking gives the same rows, bit for bit. Gaps are decided in `runtime.track`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BundleError

Times = NDArray[np.float64]
Rows = NDArray[np.float32]
Flags = NDArray[np.uint8]

FILLED, SATURATED, PADDED = np.uint8(1), np.uint8(2), np.uint8(4)  # what a flag says of a row
REAL_PERIODS = 1.5  # rows between samples further apart than this many periods of the source count as filled
DECIMATES = 1.25  # sources faster than the model by more than this are low-passed
_Gap: TypeAlias = Literal["split", "hold", "mark"]
_Stamps: TypeAlias = Literal["measured", "arrival"]
_Unit: TypeAlias = Literal["s", "ns"]

_ON_GRID = 1e-3  # rows; a sample nearer to the beat than this is the row
_PERIODS = 5  # of the model's rate: half the length of the low-pass, and so its delay
_CUTOFF = 0.8  # of the model's Nyquist rate: where the low-pass lets half of the amplitude through
_SMOOTHING = 0.02, 0.0001  # gains of the line through the arrival times: position, period
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ClockSpec:
    """What is done about time stamps that are late, uneven or missing.

    The manifest has one; a `Stream` may be given another, as these are facts of the sensor and its wire as well.
    """

    gap: _Gap = "split"
    # split: no window spans a gap, the first sample after it starts a new segment
    # hold:  the last sample is repeated, for at most `longest_hold_s`; beyond that as split
    # mark:  a straight line bridges the gap and the windows keep their beat; those with too little in them are left out
    gap_s: float | None = (
        None  # samples further apart are a gap, nearer ones are joined; None: 1.5 periods of the source
    )
    longest_hold_s: float = 0.5
    least_real: float = 0.5  # mark: the share of real rows below which a window is not given
    reorder_s: float = 0.0  # a sample may come this much later than a newer one; all are held back as long
    back_s: float = 1.0  # a sample that is older than the newest by more means that the clock was set back
    stamps: _Stamps = "measured"  # arrival: times of arrival, whose jitter is smoothed away
    unit: _Unit = "s"  # of the time stamps

    def __post_init__(self) -> None:
        numbers = [value for value in (getattr(self, f.name) for f in fields(self)) if isinstance(value, float | int)]
        for name, words in (("gap", _Gap), ("stamps", _Stamps), ("unit", _Unit)):
            if getattr(self, name) not in get_args(words):
                raise BundleError(
                    "clock",
                    expected=f"{name} as one of {', '.join(get_args(words))}",
                    got=f"{name} {getattr(self, name)}",
                    fix="Correct `clock`.",
                )
        if not all(math.isfinite(number) and number >= 0 for number in numbers) or self.least_real > 1:
            raise BundleError(
                "clock",
                expected="times of at least 0 seconds and least_real from 0 to 1",
                got=", ".join(f"{f.name} {getattr(self, f.name)}" for f in fields(self)),
                fix="Correct `clock`.",
            )


@dataclass
class Counters:
    """What became of a stream's samples so far. `Stream.counters` is the live object: read it, do not write it."""

    samples: int = 0  # pushed
    not_finite: int = 0  # left out: NaN or infinite, or with such a time stamp
    late: int = 0  # left out: older than a newer one by more than `reorder_s`
    duplicates: int = 0  # left out: the time stamp of another one
    reordered: int = 0  # put back into their place
    saturated: int = 0  # kept: at the end of the sensor's range
    gaps: int = 0  # steps longer than `gap_s`
    clock_back: int = 0  # times that the clock was set back
    rows_filled: int = 0  # rows of the grid inside a hole of the samples
    rows_dropped: int = 0  # rows that no window holds because a gap, a set-back or a lagging modality came between
    windows: int = 0  # given
    windows_skipped: int = 0  # not given: too little in them


class Piece(NamedTuple):
    """Samples in the order of their times."""

    t: Times  # shape (n,), seconds, rising
    rows: Rows  # shape (n, n_channels)
    flags: Flags  # shape (n,)

    def part(self, begin: int, end: int | None = None) -> Piece:
        """Those from one place to another."""
        return Piece(self.t[begin:end], self.rows[begin:end], self.flags[begin:end])

    def at(self, which: NDArray[Any]) -> Piece:
        """Those that a mask or a list of places chooses."""
        return Piece(self.t[which], self.rows[which], self.flags[which])


def joined(first: Piece, second: Piece) -> Piece:
    """One piece after the other."""
    t, rows, flags = ((first.t, second.t), (first.rows, second.rows), (first.flags, second.flags))
    return Piece(np.concatenate(t), np.concatenate(rows), np.concatenate(flags))


def no_samples(n_channels: int) -> Piece:
    """A piece of length 0."""
    return Piece(np.zeros(0), np.zeros((0, n_channels), np.float32), np.zeros(0, np.uint8))


class Order:
    """Puts samples into the order of their stamps, as far as `reorder_s` allows, and notices a clock that is set back.

    A sample is let through when one arrives that is newer by `reorder_s`: no older one is then waited for.
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
        ready = []
        while len(piece.t):
            newest = np.maximum.accumulate(np.concatenate([[self._newest], piece.t[:-1]]))
            back = np.flatnonzero(piece.t < newest - self._spec.back_s)
            n = int(back[0]) if len(back) else len(piece.t)
            ready.append(self._in_order(piece.part(0, n), newest[:n]) if n else self._nothing)
            if n < len(piece.t):
                ready[-1] = joined(ready[-1], self.flush())
                self._counters.clock_back += 1
                self.reset()
            piece = piece.part(n)
        return ready

    def flush(self) -> Piece:
        """What is still held back."""
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
        smooth = Piece(np.array(times), piece.rows, piece.flags)
        return [smooth.part(begin, end) for begin, end in zip([0, *backs], bounds, strict=True)]

    def flush(self) -> Piece:
        """Nothing is held back."""
        return Piece(np.zeros(0), np.zeros((0, 0), np.float32), np.zeros(0, np.uint8))


class LowPass:
    """A linear-phase filter at the source's rate, for sources that are faster than the model.

    A windowed sinc of 10 periods of the model's rate (Hamming), -6 dB at 0.8 of the model's Nyquist rate; the same as
    `scipy.signal.firwin`. The rows keep their own times, they only come out later, by `delay_s`. Where a run of
    samples begins or ends, its first or last one is repeated.
    """

    def __init__(self, source_hz: float, rate_hz: float, n_channels: int) -> None:
        self._half = round(_PERIODS * source_hz / rate_hz)
        self.taps = _low_pass(self._half, _CUTOFF * rate_hz / source_hz)
        self.delay_s = self._half / source_hz
        self._nothing = no_samples(n_channels)
        self._begin()

    def _begin(self) -> None:
        self._rows = self._nothing.rows.astype(np.float64)  # those that later rows still need
        self._waiting = self._nothing  # samples whose filtered value is not known yet

    def push(self, piece: Piece) -> Piece:
        """Samples in, filtered ones out, as many as have all their neighbours."""
        if not len(self._waiting.t) and not len(self._rows):
            self._rows = np.repeat(piece.rows[:1].astype(np.float64), self._half, axis=0)
        return self._filtered(piece.rows, joined(self._waiting, piece))

    def drain(self) -> Piece:
        """The run of samples has ended: what is left of it."""
        if not len(self._waiting.t):
            return self._nothing
        rest = self._filtered(np.repeat(self._waiting.rows[-1:], self._half, axis=0), self._waiting)
        self._begin()
        return rest

    def _filtered(self, new: Rows, waiting: Piece) -> Piece:
        rows = np.concatenate([self._rows, new])
        n = max(len(rows) - 2 * self._half, 0)
        self._rows, self._waiting = rows[n:], waiting.part(n)
        sums = rows[self._half : self._half + n] * self.taps[self._half]
        for k in range(self._half):  # one tap at a time: a matrix product would round by the size of the chunk
            sums += self.taps[k] * (rows[k : k + n] + rows[2 * self._half - k : 2 * self._half - k + n])
        sums = sums.clip(-_LARGEST, _LARGEST)  # the filter overshoots
        return Piece(waiting.t[:n], sums.astype(np.float32), waiting.flags[:n])


def _low_pass(half: int, cutoff: float) -> NDArray[np.float64]:
    """Taps of a windowed sinc; the cutoff as a share of the Nyquist rate."""
    k = np.arange(-half, half + 1)
    taps = cutoff * np.sinc(cutoff * k) * np.hamming(2 * half + 1)
    scaled: NDArray[np.float64] = taps / taps.sum()
    return scaled


class Stretch(NamedTuple):
    """Rows of the grid, one after the other."""

    first: int  # place of the first row on the grid
    rows: Rows  # shape (n, n_channels)
    flags: Flags | None  # shape (n,); None: nothing to say of any row
    places: Times | None  # shape (n,): which sample each row lies at, as a fraction; None: a perfect clock


def after(stretch: Stretch, n: int) -> Stretch:
    """All but the first n rows."""
    flags = None if stretch.flags is None else stretch.flags[n:]
    places = None if stretch.places is None else stretch.places[n:]
    return Stretch(stretch.first + n, stretch.rows[n:], flags, places)


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
        self._real = REAL_PERIODS * rate_hz / source_hz + _ON_GRID  # rows between two samples
        self._hold = hold_s * rate_hz
        self._samples = 0  # that came so far
        self._last: Piece | None = None  # the samples that later rows need, with their places on the grid for times
        self._tail: Rows | None = None  # the newest sample's values, if it took the short way
        self._bridge: int | None = None
        self.next = 0  # the first row that is still to come

    def leap(self, bridge: int) -> None:
        """Before the next sample lies a hole: fill only so many rows at either end of it."""
        self._bridge = bridge

    def is_next(self, t_s: float) -> bool:
        """Whether a sample of this instant would be the next row, and the one before it is the row before."""
        if self._last is None or abs(self.place(t_s) - self.next) > _ON_GRID:
            return False
        return abs(float(self._last.t[-1]) - (self.next - 1)) <= _ON_GRID

    def place(self, t_s: float) -> float:
        """Rows from the origin to an instant."""
        return (t_s - self.origin_s) * self._rate_hz

    def follow(self, n: int, last: Rows) -> None:
        """So many samples were rows themselves, each right after the one before; the last of them is given."""
        self.next += n
        self._samples += n
        self._tail = last

    def push(self, piece: Piece) -> list[Stretch]:
        """Samples in, the rows up to the last of them out."""
        if self._tail is not None:
            self._last = Piece(np.array([self.next - 1.0]), self._tail, np.zeros(1, np.uint8))
            self._tail = None
        at = (piece.t - self.origin_s) * self._rate_hz
        placed, n = Piece(at, piece.rows, piece.flags), self._samples  # with places on the grid instead of times
        ranges = self._ranges(placed)
        self._samples = n + len(at)
        told = self._last is None or not self._last.flags.any()
        if told and len(ranges) == 1 and _is_even(at, *ranges[0]):
            self._keep(placed)
            return [self._stretch(ranges[0][0], piece.rows, piece.flags, n + np.arange(float(len(at))))]
        if self._last is not None:
            placed, n = joined(self._last, placed), n - len(self._last.t)
        self._keep(placed)
        return [self._read(np.arange(begin, end), placed, n) for begin, end in ranges if begin < end]

    def _keep(self, placed: Piece) -> None:
        """The samples since the newest row, and at least one."""
        first = min(int(np.searchsorted(placed.t + _ON_GRID, self.next - 1)), len(placed.t) - 1)
        self._last = Piece(*[array[first:].copy() for array in placed])  # the caller's array is the caller's

    def _ranges(self, placed: Piece) -> list[tuple[int, int]]:
        """Rows to read: all up to the newest sample, or without the middle of a hole."""
        bridge, self._bridge = self._bridge, None
        first, self.next = self.next, max(math.floor(float(placed.t[-1]) + _ON_GRID) + 1, self.next)
        if bridge is not None and self._last is not None:
            left, right = first + bridge, math.ceil(float(placed.t[0]) - _ON_GRID) - bridge
            if left < right:
                return [(first, left), (right, self.next)]
        return [(first, self.next)]

    def _read(self, beat: NDArray[np.int64], placed: Piece, n: int) -> Stretch:
        """Values at these rows; `n` samples came before those given."""
        at, rows, flags = placed
        after = np.searchsorted(at + _ON_GRID, beat)  # the first sample that is not before the row
        before = np.maximum(after - 1, 0)
        step = at[after] - at[before]
        exact = (at[after] - beat <= _ON_GRID) | (step <= 0)
        share = np.where(exact, 1.0, (beat - at[before]) / np.where(exact, 1.0, step))
        share[(step > self._hold) & ~exact] = 0.0
        lower, upper = rows[before], rows[after]
        values = (lower + share[:, None] * (upper.astype(np.float64) - lower)).astype(np.float32)
        values[exact] = upper[exact]
        found = np.zeros(len(beat), np.uint8)
        if flags.any():
            found[_touched(at, beat, np.where(exact, after, before), after, flags)] = SATURATED
        found[(step > self._real) & ~exact] |= FILLED
        return self._stretch(int(beat[0]), values, found, n + before + share * (after - before))

    def _stretch(self, first: int, rows: Rows, flags: Flags, places: Times) -> Stretch:
        return Stretch(first, rows, flags if flags.any() else None, places if self._stamped else None)


def _touched(
    at: Times, beat: NDArray[np.int64], left: NDArray[np.intp], right: NDArray[np.intp], flags: Flags
) -> NDArray[np.bool_]:
    """Rows with a saturated sample among those they lie between, or among those that came since the row before."""
    since = np.searchsorted(at + _ON_GRID, beat - 1)
    since += at[since] - (beat - 1) <= _ON_GRID
    flagged = np.concatenate([[0], np.cumsum(flags & SATURATED > 0)])
    touched: NDArray[np.bool_] = flagged[right + 1] > flagged[np.minimum(since, left)]
    return touched


def _is_even(at: Times, begin: int, end: int) -> bool:
    """Whether the samples are the rows from begin to end."""
    return len(at) == end - begin and bool((np.abs(at - np.arange(begin, end)) <= _ON_GRID).all())
