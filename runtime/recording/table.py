"""Text to tables: the rows of a .csv file, of a pipe, of a port, in pieces of bounded size."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording.checks import check_names


class Table(NamedTuple):
    """Rows of text, read."""

    values: NDArray[np.float64]  # shape (n, n_columns); NaN: empty, text, or a column that nobody asked for
    texts: Mapping[int, list[str]]  # the cells of the columns that are text, stripped, n of each
    lines: NDArray[np.int64]  # shape (n,), the number of the line that each row stood in, from 1


def read_csv(path: Path) -> tuple[tuple[str, ...], Table]:
    """Names of the columns, and all rows.

    Raises:
        OSError: no such file.
        InputError: no header, a line with other fields, no text.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            if not any(header):
                raise InputError(
                    path, expected="a header with the names of the columns", got="an empty line", fix="Add the header."
                )
            check_names([name for name in header if name], "column", path)
            columns = [i for i, name in enumerate(header) if name not in ("", "label")]
            numbers: list[list[float]] = []
            words: list[str] = []
            for row in rows:
                if len(row) != len(header):
                    raise InputError(
                        f"{path}: line {rows.line_num}",
                        expected=f"{len(header)} fields",
                        got=len(row),
                        fix="Give every line the fields of the header.",
                    )
                try:
                    numbers.append([float(cell) if i in columns else math.nan for i, cell in enumerate(row)])
                except ValueError as error:
                    raise InputError(
                        f"{path}: line {rows.line_num}", expected="numbers", got=error, fix="Repair or drop the line."
                    ) from None
                if "label" in header:
                    words.append(row[header.index("label")].strip())
    except UnicodeDecodeError as error:
        raise InputError(path, expected="text in UTF-8", got=error, fix="Save it as UTF-8.") from None
    except csv.Error as error:
        raise InputError(path, expected="comma-separated values", got=error, fix="Save it as CSV again.") from None
    values = np.array(numbers, np.float64).reshape(len(numbers), len(header))
    texts = {header.index("label"): words} if "label" in header else {}
    return tuple(header), Table(values, texts, np.arange(len(values)) + 2)
