"""Numbers out of text files that somebody else wrote."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError


def read_table(
    data: bytes,
    where: str,
    *,
    columns: int,
    delimiter: str | None = None,
    header_lines: int = 0,
    usecols: Sequence[int] | None = None,
) -> NDArray[np.float64]:
    """Parse a table of numbers, shape (n_rows, columns).

    Args:
        data: the file.
        where: its name, for messages.
        columns: how many numbers a row gives (after `usecols`).
        delimiter: what stands between two numbers; None: any white space.
        header_lines: lines to skip at the top.
        usecols: which columns to keep; None: all.

    Raises:
        InputError: no rows, a row of another length, something that is no number, a NaN or infinity.
    """
    fix = "Get the archive again; if it stays so, the archive is not the published one."
    *header, body = data.split(b"\n", header_lines)
    if len(header) < header_lines or not body or body.isspace():
        raise InputError(where, expected=f"rows of {columns} numbers", got="an empty file", fix=fix)
    try:
        table = np.loadtxt(io.BytesIO(body), np.float64, comments=None, delimiter=delimiter, usecols=usecols, ndmin=2)
    except ValueError as error:
        raise InputError(where, expected=f"rows of {columns} numbers", got=error, fix=fix) from None
    if table.shape[1] != columns:
        raise InputError(where, expected=f"rows of {columns} numbers", got=f"rows of {table.shape[1]}", fix=fix)
    good = np.isfinite(table)
    if not good.all():
        row, column = (int(i) for i in np.argwhere(~good)[0])
        raise InputError(
            f"{where}: line {row + 1 + header_lines}", expected="finite numbers", got=table[row, column], fix=fix
        )
    return table
