"""UTD-MHAD, the skeleton: 20 joints that a Kinect saw, 30 Hz. For what belongs together, see utd_mhad.py.

One MATLAB file per clip, `a<action>_s<subject>_t<trial>_skeleton.mat`, whose `d_skel` has the shape (joints, 3,
frames), in metres in the frame of the camera.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.recording import Recording
from runtime.specs import Modality, Signal
from sdk.datasets._archive import Archive
from sdk.datasets._info import ARCHIVE, DatasetInfo
from sdk.datasets.utd_mhad import ACTIONS, CITATION, HOME_PAGE, LICENCE, TITLE, clips

JOINTS = (
    "head",
    "shoulder_center",
    "spine",
    "hip_center",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "left_hand",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "right_hand",
    "left_hip",
    "left_knee",
    "left_ankle",
    "left_foot",
    "right_hip",
    "right_knee",
    "right_ankle",
    "right_foot",
)

INFO = DatasetInfo(
    name="utd_mhad_skeleton",
    title=f"{TITLE}, skeleton",
    licence=LICENCE,
    commercial_use=False,
    citation=CITATION,
    home_page=HOME_PAGE,
    signal=Signal((Modality("skeleton", "m", tuple(f"{joint}_{axis}" for joint in JOINTS for axis in "xyz"), 30.0),)),
    labels=ACTIONS,
    resting=(),
    n_subjects=8,
    placement="a Kinect (first generation) in front of the person",
    has_gravity=False,
    tested_on=ARCHIVE,
)


def read(archive: Archive) -> Iterator[Recording]:
    """One recording per clip, in the order of the archive; columns x y z of each joint.

    Raises:
        InputError: a file that is missing or not as published.
        ImportError: scipy is not installed.
    """
    for trial, action, subject, joints in clips(archive, "skeleton", "d_skel", (len(JOINTS), 3, None)):
        yield INFO.recording(trial, joints.reshape(3 * len(JOINTS), -1).T, action, subject)
