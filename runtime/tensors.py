"""Named float32 arrays in one file: the safetensors format, read and written with numpy alone.

    8 bytes   length of the header, little endian
    header    JSON: {"name": {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, "__metadata__": {...}}
    data      the arrays one after the other, little endian

The format is https://github.com/huggingface/safetensors; a device needs forty lines of it and not the package.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BundleError

_HEADER_LIMIT_BYTES = 1 << 24
_FIX = "Restore the file from where it came."


def dump_tensors(tensors: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, str] | None = None) -> bytes:
    """The file's bytes for these arrays, in sorted order of their names."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    blocks, position = [], 0
    for name in sorted(tensors):
        block = np.ascontiguousarray(tensors[name], "<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(tensors[name].shape),
            "data_offsets": [position, position + len(block)],
        }
        blocks.append(block)
        position += len(block)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts aligned
    return len(text).to_bytes(8, "little") + text + b"".join(blocks)


def load_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read every array of a file.

    Raises:
        BundleError: not in the format, another dtype than F32, offsets that do not fit, a value that is not finite.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(path, expected="a safetensors file", got=error.strerror or error, fix=_FIX) from None
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(_HEADER_LIMIT_BYTES, len(data) - 8):
        raise BundleError(path, expected="a safetensors file", got=f"{len(data)} bytes with a broken header", fix=_FIX)
    try:
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        values = memoryview(data)[8 + length :]  # not a copy: each array would keep one of the whole file
        return {name: _array(path, values, name, entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(path, expected="a safetensors header", got=repr(error), fix=_FIX) from None


def _array(path: Path, data: memoryview, name: str, entry: dict[str, Any]) -> NDArray[np.float32]:
    dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    size = 4 * math.prod(shape)
    if dtype != "F32" or not 0 <= begin <= end <= len(data) or end - begin != size:
        raise BundleError(
            f"{path}: {name}",
            expected=f"F32 values of shape {shape} inside the file",
            got=f"{dtype} at bytes {begin} to {end} of {len(data)}",
            fix=_FIX,
        )
    array: NDArray[np.float32] = np.frombuffer(data, "<f4", count=size // 4, offset=begin).reshape(shape)
    if not np.isfinite(array).all():
        raise BundleError(f"{path}: {name}", expected="finite numbers", got="NaN or infinity", fix=_FIX)
    return array
