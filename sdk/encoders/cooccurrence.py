"""Co-occurrence network: skeletons, with joints as the channels of a convolution, so that all joints meet at once.

Papers: Li et al., "Co-occurrence Feature Learning from Skeleton Data for Action Recognition and Detection with
Hierarchical Aggregation", IJCAI 2018; MESEN uses it for skeletons and says no more.

    joints    x, y, z of each -> 1 x 1 to 64 -> 3 frames to 32 -> swap -> 3 x 3 to 32 -> 3 x 3 to 64 -+
    motions   what changed since the frame before, through the same layers with other weights --------+
                                                  side by side -> 3 x 3 to 128 -> 3 x 3 to 256 -> features

    swap: from (maps, frames, joints) to (joints, maps, frames)

The sizes are inferred from the public CMC and CMKM experiments on UTD-MHAD: no padding, a pool of 2 after each of the
last four, batch normalisation after each, ReLU after the first and the last two only. 50 frames of 20 joints give 256
values from 432,000 parameters. There, the two streams are put side by side along the axis on which the maps of the
second convolution lie, not along time or as further maps; that is kept.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import InputError
from sdk.encoders.registry import register_encoder

_AXES = 3
_WIDTHS = (64, 32, 32, 64, 128, 256)


class CoOccurrence(nn.Module):
    """The encoder; features are the last maps.

    Args:
        n_frames: rows of a window.
        n_channels: three per joint: x, y, z of the first joint, then of the next.
        widths: maps of the six convolutions.

    Raises:
        InputError: columns that are not three per joint, or too few frames.
    """

    def __init__(self, n_frames: int, n_channels: int, widths: tuple[int, ...] = _WIDTHS) -> None:
        super().__init__()
        check_joints("co-occurrence", n_channels)
        points, frames = widths[1], n_frames - 2
        for _ in range(2):
            points, frames = (points - 2) // 2, (frames - 2) // 2
        points *= 2  # the two streams
        for _ in range(2):
            points, frames = (points - 2) // 2, (frames - 2) // 2
        if frames < 1:
            raise InputError(
                "encoder co-occurrence", expected="at least 48 frames", got=n_frames, fix="Make the windows longer."
            )
        self.streams = nn.ModuleList(_Stream(n_channels // _AXES, *widths[:4]) for _ in ("joints", "motions"))
        self.fused = nn.Sequential(*(_fused(a, b) for a, b in pairwise(widths[3:])))
        self.n_features = widths[-1] * points * frames

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, n_frames, 3 x joints) to features (n, n_features)."""
        joints = torch.unflatten(windows, 2, (-1, _AXES)).permute(0, 3, 1, 2)
        motions = functional.pad(joints[:, :, 1:] - joints[:, :, :-1], (0, 0, 1, 0))  # the first frame has none
        streams = [stream(maps) for stream, maps in zip(self.streams, (joints, motions), strict=True)]
        features: Tensor = self.fused(torch.cat(streams, dim=2)).flatten(1)
        return features


def check_joints(name: str, n_channels: int) -> None:
    """Refuse columns that are not x, y and z of joints.

    Raises:
        InputError: their number is no multiple of 3.
    """
    if n_channels < _AXES or n_channels % _AXES:
        raise InputError(
            f"encoder {name}",
            expected="three columns per joint: x, y, z",
            got=n_channels,
            fix="Give every joint its three coordinates.",
        )


class _Stream(nn.Module):
    def __init__(self, joints: int, point: int, time: int, local: int, wide: int) -> None:
        super().__init__()
        self.per_joint = nn.Sequential(
            nn.Conv2d(_AXES, point, 1),
            nn.BatchNorm2d(point),
            nn.ReLU(),
            nn.Conv2d(point, time, (3, 1)),
            nn.BatchNorm2d(time),
        )
        self.all_joints = nn.Sequential(*_pooled(joints, local), *_pooled(local, wide))

    def forward(self, maps: Tensor) -> Tensor:
        together: Tensor = self.all_joints(self.per_joint(maps).permute(0, 3, 1, 2))
        return together


def _pooled(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.MaxPool2d(2)


def _fused(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2))


@register_encoder("co-occurrence", "MESEN", (50, 60))
def co_occurrence(n_frames: int, n_channels: int) -> CoOccurrence:
    """Two streams of any number of joints."""
    return CoOccurrence(n_frames, n_channels)
