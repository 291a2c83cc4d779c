"""Changes that a picture of a sensor and a sensor share: IMG2IMU's four on pictures, and their twins on windows.

    picture (n, 3, height, width)             window (n, channels, length)                what the other view keeps
    TranslateX   moved along x, zero fill     moved in time                               whatever happens, not when
    PermuteX     chunks of x, shuffled        chunks of time, shuffled                    what is near in time
    Hue          red, green, blue mixed       the axes of a sensor turned                 R + G + B; the sensor's norm
    Jitter       noise in each pixel          noise in each sample                        all but the noise

Paper: "IMG2IMU: Translating Knowledge from Large-Scale Images to IMU Sensing Applications", section III-B and table I.
Time is the last axis, so three of the four are the same function for both. Magnitudes are unpublished; inferred: moved
by up to 0.45 of the width, 5 chunks with cuts anywhere, noise within 0.1, each with a chance of 0.8. Hue is as in the
first author's other code: a random rotation's entries squared, whose rows and columns sum to 1.

All draw from torch's generator of the CPU, whose state a checkpoint keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

Change = Callable[[Tensor], Tensor]
_FARTHEST = 0.45  # of the width
_CHUNKS = 5
_NOISE = 0.1


def translate_x(x: Tensor, farthest: float = _FARTHEST) -> Tensor:
    """Each moved along the last axis by a share of it drawn from -farthest to farthest, with zeros behind."""
    width = x.shape[-1]
    shift = ((2 * torch.rand(len(x), 1) - 1) * farthest * width).round().long()
    source = (torch.arange(width) - shift).to(x.device)
    inside = (source >= 0) & (source < width)
    return _columns(x, source.clamp(0, width - 1)) * _wide(inside, x)


def permute_x(x: Tensor, chunks: int = _CHUNKS) -> Tensor:
    """Each cut along the last axis at random places and put together in random order."""
    width = x.shape[-1]
    cuts = torch.rand(len(x), width - 1).argsort(1).argsort(1) < min(chunks, width) - 1
    chunk = functional.pad(cuts.long().cumsum(1), (1, 0))
    rank = torch.rand(len(x), chunks).argsort(1)
    order = (rank.gather(1, chunk) * width + torch.arange(width)).argsort(1)
    return _columns(x, order.to(x.device))


def hue(x: Tensor) -> Tensor:
    """Colours of the second axis mixed by a matrix of shares whose rows and columns sum to 1."""
    return _mixed(x, rotations(len(x)).square())


def rotate(x: Tensor) -> Tensor:
    """The three axes of a sensor, which are the second axis, turned by a random rotation."""
    return _mixed(x, rotations(len(x)))


def jitter(x: Tensor, noise: float = _NOISE) -> Tensor:
    """Uniform noise from -noise to noise in each value."""
    return x + torch.empty(x.shape).uniform_(-noise, noise).to(x)


def rotations(n: int) -> Tensor:
    """Rotations about random axes by random angles, shape (n, 3, 3): I + sin a K + (1 - cos a) K^2, K a cross product.

    The axis is drawn evenly from a cube, as in the code that Hue is taken from.
    """
    axis = functional.normalize(2 * torch.rand(n, 3) - 1, dim=1)
    angle = (torch.pi * (2 * torch.rand(n) - 1))[:, None, None]
    eye = torch.eye(3)
    cross = torch.linalg.cross(eye.expand(n, 3, 3), axis[:, None, :].expand(n, 3, 3), dim=2)
    turned: Tensor = eye + angle.sin() * cross + (1 - angle.cos()) * cross @ cross
    return turned


def view_of_pictures(x: Tensor, chances: Mapping[str, float]) -> Tensor:
    """Another view of pictures in 0 to 1, shape (n, 3, height, width), in the order of the table above.

    Args:
        x: left untouched.
        chances: of translate, permute, hue and jitter, for each picture by itself; 0 switches one off.
    """
    changes = {"translate": translate_x, "permute": permute_x, "hue": hue, "jitter": jitter}
    return _some(x, changes, chances).clamp(0, 1)


def view_of_windows(windows: Tensor, chances: Mapping[str, float], sensors: Sequence[slice]) -> Tensor:
    """Another view of windows (n, length_samples, n_channels), by the twins.

    Args:
        windows: left untouched.
        chances: of translate, permute, rotate and jitter, for each window by itself; 0 switches one off.
        sensors: columns of each; those of three columns are turned, all of a window alike.
    """

    def turned(x: Tensor) -> Tensor:
        by, x = rotations(len(x)), x.clone()
        for columns in (own for own in sensors if own.stop - own.start == 3):
            x[:, columns] = _mixed(x[:, columns], by)
        return x

    changes = {"translate": translate_x, "permute": permute_x, "rotate": turned, "jitter": jitter}
    return _some(windows.transpose(1, 2), changes, chances).transpose(1, 2)


def _some(x: Tensor, changes: Mapping[str, Change], chances: Mapping[str, float]) -> Tensor:
    for name, change in changes.items():
        if chances[name]:
            chosen = (torch.rand(len(x)) < chances[name]).to(x.device)
            x = torch.where(_wide(chosen, x), change(x), x)
    return x


def _mixed(x: Tensor, by: Tensor) -> Tensor:
    return torch.einsum("nij,nj...->ni...", by.to(x), x)


def _columns(x: Tensor, places: Tensor) -> Tensor:
    """Each row's own choice, shape (n, width), of the last axis."""
    return x.gather(-1, _wide(places, x).expand(x.shape))


def _wide(values: Tensor, x: Tensor) -> Tensor:
    """Values of each row, or of each row and place along the last axis, in a shape that x can be multiplied by."""
    if values.ndim == 1:
        return values.reshape(-1, *[1] * (x.ndim - 1))
    return values.reshape(len(values), *[1] * (x.ndim - 2), -1)
