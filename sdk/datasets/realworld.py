"""RealWorld 2016: phones and a watch in seven places on 15 people, eight activities, 50 Hz.

A zip of zips: `proband<n>/data/<acc|gyr>_<activity>_csv.zip` holds one CSV file per place, `acc_<activity>_<place>.csv`
and `Gyroscope_<activity>_<place>.csv`; where somebody did an activity in several parts, it holds a zip per part.
Columns are id, attr_time (ms), attr_x, attr_y, attr_z, in m/s^2 with gravity and rad/s. Magnetic field, light, GPS and
sound are not read.

One recording per person, activity, part and place: the accelerometer's samples, with the gyroscope interpolated to
them. Where the gyroscope has a hole longer than GAP_S, rows are left out. A place for which one of the two sensors is
missing, or whose times have nothing in common, gives no recording, and a warning counts them.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._clock import Timed, in_order, side_by_side
from sdk.datasets._info import DatasetInfo, modality
from sdk.datasets._text import read_columns

GAP_S = 0.2  # the longest step of the gyroscope that is interpolated over
_POSITIONS = ("chest", "forearm", "head", "shin", "thigh", "upperarm", "waist")
_ACTIVITIES = {
    "climbingdown": "downstairs",
    "climbingup": "upstairs",
    "jumping": "jumping",
    "lying": "laying",
    "running": "running",
    "sitting": "sitting",
    "standing": "standing",
    "walking": "walking",
}

INFO = DatasetInfo(
    name="realworld",
    title="RealWorld (HAR), 2016",
    licence="none stated; offered for research, with a request to cite",
    commercial_use=False,
    citation="T. Sztyler, H. Stuckenschmidt, On-body Localization of Wearable Devices: An Investigation of "
    "Position-Aware "
    "Activity Recognition, PerCom 2016",
    home_page="https://www.uni-mannheim.de/dws/research/projects/activity-recognition/dataset/dataset-realworld/",
    signal=Signal((modality("acc", "m/s^2"), modality("gyro", "rad/s"))),
    labels=tuple(_ACTIVITIES.values()),
    resting=("laying", "sitting", "standing"),
    n_subjects=15,
    placement="Samsung Galaxy S4 phones, and an LG G Watch R at the forearm",
    positions=_POSITIONS,
)

_PATH = re.compile(
    rf"proband\d+/data/(acc|gyr)_({'|'.join(_ACTIVITIES)})_csv\.zip/"
    rf"(?:(?:acc|gyr)_(\w+)_csv\.zip/)?(?:acc|Gyroscope)_(\w+)_({'|'.join(_POSITIONS)})\.csv"
)
_Key = tuple[str, str, str]  # activity, part, place


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per person, activity, part and place: `realworld/proband<n>_<activity>/<place>`.

    Raises:
        InputError: a file that is missing or not as published.
    """
    people = {int(match[1]) for name in archive.names() if (match := re.search(r"proband(\d+)/data/acc_", name))}
    if not people:
        raise archive.missing("proband1/data/acc_walking_csv.zip")
    left_out = 0
    for person in sorted(people):
        acc, gyro = _sensors(archive, person)
        for key in sorted(acc.keys() | gyro.keys()):
            recording = _recording(acc[key], gyro[key], key, person) if key in acc and key in gyro else None
            if recording is None:
                left_out += 1
            else:
                yield recording
    if left_out:
        warnings.warn(f"{archive.path}: {left_out} places without both sensors were left out.", stacklevel=2)


def _sensors(archive: Archive, person: int) -> tuple[dict[_Key, Timed], dict[_Key, Timed]]:
    """Accelerometers and gyroscopes of one person."""
    found: dict[str, dict[_Key, Timed]] = defaultdict(dict)
    data = f"proband{person}/data"
    outer = (f"{data}/acc_*_csv.zip/acc_*.csv", f"{data}/gyr_*_csv.zip/Gyroscope_*.csv")
    parts = (f"{data}/acc_*_csv.zip/acc_*_csv.zip/acc_*.csv", f"{data}/gyr_*_csv.zip/gyr_*_csv.zip/Gyroscope_*.csv")
    for name, content in archive.files(*outer, optional=parts, enter=functools.partial(_is_wanted, data)):
        where, match = f"{archive.path.name}: {name}", _PATH.fullmatch(name)
        if match is None:
            raise InputError(where, expected="a file like acc_walking_waist.csv", got="another name", fix=AGAIN)
        sensor, activity, part, _, place = match.groups()
        numbers, _ = read_columns(content, where, ("attr_time", "attr_x", "attr_y", "attr_z"))
        timed = Timed(numbers[:, 0] / 1000, numbers[:, 1:].astype(np.float32))
        found[sensor][activity, (part or activity).removesuffix("_1"), place] = in_order(timed)
    return found["acc"], found["gyr"]


def _is_wanted(data: str, path: str) -> bool:
    return re.search(rf"(^|/){data}/(acc|gyr)_\w+_csv\.zip", path) is not None


def _recording(acc: Timed, gyro: Timed, key: _Key, person: int) -> Recording | None:
    activity, part, place = key
    keep, samples = side_by_side(acc, gyro, gap_s=GAP_S)
    if not len(samples):
        return None
    label = list(_ACTIVITIES).index(activity)
    return INFO.recording(f"proband{person}_{part}/{place}", samples, label, str(person), t=acc.t[keep] - acc.t[0])
