"""PVS: six inertial sensors in three cars, three drivers, three kinds of road, 100 Hz.

A folder per drive, `PVS <1 to 9>`, with `dataset_mpu_left.csv` and `dataset_mpu_right.csv` (timestamp in s; acc in
m/s^2, gyro in degrees/s and mag in uT, each at dashboard, above_suspension and below_suspension) and
`dataset_labels.csv` with a row of 0 and 1 for each of their rows. The road is taken from dirt_road, cobblestone_road
and asphalt_road; speed bumps, quality, GPS, temperature and video are not read.

Drives 1 to 3, 4 to 6 and 7 to 9 are one driver in one car each, so `subject` is both. The two sides are two networks
with a clock in common: `pvs/drive1_left`, `pvs/drive1_right`.

A car stands still at traffic lights only, and no label says so: gravity shows where the gyroscope is quiet.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import UNLABELLED, Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import RADIAN, DatasetInfo, modality
from sdk.datasets._text import read_columns

_POSITIONS = ("dashboard", "above_suspension", "below_suspension")
_MODALITIES = {"acc": ("m/s^2", 1.0), "gyro": ("rad/s", RADIAN), "mag": ("uT", 1.0)}  # unit, factor to it
_ROADS = ("dirt", "cobblestone", "asphalt")

INFO = DatasetInfo(
    name="pvs",
    title="Passive Vehicular Sensors",
    licence="as the Kaggle page says (understood to be CC BY-NC-ND 4.0; not checked)",
    commercial_use=False,
    citation="J. Menegazzo, A. von Wangenheim, Multi-Contextual and Multi-Aspect Analysis for Road Surface Type "
    "Classification Through Inertial Sensors and Deep Learning, SBESC 2020",
    home_page="https://www.kaggle.com/jefmenegazzo/pvs-passive-vehicular-sensors-datasets",
    signal=Signal(
        tuple(
            modality(f"{position}_{name}", unit, rate_hz=100.0)
            for position in _POSITIONS
            for name, (unit, _) in _MODALITIES.items()
        )
    ),
    labels=_ROADS,
    resting=(),
    n_subjects=3,
    placement="MPU-9250 sensors at the dashboard and above and below the suspension, left and right",
    positions=_POSITIONS,
    access="Log in at Kaggle, download the data set from the home page and call it "
    "pvs-passive-vehicular-sensors-datasets.zip.",
)

_COLUMNS = [f"{name}_{axis}_{position}" for position in _POSITIONS for name in _MODALITIES for axis in "xyz"]
_TO_SI = np.tile(np.repeat([factor for _, factor in _MODALITIES.values()], 3), len(_POSITIONS))


def read(archive: Archive) -> Iterator[Recording]:
    """Two recordings per drive, as soon as its three files have come by, with the times of the files.

    Raises:
        InputError: a file that is missing or not as published.
    """
    files = ("dataset_labels.csv", *(f"dataset_mpu_{side}.csv" for side in ("left", "right")))
    drives: dict[int, dict[str, NDArray[np.float64]]] = defaultdict(dict)
    for name, content in archive.files(*(f"PVS */{file}" for file in files)):
        where, match = f"{archive.path.name}: {name}", re.fullmatch(r"PVS (\d+)/(dataset_\w+\.csv)", name)
        if match is None:
            raise InputError(where, expected="a folder like PVS 1", got="another name", fix=AGAIN)
        columns = [f"{road}_road" for road in _ROADS] if match[2] == files[0] else ["timestamp", *_COLUMNS]
        tables = drives[int(match[1])]
        tables[match[2]] = read_columns(content, where, columns)[0]
        if len(tables) == len(files):
            roads, left, right = (tables.pop(file) for file in files)
            yield from _recordings(roads, {"left": left, "right": right}, int(match[1]), archive.path.name)
    if half := [(drive, file) for drive, tables in drives.items() for file in files if tables and file not in tables]:
        raise archive.missing(f"PVS {half[0][0]}/{half[0][1]}")


def _recordings(
    roads: NDArray[np.float64], sides: dict[str, NDArray[np.float64]], drive: int, where: str
) -> Iterator[Recording]:
    labels = np.where(roads.any(axis=1), roads.argmax(axis=1), UNLABELLED)
    for side, table in sides.items():
        if len(table) != len(labels):
            raise InputError(
                f"{where}: PVS {drive}/dataset_mpu_{side}.csv",
                expected=f"{len(labels)} rows, one per label",
                got=len(table),
                fix=AGAIN,
            )
        t = table[:, 0] - table[0, 0]
        yield INFO.recording(f"drive{drive}_{side}", table[:, 1:] * _TO_SI, labels, str((drive - 1) // 3 + 1), t=t)
