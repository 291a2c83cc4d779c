"""UTD-MHAD, the inertial sensor: 8 people, 27 actions, four repetitions each, 50 Hz.

One MATLAB file per clip, `a<action>_s<subject>_t<trial>_inertial.mat`, whose `d_iner` has the columns acceleration (g)
and angular rate (degrees/s), x y z each. 861 of the 864 clips were published.

    utd_mhad/a1_s1_t1             acceleration and angular rate, 50 Hz       Inertial.zip
    utd_mhad_skeleton/a1_s1_t1    20 joints, 30 Hz                           Skeleton.zip
    utd_mhad_depth/a1_s1_t1       240 x 320 depth image, 30 Hz               Depth.zip

These three show the same clip, since they end alike. Both devices were started by hand: the clips begin at about the
same time, no closer, and the inertial one is a little longer (its 50 Hz are nominal).

The sensor was on the right wrist in actions 1 to 21 and on the right thigh in 22 to 27. The clips hold movements only,
so no label is a resting one: gravity shows where the gyroscope is quiet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._arrays import read_mat
from sdk.datasets._info import ARCHIVE, RADIAN, STANDARD_GRAVITY, DatasetInfo, modality

TITLE = "UTD Multimodal Human Action Dataset"
LICENCE = "none stated; offered freely for research, with a request to cite"
CITATION = (
    "C. Chen, R. Jafari, N. Kehtarnavaz, UTD-MHAD: A Multimodal Dataset for Human Action Recognition Utilizing a Depth "
    "Camera and a Wearable Inertial Sensor, ICIP 2015"
)
HOME_PAGE = "https://personal.utdallas.edu/~kehtar/UTD-MHAD.html"
ACTIONS = (
    "swipe_left",
    "swipe_right",
    "wave",
    "clap",
    "throw",
    "arm_cross",
    "basketball_shoot",
    "draw_x",
    "draw_circle_clockwise",
    "draw_circle_counter_clockwise",
    "draw_triangle",
    "bowling",
    "boxing",
    "baseball_swing",
    "tennis_swing",
    "arm_curl",
    "tennis_serve",
    "push",
    "knock",
    "catch",
    "pick_up_and_throw",
    "jogging",
    "walking",
    "sit_to_stand",
    "stand_to_sit",
    "lunge",
    "squat",
)

INFO = DatasetInfo(
    name="utd_mhad",
    title=f"{TITLE}, inertial sensor",
    licence=LICENCE,
    commercial_use=False,
    citation=CITATION,
    home_page=HOME_PAGE,
    signal=Signal((modality("acc", "m/s^2"), modality("gyro", "rad/s"))),
    labels=ACTIONS,
    resting=(),
    n_subjects=8,
    placement="one wearable sensor on the right wrist (actions 1 to 21) or the right thigh (22 to 27)",
    tested_on=ARCHIVE,
)

_TO_SI = np.repeat([STANDARD_GRAVITY, RADIAN], 3)


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per clip, in the order of the archive.

    Raises:
        InputError: a file that is missing or not as published.
        ImportError: scipy is not installed.
    """
    for trial, action, subject, table in clips(archive, "inertial", "d_iner", (None, 6)):
        yield INFO.recording(trial, table * _TO_SI, action, subject)


def clips(
    archive: Archive, kind: str, variable: str, shape: tuple[int | None, ...]
) -> Iterator[tuple[str, int, str, NDArray[Any]]]:
    """The name, the action (from 0), the person and the array of each clip of one modality.

    Args:
        archive: that is open.
        kind: of the files, as their names have it.
        variable: that holds the array.
        shape: of each array; None where a side may have any length.

    Raises:
        InputError: a file of another name.
    """
    for name, content in archive.files(f"a*_s*_t*_{kind}.mat"):
        where = f"{archive.path.name}: {name}"
        match = re.fullmatch(rf"(a(\d+)_s(\d+)_t\d+)_{kind}\.mat", name)
        if match is None or not 1 <= int(match[2]) <= len(ACTIONS):
            raise InputError(
                where, expected=f"a<1 to {len(ACTIONS)}>_s<s>_t<t>_{kind}.mat", got="another name", fix=AGAIN
            )
        yield match[1], int(match[2]) - 1, match[3], read_mat(content, where, variable, shape)
