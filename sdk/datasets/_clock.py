"""Sensors of one device that were written to separate files, each with its own times, put side by side.

accelerometer   |  |  |  |  |        |  |  |  |      its times are kept
gyroscope         |  |  |  |  |  |  |  |             interpolated to them, linearly
rows              *  *  *  *         *  *            where the second sensor was running on both sides
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Timed(NamedTuple):
    """One sensor's samples with their times."""

    t: NDArray[np.float64]  # shape (n,), seconds
    samples: NDArray[np.float32]  # shape (n, channels)


def in_order(sensor: Timed) -> Timed:
    """Sorted by time; of samples with the same time, the first."""
    t, first = np.unique(sensor.t, return_index=True)
    return Timed(t, sensor.samples[first])


def side_by_side(first: Timed, second: Timed, *, gap_s: float) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Bring the second sensor to the times of the first.

    Args:
        first: rising times.
        second: rising times.
        gap_s: the longest step between two samples of `second` that is interpolated over; a row at the time of a sample
            is kept in any case.

    Returns:
        Which rows of `first` are kept, shape (n,); both sensors at those rows, shape (n_kept, channels of both).
    """
    columns = first.samples.shape[1] + second.samples.shape[1]
    if not len(second.t):
        return np.zeros(len(first.t), bool), np.empty((0, columns), np.float32)
    last = len(second.t) - 1
    after = np.searchsorted(second.t, first.t).clip(min(1, last), last)  # the sample of `second` at or behind each row
    before = np.maximum(after - 1, 0)
    covered = (first.t >= second.t[before]) & (first.t <= second.t[after])
    close = second.t[after] - second.t[before] <= gap_s
    same = (second.t[after] == first.t) | (second.t[before] == first.t)
    keep = (covered & close) | same
    t = first.t[keep]
    moved = [np.interp(t, second.t, column) for column in second.samples.T]
    return keep, np.column_stack([first.samples[keep], *moved]).astype(np.float32)
