"""SP-SW-HAR: a phone in the pocket and a watch on the wrist of 23 people in a timed up and go test, 100 Hz.

One CSV file per execution and device, `DATA/s<person>/s<person>_<n>_<sp|sw>.csv`, with acceleration in m/s^2 with
gravity (x_acc ...), angular rate in rad/s (x_gyro ...), Unix time in ms and the activity. An execution is one chain:
sit, stand up, walk, turn, walk, turn, sit down. Phone and watch share the clock.

Times come in bunches and may repeat; they are passed on, counted from the first of the phone and the watch each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import ARCHIVE, DatasetInfo, modality
from sdk.datasets._text import code_words, read_columns

_POSITIONS = {"sp": "phone", "sw": "watch"}
_CODES = {name: i for i, name in enumerate(("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN"))}
_COLUMNS = [f"{axis}_{sensor}" for sensor in ("acc", "gyro") for axis in "xyz"]

INFO = DatasetInfo(
    name="sp_sw_har",
    title="Smartphone and smartwatch inertial measurements from heterogeneous subjects (SP-SW-HAR)",
    licence="CC BY 4.0",
    commercial_use=True,
    citation="M. Matey-Sanz, S. Casteleyn, C. Granell, Dataset of inertial measurements of smartphones and "
    "smartwatches "
    "for human activity recognition, Data in Brief 51, 2023",
    home_page="https://doi.org/10.5281/zenodo.8398688",
    signal=Signal((modality("acc", "m/s^2", rate_hz=100.0), modality("gyro", "rad/s", rate_hz=100.0))),
    labels=("sitting", "sit_to_stand", "walking", "turning", "stand_to_sit"),
    resting=("sitting",),
    n_subjects=23,
    placement="a phone in the left front pocket, a watch on the left wrist",
    worn=("a phone in the left front pocket", "a watch on the left wrist"),
    positions=tuple(_POSITIONS.values()),
    tested_on=ARCHIVE,
)


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per execution and device, `sp_sw_har/<execution>/<device>`, in the order of the archive.

    Raises:
        InputError: a file that is missing or not as published.
    """
    for name, content in archive.files("s*_*_s?.csv"):
        where, match = f"{archive.path.name}: {name}", re.fullmatch(r"(s(\d+)_\d+)_(sp|sw)\.csv", name)
        if match is None:
            raise InputError(where, expected="a file like s01_01_sp.csv", got="another name", fix=AGAIN)
        numbers, words = read_columns(content, where, [*_COLUMNS, "timestamp"], ["label"])
        yield INFO.recording(
            f"{match[1]}/{_POSITIONS[match[3]]}",
            numbers[:, :6],
            code_words(words[:, 0], _CODES, where),
            str(int(match[2])),
            t=(numbers[:, 6] - numbers[0, 6]) / 1000,
        )
