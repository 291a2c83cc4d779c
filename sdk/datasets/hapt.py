"""HAPT: a Samsung Galaxy S II at the waist, 30 people, six activities and the six transitions between postures, 50 Hz.

One pair of text files per experiment, `RawData/acc_expXX_userYY.txt` (g) and `gyro_expXX_userYY.txt` (rad/s), and one
`RawData/labels.txt` whose rows are experiment, user, activity, first and last sample, counted from 1 and both included.
Samples outside every row are UNLABELLED. The feature matrices of the archive are not read.

The people are those of UCI-HAR, with the same numbers, and the recordings those that its windows were cut from: never
train on one and test on the other.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import UNLABELLED, Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import ARCHIVE, STANDARD_GRAVITY, DatasetInfo, modality
from sdk.datasets._text import read_table

INFO = DatasetInfo(
    name="hapt",
    title="Smartphone-Based Recognition of Human Activities and Postural Transitions, version 2.1, raw signals",
    licence="the archive's README forbids commercial use and asks for citation; the UCI page is said to list CC BY 4.0",
    commercial_use=False,
    citation="J.-L. Reyes-Ortiz, L. Oneto, A. Sama, X. Parra, D. Anguita, Transition-Aware Human Activity Recognition "
    "Using Smartphones, Neurocomputing 2015",
    home_page="https://archive.ics.uci.edu/dataset/341/"
    "smartphone+based+recognition+of+human+activities+and+postural+transitions",
    signal=Signal((modality("acc", "m/s^2"), modality("gyro", "rad/s"))),
    labels=(
        "walking",
        "upstairs",
        "downstairs",
        "sitting",
        "standing",
        "laying",
        "stand_to_sit",
        "sit_to_stand",
        "sit_to_lie",
        "lie_to_sit",
        "stand_to_lie",
        "lie_to_stand",
    ),
    resting=("sitting", "standing", "laying"),
    n_subjects=30,
    placement="Samsung Galaxy S II on a belt at the waist",
    tested_on=ARCHIVE,
)

_NAME = re.compile(r"RawData/(acc|gyro)_exp(\d+)_user(\d+)\.txt")
_Experiment = tuple[int, int]  # its number, the person's number


def read(archive: Archive) -> list[Recording]:
    """One recording per experiment, in their order.

    Raises:
        InputError: a file that is missing or not as published.
    """
    signals: dict[str, dict[_Experiment, NDArray[np.float64]]] = {"acc": {}, "gyro": {}}
    rows = np.empty((0, 5), np.int64)
    for name, content in archive.files("RawData/labels.txt", "RawData/acc_exp*.txt", "RawData/gyro_exp*.txt"):
        where = f"{archive.path.name}: {name}"
        if match := _NAME.fullmatch(name):
            signals[match[1]][int(match[2]), int(match[3])] = read_table(content, where, columns=3)
        else:
            rows = read_table(content, where, columns=5).astype(np.int64)
    experiments = sorted(signals["acc"].keys() | signals["gyro"].keys() | {(int(row[0]), int(row[1])) for row in rows})
    return [_recording(archive, signals, rows, key) for key in experiments]


def _recording(
    archive: Archive,
    signals: dict[str, dict[_Experiment, NDArray[np.float64]]],
    rows: NDArray[np.int64],
    key: _Experiment,
) -> Recording:
    experiment, user = key
    for kind, found in signals.items():
        if key not in found:
            raise archive.missing(f"RawData/{kind}_exp{experiment:02}_user{user:02}.txt")
    acc, gyro = signals["acc"][key], signals["gyro"][key]
    if len(acc) != len(gyro):
        raise InputError(
            f"{archive.path.name}: experiment {experiment}",
            expected="as many rows of gyroscope as of acceleration",
            got=f"{len(gyro)} and {len(acc)}",
            fix=AGAIN,
        )
    return Recording(
        samples=np.concatenate((acc * STANDARD_GRAVITY, gyro), axis=1, dtype=np.float32),
        channels=INFO.signal.channel_names,
        rate_hz=INFO.signal.rate_hz,
        labels=_labels(rows[(rows[:, 0] == experiment) & (rows[:, 1] == user)], len(acc), archive.path.name),
        label_names=INFO.labels,
        subject=str(user),
        name=f"hapt/exp{experiment:02}_user{user:02}",
    )


def _labels(rows: NDArray[np.int64], n_samples: int, where: str) -> NDArray[np.int16]:
    """Spread rows of (experiment, user, activity, first, last) over the samples of one experiment."""
    labels = np.full(n_samples, UNLABELLED, np.int16)
    for experiment, _, activity, first, last in rows:
        if not (1 <= activity <= len(INFO.labels) and 1 <= first <= last <= n_samples):
            raise InputError(
                f"{where}: RawData/labels.txt, experiment {experiment}",
                expected=f"an activity of 1 to {len(INFO.labels)} within samples 1 to {n_samples}",
                got=f"activity {activity} in samples {first} to {last}",
                fix=AGAIN,
            )
        labels[first - 1 : last] = activity - 1
    return labels
