"""What goes through a clock: pieces of stamped samples, stretches of even rows, and counters of what became of them.

Piece     samples with their times, rising, and a flag each        what Order, LowPass and Grid pass on
Stretch   rows of the grid, one after the other                    what Buffer takes
Counters  what became of a stream's samples so far
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.errors import OneLine, one_line

Times = NDArray[np.float64]  # seconds, shape (n,)
Rows = NDArray[np.float32]  # samples or rows, shape (n, n_channels)
Flags = NDArray[np.uint8]  # shape (n,)

_RATES = 6  # that are named
_UNEVEN, _FEW = 0.1, 64  # share of duplicates and gaps at which a cure is named; samples that say too little
FILLED, SATURATED, PADDED = np.uint8(1), np.uint8(2), np.uint8(4)  # what a flag says of a row


@dataclass(repr=False)
class Counters(OneLine):
    """What became of a stream's samples so far. `Stream.counters` is the live object: read it, do not write it."""

    samples: int = 0  # pushed
    not_finite: int = 0  # left out: NaN or infinite, or with such a time stamp
    late: int = 0  # left out: older than a newer one by more than `reorder_s`
    duplicates: int = 0  # left out: the time stamp of another one
    reordered: int = 0  # put back into their place
    saturated: int = 0  # kept: at the end of the sensor's range, or beyond what is plausible
    gaps: int = 0  # steps longer than `gap_s`
    clock_back: int = 0  # times that the clock was set back
    rate_changes: int = 0  # times that the source went on at another rate
    rows_filled: int = 0  # rows of the grid inside a hole of the samples
    rows_dropped: int = 0  # rows that no window holds because a gap, a set-back or another modality came between
    windows: int = 0  # given
    windows_skipped: int = 0  # not given: too little in them
    windows_not_finite: int = 0  # given, but the model's numbers for them are none: no prediction
    windows_frozen: int = 0  # given, with a modality that stands still for the whole of them
    windows_implausible: int = 0  # given, with values or a rate that cannot be what the manifest says

    def __post_init__(self) -> None:
        self._rates: dict[str, None] = {}  # that the source has had, where there were several
        self._sparse: tuple[float, float] | None = None  # samples per second, and the rows that are made of them
        self._told: tuple[float, float] | None = None  # the rate that it was told to have, and the one of its stamps

    def note_change(self, before_hz: float, after_hz: float) -> None:
        """Count that the source has another rate now."""
        self.rate_changes += 1
        for hz in (before_hz, after_hz):
            if len(self._rates) < _RATES:
                self._rates[f"{hz:.4g}"] = None

    def note_told(self, told_hz: float, found_hz: float) -> None:
        """Remember that the stamps contradict the rate that the source was told to have."""
        self._told = told_hz, found_hz

    def note_sparse(self, source_hz: float, rate_hz: float) -> None:
        """Remember a source so slow that most rows are not measured but lie on lines between samples."""
        self._sparse = source_hz, rate_hz

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should be told of the samples' clock, a line each; none where it was as it should be."""
        notes, uneven = [], self.gaps + self.duplicates
        if self.rate_changes:
            notes.append(f"the rate of the source changed {self.rate_changes} times: {', '.join(self._rates)} Hz")
        if self._sparse is not None:
            source_hz, rate_hz = self._sparse
            notes.append(
                f"the source gives {source_hz:.3g} samples per second, and the model takes {rate_hz:g} rows:"
                f" {1 - source_hz / rate_hz:.1%} of them are made up between samples"
            )
        if self._told is not None:
            told, found = (f"{hz:.4g} Hz" for hz in self._told)
            notes.append(f"the source is said to have {told}, its stamps say {found}: correct its rate, or say none")
        if uneven > _UNEVEN * max(self.samples, _FEW):
            notes.append(
                f"{uneven / self.samples:.0%} of the samples repeat a time stamp or follow a gap: stamps=arrival if"
                " they are times of arrival, t= spreads what several samples share, gap=hold bridges what is lost"
            )
        return tuple(notes)


class Piece(NamedTuple):
    """Samples in the order of their times."""

    t: Times  # shape (n,), seconds, rising
    rows: Rows  # shape (n, n_channels)
    flags: Flags  # shape (n,)
    off: Times | None = None  # shape (n,), seconds by which it arrived after its time; None: stamps of measurement

    def part(self, begin: int, end: int | None = None) -> Piece:
        """The samples from one place to another."""
        off = None if self.off is None else self.off[begin:end]
        return Piece(self.t[begin:end], self.rows[begin:end], self.flags[begin:end], off)

    def at(self, which: NDArray[Any]) -> Piece:
        """The samples that a mask of shape (n,), or places of shape (k,), chooses."""
        return Piece(self.t[which], self.rows[which], self.flags[which])


def joined(*pieces: Piece) -> Piece:
    """Pieces as one, each after the one before; the last is not empty where others tell how late they arrived."""
    t, rows, flags, offs = zip(*pieces, strict=True)
    off = None if offs[-1] is None else np.concatenate([off for off in offs if off is not None])
    return Piece(np.concatenate(t), np.concatenate(rows), np.concatenate(flags), off)


def no_samples(n_channels: int) -> Piece:
    """A piece without samples, of so many channels."""
    return Piece(np.zeros(0), np.zeros((0, n_channels), np.float32), np.zeros(0, np.uint8))


class Stretch(NamedTuple):
    """Rows of the grid, one after the other."""

    first: int  # place of the first row on the grid
    rows: Rows  # shape (n, n_channels)
    flags: Flags | None  # shape (n,); None: nothing to say of any row
    places: Times | None  # shape (n,): which sample each row lies at, as a fraction; None: a perfect clock
    offs: Times | None = None  # shape (n,), seconds by which that sample arrived late; None: stamps of measurement


def after(stretch: Stretch, n: int) -> Stretch:
    """All but the first n rows."""
    flags = None if stretch.flags is None else stretch.flags[n:]
    places = None if stretch.places is None else stretch.places[n:]
    offs = None if stretch.offs is None else stretch.offs[n:]
    return Stretch(stretch.first + n, stretch.rows[n:], flags, places, offs)


class Quality(NamedTuple):
    """How much of a window was measured, and how even the clock was."""

    real: float = 1.0  # share of its rows that lie between samples of the sensor; of the worst clock, if several
    filled: int = 0  # rows inside a hole of the samples
    saturated: int = 0  # rows at the end of the sensor's range, or beyond what is plausible
    padded: int = 0  # rows that `flush` added
    source_hz: tuple[float, ...] = ()  # samples that came per second, holes included, per clock; () without stamps
    jitter_s: float | None = None  # rms by which their stamps were off an even beat; None without any, or if none came
    frozen: tuple[str, ...] = ()  # modalities of which nothing changes over the whole window
    implausible: tuple[str, ...] = ()  # words of `runtime.window.watch`: "acc unit", "gyro range", "acc_z dead", "rate"

    def __repr__(self) -> str:
        return one_line(self)


PERFECT = Quality()


class Window(NamedTuple):
    """One window of a stream."""

    samples: NDArray[np.float32]  # shape (length_samples, n_channels); (n_values,) if the modalities' rates differ
    start_s: float  # time of the first row
    end_s: float  # time of the last row, plus one period
    row: int = 0  # place of the first row on the stream's grid; windows of one segment overlap by their places
    quality: Quality = PERFECT

    def __repr__(self) -> str:
        return one_line(self, f"shape {self.samples.shape}", f"{self.start_s:g} to {self.end_s:g} s", self.quality)
