"""The spectrogram of `runtime.spectrogram` inside the graph, for engines that know no Fourier transform.

    window -> pieces of n_fft rows -> matrix product -> |.|^2 -> scale -> range -> two matrix products -> image

Everything is float32, because TensorRT computes in nothing wider. A plain float32 product loses what a window is about
to show: against gravity, or against a loud frequency, the quiet cells drown in rounding, and the logarithm draws them.
So each piece is cut in two, and so is the matrix of cosines and sines:

    samples = coarse + fine      coarse: the upper 8 or so bits of the piece's largest sample
    basis   = coarse + fine      coarse: the upper 8 or so bits of 1
    product = coarse @ coarse  +  [coarse fine] @ [fine basis]

The bits are as many as let float32 add up the first product without any rounding; the second is about a 256th of the
first, and so is its rounding. It costs three products instead of one.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from runtime.bundle import Manifest
from runtime.errors import InputError
from runtime.spectrogram import LARGEST_POWER, LEAST_RANGE, Taps, hann, height_taps, resize_taps

_BITS = 24  # of a float32's fraction


class SpectrogramImages(nn.Module):
    """Windows (n, length_samples, n_channels) to the images (n, 3, height_px, width_px) of `Spectrogram.images`.

    Args:
        manifest: with a spectrogram.

    Raises:
        InputError: the manifest has none.
    """

    channels: Tensor
    rows: Tensor
    coarse: Tensor
    rest: Tensor
    height: Tensor
    width: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        if manifest.spectrogram is None:
            raise InputError("manifest", expected="a spectrogram", got="none", fix="Export the encoder without it.")
        self.spec = spec = manifest.spectrogram
        n_columns = spec.n_columns(manifest.window.length_samples)
        basis = _basis(spec.n_fft)
        self._unit = float(hann(spec.n_fft).max()) ** 2
        bits = _BITS - math.ceil(math.log2(np.abs(basis).sum(axis=0).max()))  # of both factors of an exact product
        self._lift = 2.0 ** (_BITS - bits // 2)  # x + lift * m, in float32, keeps the upper bits // 2 bits of m of x
        coarse = np.round(basis * 2.0 ** (bits - bits // 2)) / 2.0 ** (bits - bits // 2)
        starts = np.arange(n_columns)[:, None] * spec.hop_samples
        for name, values in {
            "channels": np.array([manifest.signal.channel_names.index(name) for name in spec.channels]),
            "rows": (starts + np.arange(spec.n_fft)).ravel(),
            "coarse": coarse,
            "rest": np.concatenate([basis - coarse, basis]),
            "height": _matrix(height_taps(spec), spec.n_bins),
            "width": _matrix(resize_taps(n_columns, spec.width_px), n_columns),
            "mean": np.array(spec.mean)[:, None, None],
            "std": np.array(spec.std)[:, None, None],
        }.items():
            self.register_buffer(name, torch.from_numpy(values.astype(np.float32 if values.dtype.kind == "f" else int)))

    def forward(self, windows: Tensor) -> Tensor:
        """Draw windows (n, length_samples, n_channels) as images (n, 3, height_px, width_px)."""
        pieces = windows.transpose(1, 2).index_select(1, self.channels).index_select(2, self.rows)
        pieces = pieces.reshape(-1, 3, len(self.rows) // self.spec.n_fft, self.spec.n_fft)
        cells = self._scaled(self._power(pieces))
        if self.spec.fixed_range is None:
            low, high = cells.amin((2, 3), keepdim=True), cells.amax((2, 3), keepdim=True)
            cells = (cells - low) / (high - low).clamp(min=float(LEAST_RANGE))
        else:
            least, largest = self.spec.fixed_range
            cells = (cells.clamp(least, largest) - least) / (largest - least)
        image = (cells @ self.height).transpose(2, 3) @ self.width
        return (image - self.mean) / self.std

    def _power(self, pieces: Tensor) -> Tensor:
        """Shape (n, 3, n_columns, n_bins)."""
        lift = pieces.abs().amax(3, keepdim=True) * self._lift
        coarse = (pieces + lift) - lift
        parts = coarse @ self.coarse + torch.cat([coarse, pieces - coarse], 3) @ self.rest
        real, imaginary = parts[..., : self.spec.n_bins], parts[..., self.spec.n_bins :]
        return self._unit * (real * real + imaginary * imaginary)

    def _scaled(self, power: Tensor) -> Tensor:
        if self.spec.scale == "power":
            return power.clamp(max=LARGEST_POWER)
        factor = (10 if self.spec.scale == "db" else 1) / math.log(10)
        return power.clamp(self.spec.floor, LARGEST_POWER).log() * factor


def _basis(n_fft: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Shape (n_fft, 2 n_bins): the window times cosines, then times sines, its largest value 1."""
    window = hann(n_fft)[:, None] / hann(n_fft).max()
    angles = 2 * np.pi / n_fft * (np.arange(n_fft)[:, None] * np.arange(n_fft // 2 + 1) % n_fft)
    return np.concatenate([window * np.cos(angles), window * np.sin(angles)], axis=1)


def _matrix(taps: Taps, n_in: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The resize as a matrix (n_in, n_out): cells @ matrix."""
    matrix = np.zeros((n_in, len(taps.first)))
    places = np.arange(len(taps.first))
    matrix[taps.first, places] = 1 - taps.share
    matrix[taps.second, places] += taps.share
    return matrix
