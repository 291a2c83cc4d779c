"""Recordings of one's own, read as those of any other data set.

dataset.toml -> the files of each recording (files.py) -> runtime.recording, the one reader of files
             -> sensors with files of their own side by side -> the labels of each sample -> by person
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from runtime.errors import InputError
from runtime.recording import UNLABELLED, Recording
from runtime.recording.times import rate_of
from runtime.specs import Signal
from sdk.datasets._clock import Timed, in_order, side_by_side
from sdk.datasets._info import OF_OWN, DatasetInfo
from sdk.datasets._rates import measured_rate
from sdk.datasets.own.description import FILE, IOS, Description, parse
from sdk.datasets.own.files import TABLES, Take, is_of_sensors, opened, takes, unpack
from sdk.datasets.own.labels import LabelledTake, labelled, plain, recoded, spans_of
from sdk.datasets.own.logs import as_file

_log = logging.getLogger("sensedge.recording")
GAP_S = 0.2  # the longest step of another sensor that is interpolated over; two and a half steps of a slow one
_STEPS = 2.5


class OwnSet:
    """A folder or zip with a dataset.toml.

    Args:
        path: of it.
        description: what its dataset.toml says; None: it is read.

    Raises:
        InputError: no such folder, no dataset.toml in it, or one that cannot be read.
    """

    def __init__(self, path: str | Path, description: Description | None = None) -> None:
        self.path = Path(path)
        if description is None:
            with opened(self.path) as root:
                description = described(root)
        self.description = description
        self._pieces: list[LabelledTake] | None = None  # where all had to be read to know the labels

    @cached_property
    def INFO(self) -> DatasetInfo:  # noqa: N802, as every data set's file has it
        """What is known about it; where dataset.toml does not name the labels, all of it is read."""
        its = self.description
        signs = {sensor.name: -1 if sensor.signs == IOS else 1 for sensor in its.sensors}
        return DatasetInfo(
            name=its.name,
            title=its.title or f"recordings in {self.path.name}",
            licence=its.licence,
            commercial_use=its.commercial_use,
            citation=its.citation or "none",
            home_page=its.home_page or "none",
            signal=its.signal,
            labels=self.labels,
            resting=tuple(name for name in its.labels.resting if name in self.labels),
            n_subjects=self._n_subjects(),
            names_subjects="{subject}" in its.pattern or bool(its.subject_column),
            placement=its.placement or "not said",
            has_gravity=all(sensor.gravity for sensor in its.sensors if sensor.name == "acc"),
            acc_sign=signs.get("acc", 1),
        )

    def _n_subjects(self) -> int:
        """How many people names of files tell; 0 where they tell none."""
        with opened(self.path) as root:
            return len({take.subject for take in takes(root, self.description)} - {""})

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The classes, in order."""
        its = self.description.labels
        if its.names:
            return tuple(dict.fromkeys(its.rename.get(name, name) for name in its.names))
        self._pieces = list(self.pieces())
        left = {plain(name) for name in its.leave_out}
        found = {name for piece in self._pieces for name in piece.recording.label_names}
        rename = {plain(old): new for old, new in its.rename.items()}
        called = {rename.get(plain(name), plain(name)) for name in found if name.strip() and plain(name) not in left}
        return tuple(sorted(name for name in called if plain(name) not in left))

    def read(self, archive: object = None) -> Iterator[Recording]:
        """The recordings, in the order of their names.

        Raises:
            InputError: a file, a label or a time that does not fit.
        """
        labels = self.labels
        for piece in self._pieces if self._pieces is not None else self.pieces():
            yield recoded(piece.recording, labels, self.description)

    def pieces(self) -> Iterator[LabelledTake]:
        """The recordings with labels as the files have them; what is recognised in several files is told once.

        Raises:
            InputError: a file or a time that does not fit.
        """
        once = _Once()
        with opened(self.path) as root:
            found = takes(root, self.description)
            spans = spans_of(root, found, self.description)
            for take in found:
                with once:
                    recordings = loaded(take, self.description)
                for recording in recordings:
                    yield labelled(recording, take, spans.get(take.name), self.description)


class _Once(logging.Filter):
    """Lets each thing that the reader of files says pass once, whichever file it says it of."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[object] = set()

    def __enter__(self) -> None:
        _log.addFilter(self)

    def __exit__(self, *_: object) -> None:
        _log.removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is new, but for the file's name."""
        what = record.args[1:] if isinstance(record.args, tuple) else record.args
        is_new = (record.msg, str(what)) not in self._said
        self._said.add((record.msg, str(what)))
        return is_new


def described(root: Path) -> Description:
    """The dataset.toml of a folder.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = root / FILE
    try:
        return parse(path.read_text("utf-8"), str(path))
    except FileNotFoundError:
        fix = f"Draft it: python -m sdk.datasets new {root}"
        raise InputError(path, expected="a file that says what the recordings are", got="none", fix=fix) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, expected="a file that can be read", got=error, fix="Check it.") from None


# ---- samples


def loaded(take: Take, description: Description) -> list[Recording]:
    """The recordings of some files, by person; labels are those of a column, if there is one."""
    with tempfile.TemporaryDirectory() as folder:
        text = as_text(take, Path(folder))
        files = {sensor: path.stem for sensor, path in take.files.items()}
        reading = description.reading(description.labels.column, files)
        rate_hz = description.rate_hz
        whole = Recording.load(text, rate_hz, reading=reading, signal=description.signal)
        if whole.by_modality:
            whole = beside_one_another(whole, description.signal)
        measured = measured_rate(whole.t)
        name = f"{OF_OWN}/{description.name}/{take.name}"
        rate_hz = whole.rate_hz if measured is None else measured.typical_hz  # stamps of whole ms tell a wrong step
        whole = replace(whole, name=name, subject=take.subject or whole.subject, rate_hz=rate_hz)
        if not description.subject_column:
            return [whole]
        said = description.reading(description.subject_column, files)
        people = Recording.load(text, rate_hz, reading=said, signal=description.signal)
    return _by_person(whole, people)


def as_text(take: Take, folder: Path) -> str:
    """What `Recording.load` takes; a log or a zip is written into a folder first.

    Args:
        take: the files.
        folder: an empty one.

    Raises:
        InputError: a zip that is neither one table nor a file for each sensor.
    """
    if take.files or take.path.is_dir() or take.path.suffix.lower() in TABLES:
        return take.text
    if take.path.suffix.lower() != ".zip":
        return str(as_file(take.path, folder))
    unpack(take.path, folder)
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    root = inside[0] if len(inside) == 1 and inside[0].is_dir() else folder
    tables = [path for path in sorted(root.iterdir()) if path.suffix.lower() in TABLES]
    if is_of_sensors(root) or len(tables) == 1:
        return str(root if is_of_sensors(root) else tables[0])
    got = ", ".join(path.name for path in root.iterdir()) or "nothing"
    fix = "Unpack it, and say what is what in dataset.toml."
    raise InputError(take.path, expected="one table, or a file for each sensor", got=got, fix=fix)


def beside_one_another(recording: Recording, signal: Signal) -> Recording:
    """Sensors with times of their own as columns: the first one's times are kept, the others interpolated to them.

    Args:
        recording: rows that hold one sensor each.
        signal: its sensors.

    Raises:
        InputError: they never ran at the same time.
    """
    assert recording.t is not None
    parts = []
    for columns in signal.columns:
        own = recording.samples[:, columns]
        here = ~np.isnan(own).all(axis=1)
        parts.append(in_order(Timed(recording.t[here], own[here])))
    first = parts[0]
    for other in parts[1:]:
        gap_s = max(GAP_S, _STEPS / (rate_of(other.t) or 1 / GAP_S))
        keep, samples = side_by_side(first, other, gap_s=gap_s)
        if not len(samples):
            expected, fix = "times at which all sensors ran", "Check files.time."
            raise InputError(recording.name, expected=expected, got="none", fix=fix)
        first = Timed(first.t[keep], samples)
    rate_hz = rate_of(first.t) or recording.rate_hz
    return replace(recording, samples=first.samples, t=first.t, rate_hz=rate_hz, by_modality=False)


def _by_person(whole: Recording, people: Recording) -> list[Recording]:
    """The rows of each person who is named in a column, one recording for each run of them."""
    codes = people.labels
    if codes is None or len(codes) != len(whole.samples):
        expected, fix = "a column of people, with somebody in every row", "Correct people.column."
        raise InputError(whole.name, expected=expected, got="none", fix=fix)
    edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    found, runs = [], dict[str, int]()
    for begin, end in pairwise(edges):
        person = "" if codes[begin] == UNLABELLED else people.label_names[int(codes[begin])]
        runs[person] = runs.get(person, 0) + 1
        rows = slice(begin, end)
        found.append(
            replace(
                whole,
                samples=whole.samples[rows],
                t=None if whole.t is None else whole.t[rows],
                labels=None if whole.labels is None else whole.labels[rows],
                subject=person,
                name=f"{whole.name}/{person or 'nobody'}_{runs[person]}",
            )
        )
    return found
