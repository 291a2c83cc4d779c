"""Shoaib: five phones on ten people at once, seven activities, 50 Hz.

One CSV file per person, `Participant_<n>.csv`, with two lines of header. Its 70 columns are, for the left pocket, right
pocket, wrist, upper arm and belt in this order: time_stamp, acceleration (Ax Ay Az, m/s^2, with gravity), linear
acceleration (Lx ...), angular rate (Gx ..., rad/s), magnetic field (Mx ..., uT) and an empty column; the last of these
holds the activity. Linear acceleration is not read. The time stamps were rounded to 1e10 ms when the file was saved and
are of no use.

The official file is a .rar, which cannot be read without another program: unpack it and zip its folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets._archive import AGAIN, Archive
from sdk.datasets._info import DatasetInfo, modality
from sdk.datasets._text import code_words, read_table, read_words

_POSITIONS = ("left_pocket", "right_pocket", "wrist", "upper_arm", "belt")
_FIELDS = ["time_stamp", "Ax", "Ay", "Az", "Lx", "Ly", "Lz", "Gx", "Gy", "Gz", "Mx", "My", "Mz"]
_PHONE_COLUMNS = len(_FIELDS) + 1  # and an empty one
_MODALITIES = {"acc": ("m/s^2", "Ax"), "gyro": ("rad/s", "Gx"), "mag": ("uT", "Mx")}

INFO = DatasetInfo(
    name="shoaib",
    title="Sensors Activity Recognition Data Set (Shoaib et al.)",
    licence="none stated; offered for research, with a request to cite",
    commercial_use=False,
    citation="M. Shoaib, S. Bosch, O. D. Incel, H. Scholten, P. J. M. Havinga, Fusion of Smartphone Motion Sensors for "
    "Physical Activity Recognition, Sensors 14(6), 2014",
    home_page="https://www.utwente.nl/en/eemcs/ps/research/dataset/",
    signal=Signal(
        tuple(
            modality(f"{position}_{name}", unit) for position in _POSITIONS for name, (unit, _) in _MODALITIES.items()
        )
    ),
    labels=("walking", "standing", "jogging", "sitting", "cycling", "upstairs", "downstairs"),
    resting=("standing", "sitting"),
    n_subjects=10,
    placement="Samsung Galaxy S II in both pockets, at the wrist, the upper arm and the belt",
    positions=_POSITIONS,
    access="Get sensors-activity-recognition-dataset-shoaib.rar from the home page, unpack it (unar, 7z) and zip its "
    "folder as shoaib.zip.",
)

_CODES = {name: i for i, name in enumerate(INFO.labels)}
_CODES |= {"biking": _CODES["cycling"], "upsatirs": _CODES["upstairs"]}  # so in the files
_READ = [
    phone * _PHONE_COLUMNS + _FIELDS.index(first) + axis
    for phone in range(len(_POSITIONS))
    for _, first in _MODALITIES.values()
    for axis in range(3)
]
_ACTIVITY = len(_POSITIONS) * _PHONE_COLUMNS - 1


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per person, in the order of the archive.

    Raises:
        InputError: a file that is missing or not as published.
    """
    for name, content in archive.files("Participant_*.csv"):
        where, match = f"{archive.path.name}: {name}", re.fullmatch(r"Participant_(\d+)\.csv", name)
        fields = [
            field.strip() for field in b"".join(content.split(b"\n", 2)[1:2]).decode("utf-8", "replace").split(",")
        ]
        if match is None or any(
            fields[i * _PHONE_COLUMNS :][: len(_FIELDS)] != _FIELDS for i in range(len(_POSITIONS))
        ):
            raise InputError(
                f"{where}: line 2", expected=f"five times {' '.join(_FIELDS)}", got=",".join(fields)[:120], fix=AGAIN
            )
        samples = read_table(content, where, columns=len(_READ), delimiter=",", header_lines=2, usecols=_READ)
        words = read_words(content, where, header_lines=2, column=_ACTIVITY)
        labels = code_words(np.char.strip(words), _CODES, where)
        yield INFO.recording(f"participant_{match[1]}", samples, labels, match[1])
