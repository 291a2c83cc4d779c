"""Convolutions, then what looks over all steps: MESEN's encoder, with a transformer or with a GRU.

Paper: "MESEN: Exploit Multimodal Data to Design Unimodal Human Activity Recognition with Few Labels". It names the
parts, "convolutional layers and transformer encoder layers" for every modality but the skeleton, and gives no sizes.

    windows -> 3 x (convolution of 5 steps, batch normalisation, ReLU) to 32, 64, 128 maps, padding 1
            -> + sines and cosines of the position -> 2 x (attention, 2 heads; feed-forward, 2048)   cnn-transformer
            -> GRU of 128                                                                            cnn-gru

The sizes are inferred from the public CMC and CMKM experiments on UTD-MHAD, whose encoder has these parts; each is an
argument. 120 steps of 3 channels give a sequence of 114 steps of 128 values; the convolutions have 52,352 parameters,
the transformer 1,186,048. Norms stand behind the residuals, as in the first transformer; dropout is 0.1.

"cnn-gru" is one of the two replacements of figure 16. The paper that is cited for it (Kim et al., Sensors 2021) stacks
two convolutional nets and a GRU with a learner on top. Inferred: what MESEN exchanged is what looks over all steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import InputError
from sdk.encoders.hart import Attention
from sdk.encoders.registry import register_encoder
from sdk.encoders.sequence import SequenceEncoder

_DROPOUT = 0.1
_PADDING = 1
_SLOWEST = 10_000  # longest wave of the positions, in steps over 2 pi


class ConvSequence(SequenceEncoder):
    """Convolutions over all channels at once, and a net over their steps.

    Args:
        length_samples: rows of a window; with the default kernels more than 6.
        n_channels: columns of a window; any number.
        widths: maps of each convolution.
        kernel: its steps.
        over_steps: from n_steps and width to a net that takes sequences (n, n_steps, width) to the same shape.

    Raises:
        InputError: the windows are too short.
    """

    def __init__(
        self,
        length_samples: int,
        n_channels: int,
        over_steps: Callable[[int, int], nn.Module],
        widths: tuple[int, ...] = (32, 64, 128),
        kernel: int = 5,
    ) -> None:
        super().__init__()
        lost = len(widths) * (kernel - 1 - 2 * _PADDING)
        if length_samples <= lost:
            raise InputError(
                "encoder",
                expected=f"windows of more than {lost} samples",
                got=length_samples,
                fix="Make the windows longer.",
            )
        self.sequence_shape = (length_samples - lost, widths[-1])
        inputs = (n_channels, *widths)
        self.convolutions = nn.Sequential(
            *(_convolution(inputs[i], width, kernel) for i, width in enumerate(widths)),
        )
        self.over_steps = over_steps(*self.sequence_shape)

    def sequence(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, n_channels) to sequences (n, n_steps, width)."""
        steps: Tensor = self.over_steps(self.convolutions(windows.transpose(1, 2)).transpose(1, 2))
        return steps


class Transformer(nn.Module):
    """Positions, then layers of attention and feed-forward, norms behind the residuals.

    Args:
        n_steps: of a sequence.
        width: values per step.
        n_heads: of each attention.
        hidden: width of the feed-forward.
        n_layers: how many.
    """

    positions: Tensor

    def __init__(self, n_steps: int, width: int, n_heads: int = 2, hidden: int = 2048, n_layers: int = 2) -> None:
        super().__init__()
        self.register_buffer("positions", sinusoids(n_steps, width), persistent=False)
        self.dropout = nn.Dropout(_DROPOUT)
        self.layers = nn.Sequential(*(_Layer(width, n_heads, hidden) for _ in range(n_layers)))

    def forward(self, steps: Tensor) -> Tensor:
        """Sequences (n, n_steps, width) to the same shape."""
        after: Tensor = self.layers(self.dropout(steps + self.positions))
        return after


class GRU(nn.Module):
    """A gated recurrent unit as wide as the sequence; every step's output is kept.

    Args:
        n_steps: of a sequence.
        width: values per step.
    """

    def __init__(self, n_steps: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.GRU(width, width, batch_first=True)])

    def forward(self, steps: Tensor) -> Tensor:
        """Sequences (n, n_steps, width) to the same shape."""
        for layer in self.layers:
            steps = layer(steps)[0]
        return steps


def sinusoids(n_steps: int, width: int) -> Tensor:
    """Positions of "Attention is all you need", section 3.5; shape (n_steps, width), sine and cosine in turn."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(_SLOWEST) / width))
    angles = torch.arange(n_steps)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


class _Layer(nn.Module):
    def __init__(self, width: int, n_heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = Attention(width, n_heads, width // n_heads, _DROPOUT)
        self.norm = nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.outer_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, steps: Tensor) -> Tensor:
        steps = self.norm(steps + self.dropout(self.attention(steps)))
        inner = self.dropout(functional.relu(self.inner(steps)))
        after: Tensor = self.outer_norm(steps + self.dropout(self.outer(inner)))
        return after


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, kernel, padding=_PADDING),
        nn.BatchNorm1d(outputs),
        nn.ReLU(),
    )


@register_encoder("cnn-transformer", "MESEN", (120, 3))
def cnn_transformer(length_samples: int, n_channels: int) -> ConvSequence:
    """MESEN's own, for all modalities but the skeleton."""
    return ConvSequence(length_samples, n_channels, Transformer)


@register_encoder("cnn-gru", "MESEN", (120, 3))
def cnn_gru(length_samples: int, n_channels: int) -> ConvSequence:
    """The CNN with a GRU, figure 16's second replacement."""
    return ConvSequence(length_samples, n_channels, GRU)
