"""How a window becomes an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from runtime.errors import BundleError, OneLine, require

_LARGEST_SIDE_PX = 4096  # of an image
_LARGEST_SCALED = 1e37  # of a power as a spectrogram draws it: float32 ends at 3e38


@dataclass(frozen=True, repr=False)
class SpectrogramSpec(OneLine):
    """How three channels of a window become the red, green and blue of an image (IMG2IMU, section III-A).

    `runtime.spectrogram` computes it and its docstring holds the definition; docs/spectrogram.md has the formulas.

    Raises:
        BundleError: a field outside its range.
    """

    n_fft: int  # rows per column of the spectrogram
    hop_samples: int  # rows from one column to the next
    channels: tuple[str, ...]  # the channel names that become red, green and blue
    window: Literal["hann"] = "hann"  # the periodic one: 0.5 - 0.5 cos(2 pi n / n_fft)
    scale: Literal["power", "db", "log10"] = "log10"  # of the power, in the channel's unit squared
    floor: float = 1e-10  # lesser powers count as this one before db and log10
    fixed_range: tuple[float, ...] | None = None  # scaled values drawn as 0 and 1; None: each window's own per channel
    width_px: int = 128  # time
    height_px: int = 96  # frequency
    resize: Literal["bilinear"] = "bilinear"  # half-pixel centres, no antialiasing
    low_frequencies: Literal["bottom", "top"] = "bottom"  # side of the image
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # of red, green, blue in 0 to 1; these are ImageNet's
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    in_graph: bool = False  # True: the graph takes windows and draws; False: it takes images

    def __post_init__(self) -> None:
        width, height, spread = self.width_px, self.height_px, all(1e-6 < std < math.inf for std in self.std)
        require(
            BundleError,
            ("n_fft", self.n_fft, "at least 2", self.n_fft >= 2),
            ("hop_samples", self.hop_samples, "at least 1", self.hop_samples >= 1),
            ("channels", self.channels, "three names", len(self.channels) == 3),
            ("window", self.window, "hann", self.window == "hann"),
            ("scale", self.scale, "power or db or log10", self.scale in ("power", "db", "log10")),
            ("floor", self.floor, "a power above 1e-37", 1e-37 < self.floor < math.inf),
            ("fixed_range", self.fixed_range, "two finite numbers that rise", _rises(self.fixed_range)),
            ("width_px", width, f"1 to {_LARGEST_SIDE_PX}", 1 <= width <= _LARGEST_SIDE_PX),
            ("height_px", height, f"1 to {_LARGEST_SIDE_PX}", 1 <= height <= _LARGEST_SIDE_PX),
            ("resize", self.resize, "bilinear", self.resize == "bilinear"),
            ("low_frequencies", self.low_frequencies, "bottom or top", self.low_frequencies in ("bottom", "top")),
            ("mean", self.mean, "three finite numbers", len(self.mean) == 3 and all(map(math.isfinite, self.mean))),
            ("std", self.std, "three numbers above 1e-6", len(self.std) == 3 and spread),
            fix="Correct `spectrogram` in the manifest.",
        )

    @property
    def n_bins(self) -> int:
        """Frequencies of one column, from 0 Hz to half the rate."""
        return self.n_fft // 2 + 1

    def n_columns(self, length_samples: int) -> int:
        """Columns that lie wholly inside a window; the rows left over at its end are in none."""
        return 1 + (length_samples - self.n_fft) // self.hop_samples


def _rises(pair: tuple[float, ...] | None) -> bool:
    return pair is None or (len(pair) == 2 and -_LARGEST_SCALED < pair[0] < pair[1] < _LARGEST_SCALED)
