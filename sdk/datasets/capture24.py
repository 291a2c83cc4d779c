"""CAPTURE-24: a wrist accelerometer on 151 people through a day and a night of their lives, 100 Hz.

One gzipped CSV file per person, `P<nnn>.csv.gz`, with the columns time (date and time of day), x, y, z (g, with
gravity) and annotation, a free text ("" where there is none). `annotation-label-dictionary.csv` maps each text to
labels of several schemes; read is SCHEME, ten activities. What it does not map is UNLABELLED.

All of it is 3,900 h, some 30 GB in memory: `iter_dataset` gives one person after the other (200 MB each, twice that
while it is read).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from runtime.errors import InputError
from runtime.recording import UNLABELLED, Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import STANDARD_GRAVITY, DatasetInfo, modality
from sdk.datasets._text import code_words, iter_columns, read_columns

SCHEME = "label:WillettsSpecific2018"
_DICTIONARY = "annotation-label-dictionary.csv"
_LABELS = {
    "sleep": "sleeping",
    "sitting": "sitting",
    "standing": "standing",
    "household-chores": "household_chores",
    "manual-work": "manual_work",
    "walking": "walking",
    "mixed-activity": "mixed_activity",
    "vehicle": "vehicle",
    "sports": "sports",
    "bicycling": "cycling",
}

INFO = DatasetInfo(
    name="capture24",
    title="CAPTURE-24: activity tracker data of daily living",
    licence="CC BY 4.0",
    commercial_use=True,
    citation="S. Chan, Y. Hang, C. Tong, A. Acquah, A. Schonfeldt, J. Gershuny, A. Doherty, CAPTURE-24: A large "
    "dataset "
    "of wrist-worn activity tracker data collected in the wild for human activity recognition, Scientific Data 11, "
    "2024",
    home_page="https://ora.ox.ac.uk/objects/uuid:99d7c092-d865-4a19-b096-cc16440cd001",
    signal=Signal((modality("acc", "m/s^2", rate_hz=100.0),)),
    labels=tuple(_LABELS.values()),
    resting=("sleeping",),
    n_subjects=151,
    placement="Axivity AX3 on the wrist of the dominant hand",
)


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per person, in the order of the archive, with the times of the file.

    Raises:
        InputError: a file that is missing or not as published.
    """
    codes = _codes(archive)
    for name, blocks in archive.blocks("P*.csv.gz"):
        where, match = f"{archive.path.name}: {name}", re.fullmatch(r"(P\d+)\.csv\.gz", name)
        if match is None:
            raise InputError(where, expected="a file like P001.csv.gz", got="another name", fix=AGAIN)
        yield _recording(blocks, codes, match[1], where)


def _codes(archive: Archive) -> Mapping[str, int]:
    """The label of each annotation."""
    index = {scheme_label: i for i, scheme_label in enumerate(_LABELS)}
    codes = {"": UNLABELLED}
    for name, content in archive.files(_DICTIONARY):
        _, words = read_columns(content, f"{archive.path.name}: {name}", (), ("annotation", SCHEME))
        codes |= {annotation: index.get(label, UNLABELLED) for annotation, label in words.tolist()}
    return codes


def _recording(blocks: Iterator[bytes], codes: Mapping[str, int], person: str, where: str) -> Recording:
    t, samples, labels = [], [], []
    for numbers, words in iter_columns(blocks, where, ("x", "y", "z"), ("time", "annotation")):
        try:
            times = words[:, 0].astype("datetime64[us]").astype(np.int64) / 1e6
        except ValueError as error:
            raise InputError(where, expected="dates and times of day", got=error, fix=AGAIN) from None
        t.append(times)
        samples.append((numbers * STANDARD_GRAVITY).astype(np.float32))
        labels.append(code_words(words[:, 1], codes, where))
    seconds = np.concatenate(t)
    return INFO.recording(person, np.concatenate(samples), np.concatenate(labels), person, t=seconds - seconds[0])
