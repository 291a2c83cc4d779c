"""Photographs to learn from: a folder of any depth (ImageNet's layout too), or a tar of one, to bytes in memory.

Labels are not looked at. Of more than are asked for, evenly many are taken from the names in order, so of every class.
An image of 96 x 128 takes 37 KB: 50,000 take 1.8 GB, all of ImageNet 47 GB.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.errors import InputError

MOST = 50_000
_ENDINGS = (".jpg", ".jpeg", ".png")


def read_photos(path: Path, height_px: int, width_px: int, most: int = MOST) -> Tensor:
    """Read and resize, bilinear.

    Args:
        path: a folder, or a tar in whatever compression Python reads, with .jpg, .jpeg or .png at any depth.
        height_px: of the result, whatever the photograph's own shape.
        width_px: the same.
        most: as many are taken.

    Returns:
        Bytes, shape (n, 3, height_px, width_px): red, green, blue.

    Raises:
        InputError: nothing there, no such images, or one that cannot be read.
    """
    names = _names(path)
    if not names or most < 2:
        expected = "a folder or a tar with two images or more (.jpg, .jpeg, .png)"
        raise InputError(path, expected=expected, got="none", fix="Name another one.")
    chosen = set(names if len(names) <= most else [names[i * len(names) // most] for i in range(most)])
    pictures = np.empty((len(chosen), 3, height_px, width_px), np.uint8)
    for place, (name, file) in zip(pictures, _opened(path, chosen), strict=True):
        place[:] = _picture(f"{path}: {name}", file, (width_px, height_px))
    return torch.from_numpy(pictures)


def _names(path: Path) -> Sequence[str]:
    """All images, in the order in which they are sorted."""
    if path.is_dir():
        found = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
    else:
        try:
            with tarfile.open(path) as tar:
                found = [member.name for member in tar if member.isfile()]
        except (OSError, EOFError, tarfile.TarError) as error:
            raise InputError(path, expected="a folder or a tar", got=str(error), fix="Name another one.") from None
    return sorted(name for name in found if name.lower().endswith(_ENDINGS))


def _opened(path: Path, names: set[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Each image; a tar's as they come, since a compressed one is read from front to back."""
    if path.is_dir():
        for name in sorted(names):
            with (path / name).open("rb") as file:
                yield name, file
        return
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name in names and member.isfile() and (inside := tar.extractfile(member)):
                yield member.name, inside


def _picture(where: str, file: IO[bytes], size: tuple[int, int]) -> NDArray[Any]:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('reading images needs Pillow: pip install "sensedge[images]"') from error
    try:
        with Image.open(file) as image:
            drawn = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(where, expected="an image", got=str(error), fix="Remove it, or name others.") from None
    pixels: NDArray[Any] = np.moveaxis(np.asarray(drawn), 2, 0)
    return pixels
