"""seglearn's smartwatch data: ten people, seven shoulder exercises on either side, 50 Hz.

The official file is one .npy with a pickled dict: X, a list of arrays of shape (n_samples, 6) with acceleration in g
and angular rate in rad/s, then y, subject and side (1 right, 0 left), one value per array. It is read without
unpickling, see `_npy_objects.py`. One recording is one person's set of one exercise on one side.

No exercise holds the wrist still, so no label is a resting one: gravity shows where the gyroscope is quiet.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.errors import InputError
from runtime.recording import Recording, check_finite
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import ARCHIVE, STANDARD_GRAVITY, DatasetInfo, modality
from sdk.datasets._npy_objects import read_object_npy

INFO = DatasetInfo(
    name="seglearn_watch",
    title="seglearn smartwatch data: shoulder physiotherapy exercises",
    licence="BSD-3-Clause (that of the seglearn package)",
    commercial_use=True,
    citation="D. M. Burns, N. Leung, M. Hardisty, C. M. Whyne, P. Henry, S. McLachlin, Shoulder physiotherapy exercise "
    "recognition: machine learning the inertial signals from a smartwatch, Physiol. Meas. 2018",
    home_page="https://github.com/dmbee/seglearn",
    signal=Signal((modality("acc", "m/s^2"), modality("gyro", "rad/s"))),
    labels=(
        "pendulum",
        "abduction",
        "forward_elevation",
        "internal_rotation",
        "external_rotation",
        "trapezius_extension",
        "row",
    ),
    resting=(),
    n_subjects=10,
    placement="smartwatch on the wrist of the exercising arm",
    tested_on=ARCHIVE,
)

_COLUMNS = ["ax", "ay", "az", "wx", "wy", "wz"]
_EXERCISES = ["PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW"]  # in the order of INFO.labels
_SIDES = ("left", "right")
_TO_SI = np.repeat([STANDARD_GRAVITY, 1.0], 3)


def read(archive: Archive) -> list[Recording]:
    """One recording per (person, side, exercise), in the order of the file.

    Raises:
        InputError: a file that is missing or not as published.
    """
    recordings: list[Recording] = []
    for name, content in archive.files("watch_dataset.npy"):
        where = f"{archive.path.name}: {name}"
        recordings += _recordings(_fields(read_object_npy(content, where), where), where)
    return recordings


def _fields(content: object, where: str) -> dict[str, Any]:
    """The dict, checked as far as its names and lengths go."""
    fields = content if isinstance(content, dict) else {}
    for key, names in (("X_labels", _COLUMNS), ("y_labels", _EXERCISES)):
        found = fields.get(key)
        if not isinstance(found, list) or [str(name) for name in found] != names:
            raise InputError(f"{where}: {key}", expected=str(names), got=found, fix=AGAIN)
    signals = fields.get("X")
    for key in ("y", "subject", "side"):
        column = fields.get(key)
        if not (
            isinstance(signals, list)
            and isinstance(column, np.ndarray)
            and column.shape == (len(signals),)
            and column.dtype.kind in "fiu"
            and np.isfinite(column).all()
        ):
            raise InputError(
                f"{where}: {key}", expected="a list X and one number for each of it", got=column, fix=AGAIN
            )
    return fields


def _recordings(fields: dict[str, Any], where: str) -> list[Recording]:
    rows = zip(fields["X"], fields["y"], fields["subject"], fields["side"], strict=True)
    return [_recording(*row, f"{where}: recording {i}") for i, row in enumerate(rows)]


def _recording(signal: Any, exercise: Any, subject: Any, side: Any, where: str) -> Recording:
    if not (isinstance(signal, np.ndarray) and signal.dtype.kind == "f" and signal.shape[1:] == (len(_COLUMNS),)):
        raise InputError(
            where, expected=f"real numbers in {len(_COLUMNS)} columns", got=f"shape {np.shape(signal)}", fix=AGAIN
        )
    if exercise not in range(len(_EXERCISES)) or side not in range(len(_SIDES)):
        raise InputError(where, expected="an exercise and a side", got=f"{exercise} and {side}", fix=AGAIN)
    samples = np.ascontiguousarray(signal * _TO_SI, np.float32)
    check_finite(samples, INFO.signal.channel_names, where)
    return Recording(
        samples=samples,
        channels=INFO.signal.channel_names,
        rate_hz=INFO.signal.rate_hz,
        labels=np.full(len(samples), int(exercise), np.int16),
        label_names=INFO.labels,
        subject=str(int(subject)),
        name=f"seglearn_watch/subject{int(subject)}_{_SIDES[int(side)]}_{INFO.labels[int(exercise)]}",
    )
