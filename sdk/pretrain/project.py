"""Projectors: from an encoder's features to the space in which a contrastive loss compares. None is kept."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from sdk.encoders.sequence import SequenceEncoder


class Projector(nn.Module):
    """An encoder with two layers behind it: windows to rows (n, width).

    Where the features are a sequence and `per_step` says so, the layers are convolutions of one step, and the mean of
    the steps comes out.

    Args:
        encoder: windows to features.
        hidden: values between the two layers.
        width: values that come out.
        per_step: see above.
    """

    def __init__(self, encoder: nn.Module, hidden: int, width: int, *, per_step: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        self._steps = encoder if per_step and isinstance(encoder, SequenceEncoder) else None
        inputs = int(encoder.n_features if self._steps is None else self._steps.sequence_shape[1])  # type: ignore[arg-type]
        self.first, self.last = nn.Linear(inputs, hidden), nn.Linear(hidden, width)
        self.norm = nn.BatchNorm1d(hidden)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows to rows (n, width), of any length."""
        if self._steps is None:
            return self._layers(self.encoder(windows))
        steps = self._steps.sequence(windows)
        return self._layers(steps.flatten(0, 1)).reshape(*steps.shape[:2], -1).mean(1)

    def _layers(self, rows: Tensor) -> Tensor:
        after: Tensor = self.last(functional.relu(self.norm(self.first(rows))))
        return after


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1."""
    return functional.normalize(rows, dim=1)
