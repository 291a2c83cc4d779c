"""Memory and one queue on an NVIDIA GPU, through the driver's own library. No package is needed for it.

    Cuda()                  libcuda.so.1, cuInit, the device's primary context (the one that TensorRT uses too)
    .device_bytes(n)        an address on the device
    .host_array(shape)      page-locked float32, from which copies need no detour
    .copy_in / .copy_out    queued; `.synchronise()` waits for the queue

A context belongs to a thread: whoever calls from another thread says `.use()` first.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from runtime.errors import MissingError

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_POINTER, _SIZE, _INT, _OUT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p
_FUNCTIONS: dict[str, tuple[object, ...]] = {
    "cuInit": (ctypes.c_uint,),
    "cuDeviceGet": (_OUT, _INT),
    "cuDeviceGetName": (ctypes.c_char_p, _INT, _INT),
    "cuDeviceGetAttribute": (_OUT, _INT, _INT),
    "cuDevicePrimaryCtxRetain": (_OUT, _INT),
    "cuDevicePrimaryCtxRelease_v2": (_INT,),
    "cuCtxSetCurrent": (_POINTER,),
    "cuMemAlloc_v2": (_OUT, _SIZE),
    "cuMemFree_v2": (_POINTER,),
    "cuMemHostAlloc": (_OUT, _SIZE, ctypes.c_uint),
    "cuMemFreeHost": (_POINTER,),
    "cuMemcpyHtoDAsync_v2": (_POINTER, _POINTER, _SIZE, _POINTER),
    "cuMemcpyDtoHAsync_v2": (_POINTER, _POINTER, _SIZE, _POINTER),
    "cuStreamCreate": (_OUT, ctypes.c_uint),
    "cuStreamSynchronize": (_POINTER,),
    "cuStreamDestroy_v2": (_POINTER,),
}


class CudaError(MissingError):
    """No driver, no device, or a call that the driver refused."""


class Cuda:
    """The first CUDA device.

    Args:
        library: of the driver.

    Raises:
        CudaError: no driver, no device, or one that does not answer.
    """

    def __init__(self, library: str = "libcuda.so.1") -> None:
        try:
            driver = ctypes.CDLL(library)
            self._calls = {name: _typed(driver, name, arguments) for name, arguments in _FUNCTIONS.items()}
        except (OSError, AttributeError) as error:
            raise CudaError(
                "CUDA", expected="NVIDIA's driver", got=error, fix="Install the driver, or choose another engine."
            ) from None
        self._call("cuInit", 0)
        self._device = self._asked("cuDeviceGet", ctypes.c_int, 0)
        self.name, self.sm = self._name(), f"{self._attribute(_MAJOR)}.{self._attribute(_MINOR)}"
        self._context = self._stream = 0
        self._device_blocks: list[int] = []
        self._host_blocks: list[int] = []

    def start(self) -> None:
        """Take the primary context and make the queue."""
        self._context = self._asked("cuDevicePrimaryCtxRetain", ctypes.c_void_p, self._device)
        self.use()
        self._stream = self._asked("cuStreamCreate", ctypes.c_void_p, 1)  # CU_STREAM_NON_BLOCKING

    @property
    def stream(self) -> int:
        """The queue, as other libraries take it."""
        return self._stream

    def use(self) -> None:
        """Make the context that of the calling thread."""
        self._call("cuCtxSetCurrent", self._context)

    def device_bytes(self, n_bytes: int) -> int:
        """Address of new memory on the device."""
        address = self._asked("cuMemAlloc_v2", ctypes.c_void_p, n_bytes)
        self._device_blocks.append(address)
        return address

    def host_array(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Page-locked zeros of float32 in this shape. Not to be used after `close`."""
        n_bytes = 4 * math.prod(shape)
        address = self._asked("cuMemHostAlloc", ctypes.c_void_p, n_bytes, 0)
        self._host_blocks.append(address)
        block = memoryview((ctypes.c_char * n_bytes).from_address(address)).cast("B")
        array: NDArray[np.float32] = np.frombuffer(block, np.float32).reshape(shape)
        array[:] = 0
        return array

    def copy_in(self, address: int, array: NDArray[np.float32]) -> None:
        """Queue a copy of a contiguous array of any shape to the device."""
        self._call("cuMemcpyHtoDAsync_v2", address, array.ctypes.data, array.nbytes, self._stream)

    def copy_out(self, array: NDArray[np.float32], address: int) -> None:
        """Queue a copy from the device into a contiguous array of any shape."""
        self._call("cuMemcpyDtoHAsync_v2", array.ctypes.data, address, array.nbytes, self._stream)

    def synchronise(self) -> None:
        """Wait until the queue is empty."""
        self._call("cuStreamSynchronize", self._stream)

    def close(self) -> None:
        """Give back all memory, the queue and the context."""
        if not self._context:
            return
        self.use()
        for name, blocks in (("cuMemFree_v2", self._device_blocks), ("cuMemFreeHost", self._host_blocks)):
            while blocks:
                self._call(name, blocks.pop())
        self._call("cuStreamDestroy_v2", self._stream)
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)
        self._context = 0

    def _name(self) -> str:
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, len(text), self._device)
        return text.value.decode("utf-8", "replace")

    def _attribute(self, which: int) -> int:
        return self._asked("cuDeviceGetAttribute", ctypes.c_int, which, self._device)

    def _asked(self, name: str, kind: type[ctypes.c_int] | type[ctypes.c_void_p], *arguments: object) -> int:
        """The value that a call gives back through its first argument."""
        value = kind()
        self._call(name, ctypes.byref(value), *arguments)
        return value.value or 0

    def _call(self, name: str, *arguments: object) -> None:
        code = self._calls[name](*arguments)
        if code:
            raise CudaError(
                f"CUDA: {name}",
                expected="success",
                got=f"error {code}" + (" (no device)" if code == 100 else ""),
                fix="Look at nvidia-smi or the kernel's log.",
            )


def _typed(driver: ctypes.CDLL, name: str, arguments: tuple[object, ...]) -> Callable[..., int]:
    function = getattr(driver, name)
    function.argtypes, function.restype = arguments, ctypes.c_int
    return function  # type: ignore[no-any-return]
