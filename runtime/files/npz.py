"""Arrays from .npz files: those of a bundle's golden.npz, and a limit for those of anybody's recordings.

The arrays of a golden.npz: float32, stored and not packed, so that no file can grow when it is read.

`numpy.load` makes room for whatever shape a header tells before it has seen one value, and unpacks what is packed.
Here an array must have as many bytes as its header says, and all of them lie in the file.
"""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BundleError

_MOST_ARRAYS = 16
_UNPACKED_BYTES, _UNPACKED_TIMES = 1 << 27, 32  # what a recording may take: the more of 128 MiB and 32 times its file


def read_stored(data: bytes, where: Path) -> dict[str, NDArray[np.float32]]:
    """Arrays by name, each in the shape that its header gives.

    Args:
        data: what `numpy.savez` wrote.
        where: for the message.

    Raises:
        BundleError: not in the format, packed, an array of another type, a header that does not fit, a value that is
            not finite.
    """
    try:
        return _read(data)
    except Exception as error:  # zipfile, struct, tokenize and NumPy have their own for each way to be broken
        got = " ".join(str(error).split()) or type(error).__name__
        raise BundleError(
            where, expected="windows, features and logits", got=got, fix="Copy or export the bundle again."
        ) from None


def _read(data: bytes) -> dict[str, NDArray[np.float32]]:
    found: dict[str, NDArray[np.float32]] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if len(archive.infolist()) > _MOST_ARRAYS:
            raise ValueError(f"{len(archive.infolist())} arrays")
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size <= len(data)
            if not stored or name in found:
                raise ValueError(f"the array {name[:40]!r} packed or twice")
            found[name] = _array(archive.read(info))
    return found


def _array(data: bytes) -> NDArray[np.float32]:
    file = io.BytesIO(data)
    formats = np.lib.format
    version = formats.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"an array of format {version}")
    header: Any = formats.read_array_header_1_0(file)
    shape, fortran, dtype = header
    values = memoryview(data)[file.tell() :]
    if dtype != np.dtype("<f4") or 4 * math.prod(shape) != len(values) or min(shape, default=0) < 0:
        raise ValueError(f"{dtype} of shape {shape} in {len(values)} bytes")
    array: NDArray[np.float32] = np.frombuffer(bytearray(values), "<f4").reshape(shape, order="F" if fortran else "C")
    if not np.isfinite(array).all():
        raise ValueError("numbers that are not finite")
    return array


def check_unpacked(file: IO[bytes]) -> None:
    """See that an archive does not grow out of all proportion when it is read; signals shrink by a few times.

    Args:
        file: an .npz, at its beginning, where it is left; anything else is let through.

    Raises:
        ValueError: it would.
    """
    if not zipfile.is_zipfile(file):
        file.seek(0)
        return
    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(info.file_size for info in archive.infolist())
    most = max(_UNPACKED_BYTES, _UNPACKED_TIMES * size)
    if unpacked > most:
        raise ValueError(f"{size} bytes that unpack to {unpacked}, more than {most}")
    file.seek(0)
