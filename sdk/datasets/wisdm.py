"""WISDM of 2010 (activity prediction, v1.1): a phone in the trouser pocket of 36 people, six activities, 20 Hz.

One text file, `WISDM_ar_v1.1_raw.txt`, of records `person,activity,timestamp,x,y,z;`: acceleration in m/s^2 with
gravity (the Readme: "a value of 10 = 1 g = 9.81 m/s^2"), and a time that is mostly the phone's uptime in ns, 0 in
places. Records do not always end their line, and some are cut: a record without six fields is left out, as everybody
does, if there are no more than one in a hundred.

One recording per stretch of one person and one activity. It has the times of the file where they rise, or none.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import DatasetInfo, modality
from sdk.datasets._text import code_words

MAX_CUT = 0.01  # of the records

INFO = DatasetInfo(
    name="wisdm",
    title="WISDM Activity Prediction, version 1.1 (2010)",
    licence="none stated; offered for research, with a request to cite",
    commercial_use=False,
    citation="J. R. Kwapisz, G. M. Weiss, S. A. Moore, Activity Recognition using Cell Phone Accelerometers, SensorKDD "
    "2010",
    home_page="https://www.cis.fordham.edu/wisdm/dataset.php",
    signal=Signal((modality("acc", "m/s^2", rate_hz=20.0),)),
    labels=("walking", "jogging", "upstairs", "downstairs", "sitting", "standing"),
    resting=("sitting", "standing"),
    n_subjects=36,
    placement="an Android phone in the front trouser pocket",
)

_CODES = {label: i for i, label in enumerate(INFO.labels)}


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per stretch, `wisdm/<person>_<activity>_<n>`, in the order of the file.

    Raises:
        InputError: a file that is missing or not as published.
    """
    for name, content in archive.files("WISDM_ar_v1.1_raw.txt"):
        where = f"{archive.path.name}: {name}"
        people, activities, table = _records(content.decode("utf-8", "replace"), where)
        starts = np.flatnonzero(np.r_[True, (people[1:] != people[:-1]) | (activities[1:] != activities[:-1])])
        for i, (start, end) in enumerate(zip(starts, [*starts[1:], len(table)], strict=True)):
            person, label = str(people[start]), INFO.labels[activities[start]]
            t = (table[start:end, 0] - table[start, 0]) / 1e9
            rising = bool((np.diff(t) > 0).all()) and len(t) > 1
            yield INFO.recording(
                f"{person}_{label}_{i}", table[start:end, 1:], activities[start], person, t=t if rising else None
            )


def _records(text: str, where: str) -> tuple[NDArray[np.int64], NDArray[np.int16], NDArray[np.float64]]:
    """Person, activity and (time, x, y, z) of each whole record."""
    rows = [row.strip().rstrip(",").split(",") for row in text.replace("\n", ";").split(";") if row.strip(" \r,")]
    whole = [row for row in rows if len(row) == 6 and all(row)]
    if not whole or len(whole) < (1 - MAX_CUT) * len(rows):
        raise InputError(
            where, expected="records of person,activity,timestamp,x,y,z;", got=f"{len(whole)} of {len(rows)}", fix=AGAIN
        )
    try:
        people = np.array([int(row[0]) for row in whole])
        table = np.array([[float(value) for value in row[2:]] for row in whole])
    except ValueError as error:
        raise InputError(where, expected="whole records", got=error, fix=AGAIN) from None
    return people, code_words(np.array([row[1].lower() for row in whole]), _CODES, where), table
