"""Recordings of one's own, read as those of any other data set.

dataset.toml -> the files of each recording (files.py) -> runtime.recording, the one reader of files
             -> sensors with files of their own side by side -> the labels of each sample -> by person
"""

from __future__ import annotations

import difflib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import UNLABELLED, Recording
from runtime.recording.times import rate_of
from runtime.specs import Signal
from sdk.datasets._clock import Timed, in_order, side_by_side
from sdk.datasets._info import OF_OWN, DatasetInfo
from sdk.datasets._rates import measured_rate
from sdk.datasets.own.description import FILE, IOS, Description, parse
from sdk.datasets.own.files import TABLES, Take, is_of_sensors, opened, takes, unpack
from sdk.datasets.own.logs import as_file
from sdk.datasets.own.spans import WrittenSpan, read_spans
from sdk.datasets.own.times import MOST, Way, likeliest, placed, start_of

_log = logging.getLogger("sensedge.recording")
GAP_S = 0.2  # the longest step of another sensor that is interpolated over; two and a half steps of a slow one
_STEPS = 2.5


@dataclass(frozen=True)
class PlacedSpan:
    """A line of a file of labels, in a recording's own time."""

    start_s: float
    end_s: float
    label: str
    where: str


@dataclass(frozen=True)
class Piece:
    """A recording with the labels of its files as they are called there, and the spans that they came from."""

    recording: Recording
    spans: tuple[PlacedSpan, ...] = ()
    way: Way | None = None  # None: the labels come from elsewhere


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
        self._pieces: list[Piece] | None = None  # where all had to be read to know the labels

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
            n_subjects=0,
            placement=its.placement or "not said",
            has_gravity=all(sensor.gravity for sensor in its.sensors if sensor.name == "acc"),
            acc_sign=signs.get("acc", 1),
        )

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

    def pieces(self) -> Iterator[Piece]:
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
                    yield _labelled(recording, take, spans.get(take.name), self.description)


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


def plain(name: str) -> str:
    """A label without regard to case, blanks, hyphens and underscores."""
    return name.strip().casefold().replace("-", "_").replace(" ", "_")


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
    """What `Recording.load` takes; a log or a zip is written into a folder first."""
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
    """Sensors with times of their own as columns: the first one's times are kept, the others interpolated to them."""
    assert recording.t is not None
    parts, begin = [], 0
    for modality in signal.modalities:
        own = recording.samples[:, begin : begin + len(modality.channels)]
        begin += len(modality.channels)
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


# ---- labels


def spans_of(root: Path, found: Sequence[Take], description: Description) -> dict[str, list[WrittenSpan]]:
    """The spans of each recording by its name; empty where labels are no spans.

    Raises:
        InputError: a file that is not there, or that speaks of recordings that are not.
    """
    its = description.labels
    if not its.spans:
        return {}
    if "{stem}" not in its.spans:
        return _shared(read_spans(root / its.spans, its.tier, its.zone), found, its.spans, root)
    spans = {}
    for take in found:
        folder = root if "/" in its.spans else (root / take.name).parent
        path = folder / its.spans.replace("{stem}", PurePosixPath(take.name).name)
        if path.is_file():
            spans[take.name] = read_spans(path, its.tier, its.zone)
        else:
            warnings.warn(f"{take.name}: no file of labels {path.name}: it stays without", stacklevel=2)
    return spans


def _shared(spans: Sequence[WrittenSpan], found: Sequence[Take], file: str, root: Path) -> dict[str, list[WrittenSpan]]:
    """The spans of a file that speaks of several recordings."""
    names: dict[str, list[str]] = {}
    for take in found:
        relative = take.path.relative_to(root).as_posix() if take.path != root else take.name
        called = {take.name, take.name.rpartition("/")[2], relative, take.path.name, take.path.stem}
        for name in called | {path.name for path in take.files.values()}:
            names.setdefault(plain(name), []).append(take.name)
    by_name: dict[str, list[WrittenSpan]] = {}
    for span in spans:
        if not span.recording and len(found) > 1:
            fix = 'Add one; or give each recording a file: spans = "{stem}_labels.csv".'
            raise InputError(
                f"{file}: labels of {len(found)} recordings", expected="a column recording", got="none", fix=fix
            )
        meant = [found[0].name] if not span.recording else _meant(span.recording, names)
        if len(set(meant)) != 1:
            got = f"{span.recording}, which is {'none' if not meant else ' and '.join(sorted(set(meant)))} of them"
            known = ", ".join(take.name for take in found[:5]) + (", ..." if len(found) > 5 else "")
            raise InputError(span.where, expected=f"a recording among {known}", got=got, fix="Correct the name.")
        by_name.setdefault(meant[0], []).append(span)
    return by_name


def _meant(recording: str, names: Mapping[str, list[str]]) -> list[str]:
    """The recordings that a name may mean: as it is, its last part, or that without what Label Studio puts before."""
    last = PurePosixPath(recording.replace("\\", "/")).name
    stem = PurePosixPath(last).stem
    without = last.partition("-")[2]
    ways = (recording, last, stem, without, PurePosixPath(without).stem if without else "")
    return next((names[plain(way)] for way in ways if way and plain(way) in names), [])


def _labelled(recording: Recording, take: Take, spans: list[WrittenSpan] | None, description: Description) -> Piece:
    """A recording with a label for each sample."""
    if take.label:
        codes = np.zeros(len(recording.samples), np.int16)
        return Piece(replace(recording, labels=codes, label_names=(take.label,)))
    if not description.labels.spans:
        return Piece(recording)
    whole = [span for span in spans or () if span.start is None]
    timed = [span for span in spans or () if span.start is not None and span.end is not None]
    its = description.labels
    pairs = [(span.start, span.end) for span in timed if span.start and span.end]
    way, share = likeliest([(recording, pairs)], its.unit, its.origin)
    if timed and share < MOST:
        first = timed[0]
        got = f"{first.start.value if first.start else 0:g} to {first.end.value if first.end else 0:g}"
        expected = f"times within {start_of(recording):g} to {start_of(recording) + recording.duration_s:g} s"
        fix = f"{share:.0%} of the spans lie in the recording: say labels.unit, labels.from or labels.zone."
        raise InputError(f"{first.where} ({take.name})", expected=expected, got=got, fix=fix)
    begin_s, end_s = start_of(recording), start_of(recording) + recording.duration_s
    lines = [PlacedSpan(begin_s, end_s, span.label, span.where) for span in whole]
    lines += [
        PlacedSpan(placed(span.start, way, recording), placed(span.end, way, recording), span.label, span.where)
        for span in timed
        if span.start and span.end
    ]
    outside = [line for line in lines if line.end_s <= begin_s or line.start_s >= end_s or line.start_s >= line.end_s]
    if outside:
        text = f"{take.name}: {len(outside)} of {len(lines)} spans lie outside of it, the first {outside[0].where}"
        warnings.warn(text, stacklevel=2)
    names = tuple(dict.fromkeys(line.label for line in lines))
    return Piece(replace(recording, labels=painted(recording, lines, names), label_names=names), tuple(lines), way)


def painted(recording: Recording, lines: Sequence[PlacedSpan], names: Sequence[str]) -> NDArray[np.int16]:
    """The label of each sample, shape (n,), an index into `names`; later lines win."""
    n = len(recording.samples)
    t = np.arange(n) / recording.rate_hz if recording.t is None else recording.t
    labels = np.full(n, UNLABELLED, np.int16)
    for line in lines:
        labels[(t >= line.start_s - 1e-6) & (t < line.end_s - 1e-6)] = names.index(line.label)
    return labels


def recoded(recording: Recording, labels: Sequence[str], description: Description) -> Recording:
    """A recording whose labels are called as those of the set.

    Raises:
        InputError: a label that is neither named nor left out.
    """
    its = description.labels
    if recording.labels is None:
        codes = np.full(len(recording.samples), UNLABELLED, np.int16)
        return replace(recording, labels=codes, label_names=tuple(labels))
    rename = {plain(old): new for old, new in its.rename.items()}
    left, known = {plain(name) for name in its.leave_out}, {plain(name): i for i, name in enumerate(labels)}
    now = np.full(len(recording.label_names) + 1, UNLABELLED, np.int16)  # UNLABELLED is the last place
    used = set(np.unique(recording.labels).tolist())
    for i, name in enumerate(recording.label_names):
        key = plain(rename.get(plain(name), name))
        if not name or key in left or plain(name) in left or i not in used:
            continue
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            meant = f"Did you mean {labels[known[near[0]]]}? Then say it in [labels.rename]. " if near else ""
            fix = f"{meant}Add it to names or to leave_out in [labels]."
            raise InputError(recording.name, expected=f"labels among {', '.join(labels)}", got=repr(name), fix=fix)
        now[i] = known[key]
    return replace(recording, labels=now[recording.labels], label_names=tuple(labels))
