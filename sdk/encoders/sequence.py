"""Encoders whose features are a sequence: what recurrent heads and fusion build on."""

from __future__ import annotations

from torch import Tensor, nn


class SequenceEncoder(nn.Module):
    """Windows to a sequence (n, n_steps, width); as features, its steps one after the other.

    A subclass says `sequence_shape` in its constructor and implements `sequence`.
    """

    sequence_shape: tuple[int, int]  # (n_steps, width)

    @property
    def n_features(self) -> int:
        """Values of a whole sequence."""
        n_steps, width = self.sequence_shape
        return n_steps * width

    def sequence(self, windows: Tensor) -> Tensor:
        """Windows to sequences (n, n_steps, width)."""
        raise NotImplementedError

    def forward(self, windows: Tensor) -> Tensor:
        """Windows to features (n, n_features)."""
        return self.sequence(windows).flatten(1)
