"""From samples to windows: the same for a stream and for a training set.

    samples   |----------------------------------------------------------->
    window 0  [==== length_samples ====]
    window 1            [==== length_samples ====]
              |<- hop ->|

`cut_windows` takes a whole recording, `Windower` takes it in pieces of any size; both give the same windows, bit for
bit. A window never spans a gap: where the time stamps jump, what was begun is dropped (and counted) and a new segment
starts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runtime.errors import InputError
from runtime.manifest import Signal, WindowSpec
from runtime.recording import UNLABELLED, Recording, check_finite

GAP_PERIODS = 1.5  # a step between two time stamps longer than this many sample periods is a gap
_CAPACITY_WINDOWS = 4  # the buffer moves its tail to the front once per this many windows


class Window(NamedTuple):
    """One window of a stream."""

    samples: NDArray[np.float32]  # shape (length_samples, n_channels)
    start_s: float  # time of the first sample
    end_s: float  # time of the last sample, plus one sample period
    row: int  # place of the first sample in the stream


class Windower:
    """Cuts a stream into windows as its samples arrive.

    Args:
        signal: what a row of samples holds.
        window: length and hop.
    """

    def __init__(self, signal: Signal, window: WindowSpec) -> None:
        self.signal, self.window = signal, window
        self._samples = np.zeros((window.length_samples * _CAPACITY_WINDOWS, len(signal.channel_names)), np.float32)
        self._times = np.zeros(len(self._samples), np.float64)
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next sample is the first of a new stream."""
        self._first = 0  # place of the buffer's first row in the whole stream
        self._fill = 0  # rows in the buffer
        self._start = 0  # row at which the next window starts; beyond the fill where the hop skips samples
        self._covered = 0  # row up to which samples have been part of a window
        self._last_s: float | None = None  # the newest time stamp
        self._timed: bool | None = None  # whether this stream comes with time stamps
        self.gaps = 0  # jumps of the time stamps
        self.dropped_samples = 0  # samples that a gap kept out of every window

    def push(self, samples: ArrayLike, t: ArrayLike | None = None) -> list[Window]:
        """Take samples, return the windows that they complete.

        Args:
            samples: shape (n, n_channels), any n, any real dtype; a single row may have shape (n_channels,).
            t: shape (n,), seconds on any clock that rises; given always or never. None: a perfect clock from 0.

        Raises:
            InputError: a wrong shape or dtype, a value that is not finite. The stream is then as it was before.
        """
        rows = self._checked(samples)
        times = self._checked_times(t, len(rows))
        if times is None:
            return self._append(rows, None)
        windows: list[Window] = []
        jumps = self._jumps(times)
        for begin, end in pairwise(sorted({0, *jumps, len(rows)})):
            if begin in jumps:
                self._start_segment()
            windows += self._append(rows[begin:end], times[begin:end])
        return windows

    def _checked(self, samples: ArrayLike) -> NDArray[np.float32]:
        array = _as_array(samples)
        n_channels = self._samples.shape[1]
        if array.ndim == 1 and len(array) == n_channels:
            array = array[None]
        if array.ndim != 2 or array.shape[1] != n_channels or array.dtype.kind not in "fiu":
            raise InputError(
                "samples",
                expected=f"real numbers of shape (n, {n_channels}): {', '.join(self.signal.channel_names)}",
                got=f"dtype {array.dtype}, shape {array.shape}",
                fix="Give one column per channel of the bundle's signal.",
            )
        if array.dtype != np.float32:
            with np.errstate(over="ignore"):  # an overflow becomes infinite, which is refused below
                array = array.astype(np.float32)
        if not np.isfinite(array).all():
            check_finite(array, self.signal.channel_names, "samples")
        return array

    def _checked_times(self, t: ArrayLike | None, n: int) -> NDArray[np.float64] | None:
        if self._timed is not (t is not None) and self._timed is not None:
            raise InputError(
                "t",
                expected="time stamps with every push or with none",
                got="both ways in one stream",
                fix="Call reset() before you change.",
            )
        times = None if t is None else np.atleast_1d(_as_array(t))
        if times is not None and (times.shape != (n,) or times.dtype.kind not in "fiu" or not np.isfinite(times).all()):
            raise InputError(
                "t",
                expected=f"{n} finite time stamps in seconds, one per sample",
                got=f"dtype {times.dtype}, shape {times.shape}",
                fix="Give every sample its own time.",
            )
        if n:
            self._timed = times is not None
        return None if times is None else times.astype(np.float64, copy=False)

    def _jumps(self, times: NDArray[np.float64]) -> list[int]:
        """Rows of a chunk before which the clock jumped forward by a gap, stood still or ran backward."""
        if not len(times):
            return []
        period_s = 1 / self.signal.rate_hz
        steps = np.diff(times, prepend=times[0] - period_s if self._last_s is None else self._last_s)
        self._last_s = float(times[-1])
        return [int(row) for row in np.flatnonzero((steps > GAP_PERIODS * period_s) | (steps <= 0))]

    def _start_segment(self) -> None:
        self.gaps += 1
        self.dropped_samples += max(self._fill - max(self._covered, self._start), 0)
        self._first += self._fill
        self._fill = self._start = self._covered = 0

    def _append(self, rows: NDArray[np.float32], times: NDArray[np.float64] | None) -> list[Window]:
        length, hop = self.window.length_samples, self.window.hop_samples
        windows: list[Window] = []
        taken = 0
        while taken < len(rows):
            if self._fill == len(self._samples):
                self._move_to_front()
            fill = min(self._fill + len(rows) - taken, len(self._samples))
            until = taken + fill - self._fill
            self._samples[self._fill : fill] = rows[taken:until]
            if times is not None:
                self._times[self._fill : fill] = times[taken:until]
            self._fill, taken = fill, until
            while self._start + length <= fill:
                windows.append(self._window(self._start, self._start + length))
                self._covered = self._start + length
                self._start += hop
        return windows

    def _window(self, begin: int, end: int) -> Window:
        rate_hz = self.signal.rate_hz
        if self._timed:
            start_s, end_s = float(self._times[begin]), float(self._times[end - 1]) + 1 / rate_hz
        else:
            start_s, end_s = (self._first + begin) / rate_hz, (self._first + end) / rate_hz
        return Window(self._samples[begin:end].copy(), start_s, end_s, self._first + begin)

    def _move_to_front(self) -> None:
        keep = min(self._start, self._fill)
        left = self._fill - keep
        self._samples[:left] = self._samples[keep : self._fill]
        self._times[:left] = self._times[keep : self._fill]
        self._first += keep
        self._fill, self._start, self._covered = left, self._start - keep, max(self._covered - keep, 0)


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
    return Windower(signal, window).push(fitted.samples, fitted.t)


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
