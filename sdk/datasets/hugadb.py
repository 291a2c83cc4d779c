"""HuGaDB: six inertial sensors on both legs of 18 people, twelve activities, about 59 Hz.

One text file per recording, `HuGaDB_v<version>_<activity>_<person>_<n>.txt` (version 2 has better labels, and neither
bicycles nor cars), with four lines of header: #Activity, #ActivityID, #Date and the names of the 39 tab-separated
columns. These are, for right foot, shin and thigh and left foot, shin and thigh, acceleration and angular rate as
16-bit integers, then two muscle currents (EMG, not read) and the activity. A column is called acc_rt_x in the files of
version 2 and RT_acc_x in the authors' README; both are understood.

The full scale of 16 bits is 2 g and 2000 degrees/s. The rate is not written down in the files: the authors' table
counts 2,111,962 samples in 35,903 s, 58.8 Hz, which is what `RATE_HZ` says (56.35 Hz is also quoted). There are no
times.

Many gyroscopes were corrupted, "amplified 10 times", as the authors' README has it. One whose rotation rate has a
median above BROKEN_RAD_S while walking or on stairs is taken for one of them (a good one is near 2, a bad one above
10): its columns are NaN in that recording, and a warning counts them. Where a recording has less than a second of such
activity, nothing can be told, and the gyroscopes are passed on as they are.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import RADIAN, STANDARD_GRAVITY, DatasetInfo, modality
from sdk.datasets._text import read_table

RATE_HZ = 58.8
BROKEN_RAD_S = 7.0  # the median of a gyroscope's norm while walking or on stairs; above it the gyroscope is corrupted
_LEAST_S = 1.0  # of walking and stairs, to judge by
_HEADER_LINES = 4
_FULL_SCALE = 1 << 15
_POSITIONS = ("right_foot", "right_shin", "right_thigh", "left_foot", "left_shin", "left_thigh")
_CODES = ("rf", "rs", "rt", "lf", "ls", "lt")  # how the header calls them
_STEPPING = ("walking", "upstairs", "downstairs")

INFO = DatasetInfo(
    name="hugadb",
    title="HuGaDB: Human Gait Database",
    licence="none stated for the data; offered for research, with a request to cite",
    commercial_use=False,
    citation="R. Chereshnev, A. Kertesz-Farkas, HuGaDB: Human Gait Database for Activity Recognition from Wearable "
    "Inertial Sensor Networks, AIST 2017",
    home_page="https://github.com/romanchereshnev/HuGaDB",
    signal=Signal(
        tuple(
            modality(f"{position}_{name}", unit, rate_hz=RATE_HZ)
            for position in _POSITIONS
            for name, unit in (("acc", "m/s^2"), ("gyro", "rad/s"))
        )
    ),
    labels=(
        "walking",
        "running",
        "upstairs",
        "downstairs",
        "sitting",
        "stand_to_sit",
        "sit_to_stand",
        "standing",
        "cycling",
        "elevator_up",
        "elevator_down",
        "car_riding",
    ),
    resting=("sitting", "standing"),
    n_subjects=18,
    placement="inertial sensors on both feet, shins and thighs",
    positions=_POSITIONS,
    may_be_absent=("cycling", "car_riding"),
)

_TO_SI = np.tile(np.repeat([2 * STANDARD_GRAVITY, 2000 * RADIAN], 3), len(_POSITIONS)) / _FULL_SCALE
_COLUMNS = [{code, sensor, axis} for code in _CODES for sensor in ("acc", "gyro") for axis in "xyz"]


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per file, in the order of the archive; a corrupted gyroscope's columns are NaN.

    Raises:
        InputError: a file that is missing or not as published, or files of both versions.
    """
    versions, broken, untold, n_recordings, n_broken_in = set[str](), 0, 0, 0, 0
    for name, content in archive.files("HuGaDB_v*_*_*_*.txt"):
        where, match = f"{archive.path.name}: {name}", re.fullmatch(r"HuGaDB_(v\d+)_(\w+_(\d+)_\d+)\.txt", name)
        if match is None:
            raise InputError(where, expected="a file like HuGaDB_v2_various_01_00.txt", got="another name", fix=AGAIN)
        versions.add(match[1])
        if len(versions) > 1:
            raise InputError(
                archive.path, expected="one version of the data", got=" and ".join(sorted(versions)), fix="Keep one."
            )
        samples, labels = _table(content, where)
        places = _broken(samples, labels)
        broken, n_broken_in = broken + len(places), n_broken_in + bool(places)
        untold, n_recordings = untold + (not _is_judged(labels)), n_recordings + 1
        columns = [6 * place + 3 + axis for place in places for axis in range(3)]
        yield INFO.recording(match[2], samples, labels, str(int(match[3])), missing=columns)
    if broken:
        warnings.warn(
            f"{archive.path}: {broken} of {len(_CODES) * n_recordings} gyroscopes, in {n_broken_in} of {n_recordings} "
            f"recordings, are corrupted (a median above {BROKEN_RAD_S:g} rad/s while walking or on stairs), left out "
            f"as missing; {untold} recordings without {_LEAST_S:g} s of walking or stairs are passed on as they are.",
            stacklevel=2,
        )


def _table(content: bytes, where: str) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
    """Samples, shape (n, 36), in the units of the signal, and labels, shape (n,)."""
    lines = content.split(b"\n", _HEADER_LINES)
    names = (lines[_HEADER_LINES - 1] if len(lines) > _HEADER_LINES else b"").decode("utf-8", "replace")
    if [set(column.strip().lower().split("_")) for column in names.split("\t")[: len(_COLUMNS)]] != _COLUMNS:
        raise InputError(
            f"{where}: line {_HEADER_LINES}",
            expected=f"six columns each for {', '.join(_CODES).upper()}",
            got=repr(names.strip()[:120]),
            fix=AGAIN,
        )
    table = read_table(content, where, columns=len(_COLUMNS) + 3, header_lines=_HEADER_LINES)
    activities = table[:, -1]
    if not np.isin(activities, range(1, len(INFO.labels) + 1)).all():
        raise InputError(where, expected=f"activities of 1 to {len(INFO.labels)}", got="another", fix=AGAIN)
    return table[:, : len(_COLUMNS)] * _TO_SI, (activities - 1).astype(np.int16)


def _steps(labels: NDArray[np.int16]) -> NDArray[np.bool_]:
    return np.isin(labels, [INFO.labels.index(name) for name in _STEPPING])


def _is_judged(labels: NDArray[np.int16]) -> bool:
    return int(_steps(labels).sum()) >= _LEAST_S * RATE_HZ


def _broken(samples: NDArray[np.float64], labels: NDArray[np.int16]) -> list[int]:
    """The places whose gyroscope cannot be right."""
    if not _is_judged(labels):
        return []
    stepping = samples[_steps(labels)]
    norms = np.linalg.norm(stepping.reshape(len(stepping), len(_CODES), 2, 3)[:, :, 1], axis=2)
    return [int(place) for place in np.flatnonzero(np.median(norms, axis=0) > BROKEN_RAD_S)]
