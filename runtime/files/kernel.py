"""The small files of /sys and /proc, which the kernel writes as they are read.

In a container somebody else may have made them: a FIFO would keep us waiting, a link to /dev/zero fill the memory. Only
regular files are read, and no more of them than the kernel ever writes.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_MOST_BYTES = 1 << 22  # /proc/cpuinfo of a thousand cores is the longest


def read_text(path: str | Path) -> str:
    """What a file holds, bytes that are no UTF-8 replaced.

    Raises:
        OSError: it is missing, forbidden, switched off, no regular file, or longer than any of the kernel's.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        data = b""
        while block := _read(handle, path):
            data += block
            if len(data) > _MOST_BYTES:
                raise OSError(errno.EFBIG, f"more than {_MOST_BYTES} bytes", str(path))
    finally:
        os.close(handle)
    return data.decode(errors="replace")


def _read(handle: int, path: str | Path) -> bytes:
    try:
        return os.read(handle, 1 << 16)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # a read does not know the file
