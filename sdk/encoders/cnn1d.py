"""1D-CNN: convolutions of all prime lengths at once, the omni-scale net (OS-CNN).

Papers: MESEN, figure 16, replaces its encoder by a "1D-CNN" and cites Tang et al., "Rethinking 1D-CNN for Time Series
Classification: A Stronger Baseline", arXiv:2002.10061, which is this net. MESEN says no more; taken literally here.

    windows -> convolutions of 1, 2, 3, 5, 7 ... steps -> the same again -> convolutions of 1 and 2 steps -> mean

Any length of pattern up to a quarter of the window (at most 89 steps) is a sum of two primes, or nearly so, hence the
kernels. How many maps each kernel has follows from a budget of weights per layer, as in the released code: 8 x 128 for
the first, 5 x 128 x 256 + 2 x 256 x 128 for the second. Each branch has its bias and batch normalisation; ReLU follows
when they are side by side. The code is for one channel; with more, the first layer's budget is shared among them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sdk.encoders._keras import same_padding
from sdk.encoders.registry import register_encoder

_LONGEST_KERNEL = 89
_BUDGETS = (8 * 128, 5 * 128 * 256 + 2 * 256 * 128)
_LAST_KERNELS = (1, 2)


class OmniScaleCNN(nn.Module):
    """The encoder; features are the means over time of the last maps.

    Args:
        length_samples: rows of a window; a quarter of them, at most 89, is the longest kernel.
        n_channels: columns of a window; any number.
        budgets: weights per layer, which decide on the number of maps.
    """

    def __init__(self, length_samples: int, n_channels: int, budgets: tuple[int, ...] = _BUDGETS) -> None:
        super().__init__()
        kernels = _primes(min(length_samples // 4, _LONGEST_KERNEL))
        layers, inputs = [], n_channels
        for budget in budgets:
            branch = max(budget // (inputs * sum(kernels)), 1)
            layers.append(_Branches(inputs, branch, kernels))
            inputs = branch * len(kernels)
        last = len(kernels) * (budgets[0] // sum(kernels))  # of one channel, as in the code
        layers.append(_Branches(inputs, last, _LAST_KERNELS))
        self.layers = nn.Sequential(*layers)
        self.n_features = last * len(_LAST_KERNELS)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, n_channels) to features (n, n_features)."""
        features: Tensor = self.layers(windows.transpose(1, 2)).mean(dim=2)
        return features


class _Branches(nn.Module):
    """Maps (n, inputs, steps) to (n, branches x outputs, steps)."""

    def __init__(self, inputs: int, outputs: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.ConstantPad1d(same_padding(kernel, kernel), 0),
                nn.Conv1d(inputs, outputs, kernel),
                nn.BatchNorm1d(outputs),
            )
            for kernel in kernels
        )

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(torch.cat([branch(maps) for branch in self.branches], dim=1))


def _primes(largest: int) -> tuple[int, ...]:
    """1, and the primes up to `largest`."""
    return tuple(n for n in range(1, max(largest, 1) + 1) if all(n % m for m in range(2, n)))


@register_encoder("1d-cnn", "MESEN", (120, 3))
def cnn1d(length_samples: int, n_channels: int) -> OmniScaleCNN:
    """The OmniScale CNN, figure 16's first replacement."""
    return OmniScaleCNN(length_samples, n_channels)
