"""PAMAP2, the heart rate: a chest strap at about 9 Hz. The IMUs and the file format: see pamap2.py.

The column is NaN in the rows of the IMUs between two beats of its own clock; those rows are left out. A recording has
the name of that of the IMUs (`pamap2/protocol_101`, `pamap2_heart_rate/protocol_101`) and times on the same clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from runtime.recording import Recording
from runtime.specs import Signal
from sdk.datasets import pamap2
from sdk.datasets._archive import Archive
from sdk.datasets._info import modality

INFO = replace(
    pamap2.INFO,
    name="pamap2_heart_rate",
    title=f"{pamap2.INFO.title}, heart rate",
    signal=Signal((modality("heart", "1/min", "rate", rate_hz=9.0),)),
    resting=(),
    placement="BM-CS5SR chest strap",
    positions=(),
    has_gravity=False,
)


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per file that has a heart rate, in the order of the archive, with the times of the file.

    Raises:
        InputError: a file that is missing or not as published.
    """
    for trial, subject, table in pamap2.tables(archive):
        known = table[np.isfinite(table[:, 2])]
        if len(known):
            yield INFO.recording(trial, known[:, 2:3], pamap2.activities(known), subject, t=known[:, 0])
