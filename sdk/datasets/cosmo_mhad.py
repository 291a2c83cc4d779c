"""Cosmo-MHAD, the inertial sensor: clips of 30 people, 14 activities, 2 s each, 100 Hz.

NOT ESTABLISHED: the authors of Cosmo collected this data set and no public archive of it could be found, so that there
is no published layout to read. What the paper says is the form of a clip: 200 samples of 9 columns. This reader takes
clips that were brought into a layout of ours, in SI units, as a zip of `imu/s<person>_a<activity>_c<clip>.npy`, each an
array of floats of shape (200, 9): acceleration (m/s^2), angular rate (rad/s), magnetic field (uT). Activities count
from 1 in the order of the paper, which is that of `INFO.labels`. Depth and radar are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._arrays import read_npy
from sdk.datasets._info import ASSUMED, DatasetInfo, modality

CLIP = (200, 9)

INFO = DatasetInfo(
    name="cosmo_mhad",
    title="Cosmo-MHAD, inertial sensor",
    licence="none stated; ask the authors",
    commercial_use=False,
    citation="X. Ouyang, X. Shuai, J. Zhou, I. W. Shi, Z. Xie, G. Xing, J. Huang, Cosmo: Contrastive Fusion Learning "
    "with "
    "Small Data for Multimodal Human Activity Recognition, MobiCom 2022",
    home_page="https://github.com/xmouyang/Cosmo",
    signal=Signal(
        tuple(
            modality(name, unit, rate_hz=100.0) for name, unit in (("acc", "m/s^2"), ("gyro", "rad/s"), ("mag", "uT"))
        )
    ),
    labels=(
        "sitting",
        "pacing",
        "laying",
        "jumping",
        "throw",
        "picking_up",
        "rummaging",
        "stomping",
        "wave",
        "falling",
        "squat",
        "kicking",
        "shaking_hands",
        "thumping_cabinet",
    ),
    resting=("laying",),
    n_subjects=30,
    placement="one inertial sensor on the person (the paper shows where)",
    tested_on=ASSUMED,
    access="Ask the authors of Cosmo (home page), and write the clips as the reader's docstring says into "
    "cosmo_mhad.zip.",
)


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per clip, in the order of the archive.

    Raises:
        InputError: a file that is missing or has another form.
    """
    for name, content in archive.files("imu/s*_a*_c*.npy"):
        where, match = f"{archive.path.name}: {name}", re.fullmatch(r"imu/(s(\d+)_a(\d+)_c\d+)\.npy", name)
        if match is None or not 1 <= int(match[3]) <= len(INFO.labels):
            raise InputError(where, expected="imu/s<s>_a<1 to 14>_c<c>.npy", got="another name", fix=AGAIN)
        clip = read_npy(content, where, CLIP)
        yield INFO.recording(match[1], clip, int(match[3]) - 1, match[2])
