"""What is looked at wherever samples, names and labels come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError

UNLABELLED = -1


def check_finite(samples: NDArray[np.floating[Any]], channels: tuple[str, ...], where: str) -> None:
    """Refuse samples that are NaN or infinite.

    Args:
        samples: shape (n_samples, n_channels).
        channels: names of the columns.
        where: for the message.

    Raises:
        InputError: names the first such sample.
    """
    good = np.isfinite(samples)
    if not good.all():
        row, column = (int(i) for i in np.argwhere(~good)[0])
        raise InputError(
            f"{where}: sample {row}, channel {channels[column]}",
            expected="a finite number",
            got=samples[row, column],
            fix="Drop or repair the sample before it is fed.",
        )


def check_names(names: Sequence[str], what: str, where: object) -> None:
    """Refuse names of which one stands twice.

    Raises:
        InputError: one does.
    """
    if len(set(names)) != len(names):
        raise InputError(
            where, expected=f"{what} names that differ", got=", ".join(names), fix="Give each column its own name."
        )


def check_labels(labels: NDArray[np.integer[Any]], names: tuple[str, ...], where: object) -> None:
    """Refuse labels that are no index into their names.

    Args:
        labels: shape (n_samples,), UNLABELLED where there is none.
        names: of the labels.
        where: for the message.

    Raises:
        InputError: says from where to where they go.
    """
    if len(labels) and (labels.min() < UNLABELLED or labels.max() >= len(names)):
        raise InputError(
            f"{where}: labels",
            expected=f"numbers from {UNLABELLED} to {len(names) - 1}",
            got=f"{labels.min()} to {labels.max()}",
            fix="Give every label a name.",
        )


def as_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """Numbers of any shape in single precision."""
    with np.errstate(over="ignore"):  # an overflow becomes infinite, which `fit` refuses
        return np.asarray(values, np.float32)
