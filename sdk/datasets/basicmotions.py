"""BasicMotions: a smartwatch on four students, four activities, 10 Hz, 40 + 40 series of 10 s.

The archive of the UEA repository holds each split as `BasicMotions_<SPLIT>.ts` (one line per series, dimensions
separated by ':', the label last) and as `.arff` (one quoted string per series, dimensions separated by a literal
backslash and n); the .ts is read where it is there. Dimensions are accelerometer x y z, gyroscope x y z.

Upstream says neither the units nor who is in which series. The numbers leave one reading: the acceleration is without
gravity (standing, |acc| is 0.8) and in m/s^2 (running reaches 35, beyond any watch's range in g); the gyroscope, with a
standard deviation of about 1 in walking, is in rad/s. They are passed on as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import ARCHIVE, DatasetInfo, modality

INFO = DatasetInfo(
    name="basicmotions",
    title="BasicMotions (UEA multivariate time series archive)",
    licence="none stated",
    commercial_use=False,
    citation="A. Bagnall et al., The UEA multivariate time series classification archive, 2018 (data by J. Clements)",
    home_page="https://www.timeseriesclassification.com/description.php?Dataset=BasicMotions",
    signal=Signal((modality("acc", "m/s^2", rate_hz=10.0), modality("gyro", "rad/s", rate_hz=10.0))),
    labels=("standing", "running", "walking", "badminton"),
    resting=(),
    n_subjects=4,
    placement="a smartwatch on the wrist",
    has_gravity=False,
    names_subjects=False,
    tested_on=ARCHIVE,
)

_SPLITS = ("TRAIN", "TEST")
_FORMS = {"ts": ":", "arff": "\\n"}  # what stands between two dimensions; in .arff a backslash and an n


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per series: the training split, then the test split.

    Raises:
        InputError: a file that is missing or not as published.
    """
    files = dict(archive.files(optional=[f"BasicMotions_{split}.{form}" for split in _SPLITS for form in _FORMS]))
    for split in _SPLITS:
        form = next((form for form in _FORMS if f"BasicMotions_{split}.{form}" in files), None)
        if form is None:
            raise archive.missing(f"BasicMotions_{split}.ts")
        name = f"BasicMotions_{split}.{form}"
        series = files[name].decode("utf-8", "replace").partition("@data")[2].split("\n")
        for i, line in enumerate(line for line in series if line.strip()):
            yield _recording(line.strip(), form, f"{split.lower()}/{i:02}", f"{archive.path.name}: {name}, series {i}")


def _recording(line: str, form: str, trial: str, where: str) -> Recording:
    separator = _FORMS[form]
    values, _, label = line.rpartition(":" if form == "ts" else ",")
    try:
        rows = [[float(value) for value in row.split(",")] for row in values.strip("'\"").split(separator)]
        samples = np.array(rows).T
        activity = list(INFO.labels).index(label.lower())
    except ValueError as error:  # no number, rows of different lengths, another label
        raise InputError(
            where, expected=f"6 dimensions of numbers and one of {', '.join(INFO.labels)}", got=error, fix=AGAIN
        ) from None
    return INFO.recording(trial, samples, activity, "")
