"""MobileHART: MobileViT in one dimension, with a stem and a HART block for each of the two sensors.

Papers: Ek, Portet and Lalanda, "Lightweight Transformers for Human Activity Recognition on Mobile Devices",
arXiv:2209.11750; used, and its size printed (table VI: 2,542,942 parameters and 19,809,292 FLOPs for 128 x 6), in
"Combining Public Human Activity Recognition Datasets to Mitigate Labeled Data Scarcity". Those are the numbers of XS
with 6 classes, though that paper trains 10 (2,547,042); 7,360 of the parameters are running statistics, and the FLOPs
leave out the products inside the attention. XXS (1,275,702 with 6 classes) has the same layers with other widths.

    each sensor alone   convolution, stride 2 -> 5 inverted residuals, strides 1 2 1 1 2
    sensor-wise HART    each sensor's convolutions -> 2 HART blocks over both -> each sensor's convolutions
    both                linear -> (inverted residual, stride 2 -> MobileViT block) twice -> convolution of 1 -> mean
    hidden layer        1024, swish

    MobileViT block     convolutions of 3 and 1 -> transformer layers -> convolution of 1 -> beside the input -> of 3

XS, for 128 samples: per sensor 64 x 8, 64 x 16, 32 x 24 (three times), 16 x 32; for both 16 x 96, 8 x 120, 4 x 144.
Convolutions are followed by swish. The attention in a MobileViT block has 2 heads, each as wide as the block; there are
no positions and, though the code computes rates for it, no drop-path.

What is said in `hart` of the light convolution, of the key's bias and of the features holds here too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sdk.encoders._keras import batch_norm, initialise, same_padding
from sdk.encoders._slices import halves
from sdk.encoders.hart import HIDDEN_UNITS, SENSOR_CHANNELS, Attention, Hidden, SensorWiseBlock, check_sensors, mlp
from sdk.encoders.registry import register_encoder

_HEADS = 2
_LIGHT_KERNELS = 2
_LIGHT_TAPS = 4
_DROP_PATHS = (0.0, 0.3)  # one sensor-wise block each
_VIT_LAYERS = (4, 3)
_DROPOUT = 0.3
_LAYER_NORM_EPS = 1e-6


@dataclass(frozen=True)
class MobileHARTConfig:
    """Widths, in the order of the layers."""

    stem: tuple[int, int, int, int]  # per sensor: the convolution, and the inverted residuals (the third for three)
    sensor_wise: int  # of the HART blocks, both sensors together
    residuals: tuple[int, int]  # the two inverted residuals after the sensors have met
    vit: tuple[int, int]  # the two MobileViT blocks
    last: int  # the last convolution
    expansion: int  # how much wider an inverted residual is inside


XS = MobileHARTConfig((8, 16, 24, 32), 96, (80, 96), (120, 144), 384, expansion=4)
XXS = MobileHARTConfig((8, 8, 12, 24), 64, (64, 80), (80, 96), 320, expansion=2)


class MobileHART(nn.Module):
    """The encoder; features are the values of the hidden layer after the mean over time.

    Args:
        length_samples: rows of a window; any number.
        n_channels: columns of a window: the accelerometer's three, then the gyroscope's three.
        config: the widths.

    Raises:
        InputError: other channels.
    """

    def __init__(self, length_samples: int, n_channels: int, config: MobileHARTConfig = XS) -> None:
        super().__init__()
        check_sensors("mobilehart", n_channels)
        first, second, third, fourth = config.stem
        more = config.expansion
        both = config.sensor_wise
        self.layers = nn.Sequential(
            _PerSensor(lambda: _strided(length_samples, SENSOR_CHANNELS, first)),
            _PerSensor(lambda: _InvertedResidual(first, more * first, second)),
            _PerSensor(lambda: _InvertedResidual(second, more * second, third, stride=2)),
            _PerSensor(lambda: _InvertedResidual(third, more * third, third)),
            _PerSensor(lambda: _InvertedResidual(third, more * third, third)),
            _PerSensor(lambda: _InvertedResidual(third, more * third, fourth, stride=2)),
            _SensorWise(fourth, both),
            nn.Sequential(_convolution(both, both, 1), nn.Dropout(_DROPOUT)),
            _InvertedResidual(both, more * both, config.residuals[0], stride=2),
            _MobileViT(config.residuals[0], config.vit[0], _VIT_LAYERS[0]),
            _InvertedResidual(config.vit[0], more * config.vit[0], config.residuals[1], stride=2),
            _MobileViT(config.residuals[1], config.vit[1], _VIT_LAYERS[1]),
            _convolution(config.vit[1], config.last, 1),
            _Mean(),
            Hidden(config.last),
        )
        self.n_features = HIDDEN_UNITS
        initialise(self)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, 6) to features (n, n_features)."""
        features: Tensor = self.layers(windows.transpose(1, 2))
        return features


class _PerSensor(nn.Module):
    """Maps (n, 2 x inputs, steps), the accelerometer's first: the same layers with weights of their own for each."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.acc, self.gyro = make(), make()

    def forward(self, maps: Tensor) -> Tensor:
        acc, gyro = halves(maps, dim=1)
        return torch.cat([self.acc(acc), self.gyro(gyro)], dim=1)


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Convolution and swish, the length is kept. With a kernel of 1 it is a linear layer at every step."""
    return nn.Sequential(nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2), nn.SiLU())


def _strided(length: int, inputs: int, outputs: int) -> nn.Sequential:
    """Convolution of 3 steps with stride 2, and swish; of an even length only the end is padded."""
    padding = nn.ConstantPad1d(same_padding(length, 3, stride=2), 0)
    return nn.Sequential(padding, nn.Conv1d(inputs, outputs, 3, stride=2), nn.SiLU())


class _InvertedResidual(nn.Module):
    """Wider, depthwise, narrower; added to the input where the shapes allow it."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv1d(inputs, inner, 1, bias=False),
            batch_norm(inner),
            nn.SiLU(),
            nn.Conv1d(inner, inner, 3, stride=stride, padding=1, groups=inner, bias=False),
            batch_norm(inner),
            nn.SiLU(),
            nn.Conv1d(inner, outputs, 1, bias=False),
            batch_norm(outputs),
        )
        self._residual = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        inner: Tensor = self.inner(maps)
        return maps + inner if self._residual else inner


class _SensorWise(nn.Module):
    """Both sensors through HART blocks, with convolutions of each sensor before and after."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.local = _PerSensor(
            lambda: nn.Sequential(_convolution(inputs, half, 3), _convolution(half, half, 1)),
        )
        self.blocks = nn.Sequential(
            *(SensorWiseBlock(width, _HEADS, _LIGHT_KERNELS, _LIGHT_TAPS, rate) for rate in _DROP_PATHS)
        )
        self.fold = _PerSensor(lambda: _convolution(half, inputs, 1))
        self.fuse = _PerSensor(lambda: _convolution(2 * inputs, half, 3))

    def forward(self, maps: Tensor) -> Tensor:
        patches = self.blocks(self.local(maps).transpose(1, 2))
        acc, gyro = halves(maps, dim=1)
        folded_acc, folded_gyro = halves(self.fold(patches.transpose(1, 2)), dim=1)
        fused: Tensor = self.fuse(torch.cat([acc, folded_acc, gyro, folded_gyro], dim=1))
        return fused


class _MobileViT(nn.Module):
    """Maps (n, inputs, steps) to (n, width, steps): what is near by convolution, what is far by attention."""

    def __init__(self, inputs: int, width: int, n_layers: int) -> None:
        super().__init__()
        self.local = nn.Sequential(_convolution(inputs, width, 3), _convolution(width, width, 1))
        self.blocks = nn.Sequential(*(_TransformerLayer(width) for _ in range(n_layers)))
        self.fold = _convolution(width, inputs, 1)
        self.fuse = _convolution(2 * inputs, width, 3)

    def forward(self, maps: Tensor) -> Tensor:
        steps = self.blocks(self.local(maps).transpose(1, 2))
        fused: Tensor = self.fuse(torch.cat([maps, self.fold(steps.transpose(1, 2))], dim=1))
        return fused


class _TransformerLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.attention = Attention(width, _HEADS, width)
        self.mlp_norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.mlp = mlp(width)

    def forward(self, steps: Tensor) -> Tensor:
        steps = steps + self.attention(self.norm(steps))
        after: Tensor = steps + self.mlp(self.mlp_norm(steps))
        return after


class _Mean(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=2)


@register_encoder("mobilehart-xs", "Combining public data sets", (128, 6))
def mobilehart_xs(length_samples: int, n_channels: int) -> MobileHART:
    """The one that the papers call MobileHART."""
    return MobileHART(length_samples, n_channels, XS)


@register_encoder("mobilehart-xxs", "Combining public data sets", (128, 6))
def mobilehart_xxs(length_samples: int, n_channels: int) -> MobileHART:
    """The small one, with half of the parameters."""
    return MobileHART(length_samples, n_channels, XXS)
