"""Which files of a folder or zip are one recording, and what their names tell: who, which session, which label.

anna_1.csv                  one recording
walk/Accelerometer.csv      files that are called as sensors are, in one folder: one recording
walk/Gyroscope.csv
anna_1_acc.csv              with {sensor} in the pattern: those that differ in nothing else
anna_1_gyro.csv
walk.zip                    a phone's export: what is in it, as a folder
"""

from __future__ import annotations

import fnmatch
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from runtime.errors import InputError
from runtime.recording.placement import sensor_of
from sdk.datasets.own.description import FILE, Description
from sdk.datasets.own.logs import LOGS, is_log

TABLES = (".csv", ".npz")
SENSORS = ("acc", "gyro", "mag", "acc without gravity")  # what `sensor_of` says of names that it knows
_MOST_BYTES = 32 << 30  # that a zip may unpack to


@dataclass(frozen=True)
class Take:
    """The files of one recording."""

    name: str  # its path in the folder, without the suffix
    path: Path  # of the file; of the folder with a file for each sensor
    files: dict[str, Path] = field(default_factory=dict)  # by sensor, where the pattern has {sensor}
    subject: str = ""
    label: str = ""

    @property
    def text(self) -> str:
        """The path or paths, as `Recording.load` takes them."""
        return ",".join(map(str, self.files.values())) if self.files else str(self.path)


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The folder, or that of a zip, which is unpacked for as long as the context lasts.

    Raises:
        InputError: neither a folder nor a zip; a zip that is cut off or that names files outside of it.
    """
    if path.is_dir():
        yield path
        return
    if not path.is_file():
        raise InputError(path, expected="a folder or a zip with recordings", got="nothing there", fix="Check the path.")
    with tempfile.TemporaryDirectory() as folder:
        unpack(path, Path(folder))
        inside = list(Path(folder).iterdir())
        yield inside[0] if len(inside) == 1 and inside[0].is_dir() else Path(folder)


def unpack(path: Path, into: Path) -> None:
    """Write the files of a zip into a folder.

    Raises:
        InputError: no zip, one that is cut off, damaged or larger than 32 GiB; a name that leads out of the folder.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [i for i in archive.infolist() if not i.is_dir() and "__MACOSX" not in i.filename]
            for info in infos:
                name = PurePosixPath(info.filename)
                if name.is_absolute() or ".." in name.parts or "\\" in info.filename:
                    raise InputError(path, expected="files inside of it", got=info.filename, fix="Pack it anew.")
            if (size := sum(info.file_size for info in infos)) > _MOST_BYTES:
                raise InputError(path, expected="at most 32 GiB", got=f"{size:,} bytes", fix="Unpack it yourself.")
            for info in infos:
                archive.extract(info, into)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise InputError(path, expected="a whole zip", got=error, fix="Get it again, or name its folder.") from None


def describes(path: Path) -> bool:
    """Whether a folder or zip has a dataset.toml."""
    if path.is_dir():
        return (path / FILE).is_file()
    if path.suffix.lower() != ".zip" or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(PurePosixPath(name).name == FILE for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def takes(root: Path, description: Description) -> list[Take]:
    """The recordings of a folder, in the order of their names.

    Raises:
        InputError: none, a file that the pattern does not fit, two files for one sensor.
    """
    files = [path for path in known_files(root) if _is_wanted(path.relative_to(root).as_posix(), description)]
    found: dict[str, Take] = {}
    for path in files:
        whole = path.parent if "{sensor}" not in description.pattern and is_of_sensors(path.parent) else path
        relative = whole.relative_to(root)
        name = (relative if whole.is_dir() else without_suffix(relative)).as_posix()
        name = root.name if name == "." else name
        told = _told(name, path, description.pattern)
        if sensor := told.get("sensor", ""):
            at = _place_of(sensor, description, path)
            name = told["rest"] or "recording"
            take = found.setdefault(name, Take(name, path, {}, told.get("subject", ""), told.get("label", "")))
            if at in take.files:
                got = f"{take.files[at].name} and {path.name}"
                raise InputError(path, expected=f"one file of {at} in a recording", got=got, fix="Exclude one.")
            take.files[at] = path
        else:
            found.setdefault(name, Take(name, whole, {}, told.get("subject", ""), told.get("label", "")))
    if not found:
        expected = f"recordings ({', '.join((*TABLES, *LOGS, '.zip'))})"
        raise InputError(root, expected=expected, got="none", fix="Check files.include, or name another folder.")
    return [found[name] for name in sorted(found)]


def known_files(root: Path) -> list[Path]:
    """Files of the kinds that hold recordings, sorted; those beside the files of sensors are not looked into."""
    found = []
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).parts
        if not path.is_file() or any(part.startswith((".", "__MACOSX")) for part in inside):
            continue
        if any(is_of_sensors(parent) for parent in path.parents if root in parent.parents or parent == root):
            beside = not is_of_sensors(path.parent)
            if beside:
                continue
        suffix = path.suffix.lower()
        if suffix in TABLES or suffix == ".zip" or is_log(path):
            found.append(path)
    return found


def is_of_sensors(folder: Path) -> bool:
    """Whether a folder has files that are called as sensors are."""
    stems = [path.stem for path in folder.iterdir() if path.suffix.lower() in TABLES]
    return any(len(stem) > 1 and sensor_of(stem) in SENSORS for stem in stems)


def without_suffix(path: Path) -> Path:
    """A path without .csv, .gt3x.gz and the like."""
    path = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return path.with_suffix("") if path.suffix.lower() in (*TABLES, *LOGS, ".zip") else path


def _is_wanted(name: str, description: Description) -> bool:
    spans = description.labels.spans
    if spans and fnmatch.fnmatch(name, re.sub(r"{\w*}", "*", spans)):
        return False
    include = not description.include or _matches(name, description.include)
    return include and not _matches(name, description.exclude)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """By the whole path, or by the name where the pattern has no folder."""
    last = name.rpartition("/")[2]
    return any(fnmatch.fnmatch(name if "/" in pattern else last, pattern) for pattern in patterns)


def _told(name: str, path: Path, pattern: str) -> dict[str, str]:
    """What a pattern reads from a path, as many of its folders as it has; `rest`: the path without {sensor}."""
    if not pattern:
        return {}
    pattern = re.sub(r"\.(csv|npz|json|cbor|zip)$", "", pattern)
    tail = "/".join(name.split("/")[-(pattern.count("/") + 1) :])
    if match := pattern_of(pattern).fullmatch(tail):
        told = match.groupdict()
        if "sensor" in told:
            begin, end = match.span("sensor")
            told["rest"] = (name[: len(name) - len(tail)] + tail[:begin].rstrip("_-. /") + tail[end:]).strip("_-. /")
        return told
    fix = "Correct people.pattern; or name the files that are meant with files.include."
    raise InputError(path, expected=f"a name like {pattern}", got=tail, fix=fix)


def pattern_of(pattern: str) -> re.Pattern[str]:
    """What finds the parts of a name: {subject} and * are the shortest text without a slash that fits."""
    parts = re.split(r"({\w+}|\*)", pattern)
    again: set[str] = set()
    text = ""
    for part in parts:
        if part == "*":
            text += "[^/]*?"
        elif part.startswith("{"):
            word = part[1:-1]
            text += f"(?P={word})" if word in again else f"(?P<{word}>[^/]+?)"
            again.add(word)
        else:
            text += re.escape(part)
    return re.compile(text)


def _place_of(sensor: str, description: Description, path: Path) -> str:
    """The sensor of the signal that a part of a name says."""
    for one in description.sensors:
        if sensor in (one.name, one.file) or sensor_of(sensor) == sensor_of(one.name):
            return one.name
    known = ", ".join(one.name for one in description.sensors)
    raise InputError(
        path, expected=f"a sensor among {known}", got=sensor, fix="Say it, [signal.NAME] file; or exclude the file."
    )
