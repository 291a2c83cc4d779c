"""The gyroscope in a scale in which rest can be told from rest: arcsinh(w / s), s = 0.05 rad/s.

    z-scores -> x = z std + mean -> u = arcsinh(x / s) -> (u - mean u) / std u -> encoder          gyroscope
    z-scores -------------------------------------------------------------------> encoder          all else

Resting sway, which tells sitting from standing, is about 0.01 rad/s; walking is a hundred times that, and decides what
a z-score calls large. Arcsinh is a line up to s and a logarithm beyond. It is part of the encoder, so the exported
graph takes plain samples as ever.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from runtime.specs import Normalise
from sdk.pretrain.plan import StudyTask

SCALE_RAD_S = 0.05
_UNIT = "rad/s"
_LEAST_STD = 1e-6


class Arcsinh(nn.Module):
    """Normalised windows (n, length_samples, n_channels) with the columns of gyroscopes in another scale.

    Args:
        normalise: what the windows were normalised by.
        gyroscope: for each column whether it is one.
        after: mean and standard deviation of the columns in the new scale; None: left as they are, to be measured.
    """

    mean: Tensor
    std: Tensor
    gyroscope: Tensor
    after_mean: Tensor
    after_std: Tensor

    def __init__(self, normalise: Normalise, gyroscope: list[bool], after: Normalise | None = None) -> None:
        super().__init__()
        after = after or Normalise((0.0,) * len(gyroscope), (1.0,) * len(gyroscope))
        for name, values in (
            ("mean", normalise.mean),
            ("std", normalise.std),
            ("after_mean", after.mean),
            ("after_std", after.std),
        ):
            self.register_buffer(name, torch.tensor(values), persistent=False)
        self.register_buffer("gyroscope", torch.tensor(gyroscope), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows of the same shape."""
        scaled = torch.asinh((windows * self.std + self.mean) / SCALE_RAD_S)
        return torch.where(self.gyroscope, (scaled - self.after_mean) / self.after_std, windows)


class Fronted(nn.Module):
    """A front and an encoder as one encoder.

    Args:
        front: windows to windows.
        encoder: windows to features.
    """

    def __init__(self, front: nn.Module, encoder: nn.Module) -> None:
        super().__init__()
        self.front, self.encoder = front, encoder
        self.n_features = encoder.n_features

    def forward(self, windows: Tensor) -> Tensor:
        """Windows to features (n, n_features)."""
        features: Tensor = self.encoder(self.front(windows))
        return features


class Scale(NamedTuple):
    """What the columns of a task's gyroscopes become, found on the training people's windows."""

    normalise: Normalise
    gyroscope: list[bool]
    after: Normalise

    @classmethod
    def of(cls, task: StudyTask, windows: Tensor, normalise: Normalise) -> Scale:
        """The scale for normalised windows (n, length_samples, n_channels); a gyroscope is what is in rad/s."""
        gyroscope = [unit == _UNIT for unit in task.signal.units]
        plain = Arcsinh(normalise, gyroscope)(windows)
        std, mean = torch.std_mean(plain, (0, 1), correction=0)
        after = Normalise(tuple(mean.tolist()), tuple(std.clamp_min(_LEAST_STD).tolist()))
        return cls(normalise, gyroscope, after)

    def front(self, columns: list[int] | None = None) -> Arcsinh:
        """The module for some of the columns; None: all."""
        places = range(len(self.gyroscope)) if columns is None else columns
        before, after = (
            Normalise(tuple(part.mean[i] for i in places), tuple(part.std[i] for i in places))
            for part in (self.normalise, self.after)
        )
        return Arcsinh(before, [self.gyroscope[i] for i in places], after)
