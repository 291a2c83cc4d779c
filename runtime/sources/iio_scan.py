"""What a Linux IIO buffer holds: scans of elements, each stored as its `type` file says.

    le:s16/16>>0        little endian, signed, 16 bits in 16, not shifted
    be:u12/16>>4        big endian, 12 bits in 16, the lowest 4 are to be dropped
    le:s32/32X4>>0      four of them, one after the other

    scan   | x x | y y | z z | . . | t t t t t t t t |     each element at a multiple of its own size, in the order of
           0     2     4     6     8                 16    its index; the whole padded to a multiple of the largest

Source: Linux, Documentation/driver-api/iio/buffers.rst and Documentation/ABI/testing/sysfs-bus-iio.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError

_TYPE = re.compile(r"(le|be):([su])(\d+)/(\d+)(?:X(\d+))?(?:>>(\d+))?")


@dataclass(frozen=True)
class ScanType:
    """How one element of a scan is stored."""

    big_endian: bool
    signed: bool
    bits: int  # that mean something
    storage_bits: int  # that it takes: 8, 16, 32 or 64
    repeat: int = 1
    shift: int = 0  # bits below those that mean something

    @classmethod
    def parse(cls, text: str, where: object = "type") -> ScanType:
        """From a `type` file.

        Raises:
            InputError: it says something else.
        """
        found = _TYPE.fullmatch(text.strip())
        if found:
            end, sign, bits, storage, repeat, shift = found.groups(default="")
            kind = cls(end == "be", sign == "s", int(bits), int(storage), int(repeat or 1), int(shift or 0))
            if kind.storage_bits in (8, 16, 32, 64) and kind.repeat and 0 < kind.bits <= kind.storage_bits - kind.shift:
                return kind
        raise InputError(
            where,
            expected="a scan type such as le:s16/16>>0",
            got=repr(text.strip()),
            fix="Report it with the name of the driver, or read the channels with ?poll.",
        )

    @property
    def bytes(self) -> int:
        """Bytes that the element takes in a scan."""
        return self.storage_bits // 8 * self.repeat

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy type of what is stored, without its sign."""
        return np.dtype(f"{'>' if self.big_endian else '<'}u{self.storage_bits // 8}")

    def values(self, stored: NDArray[Any]) -> NDArray[Any]:
        """From what is stored to what is meant: int64 or uint64, of the same shape."""
        raw: NDArray[Any] = (stored.astype(np.uint64) >> np.uint64(self.shift)) & np.uint64((1 << self.bits) - 1)
        if self.signed:
            sign = np.uint64(1 << (self.bits - 1))
            raw = ((raw ^ sign) - sign).view(np.int64)
        return raw


class ScanLayout:
    """Where the elements lie in a scan.

    Args:
        elements: the types of the elements that are switched on, by name, in the order of their index; the time stamp
            is the last.
    """

    def __init__(self, elements: Sequence[tuple[str, ScanType]]) -> None:
        self._types = dict(elements)
        offsets, end = [], 0
        for kind in self._types.values():
            offsets.append(_aligned(end, kind.bytes))
            end = offsets[-1] + kind.bytes
        self.scan_bytes = _aligned(end, max(kind.bytes for kind in self._types.values()))
        self._dtype = np.dtype(
            {
                "names": list(self._types),
                "formats": [(kind.dtype, (kind.repeat,)) for kind in self._types.values()],
                "offsets": offsets,
                "itemsize": self.scan_bytes,
            }
        )

    def decode(self, data: bytes) -> dict[str, NDArray[Any]]:
        """Whole scans to the values of each element: shape (n_scans, repeat), int64 or uint64."""
        scans = np.frombuffer(data, self._dtype)
        return {name: kind.values(scans[name]) for name, kind in self._types.items()}


def _aligned(at: int, size: int) -> int:
    return -(-at // size) * size
