"""HHAR: eight phones at the waist and four watches on both arms of nine people, six activities, 50 to 200 Hz.

Four CSV files, `Phones_accelerometer.csv`, `Phones_gyroscope.csv`, `Watch_...`, with the columns Index, Arrival_Time
(ms), Creation_Time (ns), x, y, z (m/s^2 or rad/s), User, Model, Device and gt, the activity ("null": UNLABELLED). Rows
are one sensor's, in the order of arrival.

One recording per person and device: the accelerometer's samples in the order of Creation_Time, counted from its first,
with the gyroscope interpolated to them. Where the gyroscope has a hole longer than GAP_S, or does not run, rows are
left out; a device without a common clock of both sensors gives no recording. Rates differ by model (`RATES_HZ`), so
`Recording.rate_hz` does too, and no `Signal` of one rate fits all of them: resample first. Reading takes about 1 GB.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import UNLABELLED, Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._clock import Timed, in_order, side_by_side
from sdk.datasets._info import DatasetInfo, modality
from sdk.datasets._text import code_words, iter_columns

GAP_S = 0.2  # the longest step of the gyroscope that is interpolated over
RATES_HZ = {"nexus4": 200.0, "s3": 150.0, "s3mini": 100.0, "samsungold": 50.0, "gear": 100.0, "lgwatch": 200.0}
_POSITIONS = {"phone": "Phones", "watch": "Watch"}

INFO = DatasetInfo(
    name="hhar",
    title="Heterogeneity Human Activity Recognition",
    licence="CC BY 4.0 (as the UCI page is said to list)",
    commercial_use=False,
    citation="A. Stisen, H. Blunck, S. Bhattacharya, T. S. Prentow, M. B. Kjaergaard, A. Dey, T. Sonne, M. M. Jensen, "
    "Smart Devices are Different: Assessing and Mitigating Mobile Sensing Heterogeneities for Activity Recognition, "
    "SenSys 2015",
    home_page="https://archive.ics.uci.edu/dataset/344/heterogeneity+activity+recognition",
    signal=Signal((modality("acc", "m/s^2", rate_hz=200.0), modality("gyro", "rad/s", rate_hz=200.0))),
    labels=("cycling", "sitting", "standing", "walking", "upstairs", "downstairs"),
    resting=("sitting", "standing"),
    n_subjects=9,
    placement="eight phones in a pouch at the waist, two watches on each arm",
    worn=("eight phones in a pouch at the waist", "two watches on each arm"),
    positions=tuple(_POSITIONS),
    rates_hz=tuple(sorted(set(RATES_HZ.values()))),
)

_CODES = dict(zip(("bike", "sit", "stand", "walk", "stairsup", "stairsdown"), range(6), strict=True))
_CODES["null"] = UNLABELLED
_Key = tuple[str, str]  # person, device


class _Block(NamedTuple):
    t: NDArray[np.float64]  # seconds
    samples: NDArray[np.float32]  # shape (n, 3)
    labels: NDArray[np.int16]


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per person and device, `hhar/<person>_<device>/<position>`: the phones, then the watches.

    Raises:
        InputError: a file that is missing or not as published.
    """
    for position, kind in _POSITIONS.items():
        acc = _sensor(archive, f"{kind}_accelerometer.csv")
        gyro = _sensor(archive, f"{kind}_gyroscope.csv")
        if alone := sorted(acc.keys() ^ gyro.keys()):
            told = ", ".join(f"{device} of {user}" for user, device in alone)
            warnings.warn(
                f"{archive.path}: {len(alone)} devices with one sensor only were left out: {told}.", stacklevel=2
            )
        for key in sorted(acc.keys() & gyro.keys()):
            yield from _recordings(acc.pop(key), gyro.pop(key), key, position)


def _sensor(archive: Archive, file: str) -> dict[_Key, list[_Block]]:
    found: dict[_Key, list[_Block]] = defaultdict(list)
    for name, blocks in archive.blocks(file):
        where = f"{archive.path.name}: {name}"
        for numbers, words in iter_columns(blocks, where, ("Creation_Time", "x", "y", "z"), ("User", "Device", "gt")):
            labels = code_words(words[:, 2], _CODES, where)
            for user, device in np.unique(words[:, :2], axis=0):
                mine = (words[:, 0] == user) & (words[:, 1] == device)
                block = _Block(numbers[mine, 0] / 1e9, numbers[mine, 1:].astype(np.float32), labels[mine])
                found[str(user), str(device)].append(block)
    return found


def _recordings(acc: list[_Block], gyro: list[_Block], key: _Key, position: str) -> Iterator[Recording]:
    user, device = key
    model = device.rpartition("_")[0]
    if model not in RATES_HZ:
        raise InputError(
            f"hhar: device {device!r}", expected=f"a model among {', '.join(RATES_HZ)}", got=repr(model), fix=AGAIN
        )
    a, g = (_Block(*(np.concatenate(parts) for parts in zip(*blocks, strict=True))) for blocks in (acc, gyro))
    t, first = np.unique(a.t, return_index=True)
    keep, samples = side_by_side(Timed(t, a.samples[first]), in_order(Timed(g.t, g.samples)), gap_s=GAP_S)
    if len(samples):
        yield INFO.recording(
            f"{user}_{device}/{position}",
            samples,
            a.labels[first][keep],
            user,
            t=t[keep] - t[0],
            rate_hz=RATES_HZ[model],
        )
