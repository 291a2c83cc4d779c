"""HuGaDB: six inertial sensors on both legs of 18 people, twelve activities, about 59 Hz.

One text file per recording, `HuGaDB_v<version>_<activity>_<person>_<n>.txt` (version 2 has better labels), with four
lines of header: #Activity, #ActivityID, #Date and the names of the 39 tab-separated columns. These are, for right foot,
shin and thigh and left foot, shin and thigh, acceleration and angular rate as 16-bit integers, then two muscle currents
(EMG, not read) and the activity.

The full scale of 16 bits is 2 g and 2000 degrees/s. The rate is not written down in the files: the authors' table
counts 2,111,962 samples in 35,903 s, 58.8 Hz, which is what `RATE_HZ` says (56.35 Hz is also quoted). There are no
times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import RADIAN, STANDARD_GRAVITY, DatasetInfo, modality
from sdk.datasets._text import read_table

RATE_HZ = 58.8
_HEADER_LINES = 4
_FULL_SCALE = 1 << 15
_POSITIONS = ("right_foot", "right_shin", "right_thigh", "left_foot", "left_shin", "left_thigh")
_CODES = ("RF", "RS", "RT", "LF", "LS", "LT")  # how the header calls them

INFO = DatasetInfo(
    name="hugadb",
    title="HuGaDB: Human Gait Database",
    licence="none stated for the data; offered for research, with a request to cite",
    commercial_use=False,
    citation="R. Chereshnev, A. Kertesz-Farkas, HuGaDB: Human Gait Database for Activity Recognition from Wearable "
    "Inertial Sensor Networks, AIST 2017",
    home_page="https://github.com/romanchereshnev/HuGaDB",
    signal=Signal(
        tuple(
            modality(f"{position}_{name}", unit, rate_hz=RATE_HZ)
            for position in _POSITIONS
            for name, unit in (("acc", "m/s^2"), ("gyro", "rad/s"))
        )
    ),
    labels=(
        "walking",
        "running",
        "upstairs",
        "downstairs",
        "sitting",
        "stand_to_sit",
        "sit_to_stand",
        "standing",
        "cycling",
        "elevator_up",
        "elevator_down",
        "car_riding",
    ),
    resting=("sitting", "standing"),
    n_subjects=18,
    placement="inertial sensors on both feet, shins and thighs",
    positions=_POSITIONS,
)

_TO_SI = np.tile(np.repeat([2 * STANDARD_GRAVITY, 2000 * RADIAN], 3), len(_POSITIONS)) / _FULL_SCALE


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per file, in the order of the archive.

    Raises:
        InputError: a file that is missing or not as published.
    """
    for name, content in archive.files("HuGaDB_v*_*_*_*.txt"):
        where, match = f"{archive.path.name}: {name}", re.fullmatch(r"HuGaDB_v\d+_(\w+_(\d+)_\d+)\.txt", name)
        names = b"".join(content.split(b"\n", _HEADER_LINES)[_HEADER_LINES - 1 : _HEADER_LINES]).decode(
            "utf-8", "replace"
        )
        if match is None or [column.split("_")[0].upper() for column in names.split("\t")[: len(_TO_SI)]] != [
            code for code in _CODES for _ in range(6)
        ]:
            raise InputError(
                f"{where}: line {_HEADER_LINES}",
                expected=f"six columns each for {', '.join(_CODES)}",
                got=repr(names.strip()[:120]),
                fix=AGAIN,
            )
        table = read_table(content, where, columns=39, header_lines=_HEADER_LINES)
        activities = table[:, 38]
        if not np.isin(activities, range(1, len(INFO.labels) + 1)).all():
            raise InputError(where, expected=f"activities of 1 to {len(INFO.labels)}", got="another", fix=AGAIN)
        yield INFO.recording(match[1], table[:, : len(_TO_SI)] * _TO_SI, activities - 1, str(int(match[2])))
