"""Reading the small files of /sys and /proc."""

from __future__ import annotations

import os
from pathlib import Path

VALUE_BYTES = 256  # one value is shorter; sysfs never gives more than a page


def read_int(path: str | Path) -> int:
    """Return the one decimal integer that a sysfs file holds; a few microseconds, since meters live on this.

    Raises:
        OSError: the file is missing, forbidden, or its channel is switched off (ENODATA).
        ValueError: it holds something else.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would keep us waiting
    try:
        value = os.read(handle, VALUE_BYTES)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # a read does not know the file
    finally:
        os.close(handle)
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{path}: expected an integer, got {value.decode(errors='replace')!r}") from None


def int_or_none(path: str | Path) -> int | None:
    """Return the integer; None for a file that is missing, refuses or holds something else."""
    try:
        return read_int(path)
    except (OSError, ValueError):
        return None


def read_text(path: str | Path) -> str:
    """Return what a regular file holds, and no more than the kernel writes.

    Raises:
        OSError: it is missing, refuses, or is no such file.
    """
    from runtime.files import kernel  # only here: meters are imported without the runtime

    return kernel.read_text(path)


def text(path: str | Path) -> str:
    """Return what a file holds, without spaces, end of line or NUL around it; "" for one that is missing or refuses."""
    try:
        return read_text(path).strip("\0 \t\n")
    except OSError:
        return ""


def board_model(root: str | Path) -> str:
    """Return the board as its device tree names it, "Raspberry Pi 5 Model B Rev 1.0"; "" without a device tree."""
    return text(Path(root) / "proc/device-tree/model")
