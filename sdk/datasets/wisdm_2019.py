"""WISDM of 2019: a phone in the pocket and a watch on the wrist of 51 people, 18 activities, 20 Hz.

One text file per person, device and sensor, `raw/<phone|watch>/<accel|gyro>/data_<person>_<accel|gyro>_<device>.txt`,
of records `person,activity letter,timestamp,x,y,z;` in m/s^2 with gravity or rad/s, the time in ns.

One recording per person, device and activity: the accelerometer's samples, with the gyroscope interpolated to them.
Where the gyroscope has a hole longer than GAP_S, rows are left out; an activity for which one of the sensors is
missing, or whose times have nothing in common, gives no recording, and a device with a file of one sensor only none at
all: a warning counts both. The clocks of phone and watch are not related. The rate is nominal: some devices recorded at
50 or 100 Hz, or changed between 100 and 20 Hz, and the times say so.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._clock import Timed, in_order, side_by_side
from sdk.datasets._info import ARCHIVE, DatasetInfo, modality
from sdk.datasets._text import code_words, read_table, read_words

GAP_S = 0.5  # the longest step of the gyroscope that is interpolated over
_POSITIONS = ("phone", "watch")
_ACTIVITIES = {
    "A": "walking",
    "B": "jogging",
    "C": "stairs",
    "D": "sitting",
    "E": "standing",
    "F": "typing",
    "G": "brushing_teeth",
    "H": "eating_soup",
    "I": "eating_chips",
    "J": "eating_pasta",
    "K": "drinking",
    "L": "eating_sandwich",
    "M": "kicking_ball",
    "O": "catch",
    "P": "dribbling",
    "Q": "writing",
    "R": "clapping",
    "S": "folding_clothes",
}

INFO = DatasetInfo(
    name="wisdm_2019",
    title="WISDM Smartphone and Smartwatch Activity and Biometrics (2019), raw signals",
    licence="CC BY 4.0 (as the UCI page is said to list)",
    commercial_use=False,
    citation="G. M. Weiss, K. Yoneda, T. Hayajneh, Smartphone and Smartwatch-Based Biometrics Using Activities of "
    "Daily "
    "Living, IEEE Access 7, 2019",
    home_page="https://archive.ics.uci.edu/dataset/507/wisdm+smartphone+and+smartwatch+activity+and+biometrics+dataset",
    signal=Signal((modality("acc", "m/s^2", rate_hz=20.0), modality("gyro", "rad/s", rate_hz=20.0))),
    labels=tuple(_ACTIVITIES.values()),
    resting=("sitting", "standing"),
    n_subjects=51,
    placement="a phone in the right trouser pocket, a watch on the dominant wrist",
    worn=("a phone in the right trouser pocket", "a watch on the dominant wrist"),
    positions=_POSITIONS,
    tested_on=ARCHIVE,
)

_CODES = {letter: i for i, letter in enumerate(_ACTIVITIES)}
_Key = tuple[str, str]  # device, person
_Sensor = tuple[Timed, NDArray[np.int16]]  # samples with their labels


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per person, device and activity: `wisdm_2019/<person>_<letter>/<device>`.

    Raises:
        InputError: a file that is missing or not as published.
    """
    waiting: dict[_Key, dict[str, _Sensor]] = defaultdict(dict)
    left_out = 0
    patterns = [f"{device}/{kind}/data_*_{kind}_{device}.txt" for device in _POSITIONS for kind in ("accel", "gyro")]
    for name, content in archive.files(*patterns):
        where, match = f"{archive.path.name}: {name}", re.fullmatch(r"(\w+)/(\w+)/data_(\d+)_\w+\.txt", name)
        if match is None:
            raise InputError(where, expected="a file like data_1600_accel_phone.txt", got="another name", fix=AGAIN)
        sensors = waiting[match[1], match[3]]
        sensors[match[2]] = _sensor(content, where)
        if len(sensors) == 2:
            del waiting[match[1], match[3]]
            activities = _activities(sensors["accel"], sensors["gyro"])
            both = list(_recordings(sensors["accel"], sensors["gyro"], device=match[1], person=match[3]))
            left_out += activities - len(both)
            yield from both
    _tell(archive, waiting, left_out)


def _tell(archive: Archive, waiting: dict[_Key, dict[str, _Sensor]], left_out: int) -> None:
    """Warn of devices of which one sensor's file is missing, and of activities that gave no recording."""
    told = []
    if waiting:
        alone = ", ".join(
            f"{device} of {person} ({next(iter(found))} only)" for (device, person), found in waiting.items()
        )
        told.append(f"{len(waiting)} devices with the file of one sensor only were left out: {alone}")
    if left_out:
        told.append(f"{left_out} activities of a device without both sensors at one time were left out")
    if told:
        warnings.warn(f"{archive.path}: {'; '.join(told)}.", stacklevel=3)


def _activities(accel: _Sensor, gyroscope: _Sensor) -> int:
    """How many activities one of the sensors has."""
    return len(np.union1d(accel[1], gyroscope[1]))


def _sensor(content: bytes, where: str) -> _Sensor:
    content = content.replace(b";", b"")
    table = read_table(content, where, columns=4, delimiter=",", usecols=range(2, 6))
    letters = read_words(content, where, header_lines=0, column=1)
    return Timed(table[:, 0] / 1e9, table[:, 1:].astype(np.float32)), code_words(letters, _CODES, where)


def _recordings(accel: _Sensor, gyroscope: _Sensor, *, device: str, person: str) -> Iterator[Recording]:
    (acc, acc_labels), (gyro, gyro_labels) = accel, gyroscope
    for letter, label in _CODES.items():
        mine, theirs = acc_labels == label, gyro_labels == label
        if mine.any() and theirs.any():
            a = in_order(Timed(acc.t[mine], acc.samples[mine]))
            g = in_order(Timed(gyro.t[theirs], gyro.samples[theirs]))
            keep, samples = side_by_side(a, g, gap_s=GAP_S)
            if len(samples):
                yield INFO.recording(f"{person}_{letter}/{device}", samples, label, person, t=a.t[keep] - a.t[0])
