"""USC-HAD: a MotionNode at the front right hip, 14 people, twelve activities, five trials each, 100 Hz.

One MATLAB file per person, activity and trial, `Subject<s>/a<activity>t<trial>.mat`, whose `sensor_readings` has the
columns acceleration (g) and angular rate (degrees/s), x y z each. The activity is taken from the file name: the
number inside the file is written in several ways.

The sensor was fixed so that its x axis is the vertical one of a standing person.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._arrays import read_mat
from sdk.datasets._info import RADIAN, STANDARD_GRAVITY, DatasetInfo, modality

INFO = DatasetInfo(
    name="usc_had",
    title="USC Human Activity Dataset",
    licence="none stated; offered for research, with a request to cite",
    commercial_use=False,
    citation="M. Zhang, A. A. Sawchuk, USC-HAD: A Daily Activity Dataset for Ubiquitous Activity Recognition Using "
    "Wearable Sensors, UbiComp Workshop SAGAware 2012",
    home_page="https://sipi.usc.edu/had/",
    signal=Signal((modality("acc", "m/s^2", rate_hz=100.0), modality("gyro", "rad/s", rate_hz=100.0))),
    labels=(
        "walking",
        "walking_left",
        "walking_right",
        "upstairs",
        "downstairs",
        "running",
        "jumping",
        "sitting",
        "standing",
        "sleeping",
        "elevator_up",
        "elevator_down",
    ),
    resting=("sitting", "standing", "sleeping"),
    n_subjects=14,
    placement="MotionNode in a pouch at the front right hip",
)

_NAME = re.compile(r"Subject(\d+)/a(\d+)t(\d+)\.mat")
_TO_SI = np.repeat([STANDARD_GRAVITY, RADIAN], 3)


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per person, activity and trial, in the order of the archive.

    Raises:
        InputError: a file that is missing or not as published.
    """
    for name, content in archive.files("Subject*/a*t*.mat"):
        where, match = f"{archive.path.name}: {name}", _NAME.fullmatch(name)
        if match is None or not 1 <= int(match[2]) <= len(INFO.labels):
            raise InputError(
                where, expected=f"Subject<s>/a<1 to {len(INFO.labels)}>t<t>.mat", got="another name", fix=AGAIN
            )
        subject, activity, trial = (int(number) for number in match.groups())
        table = read_mat(content, where, "sensor_readings", (None, 6))
        yield INFO.recording(f"subject{subject}_a{activity}_t{trial}", table * _TO_SI, activity - 1, str(subject))
