"""UTD-MHAD, the depth images: 240 x 320 pixels, 30 Hz. For what belongs together, see utd_mhad.py.

One MATLAB file per clip, `a<action>_s<subject>_t<trial>_depth.mat`, whose `d_depth` has the shape (240, 320, frames),
in millimetres, 0 where nothing was seen. A row of a recording is an image, row by row: `samples.reshape(-1, *IMAGE)`.

A clip is about 20 MB in memory and the data set 18 GB: use `iter_dataset`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from runtime.recording import Recording
from runtime.specs import Modality, Signal
from sdk.datasets._archive import Archive
from sdk.datasets._info import ARCHIVE, DatasetInfo
from sdk.datasets.utd_mhad import ACTIONS, CITATION, HOME_PAGE, LICENCE, TITLE, clips

IMAGE = (240, 320)  # rows, columns

INFO = DatasetInfo(
    name="utd_mhad_depth",
    title=f"{TITLE}, depth images",
    licence=LICENCE,
    commercial_use=False,
    citation=CITATION,
    home_page=HOME_PAGE,
    signal=Signal(
        (Modality("depth", "m", tuple(f"r{r:03}c{c:03}" for r in range(IMAGE[0]) for c in range(IMAGE[1])), 30.0),)
    ),
    labels=ACTIONS,
    resting=(),
    n_subjects=8,
    placement="a Kinect (first generation) in front of the person",
    has_gravity=False,
    tested_on=ARCHIVE,
)


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per clip, in the order of the archive.

    Raises:
        InputError: a file that is missing or not as published.
        ImportError: scipy is not installed.
    """
    for trial, action, subject, images in clips(archive, "depth", "d_depth", (*IMAGE, None)):
        metres = np.moveaxis(images, -1, 0).astype(np.float32) / 1000
        yield INFO.recording(trial, metres.reshape(len(metres), -1), action, subject)
