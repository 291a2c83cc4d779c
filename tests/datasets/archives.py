"""Small archives in the official formats, written by the tests, and the way to the real ones."""

from __future__ import annotations

import functools
import io
import os
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sdk.datasets import Recording, load_dataset
from sdk.datasets._registry import entries_of

G = 9.80665


@functools.cache
def real(name: str) -> list[Recording]:
    """The recordings of a real archive below $SENSEDGE_DATA, or the test is skipped with what is missing."""
    return load_dataset(name, real_archive(name).parent)


@functools.cache
def real_archive(name: str) -> Path:
    files = list(dict.fromkeys(entry.file for entry in entries_of(name)))
    root = os.environ.get("SENSEDGE_DATA")
    found = [path for file in files for path in sorted(Path(root).rglob(file))] if root else []
    if not found:
        pytest.skip(f"set SENSEDGE_DATA to a folder that contains, at any depth, one of: {', '.join(files)}")
    return found[0]


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.write_bytes(zip_bytes(members))
    return path


def zip_bytes(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes], compression: str = "xz") -> Path:
    with tarfile.open(path, f"w:{compression}") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_registry(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def load_unknown(name: str, folder: Path) -> list[Recording]:
    """Load an archive for which no hash is known, without the warning, or the one of wisdm_2019's small archive."""
    with warnings.catch_warnings():
        for told in ("no official sha256 is known", "2 activities of a device without both sensors"):
            warnings.filterwarnings("ignore", message=f".*{told}.*")
        return load_dataset(name, folder)


# --- UCI-HAR: two windows of training (subject 1), one of test (subject 2) -------------------------------------------

UCI_CHANNELS = [f"{kind}_{axis}" for kind in ("total_acc", "body_gyro", "body_acc") for axis in "xyz"]


def uci_har_members(line_end: str = "\n", top: str = "UCI HAR Dataset/") -> dict[str, bytes]:
    """Window w of channel c holds w + c / 10 at every sample, in the 16 characters a number of the official files."""
    members = {}
    for split, activities, subjects in (("train", [1, 6], [1, 1]), ("test", [4], [2])):
        for c, channel in enumerate(UCI_CHANNELS):
            lines = ["".join(_official(w + c / 10) for _ in range(128)) for w in range(len(activities))]
            members[f"{split}/Inertial Signals/{channel}_{split}.txt"] = lines
        members[f"{split}/y_{split}.txt"] = [str(activity) for activity in activities]
        members[f"{split}/subject_{split}.txt"] = [str(subject) for subject in subjects]
    return {top + name: "".join(line + line_end for line in lines).encode() for name, lines in members.items()}


def _official(value: float) -> str:
    mantissa, exponent = f"{value: .7e}".split("e")
    return f" {mantissa}e{exponent[0]}0{exponent[1:]}"


# --- HAPT: two experiments -------------------------------------------------------------------------------------------


def hapt_members(top: str = "HAPT Data Set/") -> dict[str, bytes]:
    """Experiment 1 of person 1 (6 samples), experiment 2 of person 3 (4 samples); acceleration is 0 0 1 g."""
    members = {}
    for experiment, user, n in ((1, 1, 6), (2, 3, 4)):
        members[f"RawData/acc_exp{experiment:02}_user{user:02}.txt"] = "0 0 1\n" * n
        members[f"RawData/gyro_exp{experiment:02}_user{user:02}.txt"] = "".join(f"{i} 0.5 -0.25\n" for i in range(n))
    members["RawData/labels.txt"] = "1 1 5 2 4\n1 1 12 6 6\n2 3 1 1 4\n"
    return {top + name: text.encode() for name, text in members.items()}


# --- MotionSense: two people, two trials -----------------------------------------------------------------------------

MOTIONSENSE_HEADER = (
    ",attitude.roll,attitude.pitch,attitude.yaw,gravity.x,gravity.y,gravity.z,"
    "rotationRate.x,rotationRate.y,rotationRate.z,userAcceleration.x,userAcceleration.y,userAcceleration.z\n"
)


def motionsense_members(top: str = "A_DeviceMotion_data/") -> dict[str, bytes]:
    """Five rows per file: attitude 1 2 3, gravity 0 0 -1 g, rotation .1 .2 .3, user acceleration .5 0 0 g."""
    rows = "".join(f"{i},1,2,3,0,0,-1,.1,.2,.3,.5,0,0\n" for i in range(5))
    content = (MOTIONSENSE_HEADER + rows).encode()
    members = {f"{top}{trial}/sub_{subject}.csv": content for trial in ("std_6", "wlk_15") for subject in (2, 10)}
    return members | {f"__MACOSX/{top}std_6/._sub_2.csv": b"\x00\x05\x16\x07"}


# --- seglearn: two recordings, as numpy of Python 2 pickled them, written opcode by opcode ---------------------------


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def number(value: int) -> bytes:
    return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + value.to_bytes(4, "little", signed=True)


def call(name: str, arguments: bytes) -> bytes:
    """GLOBAL, a tuple of arguments, REDUCE."""
    return b"c" + name.replace(" ", "\n").encode() + b"\n" + b"(" + arguments + b"t" + b"R"


def encoded(data: bytes) -> bytes:
    return call("_codecs encode", text(data.decode("latin1")) + text("latin1"))


def dtype(code: str, order: str = "<") -> bytes:
    state = number(3) + text(order) + b"NNN" + number(-1) * 2 + number(0)
    return call("numpy dtype", text(code) + number(0) + number(1)) + b"(" + state + b"tb"


def array(content: bytes, shape: tuple[int, ...], kind: bytes, fortran: bool = False) -> bytes:
    blank = call("numpy.core.multiarray _reconstruct", b"cnumpy\nndarray\n" + number(0) + b"\x85" + encoded(b"b"))
    shape_tuple = b"(" + b"".join(number(n) for n in shape) + b"t"
    order = b"\x88" if fortran else b"\x89"
    return blank + b"(" + number(1) + shape_tuple + kind + order + content + b"tb"


def numbers(values: np.ndarray, fortran: bool = False) -> bytes:
    data = values.tobytes("F" if fortran else "C")
    return array(encoded(data), values.shape, dtype(values.dtype.str[1:]), fortran)


def listed(*items: bytes) -> bytes:
    return b"](" + b"".join(items) + b"e"


def npy(pickled: bytes) -> bytes:
    """A .npy file of one object around a pickle."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": ()})
    return buffer.getvalue() + b"\x80\x02" + pickled + b"."


def seglearn_npy(signals: list[np.ndarray] | None = None, **changes: bytes) -> bytes:
    """Person 4, right, exercise 0 and person 7, left, exercise 6; columns count from 1."""
    if signals is None:
        signals = [np.tile(np.arange(1.0, 7.0), (3, 1)), np.tile(np.arange(1.0, 7.0), (2, 1))]
    items = {
        "X": listed(*(numbers(signal, fortran=True) for signal in signals)),
        "y": numbers(np.array([0, 6])),
        "subject": numbers(np.array([4, 7])),
        "side": numbers(np.array([1.0, 0.0])),
        "X_labels": listed(*(text(name) for name in ("ax", "ay", "az", "wx", "wy", "wz"))),
        "y_labels": listed(*(text(name) for name in ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW"))),
    } | changes
    content = b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"
    return npy(array(b"]" + content + b"a", (), dtype("O8", "|")))
