"""What a method sees: windows in the units of the signal become the tensors of its batch.

windows -> (x - mean) / std of the training people -> all columns, or one tensor per modality -> and labels
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from runtime.specs import Normalise
from sdk.encoders.fusion import Split
from sdk.pretrain.plan import StudyTask
from sdk.pretrain.registry import Needs

_LEAST_STD = 1e-6


def statistics(windows: NDArray[np.float32]) -> Normalise:
    """Mean and standard deviation of each channel, exact float32 numbers.

    Args:
        windows: shape (n, length_samples, n_channels), in the units of the signal.
    """
    mean = windows.mean((0, 1), dtype=np.float64).astype(np.float32)
    std = np.maximum(windows.std((0, 1), dtype=np.float64), _LEAST_STD).astype(np.float32)
    return Normalise(tuple(mean.tolist()), tuple(std.tolist()))


def normalised(windows: NDArray[np.float32], by: Normalise) -> Tensor:
    """Windows as the exported graph normalises them, shape (n, length_samples, n_channels)."""
    return (torch.from_numpy(windows) - torch.tensor(by.mean)) / torch.tensor(by.std)


def batch_of(needs: Needs, task: StudyTask, windows: Tensor, labels: NDArray[np.int64]) -> tuple[Tensor, ...]:
    """The tensors that a method's `forward` takes, of all windows.

    Args:
        needs: the method's.
        task: whose signal says which columns are whose.
        windows: normalised, shape (n, length_samples, n_channels).
        labels: shape (n,), class indices.
    """
    parts = (windows,) if needs.modalities == 1 else tuple(Split(task.shapes)(windows))
    return (*parts, torch.from_numpy(labels)) if needs.labels else parts


class SideBySide(nn.Module):
    """Encoders of several modalities as one encoder, for a head over the features of all.

    Args:
        encoders: one per modality.
        shapes: (length_samples, n_channels) of each modality's windows.
    """

    def __init__(self, encoders: Sequence[nn.Module], shapes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.split, self.encoders = Split(shapes), nn.ModuleList(encoders)
        self.n_features = sum(encoder.n_features for encoder in encoders)  # type: ignore[misc]

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, all channels) to features (n, n_features), one modality after the other."""
        parts = zip(self.encoders, self.split(windows), strict=True)
        return torch.cat([encoder(part) for encoder, part in parts], 1)
