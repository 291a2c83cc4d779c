"""Numbers out of text files that somebody else wrote."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError

_FIX = "Get the archive again; if it stays so, the archive is not the published one."


def read_table(
    data: bytes,
    where: str,
    *,
    columns: int,
    delimiter: str | None = None,
    header_lines: int = 0,
    usecols: Sequence[int] | None = None,
    allow_nan: bool = False,
) -> NDArray[np.float64]:
    """Parse a table of numbers, shape (n_rows, columns).

    Args:
        data: the file.
        where: its name, for messages.
        columns: how many numbers a row gives (after `usecols`).
        delimiter: what stands between two numbers; None: any white space.
        header_lines: lines to skip at the top.
        usecols: which columns to keep; None: all.
        allow_nan: NaN is how the data set says that a sample was lost.

    Raises:
        InputError: no rows, a row of another length, something that is no number, a NaN or infinity.
    """
    *header, body = data.split(b"\n", header_lines)
    if len(header) < header_lines or not body or body.isspace():
        raise InputError(where, expected=f"rows of {columns} numbers", got="an empty file", fix=_FIX)
    try:
        table = np.loadtxt(io.BytesIO(body), np.float64, comments=None, delimiter=delimiter, usecols=usecols, ndmin=2)
    except ValueError as error:
        raise InputError(where, expected=f"rows of {columns} numbers", got=error, fix=_FIX) from None
    if table.shape[1] != columns:
        raise InputError(where, expected=f"rows of {columns} numbers", got=f"rows of {table.shape[1]}", fix=_FIX)
    _check_finite(table, where, header_lines + 1, allow_nan)
    return table


def iter_columns(
    blocks: Iterable[bytes],
    where: str,
    numbers: Sequence[str],
    words: Sequence[str] = (),
    *,
    allow_nan: bool = False,
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.str_]]]:
    """Parse named columns of a CSV file with a header, block by block.

    Args:
        blocks: the file, each block ending at the end of a line.
        where: its name, for messages.
        numbers: the columns that hold numbers.
        words: the columns that hold text.
        allow_nan: NaN is how the data set says that a sample was lost.

    Yields:
        The numbers, shape (n_rows, len(numbers)), and the words, shape (n_rows, len(words)), of each block.

    Raises:
        InputError: a column is missing, no rows, something that is no number, a NaN or infinity.
    """
    line, names = 1, list[str]()
    for block in blocks:
        body = block
        if not names:
            header, _, body = block.partition(b"\n")
            names = _column_names(header, where, [*numbers, *words])
            line += 1
        if not body or body.isspace():
            continue
        table = _parse(body, where, [names.index(name) for name in numbers], np.float64)
        _check_finite(table, where, line, allow_nan)
        yield table, _parse(body, where, [names.index(name) for name in words], np.str_)
        line += body.count(b"\n")
    if line < 3:
        raise InputError(where, expected="a header and rows below it", got="an empty file", fix=_FIX)


def read_columns(
    data: bytes, where: str, numbers: Sequence[str], words: Sequence[str] = (), *, allow_nan: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """`iter_columns` for a file that fits into memory.

    Returns:
        The numbers, shape (n_rows, len(numbers)), and the words, shape (n_rows, len(words)).
    """
    return next(
        iter_columns([data if data.endswith(b"\n") else data + b"\n"], where, numbers, words, allow_nan=allow_nan)
    )


def read_words(data: bytes, where: str, *, header_lines: int, column: int) -> NDArray[np.str_]:
    """One comma-separated column of text, shape (n_rows,).

    Raises:
        InputError: a row without that column.
    """
    words: NDArray[np.str_] = _parse(data.split(b"\n", header_lines)[-1], where, [column], np.str_)[:, 0]
    return words


def code_words(words: NDArray[np.str_], codes: Mapping[str, int], where: str) -> NDArray[np.int16]:
    """The number of each word, shape (n,).

    Raises:
        InputError: a word that `codes` does not have.
    """
    kinds, place = np.unique(words, return_inverse=True)
    if unknown := [str(kind) for kind in kinds if str(kind) not in codes]:
        raise InputError(where, expected=f"labels among {', '.join(codes)}", got=repr(unknown[0]), fix=_FIX)
    return np.array([codes[str(kind)] for kind in kinds], np.int16)[place.reshape(-1)]


def _column_names(header: bytes, where: str, wanted: Sequence[str]) -> list[str]:
    text = header.decode("utf-8-sig", "replace")
    names = [name.strip().strip('"') for name in text.split(",")]
    if missing := [name for name in wanted if name not in names]:
        raise InputError(
            f"{where}: line 1", expected=f"a header with {', '.join(missing)}", got=repr(text.strip()[:120]), fix=_FIX
        )
    return names


def _parse(body: bytes, where: str, columns: Sequence[int], kind: type[Any]) -> NDArray[Any]:
    if not columns:
        return np.empty((body.count(b"\n"), 0), kind)
    try:
        return np.loadtxt(
            io.BytesIO(body),
            kind,
            delimiter=",",
            quotechar='"',
            comments=None,
            usecols=columns,
            ndmin=2,
            encoding="utf-8",
        )
    except ValueError as error:
        raise InputError(where, expected=f"rows of {len(columns)} columns", got=error, fix=_FIX) from None


def _check_finite(table: NDArray[np.float64], where: str, first_line: int, allow_nan: bool) -> None:
    good = np.isfinite(table) | (np.isnan(table) if allow_nan else False)
    if not good.all():
        row, column = (int(i) for i in np.argwhere(~good)[0])
        raise InputError(
            f"{where}: line {row + first_line}", expected="finite numbers", got=table[row, column], fix=_FIX
        )
