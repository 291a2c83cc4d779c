"""What a bundle says about itself: the signal it wants, its windows, its labels, its tensors.

    manifest.json
      schema        1
      name          short name of the model
      signal        modalities in order, each with channels in order, unit and nominal rate
      window        length and hop, in samples
      clock         what a stream does about gaps and time stamps that are late or uneven, unless told otherwise
      labels        one name per class, in the order of the logits
      frame         the axes that windows are turned to before all else; not there where they are taken as they come
      normalise     mean and standard deviation per channel (for the reader: the graph applies them)
      spectrogram   how a window becomes an image, for a model that looks at images; not there for others
      events        how predictions become events (see runtime.specs); not there where nobody said
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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.bundle.contents import HEAD, FileSpec, Head, TensorSpec, TrainingSpec, VariantSpec
from runtime.bundle.typed_json import build, shown
from runtime.errors import BundleError, one_line, printable
from runtime.files import strict_json
from runtime.specs import ClockSpec, EventRule, FrameSpec, Normalise, Signal, SpectrogramSpec, WindowSpec

SCHEMA = 1
_FREE = ("provenance", "record")  # what is in them is for people, and may be anything
_FARTHEST_STDS, _FARTHEST = 1e3, 1e9  # from the mean; in the channel's unit, where nobody measured mean and deviation


@dataclass(frozen=True)
class Manifest:
    """All that a device must know to feed a model and to read its answers.

    Raises:
        BundleError: parts that do not fit one another, such as means for other channels than the signal has.
    """

    name: str
    signal: Signal
    window: WindowSpec
    labels: tuple[str, ...]
    normalise: Normalise
    clock: ClockSpec = field(default_factory=ClockSpec)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    frame: FrameSpec | None = None  # None: windows are taken in the device's own axes
    spectrogram: SpectrogramSpec | None = None  # None: the model takes the samples themselves
    events: EventRule | None = None  # None: predictions are taken as they come
    # The exporter fills in what follows; a manifest that is still being written does without.
    features: int = 0
    head: Head = HEAD
    tensors: tuple[TensorSpec, ...] = ()
    training: tuple[TrainingSpec, ...] = ()
    variants: tuple[VariantSpec, ...] = ()
    files: Mapping[str, FileSpec] = field(default_factory=dict)
    revision: int | None = None  # of the model; `runtime.bundle.trust.Trust` can ask for a least one
    schema: int = SCHEMA

    def __repr__(self) -> str:
        return one_line(self, repr(self.name), f"{len(self.labels)} labels", self.signal, self.window)

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
        if self.frame is not None:
            self._check_frame(self.frame)
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

    def _check_frame(self, frame: FrameSpec) -> None:
        """The runtime turns no windows; the graph does, where it takes windows."""
        if not frame.fits(self.signal) or self.input_name != "windows":
            raise BundleError(
                "frame",
                expected="sensors of three channels each, at one rate, in a graph of windows",
                got=f"{', '.join(frame.turned)} in a graph of {self.input_name}",
                fix="Correct `frame` in the manifest, or let the graph draw the images.",
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
    def ranges(self) -> tuple[float, ...]:
        """How far from 0 a sample of each channel is saturated: at its full scale, or farther than any sensor measures.

        Where `signal` has no full scale, that is a thousand deviations from the mean of `normalise`.
        """
        scales = [m.full_scale for m in self.signal.modalities for _ in m.channels]
        told = zip(scales, self.normalise.mean, self.normalise.std, strict=True)
        return tuple([scale or _farthest(mean, std) for scale, mean, std in told])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one input of the graph: window_shape, or (3, height_px, width_px) if it takes images."""
        spec = self.spectrogram
        return self.window_shape if spec is None or spec.in_graph else (3, spec.height_px, spec.width_px)

    @property
    def input_name(self) -> str:
        """Name of the graph's input: "windows" or "images"."""
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
                got=f"schema {shown(found)}",
                fix="Use the sensedge release that wrote this bundle, or export it again.",
            )
        _check_text(raw, str(where))
        manifest: Manifest = build(cls, raw, str(where))
        return manifest


def _check_text(document: Any, where: str) -> None:
    """All names are shown somewhere: on a terminal, in a topic, in a log. Free text may have lines.

    Raises:
        BundleError: names the place of the first text that holds something else than what can be printed.
    """
    open_ends = [(document, where, "")]
    while open_ends:
        item, place, lines = open_ends.pop()
        if isinstance(item, dict):
            free = {key: "\n\t" if key in _FREE else lines for key in item}
            open_ends += [(value, f"{place}: {key}", free[key]) for key, value in item.items()]
            open_ends += [(key, f"{place}: a name", "") for key in item]
        elif isinstance(item, list):
            open_ends += [(value, f"{place}[{i}]", lines) for i, value in enumerate(item)]
        elif isinstance(item, str) and not item.isprintable() and printable(item, keep=lines) != item:
            fix = "Name it in letters, and export the bundle again."
            raise BundleError(place, expected="text that can be printed", got=shown(item), fix=fix)


def _farthest(mean: float, std: float) -> float:
    """What a channel of this mean and deviation never reaches."""
    measured = (mean, std) != (0.0, 1.0) and std > 0
    return min(abs(mean) + _FARTHEST_STDS * std, _FARTHEST) if measured else _FARTHEST
