"""ISPL Inception: five modules that look at a window through kernels of three lengths at once.

Papers: Ronald, Poulose and Han, "iSPLInception: An Inception-ResNet Deep Learning Architecture for Human Activity
Recognition", IEEE Access 2021; used, and its size printed (table VI: 1,327,714 parameters and 338,528,096 FLOPs for
128 x 6 and 10 classes), in "Combining Public Human Activity Recognition Datasets to Mitigate Labeled Data Scarcity".

    windows -> BN -+-> module 1 -> module 2 -> module 3 -(+)-> module 4 -> module 5 -> mean over time
                   |                                      |
                   +------- convolution of 1, BN ---------+        (+) is followed by ReLU

    module:  +-> convolution of 1 to 32 maps -+-> convolutions of 68, 34 and 17 steps to 64 maps each --+
             +-> max-pool of 3 steps -> convolution of 1 to 64 maps ------------------------------------+-> BN -> ReLU

Every convolution is without bias and is followed by ReLU, but for that of the shortcut. The size is Keras' count: 3,084
of it are running statistics, 1,324,630 are trained.

The second paper's text replaces the softmax layer by a new head; its code stacks heads on top of the softmax's ten
values, with a hidden layer of 1024 in between. As in the text, the features here are the 256 means.

For the trainer, not done here: the authors penalise (L2, 0.00593) the three wide convolutions, the pool's convolution,
the shortcut and the head, and not the bottleneck.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from sdk.encoders._keras import batch_norm, same_padding
from sdk.encoders.registry import register_encoder

_KERNELS = (68, 34, 17)
_BRANCH = 64
_BOTTLENECK = 32
_WIDTH = _BRANCH * (len(_KERNELS) + 1)
_POOL = 3
_MODULES = 5
_RESIDUAL_MODULE = 2  # the third; with five modules it is the only one


class ISPLInception(nn.Module):
    """The encoder; features are the means over time of the last 256 maps.

    Args:
        length_samples: rows of a window; any number.
        n_channels: columns of a window; any number.
    """

    def __init__(self, length_samples: int, n_channels: int) -> None:
        super().__init__()
        self.norm = batch_norm(n_channels)
        self.blocks = nn.ModuleList(
            _Module(_WIDTH if i else n_channels, length_samples, shortcut=n_channels if i == _RESIDUAL_MODULE else None)
            for i in range(_MODULES)
        )
        self.n_features = _WIDTH
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d):  # LeCun's uniform range
                limit = math.sqrt(3 / layer.weight[0].numel())
                nn.init.uniform_(layer.weight, -limit, limit)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, n_channels) to features (n, n_features)."""
        start = self.norm(windows.transpose(1, 2))
        maps = start
        for block in self.blocks:
            maps = block(maps, start)
        features: Tensor = maps.mean(dim=2)
        return features


class _Module(nn.Module):
    """Maps (n, inputs, length) to maps (n, 256, length).

    Args:
        inputs: number of maps that come in.
        length: their steps.
        shortcut: number of maps of the net's normalised input, if it is added at the end.
    """

    def __init__(self, inputs: int, length: int, shortcut: int | None) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(inputs, _BOTTLENECK, 1, bias=False)
        self.wide = nn.ModuleList(nn.Conv1d(_BOTTLENECK, _BRANCH, kernel, bias=False) for kernel in _KERNELS)
        self.pool = nn.MaxPool1d(_POOL, stride=1, padding=_POOL // 2)
        self.pooled = nn.Conv1d(inputs, _BRANCH, 1, bias=False)
        self.norm = batch_norm(_WIDTH)
        self.shortcut = (
            None if shortcut is None else nn.Sequential(nn.Conv1d(shortcut, _WIDTH, 1, bias=False), batch_norm(_WIDTH))
        )
        self._paddings = tuple(same_padding(length, kernel) for kernel in _KERNELS)

    def forward(self, maps: Tensor, start: Tensor) -> Tensor:
        narrow = functional.relu(self.bottleneck(maps))
        branches = [
            conv(functional.pad(narrow, padding)) for conv, padding in zip(self.wide, self._paddings, strict=True)
        ]
        branches.append(self.pooled(self.pool(maps)))
        maps = functional.relu(self.norm(functional.relu(torch.cat(branches, 1))))
        if self.shortcut is not None:
            maps = functional.relu(maps + self.shortcut(start))
        return maps


@register_encoder("ispl-inception", "Combining public data sets", (128, 6))
def ispl_inception(length_samples: int, n_channels: int) -> ISPLInception:
    """The network of five modules with one shortcut."""
    return ISPLInception(length_samples, n_channels)
