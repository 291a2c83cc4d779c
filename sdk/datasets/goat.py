"""Goats: six sensors in different orientations on the collar of each of five goats (Kamminga, 2018), 200 Hz.

NOT ESTABLISHED: the layout of the published archive could not be looked up. The reader takes what the authors' related
data of animals use, a CSV file per animal and sensor with a header, and needs these columns: timestamp_ms, ax, ay, az
(m/s^2, with gravity) and label. It refuses anything else and names what it found. Nothing more is assumed: the animal
is the column animal_ID; the sensor is told from others by the file only, so that the recording is called after the
file. What the columns are called, their units and the rate (200 Hz) must be checked on the archive; `check` then
compares |acc| at rest with gravity.

Activities are those that IMG2IMU names; others are UNLABELLED. The "people" of this data set are goats.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from runtime.recording import UNLABELLED, Recording
from runtime.specs import Signal
from sdk.datasets._archive import Archive
from sdk.datasets._info import ASSUMED, DatasetInfo, modality
from sdk.datasets._text import read_columns

INFO = DatasetInfo(
    name="goat",
    title="Multi Sensor-Orientation Movement Data of Goats",
    licence="as its page at DANS says (not checked)",
    commercial_use=False,
    citation="J. W. Kamminga, D. V. Le, J. P. Meijers, H. Bisby, N. Meratnia, P. J. M. Havinga, Robust "
    "Sensor-Orientation-Independent Feature Selection for Animal Activity Recognition on Collar Tags, IMWUT 2(1), 2018",
    home_page="https://doi.org/10.17026/dans-xhn-bsfb",
    signal=Signal((modality("acc", "m/s^2", rate_hz=200.0),)),
    labels=("stationary", "walking", "eating", "running", "trotting"),
    resting=("stationary",),
    n_subjects=5,
    placement="six ProMove-mini tags around the collar, in different orientations",
    tested_on=ASSUMED,
    access="Download the data set from its page at DANS and zip its CSV files as goat.zip.",
)

_CODES = {name: i for i, name in enumerate(INFO.labels)}


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per file and animal, in the order of the archive, with the times of the file.

    Raises:
        InputError: a file that is missing or has other columns.
    """
    for name, content in archive.files("*.csv"):
        where = f"{archive.path.name}: {name}"
        numbers, words = read_columns(content, where, ("timestamp_ms", "ax", "ay", "az"), ("animal_ID", "label"))
        labels = np.array([_CODES.get(word.lower(), UNLABELLED) for word in words[:, 1].tolist()], np.int16)
        for animal in np.unique(words[:, 0]):
            mine = words[:, 0] == animal
            t = (numbers[mine, 0] - numbers[mine, 0][0]) / 1000
            trial = f"{animal}_{PurePosixPath(name).stem}"
            yield INFO.recording(trial, numbers[mine, 1:], labels[mine], str(animal), t=t)
