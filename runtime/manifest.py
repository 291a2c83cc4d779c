"""What a bundle says about itself: the signal it wants, its windows, its labels, its tensors.

    manifest.json
      schema        1
      name          short name of the model
      signal        modalities in order, each with channels in order, unit and nominal rate
      window        length and hop, in samples
      labels        one name per class, in the order of the logits
      normalise     mean and standard deviation per channel (for the reader: the graph applies them)
      features      number of features that the encoder gives per window
      head          names of the two tensors of the linear head: logits = features @ weight.T + bias
      tensors       every trainable tensor: name, shape, depth in layers, byte offset in model.onnx
      training      the graphs that train the model from some layer on, and where their frozen part ends
      files         size and sha256 of every file beside the manifest
      provenance    how the model came to be: method, data, licence, scores

A manifest is read by `Manifest.from_json`, which refuses what it does not understand; nothing here opens other files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import BundleError

SCHEMA = 1
_LARGEST = 1e300  # of a number; an integer beyond it has no float


@dataclass(frozen=True)
class Modality:
    """One sensor: its channels share a clock, a rate and a unit."""

    name: str  # "acc", "gyro", ...
    unit: str  # SI where there is one: "m/s^2", "rad/s", "uT"
    channels: tuple[str, ...]  # ("x", "y", "z")
    rate_hz: float  # nominal samples per second

    def __post_init__(self) -> None:
        if not self.channels or not (math.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise BundleError(
                f"modality {self.name!r}",
                expected="at least one channel and a rate above 0 Hz",
                got=f"{len(self.channels)} channels at {self.rate_hz} Hz",
                fix="Correct `signal` in the manifest.",
            )


@dataclass(frozen=True)
class Signal:
    """What one row of samples means: the channels of all modalities side by side."""

    modalities: tuple[Modality, ...]

    def __post_init__(self) -> None:
        rates = {modality.rate_hz for modality in self.modalities}
        names = self.channel_names
        if len(rates) != 1 or len(set(names)) != len(names):
            raise BundleError(
                "signal",
                expected="modalities of one rate, with channel names that differ",
                got=f"rates {sorted(rates)} Hz and channels {', '.join(names) or 'none'}",
                fix="Resample the modalities to one rate and name each channel once.",
            )

    @property
    def rate_hz(self) -> float:
        """Nominal rows per second."""
        return self.modalities[0].rate_hz

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


@dataclass(frozen=True)
class Normalise:
    """The z-score that the graph applies to each channel, for whoever reads the manifest."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


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
    cut: str  # the value of model.onnx that goes in; "windows" where everything is trained
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
    provenance: Mapping[str, Any] = field(default_factory=dict)
    # The exporter fills in what follows; a manifest that is still being written does without.
    features: int = 0
    head: Head = Head("head.weight", "head.bias")
    tensors: tuple[TensorSpec, ...] = ()
    training: tuple[TrainingSpec, ...] = ()
    files: Mapping[str, FileSpec] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        channels = len(self.signal.channel_names)
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
        for spec in self.training:
            expected = tuple(tensor.name for tensor in self.tensors if tensor.layer >= spec.layer)
            if spec.tensors != expected:
                raise BundleError(
                    f"training from layer {spec.layer}",
                    expected=f"the tensors {', '.join(expected)}",
                    got=", ".join(spec.tensors),
                    fix="Export the bundle again.",
                )

    @property
    def window_shape(self) -> tuple[int, int]:
        """(length_samples, n_channels) of one window."""
        return self.window.length_samples, len(self.signal.channel_names)

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
        """The manifest as it is stored, sorted so that equal manifests are equal bytes."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: object = "manifest.json") -> Manifest:
        """Read a manifest.

        Raises:
            BundleError: not JSON, another schema, a field that is missing, unknown or of the wrong type.
        """
        try:
            raw = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise BundleError(
                where, expected="JSON", got=str(error), fix="Export the bundle again or copy it anew."
            ) from None
        found = raw.get("schema") if isinstance(raw, dict) else raw
        if found != SCHEMA:
            raise BundleError(
                where,
                expected=f"a manifest of schema {SCHEMA}",
                got=f"schema {found!r}",
                fix="Use the sensedge release that wrote this bundle, or export it again.",
            )
        manifest: Manifest = _build(cls, raw, str(where))
        return manifest


def _refuse_constant(name: str) -> float:
    raise ValueError(f"the constant {name}, which is not a finite number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_constant(text)


def _build(kind: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into the annotated type `kind`, naming the field that does not fit."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
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
    if kind is Any:
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not isinstance(value, bool):
        return value
    raise BundleError(
        where, expected=getattr(kind, "__name__", str(kind)), got=repr(value)[:60], fix="Export the bundle again."
    )


def _is_required(entry: dataclasses.Field[Any]) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
