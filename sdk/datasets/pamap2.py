"""PAMAP2: three wireless IMUs on nine people, 18 activities, 100 Hz. Heart rate: see pamap2_heart_rate.py.

One text file per person, `Protocol/subject<id>.dat` (twelve activities) and, for some, `Optional/subject<id>.dat` (six
more). Its 54 columns are time (s), activity, heart rate, then for hand, chest and ankle each: temperature, acceleration
at the scale of 16 g and of 6 g (m/s^2), angular rate (rad/s), magnetic field (uT) and four invalid ones. Read are the
16 g acceleration (the other saturates), angular rate and magnetic field. Activity 0 is the time between (UNLABELLED).

A sample that a radio lost is NaN in the file. A row with a NaN in what is read is left out: the recording's times show
the gap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import UNLABELLED, Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import DatasetInfo, modality
from sdk.datasets._text import read_table

_COLUMNS = 54
_POSITIONS = {"hand": 3, "chest": 20, "ankle": 37}  # the first column of each IMU
_MODALITIES = {"acc": ("m/s^2", 1), "gyro": ("rad/s", 7), "mag": ("uT", 10)}  # unit, first column within an IMU
_ACTIVITIES = {
    1: "laying",
    2: "sitting",
    3: "standing",
    4: "walking",
    5: "running",
    6: "cycling",
    7: "nordic_walking",
    9: "watching_tv",
    10: "computer_work",
    11: "car_driving",
    12: "upstairs",
    13: "downstairs",
    16: "vacuum_cleaning",
    17: "ironing",
    18: "folding_laundry",
    19: "house_cleaning",
    20: "playing_soccer",
    24: "rope_jumping",
}

INFO = DatasetInfo(
    name="pamap2",
    title="PAMAP2 Physical Activity Monitoring",
    licence="CC BY 4.0 (as the UCI page is said to list)",
    commercial_use=False,
    citation="A. Reiss, D. Stricker, Introducing a New Benchmarked Dataset for Activity Monitoring, ISWC 2012",
    home_page="https://archive.ics.uci.edu/dataset/231/pamap2+physical+activity+monitoring",
    signal=Signal(
        tuple(
            modality(f"{position}_{name}", unit, rate_hz=100.0)
            for position in _POSITIONS
            for name, (unit, _) in _MODALITIES.items()
        )
    ),
    labels=tuple(_ACTIVITIES.values()),
    resting=("laying", "sitting", "standing"),
    n_subjects=9,
    placement="Colibri IMUs on the wrist of the dominant arm, the chest and the ankle of the dominant side",
    positions=tuple(_POSITIONS),
)

_READ = [imu + first + axis for imu in _POSITIONS.values() for _, first in _MODALITIES.values() for axis in range(3)]


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per file, in the order of the archive, with the times of the file.

    Raises:
        InputError: a file that is missing or not as published.
    """
    for trial, subject, table in tables(archive):
        whole = table[np.isfinite(table[:, _READ]).all(axis=1)]
        yield INFO.recording(trial, whole[:, _READ], activities(whole), subject, t=whole[:, 0])


def tables(archive: Archive) -> Iterator[tuple[str, str, NDArray[np.float64]]]:
    """The name, the person and the 54 columns of each file, shape (n, 54), NaN where a sample was lost.

    Raises:
        InputError: a file of another name, without times, or with unknown activities.
    """
    files = archive.files("Protocol/subject*.dat", optional=["Optional/subject*.dat"])
    for name, content in files:
        where, match = f"{archive.path.name}: {name}", re.fullmatch(r"(\w+)/subject(\d+)\.dat", name)
        table = read_table(content, where, columns=_COLUMNS, allow_nan=True)
        if match is None or not np.isin(table[:, 1], [0, *_ACTIVITIES]).all() or np.isnan(table[:, 0]).any():
            raise InputError(
                where, expected="subject<id>.dat with times and known activities", got="another file", fix=AGAIN
            )
        yield f"{match[1].lower()}_{match[2]}", match[2], table


def activities(table: NDArray[np.float64]) -> NDArray[np.int16]:
    """The label of each row of such a table, shape (n,), from shape (n, 54)."""
    labels = np.full(max(_ACTIVITIES) + 1, UNLABELLED, np.int16)
    labels[list(_ACTIVITIES)] = np.arange(len(_ACTIVITIES))
    return np.asarray(labels[table[:, 1].astype(int)], np.int16)
