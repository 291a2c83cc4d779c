"""A window's spectrogram image, drawn along a stream, against scipy.signal, torch.stft and others from scratch.

Windows overlap by 75 %; three channels of 512 rows become an RGB image of 128 x 96 pixels, log10 of the power, ranges
per window, ImageNet's colours. Two tasks, at two shapes:

    image      from the raw window to the normalised image
    columns    from the raw window to the power of its columns; ours computes those that are new, 8 of 25 or 32 of 65

scipy has two ways to resize, and both stand here: ndimage.zoom (`scipy`), and products with two matrices that were made
before (`scipy_matrices`), which is the fastest that we know. torch resizes with its interpolate. `offline` is ours too,
without memory of the window before. Every peer's constants are made before the clock runs. Everybody's answers must be
the same to 1e-6 of the largest; images of scipy and torch to 1e-3, for float32 samples make them compute in float32
throughout, and log10 shows what that does to quiet cells.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from itertools import count
from typing import Any

import numpy as np
import scipy.ndimage
import scipy.signal
import torch

from benchmarks._bench import Options, Result, interleave, ratio
from runtime import Manifest, Modality, RollingSpectrogram, Signal, Spectrogram, SpectrogramSpec, WindowSpec
from runtime.specs import Normalise
from runtime.spectrogram import resize_taps

RATE_HZ, LENGTH, HOP = 50.0, 512, 128
SHAPES = {"": (128, 16), "_dense": (256, 4)}  # n_fft, rows between columns; both in the grid of the IMG2IMU paper
N_WINDOWS = 40
FLOAT32 = ("scipy", "scipy_matrices", "torch")  # they compute in it throughout
Task = dict[str, Callable[[int], Any]]


def run(options: Options) -> Result:
    """Both tasks at both shapes."""
    result = Result("spectrogram")
    torch.set_num_threads(1)
    for suffix, (n_fft, hop) in SHAPES.items():
        _measure(suffix, _Work(n_fft, hop), options, result)
    return result


class _Work:
    """The windows of a stream, in turn, and everybody's constants."""

    def __init__(self, n_fft: int, hop: int) -> None:
        signal = Signal((Modality("acc", "m/s^2", ("x", "y", "z"), RATE_HZ),))
        spec = SpectrogramSpec(n_fft, hop, signal.channel_names)
        normalise = Normalise((0.0,) * 3, (1.0,) * 3)
        self.manifest = Manifest("x", signal, WindowSpec(LENGTH, HOP), ("a", "b"), normalise, spectrogram=spec)
        self.spec, self.n_columns = spec, spec.n_columns(LENGTH)
        self.window = scipy.signal.windows.hann(n_fft, sym=False)
        self.mean, self.std = (np.array(v, np.float32)[:, None, None] for v in (spec.mean, spec.std))
        self.height = _matrix(spec.n_bins, spec.height_px).T
        self.width = _matrix(self.n_columns, spec.width_px)
        self.zoom = (1, spec.height_px / spec.n_bins, spec.width_px / self.n_columns)
        self.hann = torch.from_numpy(self.window.astype(np.float32))
        self.torch_mean, self.torch_std = torch.from_numpy(self.mean), torch.from_numpy(self.std)
        self.transform = scipy.signal.ShortTimeFFT(self.window, hop, RATE_HZ, scale_to="magnitude")
        self.slices = {"p0": n_fft // 2 // hop, "p1": n_fft // 2 // hop + self.n_columns}
        rng, t = np.random.default_rng(0), np.arange(LENGTH + (N_WINDOWS - 1) * HOP) / RATE_HZ
        rows = rng.normal((1, 9, 3), 0.1, (len(t), 3)) + np.outer(np.sin(2 * np.pi * 1.9 * t), (3, 2, 1))
        rows = rows.astype(np.float32)
        self.windows = [rows[i : i + LENGTH].copy() for i in range(0, len(rows) - LENGTH + 1, HOP)]
        self.channels = [window.T.copy() for window in self.windows]  # as scipy and torch like them

    # ---- columns: power of shape (3, n_bins, n_columns)

    def scipy_power(self, i: int) -> np.ndarray:
        found = scipy.signal.spectrogram(
            self.channels[i % N_WINDOWS],
            RATE_HZ,
            self.window,
            noverlap=self.spec.n_fft - self.spec.hop_samples,
            detrend=False,
            scaling="spectrum",
            mode="complex",
        )[2]
        return found.real**2 + found.imag**2

    def stft_power(self, i: int) -> np.ndarray:
        return self.transform.spectrogram(self.channels[i % N_WINDOWS], **self.slices)

    def torch_power(self, i: int) -> torch.Tensor:
        spec = self.spec
        found = torch.stft(
            torch.from_numpy(self.channels[i % N_WINDOWS]),
            spec.n_fft,
            spec.hop_samples,
            window=self.hann,
            center=False,
            return_complex=True,
        )
        return torch.view_as_real(found).square().sum(-1) / (spec.n_fft / 2) ** 2

    def librosa_power(self, librosa: Any, i: int) -> np.ndarray:
        found = librosa.stft(
            self.channels[i % N_WINDOWS],
            n_fft=self.spec.n_fft,
            hop_length=self.spec.hop_samples,
            window=self.window,
            center=False,
        )
        return (found.real**2 + found.imag**2) / (self.spec.n_fft / 2) ** 2

    # ---- images

    def ranged(self, power: np.ndarray) -> np.ndarray:
        cells = np.log10(np.maximum(power, self.spec.floor))
        low, high = cells.min((1, 2), keepdims=True), cells.max((1, 2), keepdims=True)
        return (cells - low) / (high - low)

    def by_matrices(self, power: np.ndarray) -> np.ndarray:
        image = (self.height @ self.ranged(power)[:, ::-1]).astype(np.float32, copy=False) @ self.width
        return (image - self.mean) / self.std

    def by_zoom(self, power: np.ndarray) -> np.ndarray:
        cells = self.ranged(power)[:, ::-1]
        image = scipy.ndimage.zoom(cells, self.zoom, order=1, mode="nearest", grid_mode=True)
        return (image - self.mean) / self.std

    def torch_image(self, i: int) -> np.ndarray:
        cells = self.torch_power(i).clamp_min(self.spec.floor).log10()
        low, high = cells.amin((1, 2), keepdim=True), cells.amax((1, 2), keepdim=True)
        size = (self.spec.height_px, self.spec.width_px)
        cells = ((cells - low) / (high - low)).flip(1)[None]
        image = torch.nn.functional.interpolate(cells, size=size, mode="bilinear", align_corners=False)[0]
        return ((image - self.torch_mean) / self.torch_std).numpy()


def _matrix(n_in: int, n_out: int) -> np.ndarray:
    taps = resize_taps(n_in, n_out)
    matrix = np.zeros((n_in, n_out), np.float32)
    matrix[taps.first, np.arange(n_out)] = 1 - taps.share
    matrix[taps.second, np.arange(n_out)] += taps.share
    return matrix


def _measure(suffix: str, work: _Work, options: Options, result: Result) -> None:
    offline, rolling = Spectrogram(work.manifest), RollingSpectrogram(work.manifest)
    images: Task = {
        "incremental": lambda i: rolling.push(work.windows[i % N_WINDOWS], i * HOP),
        "offline": lambda i: offline.images(work.windows[i % N_WINDOWS][None])[0],
        "scipy": lambda i: work.by_zoom(work.scipy_power(i)),
        "scipy_matrices": lambda i: work.by_matrices(work.scipy_power(i)),
        "shorttimefft": lambda i: work.by_matrices(work.stft_power(i)),
        "torch": work.torch_image,
    }
    columns: Task = {
        "incremental": lambda i: rolling._step.power(work.windows[i % N_WINDOWS]).transpose(1, 2, 0),
        "offline": lambda i: offline.power(work.windows[i % N_WINDOWS][None])[0],
        "scipy": work.scipy_power,
        "shorttimefft": work.stft_power,
        "torch": lambda i: work.torch_power(i).numpy(),
    }
    try:
        librosa = import_module("librosa")
        columns["librosa"] = lambda i: work.librosa_power(librosa, i)
    except ImportError as error:
        result.figures["librosa"] = f"not measured: {error}"
    for task, candidates in (("", images), ("columns_", columns)):
        _check(task, suffix, candidates, result)
        _time(task, suffix, candidates, options, result)


def _check(task: str, suffix: str, candidates: Task, result: Result) -> None:
    """Every answer against the offline one, as a share of its largest value; of columns, as many as there are."""
    for name, draw in candidates.items():
        worst = 0.0
        for i in range(4):
            truth, found = candidates["offline"](i), draw(i)
            worst = max(worst, np.abs(found - truth[..., -found.shape[-1] :]).max() / np.abs(truth).max())
        result.checks[f"{task}{name}{suffix}"] = bool(worst < (1e-3 if task == "" and name in FLOAT32 else 1e-6))


def _time(task: str, suffix: str, candidates: Task, options: Options, result: Result) -> None:
    places = {name: count(4) for name in candidates}  # the check drew four
    calls = {name: (lambda name=name: candidates[name](next(places[name]))) for name in candidates}
    seconds = interleave(calls, rounds=4 if options.quick else 40, calls=50)
    for name, values in seconds.items():
        result.figures[f"{task}{name}_us{suffix}"] = float(np.median(values)) * 1e6
        if name != "incremental":
            key = f"{task}{name}_vs_incremental{suffix}"
            result.ratios[key], result.ratios[f"{key}_spread"] = ratio(values, seconds["incremental"])
