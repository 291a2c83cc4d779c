"""mRI, the millimetre-wave radar: 14 x 14 points a frame, 10 Hz. The inertial sensors and the labels: see mri.py.

Read is `features/radar/subject<n>_featuremap.npy`, shape (frames, 14, 14, 5): the points that the radar saw, sorted,
each with x, y, z (m), Doppler velocity (m/s) and intensity (standardised over the person's recording), 0 where there
were fewer. Columns are all x, then all y and so on: `samples.reshape(-1, 5, *MAP)`. The first frame is that of "T
pose". A recording has the name of that of the inertial sensors (`mri/subject1`, `mri_radar/subject1`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from runtime.recording import UNLABELLED, Recording
from runtime.specs import Modality, Signal
from sdk.datasets import mri
from sdk.datasets._archive import Archive
from sdk.datasets._arrays import read_npy

MAP = (14, 14)
_UNITS = {"x": "m", "y": "m", "z": "m", "doppler": "m/s", "intensity": "1"}

INFO = replace(
    mri.INFO,
    name="mri_radar",
    title="mRI: Multi-modal 3D Human Pose Estimation Dataset, radar",
    signal=Signal(
        tuple(
            Modality(
                name, unit, tuple(f"r{row:02}c{column:02}" for row in range(MAP[0]) for column in range(MAP[1])), 10.0
            )
            for name, unit in _UNITS.items()
        )
    ),
    placement="a radar in front of the person",
    positions=(),
    rates_hz=(),
    has_gravity=False,
)


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per person, in the order of the archive.

    Raises:
        InputError: a file that is missing or not as published.
    """
    frames = mri.frame_labels(archive)
    for name, content in archive.files("features/radar/subject*_featuremap.npy"):
        person = re.findall(r"\d+", name)[-1]
        where = f"{archive.path.name}: {name}"
        points = read_npy(content, where, (None, *MAP, len(_UNITS)))
        if person not in frames:
            raise archive.missing(f"videolabels/subject{person}.json")
        labels = np.full(len(points), UNLABELLED, np.int16)
        known = frames[person][: len(points)]
        labels[: len(known)] = known
        yield INFO.recording(f"subject{person}", points.transpose(0, 3, 1, 2).reshape(len(points), -1), labels, person)
