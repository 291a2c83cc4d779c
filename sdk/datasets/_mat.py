"""One variable out of a MATLAB 5 file."""

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
    if not (
        isinstance(value, np.ndarray)
        and value.dtype.kind in "fiu"
        and value.ndim == len(shape)
        and all(n in (None, m) for n, m in zip(shape, value.shape, strict=True))
    ):
        wanted = " x ".join("n" if n is None else str(n) for n in shape)
        got = "no such variable" if value is None else f"{value.dtype} of shape {value.shape}"
        raise InputError(f"{where}: {variable}", expected=f"{wanted} numbers", got=got, fix=AGAIN)
    if not np.isfinite(value).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
        raise InputError(f"{where}: {variable}{list(place)}", expected="finite numbers", got=value[place], fix=AGAIN)
    return value
