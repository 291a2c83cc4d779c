"""MobiAct, second release: a phone in the trouser pocket of 66 people, twelve activities and four falls, 200 Hz.

Read is the annotated part, `Annotated Data/<code>/<code>_<person>_<trial>_annotated.csv`, with the columns timestamp
(ns), rel_time (s), acc_x ... (m/s^2, with gravity), gyro_x ... (rad/s), azimuth, pitch, roll (degrees, not read) and
the label of each sample. A scenario (a chain of activities) has the code of the scenario and the labels of its
activities.

The phone sampled as fast as it could; 200 Hz, and 66 people, are what is said of the second release. The times of the
file are passed on, and they decide. The authors send the archive on request, as a .rar: unpack it and zip its folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import DatasetInfo, modality
from sdk.datasets._text import code_words, read_columns

_ACTIVITIES = {
    "STD": "standing",
    "WAL": "walking",
    "JOG": "jogging",
    "JUM": "jumping",
    "STU": "upstairs",
    "STN": "downstairs",
    "SCH": "stand_to_sit",
    "SIT": "sitting",
    "CHU": "sit_to_stand",
    "CSI": "car_step_in",
    "CSO": "car_step_out",
    "LYI": "laying",
    "FOL": "fall_forward",
    "FKL": "fall_front_knees",
    "BSC": "fall_back_from_chair",
    "SDL": "fall_sideward",
}
_COLUMNS = [f"{sensor}_{axis}" for sensor in ("acc", "gyro") for axis in "xyz"]

INFO = DatasetInfo(
    name="mobiact",
    title="MobiAct, second release, annotated part",
    licence="for research only, on request to the authors",
    commercial_use=False,
    citation="G. Vavoulas, C. Chatzaki, T. Malliotakis, M. Pediaditis, M. Tsiknakis, The MobiAct Dataset: Recognition "
    "of "
    "Activities of Daily Living using Smartphones, ICT4AgeingWell 2016",
    home_page="https://bmi.hmu.gr/the-mobifall-and-mobiact-datasets-2/",
    signal=Signal((modality("acc", "m/s^2", rate_hz=200.0), modality("gyro", "rad/s", rate_hz=200.0))),
    labels=tuple(_ACTIVITIES.values()),
    resting=("standing", "sitting", "laying"),
    n_subjects=66,
    placement="Samsung Galaxy S3 in the trouser pocket, in any orientation",
    access="Ask the authors (the form is on the home page) for MobiAct_Dataset_v2.0, unpack it and zip its folder as "
    "MobiAct_Dataset_v2.0.zip.",
)

_CODES = {code: i for i, code in enumerate(_ACTIVITIES)}


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per file, in the order of the archive, with the times of the file.

    Raises:
        InputError: a file that is missing or not as published.
    """
    for name, content in archive.files("*_*_*_annotated.csv"):
        where, match = f"{archive.path.name}: {name}", re.fullmatch(r"([A-Z]+_(\d+)_\d+)_annotated\.csv", name)
        if match is None:
            raise InputError(where, expected="a file like WAL_1_1_annotated.csv", got="another name", fix=AGAIN)
        numbers, words = read_columns(content, where, ["rel_time", *_COLUMNS], ["label"])
        labels = code_words(words[:, 0], _CODES, where)
        yield INFO.recording(match[1], numbers[:, 1:], labels, match[2], t=numbers[:, 0])
