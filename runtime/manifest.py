"""What a bundle says about itself: the signal it wants, its windows, its labels, its tensors.

    manifest.json
      schema        1
      name          short name of the model
      signal        modalities in order, each with channels in order, unit and nominal rate
      window        length and hop, in samples
      clock         what a stream does about gaps and time stamps that are late or uneven, unless told otherwise
      labels        one name per class, in the order of the logits
      normalise     mean and standard deviation per channel (for the reader: the graph applies them)
      spectrogram   how a window becomes an image, for a model that looks at images; not there for others
      events        how predictions become events (see runtime.events); not there where nobody said
      features      number of features that the encoder gives per window
      head          names of the two tensors of the linear head: logits = features @ weight.T + bias
      tensors       every trainable tensor: name, shape, depth in layers, byte offset in model.onnx
      revision      a number that grows with every release of a model; not there where nobody counts
      training      the graphs that train the model from some layer on, and where their frozen part ends
      variants      the model in other precisions, and where each trainable tensor lies in them; not there without any
      files         size and sha256 of every file beside the manifest
      provenance    how the model came to be: method, data, licence, scores

A manifest is read by `Manifest.from_json`, which refuses what it does not understand; nothing here opens other files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from runtime import strict_json
from runtime.clock import ClockSpec
from runtime.errors import BundleError
from runtime.events import EventRule

SCHEMA = 1
_WHOLE = 1e-6  # samples; rates such as 50/3 Hz are rounded
_LARGEST = 1e300  # of a number; an integer beyond it has no float
_LARGEST_WHOLE = (1 << 53) - 1  # an integer that every reader of JSON sees alike (RFC 8259, section 6)
_LARGEST_SIDE_PX = 4096  # of an image
_LARGEST_SCALED = 1e37  # of a power as a spectrogram draws it: float32 ends at 3e38


@dataclass(frozen=True)
class Modality:
    """One sensor: its channels share a clock, a rate and a unit."""

    name: str  # "acc", "gyro", ...
    unit: str  # SI where there is one: "m/s^2", "rad/s", "uT"
    channels: tuple[str, ...]  # ("x", "y", "z")
    rate_hz: float  # nominal samples per second
    full_scale: float | None = None  # a sample at least so far from 0 is saturated; None: not known

    def __post_init__(self) -> None:
        scale = 1.0 if self.full_scale is None else self.full_scale
        if not self.channels or not 1e-9 < self.rate_hz < 1e9 or not 0 < scale < math.inf:
            raise BundleError(
                f"modality {self.name!r}",
                expected="at least one channel, a rate above 0 Hz (and below 1 GHz) and a full scale above 0",
                got=f"{len(self.channels)} channels at {self.rate_hz} Hz, full scale {self.full_scale}",
                fix="Correct `signal` in the manifest.",
            )


@dataclass(frozen=True)
class Signal:
    """What a model is fed: its modalities, in order.

    Modalities of one rate lie side by side: a row holds the channels of all of them. Where rates differ there are no
    common rows, and a window is flat: the rows of the first modality, one after the other, then those of the second.
    """

    modalities: tuple[Modality, ...]

    def __post_init__(self) -> None:
        names = self.channel_names
        if not names or len(set(names)) != len(names) or len({m.name for m in self.modalities}) != len(self.modalities):
            raise BundleError(
                "signal",
                expected="at least one modality, with names of modalities and of channels that differ",
                got=f"the channels {', '.join(names) or 'none'}",
                fix="Name each modality and each channel once.",
            )

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


@dataclass(frozen=True)
class WindowSpec:
    """How a signal is cut: `length_samples` rows per window, a new window every `hop_samples` rows."""

    length_samples: int
    hop_samples: int

    def __post_init__(self) -> None:
        if self.length_samples < 1 or self.hop_samples < 1:
            raise BundleError(
                "window",
                expected="a length and a hop of at least 1 sample",
                got=f"length {self.length_samples}, hop {self.hop_samples}",
                fix="Correct `window` in the manifest.",
            )

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


@dataclass(frozen=True)
class Normalise:
    """The z-score that the graph applies to each channel, for whoever reads the manifest.

    A model with a spectrogram does not apply it: its images are normalised as `SpectrogramSpec` says.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class SpectrogramSpec:
    """How three channels of a window become the red, green and blue of an image (IMG2IMU, section III-A).

    `runtime.spectrogram` computes it and its docstring holds the definition; docs/spectrogram.md has the formulas.
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
        for name, wanted, good in (
            ("n_fft", "at least 2", self.n_fft >= 2),
            ("hop_samples", "at least 1", self.hop_samples >= 1),
            ("channels", "three names", len(self.channels) == 3),
            ("window", "hann", self.window == "hann"),
            ("scale", "power or db or log10", self.scale in ("power", "db", "log10")),
            ("floor", "a power above 1e-37", 1e-37 < self.floor < math.inf),
            ("fixed_range", "two finite numbers that rise", self.fixed_range is None or _rises(self.fixed_range)),
            ("width_px", f"1 to {_LARGEST_SIDE_PX}", 1 <= self.width_px <= _LARGEST_SIDE_PX),
            ("height_px", f"1 to {_LARGEST_SIDE_PX}", 1 <= self.height_px <= _LARGEST_SIDE_PX),
            ("resize", "bilinear", self.resize == "bilinear"),
            ("low_frequencies", "bottom or top", self.low_frequencies in ("bottom", "top")),
            ("mean", "three finite numbers", len(self.mean) == 3 and all(map(math.isfinite, self.mean))),
            ("std", "three numbers above 1e-6", len(self.std) == 3 and all(1e-6 < s < math.inf for s in self.std)),
        ):
            if not good:
                raise BundleError(
                    name, expected=wanted, got=getattr(self, name), fix="Correct `spectrogram` in the manifest."
                )

    @property
    def n_bins(self) -> int:
        """Frequencies of one column, from 0 Hz to half the rate."""
        return self.n_fft // 2 + 1

    def n_columns(self, length_samples: int) -> int:
        """Columns that lie wholly inside a window; the rows left over at its end are in none."""
        return 1 + (length_samples - self.n_fft) // self.hop_samples


def _rises(pair: tuple[float, ...]) -> bool:
    return len(pair) == 2 and -_LARGEST_SCALED < pair[0] < pair[1] < _LARGEST_SCALED


@dataclass(frozen=True)
class Head:
    """The linear head by the names of its tensors: logits = features @ weight.T + bias."""

    weight: str
    bias: str


@dataclass(frozen=True)
class TensorSpec:
    """A trainable tensor (float32, little endian) and where its bytes lie in model.onnx."""

    name: str
    shape: tuple[int, ...]
    layer: int  # depth, 0 nearest to the input; the head is the last
    offset: int  # bytes from the start of model.onnx


@dataclass(frozen=True)
class TrainingSpec:
    """A graph that gives loss and gradient for the tensors of one layer and of all later ones."""

    layer: int  # the first that is trained
    file: str  # train/NN.onnx, NN being the layer
    cut: str  # the value of model.onnx that goes in; its own input, such as "windows", where everything is trained
    cut_shape: tuple[int, ...]  # of that value, per window
    tensors: tuple[str, ...]  # the trained tensors, in the order in which they lie in the flat vectors
    sizes: tuple[int, ...]  # how many numbers each has
    fixed_bytes: int  # of memory that the graph fills at its worst instant: this much,
    bytes_per_window: int  # and this much more per window of a batch

    def __post_init__(self) -> None:
        if self.layer < 0 or self.file != f"train/{self.layer:02d}.onnx":
            raise BundleError(
                f"training from layer {self.layer}",
                expected="the file train/NN.onnx, NN being the layer",
                got=self.file,
                fix="Export the bundle again.",
            )


@dataclass(frozen=True)
class FoldedNorm:
    """A batch normalisation that a variant has folded into the convolution in front of it.

    With k = weight / sqrt(variance + epsilon): the convolution's weight is multiplied by k, output channel by output
    channel, and its bias b (0 where it had none) becomes (b - mean) k + bias.
    """

    weight: str  # its trainable tensors
    bias: str
    mean_offset: int  # bytes from the start of model.onnx, float32
    variance_offset: int
    epsilon: float


@dataclass(frozen=True)
class VariantTensor:
    """Where a variant keeps a trainable tensor, and as what.

    An int8 tensor is round(tensor / scale), scale = the largest absolute value / `VariantSpec.int8_limit`, the zero
    point being 0; so a device can put a tensor of its own there.
    """

    name: str  # "": the bias that a convolution without one got from `norm`
    dtype: Literal["float32", "float16", "int8"]
    offset: int  # bytes from the start of the variant's file
    scale_offset: int | None = None  # of the float32 scales, for int8
    axis: int | None = None  # each index along it has its own scale; None: one scale for all
    norm: FoldedNorm | None = None  # what is to be folded in first
    transposed: bool = False  # it lies there with its two axes swapped; `axis` counts as it lies there


@dataclass(frozen=True)
class VariantSpec:
    """The model in another precision: the same input and outputs, float32, under the same names."""

    precision: str  # "fp16", "int8", ...
    file: str  # variants/PRECISION.onnx
    tensors: tuple[VariantTensor, ...]
    int8_limit: int = 127  # integers go from minus this to this
    record: Mapping[str, Any] = field(default_factory=dict)  # how it was made: calibration, what is left in float

    def __post_init__(self) -> None:
        good_name = self.precision.replace("-", "").isalnum() and self.precision.isascii() and self.precision.islower()
        if not good_name or self.file != f"variants/{self.precision}.onnx" or not 1 <= self.int8_limit <= 127:
            raise BundleError(
                f"variant {self.precision[:40]!r}",
                expected="a name such as int8, its file variants/int8.onnx and integers up to 127",
                got=f"{self.file[:80]!r} and {self.int8_limit}",
                fix="Add the variant again.",
            )


@dataclass(frozen=True)
class FileSpec:
    """Size and hash of one file of the bundle."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All that a device must know to feed a model and to read its answers."""

    name: str
    signal: Signal
    window: WindowSpec
    labels: tuple[str, ...]
    normalise: Normalise
    clock: ClockSpec = field(default_factory=ClockSpec)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    spectrogram: SpectrogramSpec | None = None  # None: the model takes the samples themselves
    events: EventRule | None = None  # None: predictions are taken as they come
    # The exporter fills in what follows; a manifest that is still being written does without.
    features: int = 0
    head: Head = Head("head.weight", "head.bias")
    tensors: tuple[TensorSpec, ...] = ()
    training: tuple[TrainingSpec, ...] = ()
    variants: tuple[VariantSpec, ...] = ()
    files: Mapping[str, FileSpec] = field(default_factory=dict)
    revision: int | None = None  # of the model; `runtime.trust.Trust` can ask for a least one
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        channels = len(self.signal.channel_names)
        for modality in self.signal.modalities:
            self.window.at(modality.rate_hz, self.signal.rate_hz)
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise BundleError(
                "labels",
                expected="at least two names that differ",
                got=", ".join(self.labels) or "none",
                fix="Name each class once.",
            )
        if len(self.normalise.mean) != channels or len(self.normalise.std) != channels:
            raise BundleError(
                "normalise",
                expected=f"{channels} means and deviations, one per channel",
                got=f"{len(self.normalise.mean)} and {len(self.normalise.std)}",
                fix="Give one of each per channel of `signal`.",
            )
        if self.spectrogram is not None:
            self._check_spectrogram(self.spectrogram)
        if self.events is not None:
            self.events.check_labels(self.labels)
        names = [tensor.name for tensor in self.tensors]
        if len(set(names)) != len(names):
            raise BundleError(
                "tensors", expected="names that differ", got=", ".join(names), fix="Export the bundle again."
            )
        for spec in self.training:
            sizes = {tensor.name: math.prod(tensor.shape) for tensor in self.tensors if tensor.layer >= spec.layer}
            if (spec.tensors, spec.sizes) != (tuple(sizes), tuple(sizes.values())):
                raise BundleError(
                    f"training from layer {spec.layer}",
                    expected=f"the tensors {', '.join(sizes)}, with the sizes {', '.join(map(str, sizes.values()))}",
                    got=f"{', '.join(spec.tensors)}, {', '.join(map(str, spec.sizes))}",
                    fix="Export the bundle again.",
                )

    def _check_spectrogram(self, spec: SpectrogramSpec) -> None:
        names, length = self.signal.channel_names, self.window.length_samples
        if spec.n_fft > length or not set(spec.channels) <= set(names) or not self.signal.is_even:
            raise BundleError(
                "spectrogram",
                expected=f"one rate, n_fft of at most the {length} rows of a window, channels of {', '.join(names)}",
                got=f"n_fft {spec.n_fft} and channels {', '.join(spec.channels)}",
                fix="Correct `spectrogram` in the manifest.",
            )

    @property
    def window_shape(self) -> tuple[int, ...]:
        """(length_samples, n_channels) of one window; (n_values,) where the modalities' rates differ."""
        if self.signal.is_even:
            return self.window.length_samples, len(self.signal.channel_names)
        parts = [(self.window.at(m.rate_hz, self.signal.rate_hz)[0], len(m.channels)) for m in self.signal.modalities]
        return (sum(length * channels for length, channels in parts),)

    def spread(self, per_channel: tuple[float, ...]) -> tuple[float, ...]:
        """A number per channel as a number per place of a window's last axis: the same, unless windows are flat."""
        if self.signal.is_even:
            return per_channel
        spread: list[float] = []
        for m in self.signal.modalities:
            mine, per_channel = per_channel[: len(m.channels)], per_channel[len(m.channels) :]
            spread += mine * self.window.at(m.rate_hz, self.signal.rate_hz)[0]
        return tuple(spread)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one input of the graph: window_shape, or (3, height_px, width_px) if it takes images."""
        spec = self.spectrogram
        return self.window_shape if spec is None or spec.in_graph else (3, spec.height_px, spec.width_px)

    @property
    def input_name(self) -> str:
        """Of the graph's input: "windows" or "images"."""
        return "windows" if self.spectrogram is None or self.spectrogram.in_graph else "images"

    @property
    def window_s(self) -> float:
        """Seconds that one window spans."""
        return self.window.length_samples / self.signal.rate_hz

    @property
    def hop_s(self) -> float:
        """Seconds from one window's start to the next one's."""
        return self.window.hop_samples / self.signal.rate_hz

    def with_files(self, contents: Mapping[str, bytes]) -> Manifest:
        """This manifest with the size and the hash of each file."""
        files = {name: FileSpec(len(data), hashlib.sha256(data).hexdigest()) for name, data in contents.items()}
        return dataclasses.replace(self, files=files)

    def to_json(self) -> str:
        """The manifest as it is stored, sorted so that equal manifests are equal bytes. What is None is left out."""
        stored = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        if not self.variants:
            del stored["variants"]
        return json.dumps(stored, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: object = "manifest.json") -> Manifest:
        """Read a manifest.

        Raises:
            BundleError: not JSON, another schema, a field that is missing, unknown or of the wrong type.
        """
        try:
            raw = strict_json.loads(text)
        except ValueError as error:
            raise BundleError(
                where, expected="JSON", got=str(error), fix="Export the bundle again or copy it anew."
            ) from None
        found = raw.get("schema") if isinstance(raw, dict) else raw
        if found != SCHEMA:
            raise BundleError(
                where,
                expected=f"a manifest of schema {SCHEMA}",
                got=f"schema {_shown(found)}",
                fix="Use the sensedge release that wrote this bundle, or export it again.",
            )
        manifest: Manifest = _build(cls, raw, str(where))
        return manifest


def _build(kind: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into the annotated type `kind`, naming the field that does not fit."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):  # of one type and None
        return None if value is None else _build(arguments[0], value, where)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        required = {f.name for f in dataclasses.fields(kind) if _is_required(f)}
        wrong = sorted((required - value.keys()) | (value.keys() - hints.keys()))
        if not wrong:
            fields = {key: _build(hints[key], item, f"{where}: {key}") for key, item in value.items()}
            try:
                return kind(**fields)
            except BundleError as error:  # it knows the field, not the file
                raise BundleError(
                    f"{where}: {error.where}", expected=error.expected, got=error.got, fix=error.fix
                ) from None
        raise BundleError(
            where,
            expected=f"the fields {', '.join(hints)}",
            got=f"missing or unknown: {', '.join(wrong)}",
            fix="Export the bundle again.",
        )
    if origin is tuple and isinstance(value, list):
        return tuple(_build(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        return {key: _build(arguments[1], item, f"{where}: {key}") for key, item in value.items()}
    if origin is types.UnionType and arguments[1:] == (types.NoneType,):
        return None if value is None else _build(arguments[0], value, where)
    if kind is Any or (origin is Literal and value in arguments):
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
        return float(value)
    small = not isinstance(value, int) or abs(value) <= _LARGEST_WHOLE
    if isinstance(kind, type) and isinstance(value, kind) and isinstance(value, bool) == (kind is bool) and small:
        return value
    expected = " or ".join(arguments) if origin is Literal else getattr(kind, "__name__", str(kind))
    raise BundleError(where, expected=expected, got=_shown(value), fix="Export the bundle again.")


def _shown(value: Any) -> str:
    """A value as a message tells it; a long one is not spelled out before it is cut."""
    return repr(value)[:60] if isinstance(value, str | int | float | None) else reprlib.repr(value)[:60]


def _is_required(entry: dataclasses.Field[Any]) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
