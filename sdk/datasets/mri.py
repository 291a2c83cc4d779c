"""mRI: six inertial sensors on 20 people who do rehabilitation exercises, 50 Hz. The radar: see mri_radar.py.

Read are `aligned_data/imu/subject<n>/IMU<0 to 5>.csv` (acceleration axg, ayg, azg in g and the orientation as a
quaternion q0 (w) to q3) and `raw_data/videolabels/subject<n>.json`, whose "labels" gives the first and last camera
frame of each movement. There is no angular rate. The .cpl files are pickles and are not opened.

NOT ESTABLISHED, and handled so:
  - Which sensor is where. Public code agrees on IMU1 (right wrist) and IMU2 (left wrist) only; the others are at both
    knees, the head and the pelvis. Channels are therefore called after the number of the sensor.
  - How rows and camera frames belong together. The aligned data are taken to span "T pose" to the end of "walk", as the
    authors' own features do, with one row or five rows (50 Hz against 10 Hz) per frame. A file of another length is
    refused. `Recording.rate_hz` says which it was.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import UNLABELLED, Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import ASSUMED, STANDARD_GRAVITY, DatasetInfo, modality
from sdk.datasets._text import read_columns

FRAMES_HZ = 10.0  # of the aligned data, as the radar
LABELS = "videolabels/subject*.json"
_SENSORS = tuple(f"imu{i}" for i in range(6))
_COLUMNS = ("axg", "ayg", "azg", "q0", "q1", "q2", "q3")
_TO_SI = np.r_[np.full(3, STANDARD_GRAVITY), np.ones(4)]

INFO = DatasetInfo(
    name="mri",
    title="mRI: Multi-modal 3D Human Pose Estimation Dataset, inertial sensors",
    licence="as its home page says (not checked)",
    commercial_use=False,
    citation="S. An, Y. Li, U. Ogras, mRI: Multi-modal 3D Human Pose Estimation Dataset using mmWave, RGB-D, and "
    "Inertial "
    "Sensors, NeurIPS 2022",
    home_page="https://sizhean.github.io/mri",
    signal=Signal(
        tuple(
            m
            for sensor in _SENSORS
            for m in (modality(f"{sensor}_acc", "m/s^2"), modality(f"{sensor}_orientation", "1", "w x y z"))
        )
    ),
    labels=(*(f"pose_{i}" for i in range(1, 11)), "free_form", "walking"),
    resting=(),
    n_subjects=20,
    placement="six sensors at both wrists, both knees, the head and the pelvis",
    positions=_SENSORS,
    rates_hz=(FRAMES_HZ, 50.0),
    tested_on=ASSUMED,
    access="Download dataset_release.zip from the link on the home page (Google Drive).",
)

_NAMES = (*INFO.labels[:-1], "walk")


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per person, as soon as all files have come by, in the order of the people.

    Raises:
        InputError: a file that is missing or not as published.
    """
    frames = frame_labels(archive)
    tables: dict[str, dict[str, NDArray[np.float64]]] = defaultdict(dict)
    for name, content in archive.files("aligned_data/imu/subject*/IMU*.csv"):
        person, sensor = re.findall(r"\d+", name)[-2:]
        tables[person][f"imu{sensor}"] = read_columns(content, f"{archive.path.name}: {name}", _COLUMNS)[0] * _TO_SI
    for person in sorted(tables, key=int):
        for sensor in _SENSORS:
            if sensor not in tables[person]:
                raise archive.missing(f"aligned_data/imu/subject{person}/IMU{sensor[-1]}.csv")
        if person not in frames:
            raise archive.missing(f"videolabels/subject{person}.json")
        yield _recording([tables[person][sensor] for sensor in _SENSORS], frames[person], person, archive.path.name)


def _recording(sensors: list[NDArray[np.float64]], labels: NDArray[np.int16], person: str, where: str) -> Recording:
    n = min(len(sensor) for sensor in sensors)
    rows_per_frame = next((k for k in (1, 5) if abs(n / (k * len(labels)) - 1) < 0.02), None)
    if rows_per_frame is None:
        raise InputError(
            f"{where}: subject {person}",
            expected=f"one or five rows for each of {len(labels)} frames",
            got=f"{n} rows",
            fix="This reader does not know how they belong together.",
        )
    frame = (np.arange(n) // rows_per_frame).clip(max=len(labels) - 1)
    samples = np.concatenate([sensor[:n] for sensor in sensors], axis=1)
    return INFO.recording(f"subject{person}", samples, labels[frame], person, rate_hz=FRAMES_HZ * rows_per_frame)


def frame_labels(archive: Archive) -> dict[str, NDArray[np.int16]]:
    """For each person the label of every camera frame from "T pose" to the end of "walk", shape (n_frames,).

    Raises:
        InputError: a file of labels lacks a movement, or is no such file.
    """
    found = {}
    for name, content in archive.files(LABELS):
        where = f"{archive.path.name}: {name}"
        try:
            spans = json.loads(content)["labels"]
            start, end = int(spans["T pose"][0]), int(spans["walk"][1])
            labels = np.full(end - start + 1, UNLABELLED, np.int16)
            for label, movement in enumerate(_NAMES):
                first, last = (int(frame) - start for frame in spans[movement])
                labels[first : last + 1] = label
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise InputError(
                where, expected=f"the frames of T pose, {', '.join(_NAMES)}", got=repr(error), fix=AGAIN
            ) from None
        found[re.findall(r"\d+", name)[-1]] = labels
    return found
