"""Several modalities at once: Cosmo's quality-guided attention weighs each one and joins them.

Paper: "Cosmo: Contrastive Fusion Learning with Small Data for Multimodal Human Activity Recognition", section 5.2.1.

    window ------> modality 1 -> encoder -> sequence --- x w1 -+-> side by side (weighted concatenation)
                -> modality 2 -> encoder -> sequence --- x w2 -+   or added (weighted sum)
                                               |
       w = (1 - share) softmax(scores) + share quality     scores: each sequence -> 1280, side by side -> 1280 -> 128
                                                                   -> one per modality; batch normalisation and tanh

Quality says how clearly a modality falls into clusters, found on unlabelled data beforehand; it is data here, not
trained. The paper's equations 5 and 6 score each modality from its own features; the code that its author released
scores all from all, as drawn. The code is followed: only it has the printed sizes. The tanh before the softmax bounds
the attention's weights, for two modalities to 0.119 ... 0.881.

Behind the fusion stand a GRU (2 layers of 120 units, the encoders' 16 maps as steps) and an MLP of 1280 and 128:

    cosmo-utd   IMU 120 x 6 and skeleton 40 x 60, put side by side: 16 x 640; quality 0.3 and 0.7, share 0.8 as in the
                code; 19,830,049 parameters with a head of 27 classes
    cosmo-usc   accelerometer and gyroscope 200 x 3 each, added: 16 x 198. Quality is unpublished: inferred none, so
                share 0; say your own in `AttentionFusion`

A window is what the runtime cuts: where the modalities have one rate, their columns side by side; else one flat row of
numbers, the first modality's rows, then the next's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import InputError
from sdk.encoders._slices import slices
from sdk.encoders.cosmo import imu_maps, skeleton_maps
from sdk.encoders.heads import MLP, Bodied, Recurrent
from sdk.encoders.registry import register_encoder
from sdk.encoders.sequence import SequenceEncoder

ModalityShape = tuple[int, int]
_REDUCED = 1280
_HIDDEN = (1280, 128)
_QUALITY_SHARE = 0.8

UTD_SHAPES: tuple[ModalityShape, ...] = ((120, 6), (40, 60))  # IMU, skeleton
UTD_QUALITY = (0.3, 0.7)


class Split(nn.Module):
    """One window to the windows of its modalities.

    Args:
        shapes: (length_samples, n_channels) of each modality, in order.

    Attributes:
        shape: of one window; (length_samples, all channels) if the lengths are the same, else (n_values,).
    """

    def __init__(self, shapes: Sequence[ModalityShape]) -> None:
        super().__init__()
        self.shapes = tuple(shapes)
        length = self.shapes[0][0]
        self._even = all(shape[0] == length for shape in self.shapes)
        self._sizes = [shape[1] if self._even else math.prod(shape) for shape in self.shapes]
        self.shape = (length, sum(self._sizes)) if self._even else (sum(self._sizes),)

    def forward(self, windows: Tensor) -> list[Tensor]:
        """Windows (n, *shape) to one tensor (n, length_samples, n_channels) per modality."""
        parts = slices(windows, self._sizes, dim=windows.ndim - 1)
        if self._even:
            return parts
        return [torch.unflatten(part, 1, shape) for part, shape in zip(parts, self.shapes, strict=True)]


class AttentionFusion(SequenceEncoder):
    """Encoders of several modalities, weighed and joined.

    Args:
        encoders: one per modality.
        shapes: (length_samples, n_channels) of each modality, in order.
        join: "concatenation", the sequences have the same number of steps; "sum", they have the same shape.
        quality: one weight per modality, of any scale; None leaves the weights to the attention.
        quality_share: how much of the weights is quality, lambda in the paper.
        reduced: what each sequence is reduced to before the scores.
        hidden: widths of the layers before the scores.

    Raises:
        InputError: sequences that cannot be joined, or a quality that does not fit.
    """

    quality: Tensor

    def __init__(
        self,
        encoders: Sequence[SequenceEncoder],
        shapes: Sequence[ModalityShape],
        *,
        join: Literal["concatenation", "sum"] = "concatenation",
        quality: Sequence[float] | None = None,
        quality_share: float = _QUALITY_SHARE,
        reduced: int = _REDUCED,
        hidden: tuple[int, ...] = _HIDDEN,
    ) -> None:
        super().__init__()
        found = [encoder.sequence_shape for encoder in encoders]
        _check(found, shapes, join, quality)
        self.split = Split(shapes)
        self.encoders = nn.ModuleList(encoders)
        self.reduce = nn.ModuleList(nn.Linear(encoder.n_features, reduced) for encoder in encoders)
        widths = (len(encoders) * reduced, *hidden, len(encoders))
        self.score = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(widths[i], width), nn.BatchNorm1d(width), nn.Tanh())
                for i, width in enumerate(widths[1:])
            )
        )
        self._share = 0.0 if quality is None else quality_share
        scale = torch.tensor(quality or [1.0] * len(encoders))
        self.register_buffer("quality", scale / scale.sum())
        self._sum = join == "sum"
        steps, width = found[0]
        self.sequence_shape = (steps, width if self._sum else sum(shape[1] for shape in found))

    def weigh(self, sequences: list[Tensor]) -> Tensor:
        """Sequences of each modality to weights (n, n_modalities), each row with sum 1."""
        reduced = [layer(sequence.flatten(1)) for layer, sequence in zip(self.reduce, sequences, strict=True)]
        attention = functional.softmax(self.score(torch.cat(reduced, dim=1)), dim=1)
        return (1 - self._share) * attention + self._share * self.quality

    def weights(self, windows: Tensor) -> Tensor:
        """Windows (n, *split.shape) to the weights of the modalities (n, n_modalities)."""
        return self.weigh(self._encode(windows))

    def sequence(self, windows: Tensor) -> Tensor:
        """Windows (n, *split.shape) to joined sequences (n, n_steps, width)."""
        sequences = self._encode(windows)
        weights = self.weigh(sequences)[:, :, None, None]
        weighed = [weights[:, i] * sequence for i, sequence in enumerate(sequences)]
        return torch.stack(weighed).sum(dim=0) if self._sum else torch.cat(weighed, dim=2)

    def _encode(self, windows: Tensor) -> list[Tensor]:
        return [
            encoder.sequence(part)  # type: ignore[operator]
            for encoder, part in zip(self.encoders, self.split(windows), strict=True)
        ]


class Projection(nn.Module):
    """What Cosmo's first stage compares: features to 128 values of length 1, one projection per modality.

    Args:
        inputs: number of features.
        hidden: width of the layer in between.
        outputs: number of values.
    """

    def __init__(self, inputs: int, hidden: int = 1280, outputs: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features (n, inputs) to points on the unit sphere (n, outputs)."""
        return functional.normalize(self.layers(features), dim=1)


def _check(
    found: list[ModalityShape], shapes: Sequence[ModalityShape], join: str, quality: Sequence[float] | None
) -> None:
    same = {shape if join == "sum" else shape[0] for shape in found}
    if join not in ("concatenation", "sum") or len(found) != len(shapes) or len(found) < 2 or len(same) != 1:
        raise InputError(
            "fusion",
            expected="two modalities or more; for a sum sequences of one shape, for a concatenation of as many steps",
            got=f"{join} of {', '.join(map(str, found)) or 'nothing'} for {len(shapes)} modalities",
            fix="Choose encoders that go together.",
        )
    if quality is not None and (len(quality) != len(found) or min(quality) < 0 or sum(quality) <= 0):
        raise InputError(
            "quality", expected=f"{len(found)} weights of at least 0", got=tuple(quality), fix="Give one per modality."
        )


@register_encoder("cosmo-utd", "Cosmo", Split(UTD_SHAPES).shape)
def cosmo_utd(n_values: int) -> Bodied:
    """IMU and skeleton of UTD-MHAD, weighted concatenation.

    Raises:
        InputError: windows of other shapes than those of the paper.
    """
    fusion = AttentionFusion([imu_maps(*UTD_SHAPES[0]), skeleton_maps(*UTD_SHAPES[1])], UTD_SHAPES, quality=UTD_QUALITY)
    if (n_values,) != fusion.split.shape:
        raise InputError(
            "encoder cosmo-utd",
            expected=f"{fusion.split.shape[0]} values, those of {' and '.join(map(str, UTD_SHAPES))}",
            got=n_values,
            fix="Build `AttentionFusion` for other shapes.",
        )
    return _with_bodies(fusion)


@register_encoder("cosmo-usc", "Cosmo", (200, 6))
def cosmo_usc(length_samples: int, n_channels: int) -> Bodied:
    """Two sensors of as many channels each, such as accelerometer and gyroscope of USC-HAD, weighted sum.

    Raises:
        InputError: an odd number of channels.
    """
    if n_channels % 2:
        raise InputError(
            "encoder cosmo-usc",
            expected="columns of two sensors, as many of each",
            got=n_channels,
            fix="Build `AttentionFusion` for other shapes.",
        )
    shapes = ((length_samples, n_channels // 2),) * 2
    return _with_bodies(AttentionFusion([imu_maps(*shape) for shape in shapes], shapes, join="sum"))


def _with_bodies(fusion: AttentionFusion) -> Bodied:
    recurrent = Recurrent(fusion.sequence_shape, "gru")
    return Bodied(fusion, recurrent, MLP(recurrent.n_features))
