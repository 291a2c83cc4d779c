"""What a method sees: windows in the units of the signal become the tensors of its batch.

windows -> (x - mean) / std of the training people -> all columns, or one tensor per modality -> and labels
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from runtime.specs import Normalise
from runtime.window import LabelledWindows
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


def normalised_by_set(
    parts: Sequence[NDArray[np.float32]], sets: Sequence[NDArray[np.int64]], task: StudyTask
) -> list[Tensor]:
    """Windows less the mean of their data set, over its deviation, a number for each sensor: what a device cannot do.

    So the paper on combined public data sets has it ("standardized individually using sensor-wise z-normalization"). A
    data set that is only tested is standardised by what is tested, without its labels.

    Args:
        parts: what trains and what is tested, each of shape (n, length_samples, n_channels).
        sets: of each part the number of each window's data set, shape (n,).
        task: whose signal says which columns are whose.
    """
    made = [torch.from_numpy(part).clone() for part in parts]
    for number in np.unique(np.concatenate(sets)):
        rows = [own == number for own in sets]
        first = next(part[own] for part, own in zip(parts, rows, strict=True) if own.any())
        begin = 0
        for modality in task.signal.modalities:
            columns = slice(begin, begin + len(modality.channels))
            begin += len(modality.channels)
            mean, std = float(first[:, :, columns].mean()), max(float(first[:, :, columns].std()), _LEAST_STD)
            for tensor, own in zip(made, rows, strict=True):
                where = torch.from_numpy(own)
                tensor[where, :, columns] = (tensor[where, :, columns] - mean) / std
    return made


def draws(sets: NDArray[np.int64], labels: NDArray[np.int64], balance: float) -> Tensor | None:
    """How likely each window is drawn, shape (n,): n^-balance where its data set and class have n; None: each once.

    Args:
        sets: shape (n,), the number of each window's data set.
        labels: shape (n,).
        balance: 0: as they are; 1: every data set and class equally often.
    """
    if not balance:
        return None
    _, cells, counts = np.unique(np.stack([sets, labels]), axis=1, return_inverse=True, return_counts=True)
    return torch.from_numpy(counts[cells.ravel()].astype(np.float64) ** -balance)


def some_of(windows: LabelledWindows, rows: Any) -> LabelledWindows:
    """Some windows.

    Args:
        windows: all of them.
        rows: which, a mask or indices.
    """
    return LabelledWindows(*(column[rows] for column in windows))


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
