"""From samples to windows: the same for a stream and for a training set.

    samples   |----------------------------------------------------------->
    window 0  [==== length_samples ====]
    window 1            [==== length_samples ====]
              |<- hop ->|

`cut_windows` takes a whole recording, `Windower` takes it in pieces of any size; both give the same windows, bit for
bit. Samples with time stamps are first brought onto the model's beat (`runtime.clock`, `runtime.track`). Modalities
with clocks of their own each have a track and a buffer; a window is cut when all of them have reached its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.clock import FILLED, PADDED, SATURATED, ClockSpec, Counters, Flags, Rows, Stretch, Times, after
from runtime.errors import InputError
from runtime.manifest import Signal, WindowSpec
from runtime.recording import UNLABELLED, Recording
from runtime.track import Out, Track

_CAPACITY_WINDOWS = 4  # the buffer moves its tail to the front once per this many windows


class Quality(NamedTuple):
    """How much of a window was measured, and how even the clock was."""

    real: float = 1.0  # share of its rows that lie between samples of the sensor; of the worst clock, if several
    filled: int = 0  # rows inside a hole of the samples
    saturated: int = 0  # rows at the end of the sensor's range
    padded: int = 0  # rows that `flush` added
    source_hz: tuple[float, ...] = ()  # samples that came per second, holes included, per clock; () without stamps
    jitter_s: float | None = None  # rms by which they were off an even beat; None without time stamps


_PERFECT = Quality()
_FLOAT32 = np.dtype(np.float32)


class Window(NamedTuple):
    """One window of a stream."""

    samples: NDArray[np.float32]  # shape (length_samples, n_channels); (n_values,) if the modalities' rates differ
    start_s: float  # time of the first row
    end_s: float  # time of the last row, plus one period
    row: int = 0  # place of the first row on the stream's grid; windows of one segment overlap by their places
    quality: Quality = _PERFECT


class _Buffer:
    """The newest rows of one clock, with what there is to say of them, and the stretches that wait for room."""

    def __init__(self, length: int, hop: int, channels: int) -> None:
        self.length, self.hop = length, hop
        self._rows = np.zeros((length * _CAPACITY_WINDOWS, channels), np.float32)
        self._flags = np.zeros(len(self._rows), np.uint8)
        self._places = np.zeros(len(self._rows), np.float64)
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
        """The short way for rows of which there is nothing to say; whether there was room. `begin` and on are kept."""
        at, n = self.end - self.base, len(rows)
        if at + n > len(self._rows):
            self._forget(max(min(begin, self.end), self.base))
            at = self.end - self.base
            if at + n > len(self._rows):
                return False
        self._rows[at : at + n] = rows
        self.end = self._unplaced = self.end + n
        return True

    def reach(self, beat: int, lose: Callable[[_Buffer], None]) -> bool:
        """Take rows until the window of this beat is complete; whether it is."""
        begin = beat * self.hop
        while self.end < begin + self.length and self.queue:
            stretch = self.queue.pop(0)
            if stretch.first != self.end:  # rows were left out: what is here will not be continued
                lose(self)
                queue = self.queue
                self.clear(stretch.first)
                self.queue = queue
            self._put(stretch, begin)
        return self.end >= begin + self.length

    def _put(self, stretch: Stretch, begin: int) -> None:
        """Append as many rows as there is room for; the others go back into the queue."""
        n, at = len(stretch.rows), self.end - self.base
        if at + n > len(self._rows):
            self._forget(max(min(begin, self.end), self.base))
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
        self.end += n
        if stretch.places is None:
            self._unplaced = self.end

    def _write_flags(self, until: int) -> None:
        """Rows that came by the short way have no flags; that is written only when somebody asks."""
        self._flags[max(self._written - self.base, 0) : until - self.base] = 0
        self._written = max(self._written, until)

    def _forget(self, first: int) -> None:
        keep, left = slice(first - self.base, self.end - self.base), self.end - first
        for array in (self._rows, self._flags, self._places):
            array[:left] = array[keep]
        self.base = first

    def bound(self, limit: int, counters: Counters) -> None:
        """Let the oldest of the waiting rows go where other clocks lag too far behind."""
        excess = sum(len(stretch.rows) for stretch in self.queue) - limit
        while excess > 0:
            n = min(excess, len(self.queue[0].rows))
            counters.rows_dropped += n
            excess -= n
            self.queue[:1] = [after(self.queue[0], n)] if n < len(self.queue[0].rows) else []

    def pad(self, until: int, pad: Literal["hold", "zero"]) -> None:
        """Add rows that nobody measured."""
        n = until - self.end
        last = self._rows[self.end - self.base - 1] if pad == "hold" and self.end > self.base else 0
        rows = np.broadcast_to(np.float32(last), (n, self._rows.shape[1]))
        self.queue.append(Stretch(self.end, rows, np.full(n, PADDED), None))

    def rows(self, begin: int) -> Rows:
        """The window that begins here; a view."""
        return self._rows[begin - self.base : begin - self.base + self.length]

    def has_flags(self, begin: int) -> bool:
        """Whether there may be something to say of a row of the window that begins here."""
        return self._flagged > begin

    def has_places(self, begin: int) -> bool:
        """Whether it is known at which sample each row of the window lies."""
        return self._unplaced <= begin

    def flags(self, begin: int) -> Flags:
        """What is to be said of each row."""
        self._write_flags(self.end)
        return self._flags[begin - self.base : begin - self.base + self.length]

    def line(self, begin: int) -> tuple[float, float]:
        """Samples per row, and the rms in samples by which rows lie off that line."""
        places = self._places[begin - self.base : begin - self.base + self.length]
        off = places - places.sum() / self.length
        slope = float(np.dot(self._steps, off)) / self._steps_squared if self.length > 1 else 1.0
        off -= slope * self._steps
        return slope, math.sqrt(float(np.dot(off, off)) / self.length)


class Windower:
    """Cuts a stream into windows as its samples arrive.

    Args:
        signal: what a row of samples holds.
        window: length and hop.
        clock: what is done about time stamps that are late, uneven or missing.
        source_hz: samples per second of the source, one number or one per modality; None: measured from the first 17
            time stamps, and the signal's rate without time stamps.
    """

    def __init__(
        self,
        signal: Signal,
        window: WindowSpec,
        clock: ClockSpec | None = None,
        source_hz: float | Mapping[str, float] | None = None,
    ) -> None:
        self.signal, self.window, self.clock = signal, window, clock or ClockSpec()
        self._source_hz = source_hz
        self._channels = len(signal.channel_names)
        self.reset()

    def reset(self) -> None:
        """Forget everything, counters too; the next sample is the first of a new stream."""
        self.counters = Counters()
        self._timed: bool | None = None  # whether this stream comes with time stamps
        self._names: tuple[str | None, ...] = ()  # of the clocks: the modalities, or one None for all of them
        self._tracks: list[Track] = []
        self._buffers: list[_Buffer] = []
        self._agreed = False  # whether several clocks have found an origin
        self._even = False  # whether the short way may be tried
        self._origin_s, self._beat, self._offset = 0.0, 0, 0  # of the windows: origin, the next one, place of row 0
        self._covered = -1  # beat of the last window that was given

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
        if self._even and t is None and modality is None and self._follow(samples):
            return self._cut()
        clock = self._clock_of(modality)
        rows = self._checked(samples, modality)
        times = self._checked_times(t, len(rows))
        if not len(rows):
            return []
        if not self._tracks:
            self._open(modality)
        self._timed = times is not None
        self.counters.samples += len(rows)
        windows = self._take(clock, self._tracks[clock].push(rows, times))
        self._even = t is None and modality is None and self._tracks[0].is_even
        return windows

    def _follow(self, samples: ArrayLike) -> bool:
        """The short way for a perfect clock: samples go into the buffer as they are. Whether they could."""
        if type(samples) is not np.ndarray or samples.dtype is not _FLOAT32 or samples.ndim != 2:
            return False
        if samples.shape[1] != self._channels or not math.isfinite(np.vdot(samples, samples)):
            return False
        buffer = self._buffers[0]
        if not len(samples) or not buffer.append(samples, self._beat * buffer.hop):
            return False
        self._tracks[0].follow(samples)
        self.counters.samples += len(samples)
        return True

    def flush(self, pad: Literal["hold", "zero"] | None = None) -> list[Window]:
        """End the stream: the windows of what is still held back. The next sample begins a new one.

        Args:
            pad: what to do with the rows that begin a window but do not fill it. None: they are dropped, and counted;
                hold, zero: the last row, or zeros, are added until the window is full. Its quality says how many.
        """
        windows = [w for i, track in enumerate(self._tracks) for w in self._take(i, track.flush())]
        if pad is not None and any([buffer.end > self._first_unused(buffer) for buffer in self._buffers]):
            for buffer in self._buffers:
                buffer.pad(self._beat * buffer.hop + buffer.length, pad)
            windows += self._cut()
        self._new_segment(0.0)
        for track in self._tracks:
            track.reset()
        self._agreed, self._timed = False, None
        return windows

    def _clock_of(self, modality: str | None) -> int:
        """Which clock a push belongs to."""
        known: tuple[str | None, ...] = self._names or (
            (None,) if modality is None and self.signal.is_even else tuple(m.name for m in self.signal.modalities)
        )
        if modality not in known:
            raise InputError(
                "modality",
                expected=" or ".join(name or "none, as in the first push" for name in known),
                got=modality,
                fix="Push all channels together, or each modality by its name; reset() before you change.",
            )
        return known.index(modality)

    def _open(self, modality: str | None) -> None:
        """The first samples tell how many clocks there are."""
        parts = self.signal.modalities if modality is not None else (None,)
        self._names = tuple(part.name if part else None for part in parts)
        for name, part in zip(self._names, parts, strict=True):
            modalities = (part,) if part else self.signal.modalities
            rate_hz = modalities[0].rate_hz
            length, hop = self.window.at(rate_hz, self.signal.rate_hz)
            full_scale = [m.full_scale or math.inf for m in modalities for _ in m.channels]
            self._tracks.append(
                Track(
                    rate_hz,
                    np.array(full_scale, np.float32),
                    length,
                    self.clock,
                    self._source_hz.get(name or "") if isinstance(self._source_hz, Mapping) else self._source_hz,
                    self.counters,
                    shared=part is not None,
                )
            )
            self._buffers.append(_Buffer(length, hop, len(full_scale)))

    def _checked(self, samples: ArrayLike, modality: str | None) -> Rows:
        array = _as_array(samples)
        names = self.signal.names_of(modality)
        if array.ndim == 1 and len(array) == len(names):
            array = array[None]
        if array.ndim != 2 or array.shape[1] != len(names) or array.dtype.kind not in "fiu":
            raise InputError(
                "samples",
                expected=f"real numbers of shape (n, {len(names)}): {', '.join(names)}",
                got=f"dtype {array.dtype}, shape {array.shape}",
                fix="Give one column per channel of the bundle's signal.",
            )
        if array.dtype != np.float32:
            with np.errstate(over="ignore"):  # an overflow becomes infinite, which counts as missing
                array = array.astype(np.float32)
        return array

    def _checked_times(self, t: ArrayLike | None, n: int) -> Times | None:
        if self._timed is not None and self._timed is not (t is not None):
            raise InputError(
                "t",
                expected="time stamps with every push or with none",
                got="both ways in one stream",
                fix="Call reset() before you change.",
            )
        if t is None:
            return None
        times = np.atleast_1d(_as_array(t))
        if times.shape != (n,) or times.dtype.kind not in "fiu":
            raise InputError(
                "t",
                expected=f"{n} time stamps in {self.clock.unit}, one per sample",
                got=f"dtype {times.dtype}, shape {times.shape}",
                fix="Give every sample its own time.",
            )
        seconds: Times = times / 1e9 if self.clock.unit == "ns" else times.astype(np.float64, copy=False)
        return seconds

    def _take(self, clock: int, items: Out) -> list[Window]:
        """What a track gave, in order: rows go into its buffer, a new grid ends the segment."""
        windows: list[Window] = []
        for item in items:
            if isinstance(item, Stretch):
                self._buffers[clock].queue.append(item)
                windows += self._cut()
            else:
                self._new_segment(item.origin_s)
        if len(self._tracks) > 1:
            if not self._agreed:
                windows += self._agree()
            for buffer in self._buffers:
                buffer.bound(buffer.length * _CAPACITY_WINDOWS, self.counters)
        return windows

    def _agree(self) -> list[Window]:
        """Several clocks: the grids begin where the last of them has its first sample."""
        firsts = [track.first_s for track in self._tracks]
        if None in firsts:
            return []
        self._agreed, self._origin_s = True, max(first for first in firsts if first is not None)
        return [w for i, track in enumerate(self._tracks) for w in self._take(i, track.begin(self._origin_s))]

    def _new_segment(self, origin_s: float) -> None:
        for buffer in self._buffers:
            self._lose(buffer)
            if buffer.end:
                self._offset += buffer.end + buffer.length  # windows of two segments must not seem to overlap
            buffer.clear()
        self._origin_s, self._beat, self._covered = origin_s, 0, -1
        if len(self._tracks) > 1:
            self._agreed = False
            for track in self._tracks:
                track.restart()

    def _cut(self) -> list[Window]:
        """The windows that all clocks have reached the end of."""
        windows: list[Window] = []
        while self._is_complete():
            window = self._window()
            if window is None:
                self._skip()
            else:
                self._covered = self._beat
                self.counters.windows += 1
                windows.append(window)
            self._beat += 1
        return windows

    def _is_complete(self) -> bool:
        for buffer in self._buffers:  # noqa: SIM110 (a loop is faster than a generator here)
            if not buffer.reach(self._beat, self._lose):
                return False
        return True

    def _skip(self) -> None:
        """This beat has no window, and so the rows up to the next beat have none."""
        self.counters.windows_skipped += 1
        for buffer in self._buffers:
            self._count_dropped(buffer, self._beat * buffer.hop + min(buffer.hop, buffer.length))

    def _lose(self, buffer: _Buffer) -> None:
        """The rows that wait for a window will have none."""
        self._count_dropped(buffer, buffer.end)

    def _count_dropped(self, buffer: _Buffer, until: int) -> None:
        self.counters.rows_dropped += max(until - self._first_unused(buffer), 0)

    def _first_unused(self, buffer: _Buffer) -> int:
        """The first row here that is for the next window and in no other."""
        used = self._covered * buffer.hop + buffer.length if self._covered >= 0 else 0
        return max(used, self._beat * buffer.hop, buffer.base)

    def _window(self) -> Window | None:
        """The window of this beat; None if rows of it were left out, or too few of them are real."""
        beat, clean = self._beat, True
        for buffer in self._buffers:
            if buffer.base > beat * buffer.hop:
                return None
            clean = clean and not buffer.has_flags(beat * buffer.hop) and not buffer.has_places(beat * buffer.hop)
        quality = _PERFECT if clean else self._quality()
        if quality.real < self.clock.least_real and self.clock.gap == "mark":
            return None
        buffer = self._buffers[0]
        row, rate_hz = beat * buffer.hop, self.signal.rate_hz
        start_s, end_s = self._origin_s + row / rate_hz, self._origin_s + (row + buffer.length) / rate_hz
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
        self.counters.rows_filled += sum(filled)
        real = min((1 - (f + p) / len(part) for f, p, part in zip(filled, padded, flags, strict=True)), default=1.0)
        lines = [buffer.line(begin) for buffer, begin in beats if buffer.has_places(begin)]
        rates = [m.rate_hz for m in self.signal.modalities] if len(beats) > 1 else [self.signal.rate_hz]
        source_hz = tuple([slope * rate_hz for (slope, _), rate_hz in zip(lines, rates, strict=False)])
        jitters_s = [rms / hz for (_, rms), hz in zip(lines, source_hz, strict=True) if hz > 0]
        return Quality(real, sum(filled), sum(saturated), sum(padded), source_hz, max(jitters_s, default=None))


def _as_array(values: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError:  # rows of different lengths
        return np.array(None, object)


class LabelledWindows(NamedTuple):
    """Windows of recordings with their true labels, ready for training or scoring."""

    samples: NDArray[np.float32]  # shape (n, length_samples, n_channels)
    labels: NDArray[np.int64]  # shape (n,), index into the label names asked for
    start_s: NDArray[np.float64]  # shape (n,)
    source: NDArray[np.int64]  # shape (n,), which recording each came from


def cut_windows(recording: Recording, signal: Signal, window: WindowSpec) -> list[Window]:
    """All windows of a recording: what a `Windower` gives that is fed the whole of it."""
    fitted = recording.fit(signal)
    windower = Windower(signal, window, source_hz=recording.rate_hz)
    return windower.push(fitted.samples, fitted.t) + windower.flush()


def label_of(recording: Recording, start_s: float, end_s: float) -> str | None:
    """The one true label of a span of time, or None where labels are missing or mixed.

    Args:
        recording: with labels, otherwise the answer is None.
        start_s: first instant, in the recording's own time.
        end_s: the instant after the last sample.
    """
    if recording.labels is None:
        return None
    if recording.t is None:
        begin, end = round(start_s * recording.rate_hz), round(end_s * recording.rate_hz)
        span = recording.labels[begin:end]
    elif recording.is_rising:
        begin, end = (int(i) for i in np.searchsorted(recording.t, (start_s, end_s - 0.5 / recording.rate_hz)))
        span = recording.labels[begin:end]
    else:
        span = recording.labels[(recording.t >= start_s) & (recording.t < end_s - 0.5 / recording.rate_hz)]
    if not len(span) or span[0] == UNLABELLED or (span != span[0]).any():
        return None
    return str(recording.label_names[span[0]])


def labelled_windows(
    recordings: list[Recording], signal: Signal, window: WindowSpec, labels: tuple[str, ...]
) -> LabelledWindows:
    """Cut recordings and keep the windows whose samples all have one of the given labels.

    Args:
        recordings: of any people; each is cut by itself.
        signal: columns and rate to cut to.
        window: length and hop.
        labels: names in the order of the model's classes; windows of other labels are left out.
    """
    index = {name: i for i, name in enumerate(labels)}
    samples, classes, starts, sources = [], [], [], []
    for source, recording in enumerate(recordings):
        for cut in cut_windows(recording, signal, window):
            name = label_of(recording, cut.start_s, cut.end_s)
            if name in index:
                samples.append(cut.samples)
                classes.append(index[name])
                starts.append(cut.start_s)
                sources.append(source)
    shape = (window.length_samples, len(signal.channel_names))
    return LabelledWindows(
        np.stack(samples) if samples else np.zeros((0, *shape), np.float32),
        np.array(classes, np.int64),
        np.array(starts, np.float64),
        np.array(sources, np.int64),
    )
