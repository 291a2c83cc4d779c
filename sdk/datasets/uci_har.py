"""UCI-HAR: a Samsung Galaxy S II at the waist, 30 people, six activities, 50 Hz, already cut and filtered.

The archive holds windows of 128 samples (2.56 s) that overlap by half, one per line, in a file per channel
(`<split>/Inertial Signals/total_acc_x_<split>.txt`), with `y_<split>.txt` and `subject_<split>.txt` beside them. Each
published window is its own recording here, in the published order, the training split first, since the windows of one
person do not always follow on each other. Accelerations are in g upstream. `body_acc` is the one without gravity.

The people are those of HAPT, with the same numbers: never train on one and test on the other. In the copy
UCI_HAR_Dataset.tar.xz most signals were computed again from the recordings of HAPT: accuracies on it are not official.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import ARCHIVE, STANDARD_GRAVITY, DatasetInfo, modality
from sdk.datasets._text import read_table

WINDOW_SAMPLES = 128

INFO = DatasetInfo(
    name="uci_har",
    title="Human Activity Recognition Using Smartphones, version 1.0, inertial signals",
    licence="the archive's README forbids commercial use and asks for citation; the UCI page is said to list CC BY 4.0",
    commercial_use=False,
    citation="D. Anguita, A. Ghio, L. Oneto, X. Parra, J. L. Reyes-Ortiz, A Public Domain Dataset for Human Activity "
    "Recognition Using Smartphones, ESANN 2013",
    home_page="https://archive.ics.uci.edu/dataset/240/human+activity+recognition+using+smartphones",
    signal=Signal((modality("acc", "m/s^2"), modality("gyro", "rad/s"), modality("body_acc", "m/s^2"))),
    labels=("walking", "upstairs", "downstairs", "sitting", "standing", "laying"),
    resting=("sitting", "standing", "laying"),
    n_subjects=30,
    placement="Samsung Galaxy S II on a belt at the waist",
    tested_on=ARCHIVE,
    test_subjects=("2", "4", "9", "10", "12", "13", "18", "20", "24"),
)

_SPLITS = ("train", "test")
# modality: how its files are called, what their numbers are multiplied by
_FILES = {
    "acc": ("total_acc", STANDARD_GRAVITY),
    "gyro": ("body_gyro", 1.0),
    "body_acc": ("body_acc", STANDARD_GRAVITY),
}


def read(archive: Archive) -> list[Recording]:
    """One recording per published window: the training split, then the test split.

    Raises:
        InputError: a file that is missing or not as published.
    """
    scales = {name: scale for split in _SPLITS for name, scale in _signal_files(split).items()}
    lists = [f"{split}/{kind}_{split}.txt" for split in _SPLITS for kind in ("y", "subject")]
    tables: dict[str, NDArray[np.float32]] = {}
    for name, content in archive.files(*scales, *lists):
        table = read_table(content, f"{archive.path.name}: {name}", columns=WINDOW_SAMPLES if name in scales else 1)
        tables[name] = (table * scales.get(name, 1.0)).astype(np.float32)
    return [recording for split in _SPLITS for recording in _windows(tables, split, archive.path.name)]


def _signal_files(split: str) -> dict[str, float]:
    """The file of each channel, in the order of the signal, with the factor to SI."""
    return {
        f"{split}/Inertial Signals/{_FILES[m.name][0]}_{channel}_{split}.txt": _FILES[m.name][1]
        for m in INFO.signal.modalities
        for channel in m.channels
    }


def _windows(tables: dict[str, NDArray[np.float32]], split: str, where: str) -> Iterator[Recording]:
    activities = tables[f"{split}/y_{split}.txt"][:, 0].astype(np.int16)
    subjects = tables[f"{split}/subject_{split}.txt"][:, 0].astype(int)
    names = list(_signal_files(split))
    for name in (f"{split}/subject_{split}.txt", *names):
        if len(tables[name]) != len(activities):
            raise InputError(
                f"{where}: {name}",
                expected=f"{len(activities)} lines, one per label",
                got=len(tables[name]),
                fix=AGAIN,
            )
    if activities.min() < 1 or activities.max() > len(INFO.labels):
        raise InputError(
            f"{where}: {split}/y_{split}.txt",
            expected=f"activities of 1 to {len(INFO.labels)}",
            got=f"{activities.min()} to {activities.max()}",
            fix=AGAIN,
        )
    samples = np.stack([tables[name] for name in names], axis=-1)  # (n_windows, 128, n_channels)
    for i, (window, activity, subject) in enumerate(zip(samples, activities, subjects, strict=True)):
        yield Recording(
            samples=window,
            channels=INFO.signal.channel_names,
            rate_hz=INFO.signal.rate_hz,
            labels=np.full(WINDOW_SAMPLES, activity - 1, np.int16),
            label_names=INFO.labels,
            subject=str(subject),
            name=f"uci_har/{split}/{i:04}",
        )
