"""MaskCAE's fully convolutional network (FCN): four blocks that look at each sensor channel by itself.

Paper: "MaskCAE: Masked Convolutional AutoEncoder via Sensor Data Reconstruction for Self-Supervised Human Activity
Recognition", table I. A block is a convolution of 5 time steps, batch normalisation, ReLU and a max-pool of 5 steps;
kernels are one channel wide, so the six channels of an IMU never meet before the classifier.

The paper prints two nets under one name. Table I pools by 2 in every block ("fcn"). The parameters and FLOPs of table
VI (63,788 for 30 x 6 and 12 classes; 91,430 for 128 x 12 and 6; 82,214 for 128 x 9 and 6) come out only when the first
pool has stride 4 ("fcn-stride4"). Windows of 30 steps are padded by one step at each end, as the released code does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sdk.encoders.registry import register_encoder

_CHANNELS = (16, 32, 64, 128)
_KERNEL = (5, 1)
_PADDING = (2, 0)
_STEPS = 16  # the first net halves the time axis four times


class FCN(nn.Module):
    """The encoder; features are the last map, flattened as (channel, time, sensor channel).

    Args:
        length_samples: rows of a window; padded by replication to the next multiple of 16.
        n_channels: columns of a window.
        first_stride: of the first pool, 2 (table I) or 4 (table VI).
    """

    def __init__(self, length_samples: int, n_channels: int, first_stride: int = 2) -> None:
        super().__init__()
        missing = -length_samples % _STEPS
        self._padding = (missing // 2, missing - missing // 2)
        strides = (first_stride, 2, 2, 2)
        widths = (1, *_CHANNELS)
        self.blocks = nn.Sequential(
            *(
                _block(inputs, outputs, stride)
                for inputs, outputs, stride in zip(widths, _CHANNELS, strides, strict=False)
            )
        )
        steps = length_samples + missing
        for stride in strides:
            steps = (steps - 1) // stride + 1
        self.n_features = _CHANNELS[-1] * steps * n_channels

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, n_channels) to features (n, n_features)."""
        return torch.flatten(self.blocks(self.padded(windows)), 1)

    def padded(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, n_channels) to what the first block takes (n, 1, multiple of 16, n_channels)."""
        maps = windows.unsqueeze(1)
        if any(self._padding):
            maps = functional.pad(maps, (0, 0, *self._padding), mode="replicate")
        return maps


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, _KERNEL, padding=_PADDING),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(_KERNEL, stride=(stride, 1), padding=_PADDING),
    )


@register_encoder("fcn", "MaskCAE", (30, 6))
def fcn(length_samples: int, n_channels: int) -> FCN:
    """Table I: every pool has stride 2."""
    return FCN(length_samples, n_channels, first_stride=2)


@register_encoder("fcn-stride4", "MaskCAE", (128, 9))
def fcn_stride4(length_samples: int, n_channels: int) -> FCN:
    """Table VI: the first pool has stride 4, which halves the head and most of the work."""
    return FCN(length_samples, n_channels, first_stride=4)
