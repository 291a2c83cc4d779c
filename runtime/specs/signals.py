"""What a row of samples holds, how rows are cut into windows, and what is done about their times."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Literal, TypeAlias, get_args

from runtime.errors import BundleError, OneLine, require

BASE = "base"  # the version that was shipped
FLOAT32 = "float32"  # the precision of model.onnx
_WHOLE = 1e-6  # samples; rates such as 50/3 Hz are rounded
_Gap: TypeAlias = Literal["split", "hold", "mark"]
_Stamps: TypeAlias = Literal["measured", "arrival"]
_Unit: TypeAlias = Literal["s", "ns"]


@dataclass(frozen=True, repr=False)
class Modality(OneLine):
    """One sensor: its channels share a clock, a rate and a unit.

    Raises:
        BundleError: no channel, or a rate or a full scale that is not above 0.
    """

    name: str  # "acc", "gyro", ...
    unit: str  # SI where there is one: "m/s^2", "rad/s", "uT"
    channels: tuple[str, ...]  # ("x", "y", "z")
    rate_hz: float  # nominal samples per second
    full_scale: float | None = None  # a sample at least so far from 0 is saturated; None: not known

    def __post_init__(self) -> None:
        scale = 1.0 if self.full_scale is None else self.full_scale
        good = len(self.channels) > 0 and 1e-9 < self.rate_hz < 1e9 and 0 < scale < math.inf
        expected = "at least one channel, a rate above 0 Hz (and below 1 GHz) and a full scale above 0"
        got = f"{len(self.channels)} channels at {self.rate_hz} Hz, full scale {self.full_scale}"
        require(BundleError, (f"modality {self.name!r}", got, expected, good), fix="Correct `signal` in the manifest.")


@dataclass(frozen=True, repr=False)
class Signal(OneLine):
    """What a model is fed: its modalities, in order.

    Modalities of one rate lie side by side: a row holds the channels of all of them. Where rates differ there are no
    common rows, and a window is flat: the rows of the first modality, one after the other, then those of the second.

    Raises:
        BundleError: no modality, or a name that stands twice.
    """

    modalities: tuple[Modality, ...]

    def __post_init__(self) -> None:
        names = self.channel_names
        once = len(set(names)) == len(names) and len({m.name for m in self.modalities}) == len(self.modalities)
        expected = "at least one modality, with names of modalities and of channels that differ"
        got, fix = f"the channels {', '.join(names) or 'none'}", "Name each modality and each channel once."
        require(BundleError, ("signal", got, expected, bool(names) and once), fix=fix)

    @property
    def rate_hz(self) -> float:
        """Nominal rows per second; of the first modality, where rates differ."""
        return self.modalities[0].rate_hz

    @property
    def is_even(self) -> bool:
        """Whether all modalities have one rate."""
        return len({modality.rate_hz for modality in self.modalities}) == 1

    def names_of(self, modality: str | None) -> tuple[str, ...]:
        """Channel names of one modality, or of all."""
        if modality is None:
            return self.channel_names
        return tuple(f"{m.name}_{channel}" for m in self.modalities if m.name == modality for channel in m.channels)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names in the order of the columns, such as ("acc_x", "acc_y", "acc_z", "gyro_x")."""
        return tuple(f"{m.name}_{channel}" for m in self.modalities for channel in m.channels)

    @property
    def columns(self) -> tuple[slice, ...]:
        """Where a row holds each modality."""
        ends = [*accumulate(len(m.channels) for m in self.modalities)]
        return tuple(map(slice, [0, *ends], ends))

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each column."""
        return tuple(m.unit for m in self.modalities for _ in m.channels)


@dataclass(frozen=True, repr=False)
class WindowSpec(OneLine):
    """How a signal is cut: `length_samples` rows per window, a new window every `hop_samples` rows.

    Raises:
        BundleError: a length or a hop below 1 sample.
    """

    length_samples: int
    hop_samples: int

    def __post_init__(self) -> None:
        good = self.length_samples >= 1 and self.hop_samples >= 1
        expected = "a length and a hop of at least 1 sample"
        got = f"length {self.length_samples}, hop {self.hop_samples}"
        require(BundleError, ("window", got, expected, good), fix="Correct `window` in the manifest.")

    @classmethod
    def from_seconds(cls, length_s: float, hop_s: float, rate_hz: float) -> WindowSpec:
        """The window of so many seconds: `round(seconds * rate_hz)` samples."""
        return cls(round(length_s * rate_hz), round(hop_s * rate_hz))

    def at(self, rate_hz: float, of_hz: float) -> tuple[int, int]:
        """Length and hop in samples of a modality with another rate.

        Raises:
            BundleError: they are not whole numbers.
        """
        length, hop = (samples * rate_hz / of_hz for samples in (self.length_samples, self.hop_samples))
        if min(length, hop) < 0.5 or any(abs(samples - round(samples)) > _WHOLE for samples in (length, hop)):
            raise BundleError(
                "window",
                expected=f"a length and a hop of whole samples at {rate_hz:g} Hz too",
                got=f"{length:g} and {hop:g} samples",
                fix="Choose a length and a hop that are whole numbers of samples at every modality's rate.",
            )
        return round(length), round(hop)


@dataclass(frozen=True, repr=False)
class ClockSpec(OneLine):
    """What is done about time stamps that are late, uneven or missing.

    The manifest has one; a `Stream` may be given another, as these are facts of the sensor and its wire as well.

    Raises:
        BundleError: a field outside its range.
    """

    gap: _Gap = "split"
    # split: no window spans a gap, the first sample after it starts a new segment
    # hold:  the last sample is repeated, for at most `longest_hold_s`; beyond that as split
    # mark:  a straight line bridges the gap and the windows keep their beat; those with too little in them are left out
    gap_s: float | None = None  # samples further apart are a gap; None: 1.5 periods of the source
    longest_hold_s: float = 0.5
    least_real: float = 0.5  # mark: the share of real rows below which a window is not given
    reorder_s: float = 0.0  # a sample may come this much later than a newer one; all are held back as long
    back_s: float = 1.0  # a sample that is older than the newest by more means that the clock was set back
    stamps: _Stamps = "measured"  # arrival: times of arrival, whose jitter is smoothed away
    unit: _Unit = "s"  # of the time stamps

    def __post_init__(self) -> None:
        numbers = [value for value in (getattr(self, f.name) for f in fields(self)) if isinstance(value, float | int)]
        for name, words in (("gap", _Gap), ("stamps", _Stamps), ("unit", _Unit)):
            word, known = getattr(self, name), get_args(words)
            expected = f"{name} as one of {', '.join(known)}"
            require(BundleError, ("clock", f"{name} {word}", expected, word in known), fix="Correct `clock`.")
        good = all(math.isfinite(number) and number >= 0 for number in numbers) and self.least_real <= 1
        expected = "times of at least 0 seconds and least_real from 0 to 1"
        got = ", ".join(f"{f.name} {getattr(self, f.name)}" for f in fields(self))
        require(BundleError, ("clock", got, expected, good), fix="Correct `clock`.")


@dataclass(frozen=True, repr=False)
class Normalise(OneLine):
    """The z-score that the graph applies to each channel, for whoever reads the manifest.

    A model with a spectrogram does not apply it: its images are normalised as `SpectrogramSpec` says.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
