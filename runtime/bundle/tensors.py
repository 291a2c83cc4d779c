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
from runtime.files import strict_json
from runtime.files.atomic import read_file

HEADER_LIMIT_BYTES = 1 << 20  # some ten thousand arrays
_LARGEST = 1 << 40  # of a side, a place
_MOST_SIDES = 16
_LONGEST_NAME = 200  # in a message
_FIX = "Restore the file from where it came."


def dump_tensors(tensors: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, str] | None = None) -> bytes:
    """The file's bytes for these arrays of any shapes, in sorted order of their names."""
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
    """Read every array of a file, by name, each in the shape that its header gives.

    Raises:
        BundleError: as `parse_tensors`, and where there is no such file.
    """
    return parse_tensors(read_file(path, "a safetensors file", _FIX), path)


def parse_tensors(data: bytes, where: Path) -> dict[str, NDArray[np.float32]]:
    """The arrays in a file's bytes, by name, each in the shape that its header gives.

    They are views of `data`: a header cannot make them take more memory than that.

    Raises:
        BundleError: not in the format, another dtype than F32, arrays that do not lie one after the other and fill the
            file, a value that is not finite.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(HEADER_LIMIT_BYTES, len(data) - 8):
        raise BundleError(where, expected="a safetensors file", got=f"{len(data)} bytes with a broken header", fix=_FIX)
    values = memoryview(data)[8 + length :]  # not a copy: each array would keep one of the whole file
    try:
        header = strict_json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        found = {name: _array(where, values, name, entry) for name, entry in header.items()}
        _check_tiling(where, [entry["data_offsets"] for entry in header.values()], len(values))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(where, expected="a safetensors header", got=repr(error), fix=_FIX) from None
    return found


def _array(path: Path, data: memoryview, name: str, entry: dict[str, Any]) -> NDArray[np.float32]:
    dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    whole = all(type(number) is int and 0 <= number < _LARGEST for number in (*shape, begin, end))
    if (
        not whole
        or len(shape) > _MOST_SIDES
        or dtype != "F32"
        or end > len(data)
        or end - begin != 4 * math.prod(shape)
    ):
        raise BundleError(
            f"{path}: {name[:_LONGEST_NAME]}",
            expected=f"F32 values of shape {shape} inside the file",
            got=f"{dtype} at bytes {begin} to {end} of {len(data)}",
            fix=_FIX,
        )
    array: NDArray[np.float32] = np.frombuffer(data, "<f4", count=(end - begin) // 4, offset=begin).reshape(shape)
    if not np.isfinite(array).all():
        raise BundleError(f"{path}: {name[:_LONGEST_NAME]}", expected="finite numbers", got="NaN or infinity", fix=_FIX)
    return array


def _check_tiling(path: Path, offsets: list[list[int]], size: int) -> None:
    """The format allows neither holes nor overlaps: what could hide in one, or be read a thousand times."""
    reached = 0
    for begin, end in sorted(offsets):
        if begin != reached:
            break
        reached = end
    else:
        if reached == size:
            return
    raise BundleError(
        path,
        expected=f"arrays one after the other in {size} bytes",
        got=f"a hole or an overlap at byte {reached}",
        fix=_FIX,
    )
