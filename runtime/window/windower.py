"""From samples to windows: the same for a stream and for a training set.

    samples   |----------------------------------------------------------->
    window 0  [==== length_samples ====]
    window 1            [==== length_samples ====]
              |<- hop ->|

`cut_windows` takes a whole recording, `Windower` takes it in pieces of any size; both give the same windows, bit for
bit. Samples with time stamps are first brought onto the model's beat (`runtime.window.track`). Modalities with clocks
of their own each have a track and a buffer; a window is cut when all of them have reached its end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from runtime.errors import InputError, one_line
from runtime.specs import ClockSpec, Signal, WindowSpec
from runtime.window.buffer import CAPACITY_WINDOWS, Buffer
from runtime.window.check import checked_samples, checked_times, clock_of, turns_of
from runtime.window.pieces import FILLED, PADDED, PERFECT, SATURATED, Counters, Quality, Rows, Window
from runtime.window.track import Out, Segment, Track, lies_within

_NO_RATE_HZ = 1e-9
_FASTEST = 1e4  # times the model's rate, and as many times slower: what any source is
_FLOAT32 = np.dtype(np.float32)
_LARGEST = float(np.finfo(np.float32).max)


class Windower:
    """Cuts a stream into windows as its samples arrive.

    Args:
        signal: what a row of samples holds.
        window: length and hop.
        clock: what is done about time stamps that are late, uneven or missing.
        source_hz: samples per second of the source, one number or one per modality; None: measured by its time
            stamps (`runtime.window.rate`), and the signal's rate without any.
        ranges: per channel, how far from 0 a sample is saturated (`Manifest.ranges`); None: at the full scales of
            the signal, where it has them.
        views: the samples of a window may be a view, which the next push changes; for who uses them at once.
        units: of the samples, where they are not the signal's: "g,deg/s" in the order of the modalities, or by their
            names. They are turned into the signal's, as those of a file are (docs/files.md).
        axes: the signal's x, y, z, made of the sensor's: "y,-x,z", "acc:y,-x,z;gyro:x,y,z", or a matrix, shape (3, 3).

    Raises:
        InputError: a rate of the source that is not above 0; units or axes that make no sense.
    """

    def __init__(
        self,
        signal: Signal,
        window: WindowSpec,
        clock: ClockSpec | None = None,
        source_hz: float | Mapping[str, float] | None = None,
        *,
        ranges: Sequence[float] | None = None,
        views: bool = False,
        units: str | Mapping[str, str] | None = None,
        axes: str | ArrayLike | None = None,
    ) -> None:
        self._views = views
        self._turns = None if units is None and axes is None else turns_of(signal, units, axes)
        scales = [m.full_scale or math.inf for m in signal.modalities for _ in m.channels]
        self._ranges = np.minimum(scales if ranges is None else ranges, _LARGEST).astype(np.float32)
        self._least_scale = float(self._ranges.min())
        rates_hz = source_hz.values() if isinstance(source_hz, Mapping) else () if source_hz is None else (source_hz,)
        if not all(1 / _FASTEST < rate_hz / signal.rate_hz < _FASTEST for rate_hz in rates_hz):
            of = f"rates within {_FASTEST:g} times of {signal.rate_hz:g} Hz"
            raise InputError("source_hz", expected=of, got=source_hz, fix="Give samples per second.")
        self.signal, self.window, self.clock = signal, window, clock or ClockSpec()
        self._source_hz = source_hz
        self._columns = {name: signal.names_of(name) for name in (None, *(m.name for m in signal.modalities))}
        self._channels, self._rate_hz = len(signal.channel_names), signal.rate_hz
        self.reset()

    def __repr__(self) -> str:
        return one_line(self, self.signal, self.window, f"{self.counters.windows} windows")

    def reset(self) -> None:
        """Forget everything, counters too; the next sample is the first of a new stream."""
        self.counters = Counters()
        self._timed: bool | None = None  # whether this stream comes with time stamps
        self._names: tuple[str | None, ...] = ()  # of the clocks: the modalities, or one None for all of them
        self._tracks: list[Track] = []
        self._buffers: list[Buffer] = []
        self._agreed = False  # whether several clocks have found an origin
        self._even = False  # whether the short way may be tried
        self._followed = 0  # samples that took it, of which the track does not know yet
        self._origin_s, self._beat, self._offset = 0.0, 0, 0  # of the windows: origin, the next one, place of row 0

    @property
    def delay_s(self) -> float:
        """Seconds that samples are held back: to be put in order, and by the low-pass."""
        return max((track.delay_s for track in self._tracks), default=self.clock.reorder_s)

    def push(self, samples: ArrayLike, t: ArrayLike | None = None, modality: str | None = None) -> list[Window]:
        """Take samples, return the windows that they complete.

        Args:
            samples: shape (n, n_channels), any n, any real dtype; a single row may have shape (n_channels,). Rows that
                are not finite count as missing.
            t: shape (n,), in the unit of `clock`, on any clock; given always or never. None: a perfect clock from 0.
            modality: whose samples these are, if each modality has a clock of its own; given always or never.

        Raises:
            InputError: a wrong shape or dtype, an unknown modality, or another way of pushing than before. The stream
                is then as it was.
        """
        return list(self.take(samples, t, modality))

    def take(self, samples: ArrayLike, t: ArrayLike | None = None, modality: str | None = None) -> Iterable[Window]:
        """As `push`, of the same shapes; a window is cut when it is asked for: ask for all before the next push."""
        if self._turns is not None:
            clock_of(self.signal, self._names, modality)
            samples = checked_samples(samples, self._columns[modality], self._turns[modality])
        if self._even and t is None and modality is None:
            followed = self._follow(samples)
            if followed is not None:
                return followed
        self._catch_up()
        clock = clock_of(self.signal, self._names, modality)
        rows = checked_samples(samples, self._columns[modality])
        times = checked_times(t, len(rows), self.clock.unit, self._timed)
        if not len(rows):
            return []
        if not self._tracks:
            self._open(modality)
        if len(self._tracks) > 1:
            rows = rows.copy()  # they may wait for other clocks, and the caller's array is the caller's
        self._timed = times is not None
        self.counters.samples += len(rows)
        return self._cut_all(clock, self._tracks[clock].push(rows, times), even=t is None and modality is None)

    def _cut_all(self, clock: int, items: Out, *, even: bool) -> Iterator[Window]:
        yield from self._take(clock, items)
        self._even = even and self._tracks[0].is_even

    def _follow(self, samples: ArrayLike) -> list[Window] | None:
        """The short way for a perfect clock: samples go into the buffer as they are; None if they cannot.

        It is what runs in the common case, hence written out: each call would cost as much as what it does.
        """
        if type(samples) is not np.ndarray or samples.dtype is not _FLOAT32:
            return None
        shape, begin = samples.shape, self._beat * self.window.hop_samples
        if len(shape) != 2 or shape[1] != self._channels or not shape[0]:
            return None
        if not lies_within(samples.ravel(), self._least_scale):  # saturated, or no numbers
            return None
        buffer = self._buffers[0]
        if not buffer.append(samples, begin):
            return None
        self._followed += shape[0]
        self.counters.samples += shape[0]
        windows: list[Window] = []
        end = begin + buffer.length
        while end <= buffer.end and buffer.is_clean(begin):
            start_s, end_s = self._origin_s + begin / self._rate_hz, self._origin_s + end / self._rate_hz
            rows = buffer.rows(begin)
            windows.append(Window(rows if self._views else rows.copy(), start_s, end_s, self._offset + begin, PERFECT))
            buffer.used = end
            self._beat += 1
            begin, end = begin + buffer.hop, end + buffer.hop
        self.counters.windows += len(windows)
        return windows if end > buffer.end else [*windows, *self._cut()]

    def _catch_up(self) -> None:
        """Tell the track of the samples that took the short way past it."""
        if self._followed:
            self._tracks[0].follow(self._followed, self._buffers[0].last())
            self._followed = 0

    def flush(self, pad: Literal["hold", "zero"] | None = None) -> list[Window]:
        """End the stream: the windows of what is still held back. The next sample begins a new one.

        Args:
            pad: what to do with the rows that begin a window but do not fill it. None: they are dropped, and counted;
                hold, zero: the last row, or zeros, are added until the window is full. Its quality says how many.
        """
        self._catch_up()
        windows = [w for i, track in enumerate(self._tracks) for w in self._take(i, track.flush())]
        if pad is not None:
            windows += self._padded(pad)
        self._new_segment(0.0)
        for track in self._tracks:
            track.reset()
        self._agreed, self._even, self._timed = False, False, None
        return windows

    def _padded(self, pad: Literal["hold", "zero"]) -> list[Window]:
        """The window that has begun, filled up; none if no row waits for it."""
        short = [buffer for buffer in self._buffers if not buffer.reach(self._beat)]
        if not any([buffer.unused(self._beat) > 0 for buffer in self._buffers]):
            return []
        before = sum(buffer.wanted(buffer.end) for buffer in self._buffers)
        for buffer in short:
            buffer.pad(self._beat * buffer.hop + buffer.length, pad)
        windows = list(self._cut())
        if not windows:  # too little of it was real; what was added is no loss
            self.counters.rows_dropped -= sum(buffer.wanted(buffer.end) for buffer in self._buffers) - before
        return windows

    def _open(self, modality: str | None) -> None:
        """The first samples tell how many clocks there are."""
        parts = self.signal.modalities if modality is not None else (None,)
        self._names = tuple(part.name if part else None for part in parts)
        ranges = self._ranges
        for name, part in zip(self._names, parts, strict=True):
            modalities = (part,) if part else self.signal.modalities
            rate_hz = modalities[0].rate_hz
            length, hop = self.window.at(rate_hz, self.signal.rate_hz)
            channels = sum(len(m.channels) for m in modalities)
            mine, ranges = ranges[:channels], ranges[channels:]
            self._tracks.append(
                Track(
                    rate_hz,
                    mine,
                    length,
                    self.clock,
                    self._source_hz.get(name or "") if isinstance(self._source_hz, Mapping) else self._source_hz,
                    self.counters,
                    shared=len(parts) > 1,
                )
            )
            self._buffers.append(Buffer(length, hop, channels, self.counters))

    def _take(self, clock: int, items: Out) -> Iterator[Window]:
        """What a track gave, in order: rows go into its buffer, a new grid ends the segment."""
        for item in items:
            if isinstance(item, Segment):
                self._new_segment(item.origin_s, begun=clock)
                continue
            for stretch in item:
                if stretch.flags is not None:
                    self.counters.rows_filled += int(np.count_nonzero(stretch.flags & FILLED))
                self._buffers[clock].queue.append(stretch)
                yield from self._cut()
        if len(self._tracks) > 1:
            if not self._agreed:
                yield from self._agree()
            for buffer in self._buffers:
                buffer.bound(buffer.length * CAPACITY_WINDOWS)

    def _agree(self) -> list[Window]:
        """Several clocks: the grids begin where the last of them has its first sample."""
        firsts = [track.first_s for track in self._tracks]
        if None in firsts:
            return []
        self._agreed, self._origin_s = True, max(first for first in firsts if first is not None)
        return [w for i, track in enumerate(self._tracks) for w in self._take(i, track.begin(self._origin_s))]

    def _new_segment(self, origin_s: float, begun: int | None = None) -> None:
        """What waits for a window is dropped; the clock that has `begun` anew keeps what is of the new segment."""
        for buffer in self._buffers:
            buffer.lose(self._beat)
            self.counters.rows_dropped += sum(len(stretch.rows) for stretch in buffer.queue)
            if buffer.end:
                self._offset += buffer.end + buffer.length  # windows of two segments must not seem to overlap
            buffer.clear()
            buffer.used = 0
        self._origin_s, self._beat = origin_s, 0
        if len(self._tracks) > 1:
            self._agreed = False
            for clock, track in enumerate(self._tracks):
                if clock != begun:
                    track.restart()

    def _cut(self) -> Iterator[Window]:
        """The windows that all clocks have reached the end of."""
        while self._is_complete():
            window = self._window()
            if window is None:
                self._skip(self._absent())
            else:
                for buffer in self._buffers:
                    buffer.used = self._beat * buffer.hop + buffer.length
                self.counters.windows += 1
                self._beat += 1
                yield window

    def _is_complete(self) -> bool:
        for buffer in self._buffers:  # noqa: SIM110 (a loop is faster than a generator here)
            if not buffer.reach(self._beat):
                return False
        return True

    def _absent(self) -> int:
        """How many beats, from this one on, have no window: a clock that leapt years ahead leaves out millions."""
        complete = min((buffer.end - buffer.length) // buffer.hop for buffer in self._buffers) + 1
        missing = max(-(-buffer.base // buffer.hop) for buffer in self._buffers)
        return max(min(complete, missing) - self._beat, 1)

    def _skip(self, n: int) -> None:
        """These beats have no window, and so the rows up to the next beat may have none."""
        self.counters.windows_skipped += n
        for buffer in self._buffers:
            self.counters.rows_dropped += buffer.unused(self._beat, (self._beat + n) * buffer.hop)
        self._beat += n

    def _window(self) -> Window | None:
        """The window of this beat; None if rows of it were left out, or too few of them are real."""
        beat, clean = self._beat, True
        for buffer in self._buffers:
            if buffer.base > beat * buffer.hop:
                return None
            clean = clean and buffer.is_clean(beat * buffer.hop)
        quality = PERFECT if clean else self._quality()
        if quality.real < self.clock.least_real and self.clock.gap == "mark":
            return None
        buffer = self._buffers[0]
        row = beat * buffer.hop
        start_s = self._origin_s + row / self._rate_hz
        end_s = self._origin_s + (row + buffer.length) / self._rate_hz
        return Window(self._samples(), start_s, end_s, self._offset + row, quality)

    def _samples(self) -> Rows:
        """A copy of the rows of this beat."""
        if len(self._buffers) == 1:
            return np.array(self._buffers[0].rows(self._beat * self._buffers[0].hop))
        parts = [buffer.rows(self._beat * buffer.hop) for buffer in self._buffers]
        joint: Rows = np.hstack(parts) if self.signal.is_even else np.concatenate([part.ravel() for part in parts])
        return joint

    def _quality(self) -> Quality:
        """What there is to say of the rows of this beat."""
        beats = [(buffer, self._beat * buffer.hop) for buffer in self._buffers]
        flags = [buffer.flags(begin) for buffer, begin in beats if buffer.has_flags(begin)]
        filled, saturated, padded = (
            [int(np.count_nonzero(part & kind)) for part in flags] for kind in (FILLED, SATURATED, PADDED)
        )
        real = min((1 - (f + p) / len(part) for f, p, part in zip(filled, padded, flags, strict=True)), default=1.0)
        placed = [(buffer, begin) for buffer, begin in beats if buffer.has_places(begin)]
        lines = [buffer.line(begin) for buffer, begin in placed]
        rates = [m.rate_hz for m in self.signal.modalities] if len(beats) > 1 else [self.signal.rate_hz]
        source_hz = tuple([slope * rate_hz for (slope, _), rate_hz in zip(lines, rates, strict=False)])
        jitters_s = [rms / hz for (_, rms), hz in zip(lines, source_hz, strict=True) if hz > _NO_RATE_HZ]
        arrived_s = [s for buffer, begin in placed if (s := buffer.scatter_s(begin)) is not None]
        jitter_s = max(arrived_s or jitters_s, default=None)
        return Quality(real, sum(filled), sum(saturated), sum(padded), source_hz, jitter_s)
