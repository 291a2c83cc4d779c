"""What a method sees: windows in the units of the signal become the tensors of its batch.

windows -> axes turned -> augmented -> (x - mean) / std      -> all columns, or one tensor per modality, and labels
           (frame)        (training)   of the training people
                                       arcsinh, if asked for
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from runtime.specs import FrameSpec, Normalise
from runtime.window import LabelledWindows
from runtime.window.frame import turned
from sdk.augment import augment
from sdk.encoders.fusion import Split
from sdk.pretrain.front import Scale
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.registry import Needs

_LEAST_STD = 1e-6


@dataclass(frozen=True)
class Front:
    """What lies between windows in the units of the signal and a method; fitted to the training people."""

    task: StudyTask
    frame: FrameSpec | None
    augment: tuple[str, ...]
    normalise: Normalise
    scale: Scale | None

    @classmethod
    def of(cls, plan: PretrainPlan, task: StudyTask, windows: NDArray[np.float32]) -> Front:
        """The front of a plan. Mean and deviation are of windows as a method sees them, so augmented once.

        Args:
            plan: frame, augmentations, arcsinh, seed.
            task: whose signal the windows have.
            windows: of the training people, shape (n, length_samples, n_channels).

        Raises:
            InputError: a frame that the signal does not have, or an augmentation that there is not.
        """
        frame = task.frame if plan.frame else None
        seen = augment(plan.augment, _upright(windows, task, frame), task.signal, np.random.default_rng(plan.seed))
        normalise = statistics(seen)
        scale = Scale.of(task, normalised(seen, normalise), normalise) if plan.arcsinh else None
        return cls(task, frame, plan.augment, normalise, scale)

    def raw(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows of shape (n, length_samples, n_channels) with their axes turned, in the units of the signal."""
        return _upright(windows, self.task, self.frame)

    def plain(self, windows: NDArray[np.float32]) -> Tensor:
        """Windows with their axes turned and normalised, no scale applied; shape (n, length_samples, n_channels)."""
        return normalised(self.raw(windows), self.normalise)

    def finished(self, windows: NDArray[np.float32]) -> Tensor:
        """What `raw` gives, normalised, gyroscopes in their scale; shape (n, length_samples, n_channels)."""
        plain = normalised(windows, self.normalise)
        return plain if self.scale is None else self.scale.front()(plain)

    def __call__(self, windows: NDArray[np.float32]) -> Tensor:
        """Windows as the exported graph hands them to the encoder, shape (n, length_samples, n_channels)."""
        return self.finished(self.raw(windows))

    def drawn(self, needs: Needs, windows: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """A batch of what `raw` gives, changed anew, as a method takes it; by the generator that a checkpoint keeps.

        Args:
            needs: the method's.
            windows: shape (n, length_samples, n_channels), in the units of the signal.
            labels: shape (n,), class indices.
        """
        seed = int(torch.randint(2**62, ()))
        changed = augment(self.augment, windows.numpy(), self.task.signal, np.random.default_rng(seed))
        return batch_of(needs, self.task, self.finished(changed), labels)


def _upright(windows: NDArray[np.float32], task: StudyTask, frame: FrameSpec | None) -> NDArray[np.float32]:
    return windows if frame is None else turned(windows, task.signal, frame)


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
        for columns in task.signal.columns:
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


def batch_of(needs: Needs, task: StudyTask, windows: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """The tensors that a method's `forward` takes.

    Args:
        needs: the method's.
        task: whose signal says which columns are whose.
        windows: normalised, shape (n, length_samples, n_channels).
        labels: shape (n,), class indices.
    """
    alone = needs.modalities == 1
    parts = (windows[:, :, task.kept_columns],) if alone else tuple(Split(task.shapes)(windows))
    return (*parts, labels) if needs.labels else parts


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
