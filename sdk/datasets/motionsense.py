"""MotionSense: an iPhone 6s in the front trouser pocket, 24 people, six activities, 50 Hz.

One CSV file per person and trial, `A_DeviceMotion_data/<activity>_<trial>/sub_<subject>.csv`, with the row number and
then the twelve channels that Core Motion computes: attitude, gravity, rotation rate and user acceleration. Gravity and
user acceleration are in g upstream, in m/s^2 here; there are no times.

The first six columns of a recording are those of any other phone, total acceleration (gravity + user acceleration) and
rotation rate; the original attitude, gravity and user acceleration follow.

Signs: iOS gives gravity as the direction in which things fall, so a phone lying face up reads -9.8 m/s^2 on z where an
Android phone, which gives the force that holds it, reads +9.8. The signs here are those of iOS; multiply accelerations
by -1 before you pool them with Android data such as UCI-HAR or HAPT (a pool, `hapt+motionsense`, does). Rotation rates
agree.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import ARCHIVE, STANDARD_GRAVITY, DatasetInfo, modality
from sdk.datasets._text import read_table

INFO = DatasetInfo(
    name="motionsense",
    title="MotionSense (Device Motion part)",
    licence="MIT (that of the upstream repository), citation requested",
    commercial_use=True,
    citation="M. Malekzadeh, R. G. Clegg, A. Cavallaro, H. Haddadi, Mobile Sensor Data Anonymization, IoTDI 2019",
    home_page="https://github.com/mmalekzadeh/motion-sense",
    signal=Signal(
        (
            modality("acc", "m/s^2"),
            modality("gyro", "rad/s"),
            modality("attitude", "rad", "roll pitch yaw"),
            modality("gravity", "m/s^2"),
            modality("user_acc", "m/s^2"),
        )
    ),
    labels=("downstairs", "upstairs", "walking", "jogging", "sitting", "standing"),
    resting=("sitting", "standing"),
    n_subjects=24,
    placement="iPhone 6s in the front trouser pocket",
    acc_sign=-1,
    tested_on=ARCHIVE,
)

_LABEL_OF_CODE = dict(zip(("dws", "ups", "wlk", "jog", "sit", "std"), range(6), strict=True))
_HEADER = (
    ",attitude.roll,attitude.pitch,attitude.yaw,gravity.x,gravity.y,gravity.z,rotationRate.x,rotationRate.y,rotationRate.z,"
    "userAcceleration.x,userAcceleration.y,userAcceleration.z"
)
_NAME = re.compile(r"([a-z]{3}_\d+)/sub_(\d+)\.csv")  # the trial, the person


def read(archive: Archive) -> list[Recording]:
    """One recording per person and trial, ordered by both.

    Raises:
        InputError: a file that is missing or not as published.
    """
    found: dict[tuple[int, str], Recording] = {}
    for name, content in archive.files("???_*/sub_*.csv"):
        match = _NAME.fullmatch(name)
        if match is None or name[:3] not in _LABEL_OF_CODE:
            raise InputError(
                f"{archive.path}: {name}",
                expected=f"a file like dws_1/sub_1.csv, of the activities {', '.join(_LABEL_OF_CODE)}",
                got="another name",
                fix=AGAIN,
            )
        found[int(match[2]), match[1]] = _recording(content, f"{archive.path.name}: {name}", match[1], match[2])
    for subject in sorted({subject for subject, _ in found}):
        for trial in sorted({trial for _, trial in found}):
            if (subject, trial) not in found:  # everybody did every trial
                raise archive.missing(f"{trial}/sub_{subject}.csv")
    return [found[key] for key in sorted(found)]


def _recording(content: bytes, where: str, trial: str, subject: str) -> Recording:
    header = content[: content.find(b"\n")].decode("utf-8", "replace").strip()
    if header != _HEADER:
        raise InputError(f"{where}: line 1", expected=f"the header {_HEADER}", got=repr(header[:120]), fix=AGAIN)
    table = read_table(content, where, columns=12, delimiter=",", header_lines=1, usecols=range(1, 13))
    return Recording(
        samples=_to_si(table),
        channels=INFO.signal.channel_names,
        rate_hz=INFO.signal.rate_hz,
        labels=np.full(len(table), _LABEL_OF_CODE[trial[:3]], np.int16),
        label_names=INFO.labels,
        subject=subject,
        name=f"motionsense/{trial}/sub_{subject}",
    )


def _to_si(table: NDArray[np.float64]) -> NDArray[np.float32]:
    """From the columns of the file to ours, shape (n, 12) to (n, 15)."""
    attitude, gravity, rotation, user = table[:, :3], table[:, 3:6], table[:, 6:9], table[:, 9:]
    gravity, user = gravity * STANDARD_GRAVITY, user * STANDARD_GRAVITY
    return np.concatenate((gravity + user, rotation, attitude, gravity, user), axis=1, dtype=np.float32)
