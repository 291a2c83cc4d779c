"""Arrays of numbers out of MATLAB 5 and NumPy files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from sdk.datasets._archive import AGAIN


def read_mat(data: bytes, where: str, variable: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """A numeric variable of a .mat file (MATLAB 5 to 7.2).

    Args:
        data: the file.
        where: its name, for messages.
        variable: its name in the file.
        shape: what it must have; None: any length.

    Raises:
        InputError: no such file or variable, another shape, no numbers, a NaN or infinity.
        ImportError: scipy is not installed.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError('Reading .mat files needs scipy: pip install "sensedge[data]"') from error
    try:
        value = loadmat(io.BytesIO(data), variable_names=[variable]).get(variable)
    except Exception as error:  # scipy has its own for each way to be broken
        raise InputError(where, expected="a MATLAB 5 file", got=error or type(error).__name__, fix=AGAIN) from error
    if value is None:
        raise InputError(f"{where}: {variable}", expected="a variable of that name", got="none", fix=AGAIN)
    return _checked(value, f"{where}: {variable}", shape)


def read_npy(data: bytes, where: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """The array of a .npy file; one with objects in it, which would run code, is refused.

    Args:
        data: the file.
        where: its name, for messages.
        shape: what it must have; None: any length.

    Raises:
        InputError: no such file, another shape, no numbers, a NaN or infinity.
    """
    try:
        value = np.lib.format.read_array(io.BytesIO(data))
    except (ValueError, EOFError) as error:
        raise InputError(where, expected="a NumPy array of numbers", got=error, fix=AGAIN) from None
    return _checked(value, where, shape)


def _checked(value: object, where: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    if not (
        isinstance(value, np.ndarray)
        and value.dtype.kind in "fiu"
        and value.ndim == len(shape)
        and all(n in (None, m) for n, m in zip(shape, value.shape, strict=True))
    ):
        wanted = " x ".join("n" if n is None else str(n) for n in shape)
        got = f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise InputError(where, expected=f"{wanted} numbers", got=got, fix=AGAIN)
    if not np.isfinite(value).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
        raise InputError(f"{where}{list(place)}", expected="finite numbers", got=value[place], fix=AGAIN)
    return value
