"""Cosmo's encoders: convolutions over one modality, then a recurrent net.

Paper: "Cosmo: Contrastive Fusion Learning with Small Data for Multimodal Human Activity Recognition". It names the
parts, 2D convolutions for inertial data, 3D ones for skeleton, depth and radar, then a recurrent net. The sizes are
those of the code that its author released.

    cosmo-imu       2 x 2 to 64, 2 x 2 to 64, 1 x 1 to 32, 1 x 1 to 16, over time and channels; 19,728 parameters.
                    120 x 6 become 16 maps of 118 x 4. The maps take the part of time steps: 16 steps of 472 values
                    go into a GRU of 2 layers and 120 units.
    cosmo-skeleton  the same in three dimensions, time, joints and axes: 5 x 5 x 2, 5 x 5 x 2, 5 x 5 x 1, 5 x 2 x 1;
                    264,848 parameters. 40 frames of 20 joints become 16 maps of 24 x 7 x 1.
    cosmo-depth     16 frames of 112 x 112: five convolutions of 3 x 3 x 3 to 64, 128, 256, 128, 64, each with a pool;
                    then a GRU of 2 layers and 16 units over 16 steps; 2,221,056 parameters.
    cosmo-radar     20 frames of 2 x 16 x 32 x 16: for each alone four convolutions of 3 x 3 x 3 to 64, 128, 64, 64,
                    pools after the first three; then an LSTM of 2 layers and 16 units over the frames; 626,240
                    parameters, torch's second bias per gate included.

In the first two, batch normalisation and ReLU follow each convolution and dropout of 0.5 the first three; without the
recurrent net they are `Maps`, which `fusion` joins. The recurrent net behind a single modality is that of the code's
baseline of one modality; in Cosmo itself it stands behind the fusion.

Cosmo's own depth and radar encoders are unpublished. Inferred: those of Harmony, a later system of the same author for
the same sensors, which has batch normalisation and no ReLU between its convolutions.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from runtime.errors import InputError
from sdk.encoders.cooccurrence import check_joints
from sdk.encoders.heads import Bodied, Recurrent
from sdk.encoders.registry import register_encoder
from sdk.encoders.sequence import SequenceEncoder

_WIDTHS = (64, 64, 32, 16)
_DROPOUTS = (0.5, 0.5, 0.5, 0.0)
_IMU_KERNELS = ((2, 2), (2, 2), (1, 1), (1, 1))
_SKELETON_KERNELS = ((5, 5, 2), (5, 5, 2), (5, 5, 1), (5, 2, 1))
_AXES = 3
_DEPTH_WIDTHS = (64, 128, 256, 128, 64)
_DEPTH_STEPS = 16
_RADAR_WIDTHS = (64, 128, 64, 64)
_RADAR_FRAME = (2, 16, 32, 16)  # in the order of the released code, which does not name the axes
_SMALL_UNITS = 16


class Maps(SequenceEncoder):
    """Convolutions over time and all further axes; each last map is one step of the sequence.

    Args:
        shape: of one window, (length_samples, n_channels) or (n_frames, joints, 3).
        kernels: of each convolution, with as many axes.

    Raises:
        InputError: a window that is smaller than what the convolutions take off.
    """

    def __init__(self, shape: tuple[int, ...], kernels: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        left = tuple(size - sum(kernel[axis] - 1 for kernel in kernels) for axis, size in enumerate(shape))
        if min(left) < 1:
            least = tuple(size - rest + 1 for size, rest in zip(shape, left, strict=True))
            raise InputError(
                "encoder of Cosmo", expected=f"windows of at least {least}", got=shape, fix="Make the windows longer."
            )
        self._shape = shape
        blocks = zip(pairwise((1, *_WIDTHS)), kernels, _DROPOUTS, strict=True)
        self.layers = nn.Sequential(*(_block(*widths, kernel, dropout) for widths, kernel, dropout in blocks))
        self.sequence_shape = (_WIDTHS[-1], math.prod(left))

    def maps(self, windows: Tensor) -> Tensor:
        """Windows (n, rows, columns) to maps (n, 16, *what the convolutions leave of the shape)."""
        maps: Tensor = self.layers(torch.unflatten(windows.flatten(1), 1, (1, *self._shape)))
        return maps

    def sequence(self, windows: Tensor) -> Tensor:
        """Windows (n, rows, columns) to sequences of one step per map (n, 16, width)."""
        return self.maps(windows).flatten(2)


def _block(inputs: int, outputs: int, kernel: tuple[int, ...], dropout: float) -> nn.Sequential:
    flat = len(kernel) == 2
    return nn.Sequential(
        (nn.Conv2d if flat else nn.Conv3d)(inputs, outputs, kernel),  # type: ignore[arg-type]
        (nn.BatchNorm2d if flat else nn.BatchNorm3d)(outputs),
        nn.ReLU(),
        nn.Dropout(dropout),
    )


def imu_maps(length_samples: int, n_channels: int) -> Maps:
    """Convolutions for inertial data, windows (n, length_samples, n_channels)."""
    return Maps((length_samples, n_channels), _IMU_KERNELS)


def skeleton_maps(n_frames: int, n_channels: int) -> Maps:
    """Convolutions for skeletons, windows (n, n_frames, 3 x joints): x, y, z of the first joint, then of the next."""
    check_joints("cosmo-skeleton", n_channels)
    return Maps((n_frames, n_channels // _AXES, _AXES), _SKELETON_KERNELS)


class Depth(SequenceEncoder):
    """Harmony's convolutions over a depth video.

    Args:
        n_frames: rows of a window, at least 16.
        frame: height and width of a frame; at least 16 each.
        widths: maps of the five convolutions, the last a multiple of 16.

    Raises:
        InputError: a video that is smaller.
    """

    def __init__(self, n_frames: int, frame: tuple[int, int], widths: tuple[int, ...] = _DEPTH_WIDTHS) -> None:
        super().__init__()
        if min(n_frames, *frame) < 16:
            raise InputError(
                "encoder cosmo-depth",
                expected="at least 16 frames of at least 16 x 16",
                got=f"{n_frames} of {frame[0]} x {frame[1]}",
                fix="Choose larger windows.",
            )
        self._frame = frame
        last = len(widths) - 1
        self.layers = nn.Sequential(
            *(
                _pooled(inputs, outputs, pool=(2 if i else 1, 2, 2), padding=(0, 1, 1) if i == last else 0)
                for i, (inputs, outputs) in enumerate(pairwise((1, *widths)))
            )
        )
        height, width = (size // 2**last // 2 + 1 for size in frame)  # a pool of 2 with a border of 1 comes last
        values = widths[-1] * (n_frames // 2**last) * height * width
        self.sequence_shape = (_DEPTH_STEPS, values // _DEPTH_STEPS)

    def sequence(self, windows: Tensor) -> Tensor:
        """Windows (n, n_frames, height x width) to sequences: consecutive maps in each of 16 steps."""
        video = torch.unflatten(windows, 2, self._frame).unsqueeze(1)
        steps: Tensor = self.layers(video).flatten(1).unflatten(1, self.sequence_shape)
        return steps


class Radar(SequenceEncoder):
    """Harmony's convolutions over each frame of a radar by itself.

    Args:
        n_frames: rows of a window.
        frame: maps and three axes of a frame; the axes at least 8 each.
        widths: maps of the four convolutions.

    Raises:
        InputError: a frame that is smaller.
    """

    def __init__(
        self, n_frames: int, frame: tuple[int, int, int, int], widths: tuple[int, ...] = _RADAR_WIDTHS
    ) -> None:
        super().__init__()
        inputs, *axes = frame
        if min(axes) < 8:
            raise InputError("encoder cosmo-radar", expected="axes of at least 8", got=frame, fix="Pad the frames.")
        self._frame = frame
        widths = (inputs, *widths)
        self.layers = nn.Sequential(
            *(_pooled(a, b, pool=(2, 2, 2)) for a, b in pairwise(widths[:-1])),
            nn.Sequential(nn.Conv3d(widths[-2], widths[-1], 3, padding=1), nn.BatchNorm3d(widths[-1])),
        )
        self.sequence_shape = (n_frames, widths[-1] * math.prod(size // 8 for size in axes))

    def sequence(self, windows: Tensor) -> Tensor:
        """Windows (n, n_frames, values of a frame) to sequences of one step per frame."""
        frames = torch.unflatten(windows.flatten(0, 1), 1, self._frame)
        steps: Tensor = self.layers(frames).flatten(1).unflatten(0, (-1, self.sequence_shape[0]))
        return steps


def _pooled(
    inputs: int, outputs: int, pool: tuple[int, int, int], padding: int | tuple[int, int, int] = 0
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=1), nn.BatchNorm3d(outputs), nn.MaxPool3d(pool, padding=padding)
    )


@register_encoder("cosmo-imu", "Cosmo", (120, 6))
def cosmo_imu(length_samples: int, n_channels: int) -> Bodied:
    """Convolutions and GRU for inertial data of any channels."""
    maps = imu_maps(length_samples, n_channels)
    return Bodied(maps, Recurrent(maps.sequence_shape, "gru"))


@register_encoder("cosmo-skeleton", "Cosmo", (40, 60))
def cosmo_skeleton(n_frames: int, n_channels: int) -> Bodied:
    """Convolutions and GRU for skeletons of any joints."""
    maps = skeleton_maps(n_frames, n_channels)
    return Bodied(maps, Recurrent(maps.sequence_shape, "gru"))


@register_encoder("cosmo-depth", "Cosmo", (16, 112 * 112))
def cosmo_depth(n_frames: int, n_channels: int, frame: tuple[int, int] | None = None) -> Bodied:
    """Convolutions and GRU for depth videos; frames are square unless `frame` says their height and width."""
    side = math.isqrt(n_channels)
    height, width = frame or (side, side)
    _check_frame("cosmo-depth", (height, width), n_channels)
    maps = Depth(n_frames, (height, width))
    return Bodied(maps, Recurrent(maps.sequence_shape, "gru", units=_SMALL_UNITS))


@register_encoder("cosmo-radar", "Cosmo", (20, math.prod(_RADAR_FRAME)))
def cosmo_radar(n_frames: int, n_channels: int, frame: tuple[int, int, int, int] = _RADAR_FRAME) -> Bodied:
    """Convolutions and LSTM for radar frames."""
    _check_frame("cosmo-radar", frame, n_channels)
    maps = Radar(n_frames, frame)
    return Bodied(maps, Recurrent(maps.sequence_shape, "lstm", units=_SMALL_UNITS))


def _check_frame(name: str, frame: tuple[int, ...], n_channels: int) -> None:
    if math.prod(frame) != n_channels:
        raise InputError(
            f"encoder {name}",
            expected=f"{math.prod(frame)} columns, those of a frame of {' x '.join(map(str, frame))}",
            got=n_channels,
            fix="Flatten each frame into one row; say its shape as `frame`.",
        )
