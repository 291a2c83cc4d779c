"""The words of the house: what a signal, a window, a clock, a spectrogram and an event rule are, as a manifest says it.

    Signal, Modality   what a row of samples holds: sensors, channels, units, rates
    WindowSpec         how it is cut
    ClockSpec          what is done about time stamps that are late, uneven or missing
    Normalise          the z-score that a graph applies
    SpectrogramSpec    how a window becomes an image
    EventRule, Delay   how predictions become events, and how late they then come
    BASE, FLOAT32      the version and the precision that every bundle has

The machines that follow these words are `runtime.window`, `runtime.spectrogram` and `runtime.events`;
`runtime.bundle.manifest` writes them down.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import count
from typing import Literal, TypeAlias, get_args

from runtime.errors import BundleError, OneLine, require

BASE = "base"  # the version that was shipped
FLOAT32 = "float32"  # the precision of model.onnx
_WHOLE = 1e-6  # samples; rates such as 50/3 Hz are rounded
_LARGEST_SIDE_PX = 4096  # of an image
_LARGEST_SCALED = 1e37  # of a power as a spectrogram draws it: float32 ends at 3e38
SLACK_HOPS = 1e-3  # of a duration, for the rounding of time stamps
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


@dataclass(frozen=True, repr=False)
class Delay(OneLine):
    """How late a rule tells of a change from one class to another, had the model never erred."""

    start_s: float  # from the first prediction of the new class to the start's telling: what the rule adds
    end_s: float  # the same for the end of the old class
    typical_s: float  # from the change to the start's telling, where a window half filled with the new class shows it
    worst_s: float  # the same where only a full one does and the change fell just after a window's start


@dataclass(frozen=True, repr=False)
class EventRule(OneLine):
    """How predictions become events. The default takes every prediction above 0.5 at its word.

    Raises:
        BundleError: a field outside its range.
    """

    smoothing: Literal["none", "mean", "exponential"] = "none"
    smoothing_windows: int = 1  # mean: over so many windows; exponential: time constant, alpha = 1 - exp(-1 / this)
    votes_needed: int = 1  # of the latest `votes_of` windows, to start or to end an event
    votes_of: int = 1
    enter: float = 0.5  # smoothed probability at which a window votes for its class
    exit: float = 0.5  # smoothed probability below which a window votes against the open event
    enter_by_label: Mapping[str, float] = field(default_factory=dict)  # for the classes that differ
    exit_by_label: Mapping[str, float] = field(default_factory=dict)
    min_duration_s: float = 0.0  # a shorter event is never told; a start is told once it has lasted so long
    refractory_s: float = 0.0  # after an event, none of the same class may start for so long
    unknown_below: float = 0.0  # a window whose highest probability is lower enters the smoothing as all zeros

    def __post_init__(self) -> None:
        pairs = [(self.enter, self.exit), *map(self.thresholds, (*self.enter_by_label, *self.exit_by_label))]
        strange = [pair for pair in pairs if not 0 < pair[1] <= pair[0] < 1]
        votes = f"{self.votes_needed} of {self.votes_of}"
        enter_exit = f"enter {strange[0][0]}, exit {strange[0][1]}" if strange else ""
        smoothings, n = ("none", "mean", "exponential"), self.smoothing_windows
        lasting, quiet = self.min_duration_s, self.refractory_s
        require(
            BundleError,
            ("events: smoothing", self.smoothing, f"one of {', '.join(smoothings)}", self.smoothing in smoothings),
            ("events: smoothing_windows", n, "at least 1", n >= 1),
            ("events: votes_needed", votes, "from 1 to votes_of", 1 <= self.votes_needed <= self.votes_of),
            ("events: enter and exit", enter_exit, "0 < exit <= enter < 1", not strange),
            ("events: min_duration_s", lasting, "seconds, at least 0", 0 <= lasting < math.inf),
            ("events: refractory_s", quiet, "seconds, at least 0", 0 <= quiet < math.inf),
            ("events: unknown_below", self.unknown_below, "from 0 to 1", 0 <= self.unknown_below <= 1),
            fix="Correct the event rule.",
        )

    def thresholds(self, label: str) -> tuple[float, float]:
        """The thresholds (enter, exit) of one class."""
        return self.enter_by_label.get(label, self.enter), self.exit_by_label.get(label, self.exit)

    def check_labels(self, labels: Sequence[str]) -> None:
        """Refuse thresholds of classes that there are not.

        Raises:
            BundleError: names them.
        """
        strange = sorted({*self.enter_by_label, *self.exit_by_label} - set(labels))
        if strange:
            raise BundleError(
                "events",
                expected=f"thresholds for {', '.join(labels)}",
                got=f"some for {', '.join(strange)}",
                fix="Name classes as `labels` does.",
            )

    def delay(self, hop_s: float, window_s: float) -> Delay:
        """How late the rule tells of a change from one class to another; the highest `enter` and lowest `exit` count.

        The probabilities are taken to step from all for the old class to all for the new one. With s(j) the smoothed
        probability of the new class at the j-th window after the step, (j + 1) / n for a mean over n windows and
        1 - exp(-(j + 1) / n) for the exponential one, the new class is voted for from the first j at which s(j)
        reaches `enter`, the old one is voted against from the first at which 1 - s(j) is below `exit`, and

            windows to the end's telling    = against + votes_needed - 1
            windows to the start's telling  = max(for, against) + max(votes_needed, ceil(min_duration / hop)) - 1

        because an event starts only when none is open. A refractory time that still runs comes on top.

        Args:
            hop_s: seconds from one window to the next.
            window_s: seconds that a window spans.
        """
        enter, leave = max((self.enter, *self.enter_by_label.values())), min((self.exit, *self.exit_by_label.values()))
        turned = next(j for j, (new, _) in enumerate(self._step()) if new >= enter)
        left = next(j for j, (_, old) in enumerate(self._step()) if old < leave)
        lasting = math.ceil(self.min_duration_s / hop_s - SLACK_HOPS)
        start_s = (max(turned, left) + max(self.votes_needed, lasting) - 1) * hop_s
        end_s = (left + self.votes_needed - 1) * hop_s
        return Delay(start_s, end_s, (window_s + hop_s) / 2 + start_s, window_s + hop_s + start_s)

    def _step(self) -> Iterator[tuple[float, float]]:
        """Smoothed probabilities of the new and of the old class after a step from one to the other."""
        n = self.smoothing_windows
        for j in count(1):
            if self.smoothing == "exponential":
                yield -math.expm1(-j / n), math.exp(-j / n)
            else:
                lag = max(n - j, 0) if self.smoothing == "mean" else 0
                yield (n - lag) / n, lag / n
