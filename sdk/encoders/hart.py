"""HART: a transformer over eight patches in which accelerometer and gyroscope attend to themselves.

Papers: Ek, Portet and Lalanda, "Lightweight Transformers for Human Activity Recognition on Mobile Devices",
arXiv:2209.11750; used, and its size printed (table VI: 1,445,918 parameters, 15,212,636 FLOPs for 128 x 6), in
"Combining Public Human Activity Recognition Datasets to Mitigate Labeled Data Scarcity". Those are the numbers with 6
classes, though that paper trains 10 (1,450,018 parameters); the FLOPs leave out the products inside the attention.

    accelerometer -> convolution of 16 steps, stride 16, to 96 -+
    gyroscope     -> convolution of 16 steps, stride 16, to 96 -+-> + positions -> 6 blocks -> LN -> mean -> 1024, swish

    block, of 192 values per patch, residual around each line:
      LN -> | 0-47 attention | 48-143 light convolution over patches | 144-191 attention |
      LN -> 384, swish -> 192

The middle 96 values come half from each sensor; that is as published. An attention has 3 heads of 48 values each, not
of 48 / 3, as Keras counts. Its key's bias is trained but has no effect: it adds the same to all that softmax compares.

Where the released code and the papers differ, the light convolution follows the papers: it runs over the patches, with
four kernels of which channel c has number c modulo 4, and each kernel is the softmax of its weights. The released code
reshapes without a transposition: it convolves neighbouring channels of one patch and, in one of its versions, mixes the
windows of a batch; in training it overwrites the weights by their softmax, outside of the gradient. Sizes and FLOPs are
the same either way. The papers' text replaces the softmax layer by a new head; the code stacks heads on top of the
softmax. As in the text, the features here are the 1024 values of the last hidden layer, which counts to the encoder.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import InputError
from sdk.encoders._keras import initialise, same_padding
from sdk.encoders._slices import halves, slices
from sdk.encoders.registry import register_encoder

_PATCH_SAMPLES = 16
_WIDTH = 192
_HEADS = 3
_LIGHT_KERNELS = 4
_LIGHT_TAPS = (3, 7, 15, 31, 31, 31)
_DROPOUT = 0.3
_MAX_DROP_PATH = 0.3
_LAYER_NORM_EPS = 1e-6
_FIRST_POSITIONS = 0.05  # Keras' range for embeddings
SENSOR_CHANNELS = 3
HIDDEN_UNITS = 1024


class HART(nn.Module):
    """The encoder; features are the values of the hidden layer after the mean over patches.

    Args:
        length_samples: rows of a window, at least 16; what is left after the last whole patch is not used.
        n_channels: columns of a window: the accelerometer's three, then the gyroscope's three.

    Raises:
        InputError: other channels, or windows shorter than a patch.
    """

    def __init__(self, length_samples: int, n_channels: int) -> None:
        super().__init__()
        check_sensors("hart", n_channels)
        if length_samples < _PATCH_SAMPLES:
            raise InputError(
                "encoder hart",
                expected=f"windows of at least {_PATCH_SAMPLES} samples",
                got=length_samples,
                fix="Make the windows longer.",
            )
        last = len(_LIGHT_TAPS) - 1
        self.layers = nn.Sequential(
            _Patches(length_samples // _PATCH_SAMPLES),
            *(
                SensorWiseBlock(_WIDTH, _HEADS, _LIGHT_KERNELS, taps, _MAX_DROP_PATH * i / last)
                for i, taps in enumerate(_LIGHT_TAPS)
            ),
            nn.LayerNorm(_WIDTH, eps=_LAYER_NORM_EPS),
            _Mean(),
            Hidden(_WIDTH),
        )
        self.n_features = HIDDEN_UNITS
        initialise(self)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, 6) to features (n, n_features)."""
        features: Tensor = self.layers(windows)
        return features


def check_sensors(name: str, n_channels: int) -> None:
    """Refuse windows that are not those of one accelerometer and one gyroscope.

    Raises:
        InputError: other than 6 channels.
    """
    if n_channels != 2 * SENSOR_CHANNELS:
        raise InputError(
            f"encoder {name}",
            expected="6 channels: the accelerometer's x, y, z, then the gyroscope's x, y, z",
            got=n_channels,
            fix="Choose the modalities acc,gyro, or an encoder that takes any channels.",
        )


class SensorWiseBlock(nn.Module):
    """Patches (n, patches, width): the outer quarters attend, the half between them is convolved.

    Args:
        width: values per patch.
        n_heads: of each of the two attentions; each head is a quarter of `width` wide.
        n_kernels: of the light convolution.
        taps: of each of its kernels.
        drop_path: how often, in training, a window leaves out a branch.
    """

    def __init__(self, width: int, n_heads: int, n_kernels: int, taps: int, drop_path: float) -> None:
        super().__init__()
        quarter = width // 4
        self._parts = (quarter, width - 2 * quarter, quarter)
        self.norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.acc = Attention(quarter, n_heads, quarter)
        self.light = LightConvolution(n_kernels, taps)
        self.gyro = Attention(quarter, n_heads, quarter)
        self.mlp_norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.mlp = mlp(width)
        self.drop_path = _DropPath(drop_path)

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (n, patches, width) to the same shape."""
        acc, middle, gyro = slices(self.norm(patches), self._parts, dim=2)
        branches = (self.acc(acc), self.light(middle), self.gyro(gyro))
        patches = patches + torch.cat([self.drop_path(branch) for branch in branches], dim=2)
        after: Tensor = patches + self.drop_path(self.mlp(self.mlp_norm(patches)))
        return after


class Attention(nn.Module):
    """Self-attention as Keras counts it: every head is `key_width` wide, whatever the width of the patches.

    Args:
        width: values per patch.
        n_heads: number of heads.
        key_width: values of a query, a key or a value in one head.
        dropout: share of the weights that training leaves out.
    """

    def __init__(self, width: int, n_heads: int, key_width: int, dropout: float = _DROPOUT) -> None:
        super().__init__()
        inner = n_heads * key_width
        self.query, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.out = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)
        self._n_heads, self._scale = n_heads, 1 / math.sqrt(key_width)

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (n, patches, width) to the same shape."""
        query, key, value = (
            layer(patches).unflatten(2, (self._n_heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        weights = self.dropout(torch.softmax((query * self._scale) @ key.transpose(2, 3), dim=3))
        mixed: Tensor = self.out((weights @ value).transpose(1, 2).flatten(2))
        return mixed


class LightConvolution(nn.Module):
    """A depthwise convolution over patches whose few kernels are shared by many channels, each with sum 1.

    Args:
        n_kernels: channel c has the kernel c modulo `n_kernels`.
        taps: length of a kernel, in patches.
    """

    def __init__(self, n_kernels: int, taps: int) -> None:
        super().__init__()
        self.kernels = nn.Parameter(torch.empty(n_kernels, 1, taps))
        limit = math.sqrt(3 / taps)
        nn.init.uniform_(self.kernels, -limit, limit)

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (n, patches, channels) to the same shape."""
        n_kernels, _, taps = self.kernels.shape
        _, steps, channels = patches.shape
        rows = patches.transpose(1, 2).reshape(-1, n_kernels, steps)
        rows = functional.pad(rows, same_padding(steps, taps))
        rows = functional.conv1d(rows, torch.softmax(self.kernels, dim=2), groups=n_kernels)
        return rows.reshape(-1, channels, steps).transpose(1, 2)


class Hidden(nn.Module):
    """The hidden layer before the head, swish and dropout included."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, HIDDEN_UNITS)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, features: Tensor) -> Tensor:
        """Features (n, inputs) to hidden values (n, 1024)."""
        hidden: Tensor = self.dropout(functional.silu(self.linear(features)))
        return hidden


def mlp(width: int) -> nn.Sequential:
    """The two layers that follow each attention."""
    return nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Dropout(_DROPOUT), nn.Linear(2 * width, width))


class _Patches(nn.Module):
    """Windows to patches of both sensors, with what tells one position from another."""

    def __init__(self, n_patches: int) -> None:
        super().__init__()
        self.acc, self.gyro = (
            nn.Conv1d(SENSOR_CHANNELS, _WIDTH // 2, _PATCH_SAMPLES, stride=_PATCH_SAMPLES) for _ in range(2)
        )
        self.positions = nn.Parameter(torch.empty(n_patches, _WIDTH))
        nn.init.uniform_(self.positions, -_FIRST_POSITIONS, _FIRST_POSITIONS)

    def forward(self, windows: Tensor) -> Tensor:
        acc, gyro = halves(windows.transpose(1, 2), dim=1)
        patches = torch.cat([self.acc(acc), self.gyro(gyro)], dim=1)
        return patches.transpose(1, 2) + self.positions


class _Mean(nn.Module):
    def forward(self, patches: Tensor) -> Tensor:
        return patches.mean(dim=1)


class _DropPath(nn.Module):
    """In training, leave out a whole branch for some windows, and enlarge it for the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self._rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        if not self.training or self._rate == 0:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self._rate
        return branch * kept / (1 - self._rate)


@register_encoder("hart", "Combining public data sets", (128, 6))
def hart(length_samples: int, n_channels: int) -> HART:
    """Six blocks of 192 values, as published."""
    return HART(length_samples, n_channels)
