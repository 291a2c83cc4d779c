"""Daphnet: freezing of gait, three accelerometers on ten people with Parkinson's disease, 64 Hz.

One text file per recording, `dataset/S<person>R<run>.txt`, whose columns are the time in ms, acceleration in mg at the
ankle, the thigh and the trunk (forward, up, to the side), and an annotation: 0 not part of the experiment (here
UNLABELLED), 1 no freeze, 2 freeze. There is no gyroscope.

No label says that the person stands still, so gravity shows where the acceleration hardly changes. Some recordings
hold stretches of zeros before the experiment: the sensors were not yet connected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import ARCHIVE, STANDARD_GRAVITY, DatasetInfo, modality
from sdk.datasets._text import read_table

_POSITIONS = ("ankle", "thigh", "trunk")

INFO = DatasetInfo(
    name="daphnet",
    title="Daphnet Freezing of Gait",
    licence="the archive's README asks for citation; the UCI page is said to list CC BY 4.0",
    commercial_use=False,
    citation="M. Baechlin, M. Plotnik, D. Roggen, I. Maidan, J. M. Hausdorff, N. Giladi, G. Troester, Wearable "
    "Assistant "
    "for Parkinson's Disease Patients With the Freezing of Gait Symptom, IEEE Trans. Inf. Technol. Biomed. 14(2), 2010",
    home_page="https://archive.ics.uci.edu/dataset/245/daphnet+freezing+of+gait",
    signal=Signal(tuple(modality(f"{position}_acc", "m/s^2", rate_hz=64.0) for position in _POSITIONS)),
    labels=("no_freeze", "freeze"),
    resting=(),
    n_subjects=10,
    placement="accelerometers at the ankle (shank), above the knee and at the lower back",
    positions=_POSITIONS,
    tested_on=ARCHIVE,
)


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per file, in the order of the archive, with the times of the file.

    Raises:
        InputError: a file that is missing or not as published.
    """
    for name, content in archive.files("dataset/S*R*.txt"):
        where, match = f"{archive.path.name}: {name}", re.fullmatch(r"dataset/(S(\d+)R\d+)\.txt", name)
        table = read_table(content, where, columns=11)
        annotation = table[:, 10]
        if match is None or not np.isin(annotation, (0, 1, 2)).all():
            raise InputError(
                where, expected="S<person>R<run>.txt with annotations of 0 to 2", got="another file", fix=AGAIN
            )
        yield INFO.recording(
            match[1],
            table[:, 1:10] * (STANDARD_GRAVITY / 1000),
            annotation - 1,
            str(int(match[2])),
            t=table[:, 0] / 1000,
        )
