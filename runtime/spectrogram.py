"""From windows to images: the spectrogram of three channels as red, green and blue (IMG2IMU, section III-A).

    window (length_samples, n_channels)
      |  columns    n_fft rows every hop_samples, times a Hann window, discrete Fourier transform, |.|^2
      |  scale      power, or its decibels, or its log10, with a floor
      |  range      each channel's least to largest of this window become 0 to 1, or a fixed range does
      |  resize     frequency to height, time to width, bilinear
      v  colour     minus the mean of red, green, blue, divided by their deviation
    image (3, height_px, width_px)

`Spectrogram.images` draws any number of windows. `RollingSpectrogram` draws the windows of a stream and computes only
the columns that the last window did not have:

    stream       |--------------------------------------------------------->
    window 0     [c0][c1][c2][c3][c4][c5][c6][c7]
    window 1             [c2][c3][c4][c5][c6][c7][c8][c9]        c8 and c9 are new, the others lie ready

Both give the same image, bit for bit: every step treats one column, or one window, without regard to what else is
computed with it. No product of matrices is in it: those round according to their size, and they wake the other cores.
Two facts make it fast: the range is linear, so that a column can be resized in frequency, and kept so, before the range
of its window is known; and the resize reads two neighbours, so that its cost hardly grows with the number of columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Manifest
from runtime.errors import InputError, one_line
from runtime.specs import Signal, SpectrogramSpec, WindowSpec

LARGEST_POWER = 1e37  # greater ones count as this: float32 ends at 3e38
LEAST_RANGE = np.float32(1e-30)  # a lesser range of a window counts as this: a flat channel is drawn black
_CAPACITY_WINDOWS = 2  # windows of columns that a stream has room for


class Taps(NamedTuple):
    """A bilinear resize along one axis: output i is (1 - share[i]) * input[first[i]] + share[i] * input[second[i]]."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    share: NDArray[np.float32]


def hann(n: int) -> NDArray[np.float64]:
    """The periodic Hann window, shape (n,), divided by its sum: a sine of amplitude a then has the power (a / 2)^2."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
    scaled: NDArray[np.float64] = window / window.sum()
    return scaled


def resize_taps(n_in: int, n_out: int) -> Taps:
    """Bilinear with half-pixel centres, edges held, no antialiasing: as torch's interpolate, align_corners=False."""
    place = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0, n_in - 1)
    first = place.astype(np.intp)
    return Taps(first, np.minimum(first + 1, n_in - 1), (place - first).astype(np.float32))


def height_taps(spec: SpectrogramSpec) -> Taps:
    """The resize from frequencies to rows of the image, of which the first is the top."""
    taps = resize_taps(spec.n_bins, spec.height_px)
    return taps if spec.low_frequencies == "top" else Taps(*(values[::-1].copy() for values in taps))


class Spectrogram:
    """The front-end of one model, for windows that lie ready. Threads may not share it: its buffers are made once.

    Args:
        manifest: with a spectrogram.

    Raises:
        InputError: the manifest has none.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._set_up(_plan(manifest))

    @classmethod
    def of(cls, spec: SpectrogramSpec, signal: Signal, window: WindowSpec) -> Spectrogram:
        """The front-end of a model that has no manifest yet: channels of the signal, n_fft rows at most in a window."""
        made = cls.__new__(cls)
        made._set_up(_planned(spec, signal, window))
        return made

    def _set_up(self, plan: _Plan) -> None:
        self._plan = plan
        self._desk, self._brush = _Desk(plan, plan.n_columns), _Brush(plan)

    def __repr__(self) -> str:
        return one_line(self, self._plan.spec)

    def power(self, windows: NDArray[np.float32]) -> NDArray[np.float64]:
        """The raw spectrogram, before scale and range, in the squares of the channels' units.

        Args:
            windows: shape (n, length_samples, n_channels).

        Returns:
            Shape (n, 3, n_bins, n_columns); a sine of amplitude a has the power (a / 2)^2 at its frequency.

        Raises:
            InputError: windows of another shape or dtype.
        """
        self._check(windows)
        power = np.empty((len(windows), self._plan.n_columns, 3, self._plan.spec.n_bins))
        for window, found in zip(windows, power, strict=True):
            found[:] = self._desk.power(window)
        return np.moveaxis(power, 1, 3)

    def images(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Draw windows of shape (n, length_samples, n_channels): images of shape (n, 3, height_px, width_px).

        Raises:
            InputError: windows of another shape or dtype.
        """
        self._check(windows)
        images = np.empty((len(windows), *self._plan.image_shape), np.float32)
        for window, image in zip(windows, images, strict=True):
            self._brush.paint(*self._desk.columns(window), image)
        return images

    def _check(self, windows: NDArray[np.float32]) -> None:
        shape = self._plan.window_shape
        if windows.shape[1:] != shape or windows.dtype != np.float32:
            raise InputError(
                "windows",
                expected=f"float32 of shape (n, {shape[0]}, {shape[1]})",
                got=f"{windows.dtype} of shape {windows.shape}",
                fix="Cut the samples with the bundle's own window.",
            )


class RollingSpectrogram:
    """The incremental form: draws the windows of one stream in their order.

    Args:
        manifest: with a spectrogram.

    Raises:
        InputError: the manifest has none.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._plan = plan = _plan(manifest)
        self._hop_samples = manifest.window.hop_samples
        self._whole, self._brush = _Desk(plan, plan.n_columns), _Brush(plan)
        step, rest = divmod(self._hop_samples, plan.spec.hop_samples)
        self._step = _Desk(plan, step) if rest == 0 and step < plan.n_columns else None
        self._columns = np.empty((_CAPACITY_WINDOWS * plan.n_columns, 3, plan.spec.height_px), np.float32)
        self._ranges = np.empty((len(self._columns), 2, 3), np.float32)
        self.reset()

    def __repr__(self) -> str:
        return one_line(self, self._plan.spec)

    def reset(self) -> None:
        """Forget the columns; the next window is drawn whole."""
        self._row: int | None = None  # of the last window
        self._end = 0  # of the last window's columns in the buffer

    def push(self, window: NDArray[np.float32], row: int) -> NDArray[np.float32]:
        """Draw the next window of the stream.

        Args:
            window: float32 of shape (length_samples, n_channels).
            row: place of its first row in the stream. A window that starts one hop after the last one is taken to
                share the rows that both cover; any other is drawn whole.

        Returns:
            The image, shape (3, height_px, width_px), not used again here.
        """
        n = self._plan.n_columns
        if self._step is not None and self._row is not None and row - self._row == self._hop_samples:
            self._append(*self._step.columns(window), kept=n - self._step.n)
        else:
            self._append(*self._whole.columns(window), kept=0)
        self._row = row
        image = np.empty(self._plan.image_shape, np.float32)
        last = slice(self._end - n, self._end)
        self._brush.paint(self._columns[last], self._ranges[last], image)
        return image

    def _append(self, columns: NDArray[np.float32], ranges: NDArray[np.float32], kept: int) -> None:
        """Put new columns behind the `kept` newest ones."""
        begin = self._end
        if begin + len(columns) > len(self._columns) or not kept:
            for buffer in (self._columns, self._ranges):
                buffer[:kept] = buffer[begin - kept : begin]
            begin = kept
        self._end = begin + len(columns)
        self._columns[begin : self._end] = columns
        self._ranges[begin : self._end] = ranges


class _Plan(NamedTuple):
    """What follows from a manifest."""

    spec: SpectrogramSpec
    window_shape: tuple[int, ...]
    image_shape: tuple[int, int, int]
    n_columns: int
    channels: slice | list[int]  # columns of a window that are red, green and blue
    height: Taps
    width: Taps


def _plan(manifest: Manifest) -> _Plan:
    spec = manifest.spectrogram
    if spec is None:
        raise InputError("manifest", expected="a spectrogram", got="none", fix="Give the model the windows themselves.")
    return _planned(spec, manifest.signal, manifest.window)


def _planned(spec: SpectrogramSpec, signal: Signal, window: WindowSpec) -> _Plan:
    channels = [signal.channel_names.index(name) for name in spec.channels]
    n_columns = spec.n_columns(window.length_samples)
    return _Plan(
        spec,
        (window.length_samples, len(signal.channel_names)),
        (3, spec.height_px, spec.width_px),
        n_columns,
        slice(channels[0], channels[-1] + 1) if channels == [*range(channels[0], channels[0] + 3)] else channels,
        height_taps(spec),
        resize_taps(n_columns, spec.width_px),
    )


class _Desk:
    """Room to compute the last n columns of a window: buffers and views that are made once."""

    def __init__(self, plan: _Plan, n: int) -> None:
        self.n, self._plan, self._hann = n, plan, hann(plan.spec.n_fft)
        n_fft, hop = plan.spec.n_fft, plan.spec.hop_samples
        end = n_fft + (plan.n_columns - 1) * hop  # the rows after it are in no column
        self._rows = slice(end - n_fft - (n - 1) * hop, end)
        self._samples = np.empty((3, end - self._rows.start))
        pieces = np.lib.stride_tricks.sliding_window_view(self._samples, n_fft, axis=1)[:, ::hop]
        self._pieces = pieces.transpose(1, 0, 2)
        self._weighted = np.empty((n, 3, n_fft))
        self._power = np.empty((n, 3, plan.spec.n_bins))
        self._cells = np.empty(self._power.shape, np.float32)
        self._ranges = np.zeros((n, 2, 3), np.float32)
        self._resized = np.empty((n, 3, plan.spec.height_px), np.float32)
        self._second = np.empty_like(self._resized)

    def power(self, window: NDArray[np.float32]) -> NDArray[np.float64]:
        """Shape (n, 3, n_bins); a buffer of this desk."""
        self._samples[:] = window[self._rows, self._plan.channels].T
        np.multiply(self._pieces, self._hann, out=self._weighted)
        spectrum = np.fft.rfft(self._weighted)  # one transform after the other, whatever their number
        np.square(spectrum.real, out=self._power)
        self._power += np.square(spectrum.imag)
        return self._power

    def columns(self, window: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Columns (n, 3, height_px) at their final height, and ranges (n, 2, 3): the least and minus the largest cell.

        Both are buffers of this desk.
        """
        cells = self._cells
        cells[:] = self._scaled(self.power(window))
        if self._plan.spec.fixed_range is None:
            np.minimum.reduce(cells, axis=2, out=self._ranges[:, 0])
            np.negative(np.maximum.reduce(cells, axis=2), out=self._ranges[:, 1])
        else:
            low, high = self._plan.spec.fixed_range
            np.clip(cells, low, high, out=cells)
        return _resize(cells, self._plan.height, 2, self._resized, self._second), self._ranges

    def _scaled(self, power: NDArray[np.float64]) -> NDArray[np.float64]:
        spec = self._plan.spec
        if spec.scale == "power":
            return np.minimum(power, LARGEST_POWER, out=power)
        np.maximum(power, spec.floor, out=power)
        np.log10(power, out=power)
        return np.multiply(power, 10, out=power) if spec.scale == "db" else power


class _Brush:
    """From the columns of one window to its image."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._std = np.array(plan.spec.std, np.float32)
        self._black = (-np.array(plan.spec.mean) / np.array(plan.spec.std)).astype(np.float32)[:, None]
        self._toned = np.empty((plan.n_columns, 3, plan.spec.height_px), np.float32)
        self._drawn = np.empty((plan.spec.width_px, 3, plan.spec.height_px), np.float32)
        self._second = np.empty_like(self._drawn)
        self._fixed: NDArray[np.float32] | None = None
        if plan.spec.fixed_range is not None:
            low, high = plan.spec.fixed_range
            self._fixed = np.array([[low] * 3, [-high] * 3], np.float32)

    def paint(self, columns: NDArray[np.float32], ranges: NDArray[np.float32], image: NDArray[np.float32]) -> None:
        """Columns (n_columns, 3, height_px) with their ranges (n_columns, 2, 3) into image (3, height_px, width_px)."""
        low, minus_high = np.minimum.reduce(ranges) if self._fixed is None else self._fixed
        scale = 1 / (np.maximum(-minus_high - low, LEAST_RANGE) * self._std)
        few = len(columns) <= self._plan.spec.width_px  # the colours are worked out where there are fewer cells
        if few:
            columns = self._colour(columns, low, scale, self._toned)
        drawn = _resize(columns, self._plan.width, 0, self._drawn, self._second)
        if not few:
            drawn = self._colour(drawn, low, scale, self._drawn)
        image[:] = drawn.transpose(1, 2, 0)

    def _colour(
        self, cells: NDArray[np.float32], low: NDArray[np.float32], scale: NDArray[np.float32], out: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        np.subtract(cells, low[:, None], out=out)
        out *= scale[:, None]
        out += self._black
        return out


def _resize(
    cells: NDArray[np.float32], taps: Taps, axis: int, out: NDArray[np.float32], second: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Resize along one axis into `out`; `second` is room to work in. Equal neighbours stay exactly what they are."""
    cells.take(taps.first, axis=axis, out=out, mode="clip")
    cells.take(taps.second, axis=axis, out=second, mode="clip")
    second -= out
    second *= taps.share if axis == cells.ndim - 1 else taps.share[:, None, None]
    out += second
    return out
