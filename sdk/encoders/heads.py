"""Heads of more than one layer, as bodies: an encoder and a body are an encoder again, whose features the body gives.

    windows -> encoder -> (sequence ->) body -> features -> linear -> logits
               '------- an encoder -------'                 '- the head that a bundle knows

The last linear layer always stays outside, so adapting a head remains a convex problem, whatever is before it.

linear   nothing before it: MESEN's own head
mlp      linear layers, each with batch normalisation and ReLU: 1280 and 128 in Cosmo's released code
gru      layers of gated recurrent units over the encoder's sequence, all steps kept: 2 of 120 in Cosmo's released code
lstm     the same with long short-term memory

MESEN's figure 16 replaces its head by a GRU and by an LSTM without sizes; inferred: those of Cosmo.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from runtime.errors import InputError
from sdk.encoders.sequence import SequenceEncoder

Kind = Literal["linear", "mlp", "gru", "lstm"]


def with_body(encoder: nn.Module, kind: Kind) -> nn.Module:
    """An encoder with a body of the default sizes; for others use `Bodied` with `MLP` or `Recurrent`.

    Args:
        encoder: windows to features.
        kind: "linear" adds nothing; "gru" and "lstm" need an encoder whose features are a sequence.

    Raises:
        InputError: another kind, or an encoder without a sequence.
    """
    if kind == "linear":
        return encoder
    if kind == "mlp":
        return Bodied(encoder, MLP(int(encoder.n_features)))  # type: ignore[arg-type]
    if kind not in ("gru", "lstm"):
        raise InputError("head", expected="linear, mlp, gru or lstm", got=repr(kind), fix="Choose one of them.")
    if not isinstance(encoder, SequenceEncoder):
        raise InputError(
            f"head {kind}",
            expected="an encoder whose features are a sequence, such as cnn-transformer or cosmo-imu",
            got=type(encoder).__name__,
            fix="Choose the head linear or mlp.",
        )
    return Bodied(encoder, Recurrent(encoder.sequence_shape, kind))


class MLP(nn.Module):
    """Linear layers, each with batch normalisation and ReLU.

    Args:
        inputs: number of features that come in.
        widths: outputs of each layer.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...] = (1280, 128)) -> None:
        super().__init__()
        before = (inputs, *widths)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(before[i], width), nn.BatchNorm1d(width), nn.ReLU())
                for i, width in enumerate(widths)
            )
        )
        self.n_features = widths[-1]

    def forward(self, features: Tensor) -> Tensor:
        """Features (n, inputs) to features (n, n_features)."""
        after: Tensor = self.layers(features.flatten(1))
        return after


class Recurrent(nn.Module):
    """Layers of GRU or LSTM; the outputs of all steps are the features.

    Args:
        sequence_shape: (n_steps, width) of what comes in.
        cell: "gru" or "lstm".
        units: outputs per step.
        n_layers: how many.
    """

    def __init__(
        self, sequence_shape: tuple[int, int], cell: Literal["gru", "lstm"], units: int = 120, n_layers: int = 2
    ) -> None:
        super().__init__()
        n_steps, width = sequence_shape
        kind = nn.GRU if cell == "gru" else nn.LSTM
        self.layers = nn.ModuleList(kind(units if i else width, units, batch_first=True) for i in range(n_layers))
        self.n_features = n_steps * units

    def forward(self, steps: Tensor) -> Tensor:
        """Sequences (n, n_steps, width) to features (n, n_features)."""
        for layer in self.layers:
            steps = layer(steps)[0]
        return steps.flatten(1)


class Bodied(nn.Module):
    """An encoder, then bodies: together an encoder.

    Args:
        encoder: windows to features; a `SequenceEncoder` if the first body is recurrent.
        bodies: each takes the features of the one before.
    """

    def __init__(self, encoder: nn.Module, *bodies: MLP | Recurrent) -> None:
        super().__init__()
        self.encoder = encoder
        self.bodies = nn.Sequential(*bodies)
        self.n_features = bodies[-1].n_features

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, *shape) to features (n, n_features)."""
        before = self.encoder.sequence if isinstance(self.encoder, SequenceEncoder) else self.encoder
        features: Tensor = self.bodies(before(windows))
        return features
