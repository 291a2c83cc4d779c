"""The label of each sample of one's own recordings: of a file's name, of a column, or of spans.

spans  ->  which recording a line speaks of  ->  how its times are meant  ->  painted onto samples, later lines win
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import UNLABELLED, Recording
from sdk.datasets.own.description import Description
from sdk.datasets.own.files import Take
from sdk.datasets.own.spans import WrittenSpan, read_spans
from sdk.datasets.own.times import MOST, TimeWay, likeliest, placed, start_of


@dataclass(frozen=True)
class PlacedSpan:
    """A line of a file of labels, in a recording's own time."""

    start_s: float
    end_s: float
    label: str
    where: str


@dataclass(frozen=True)
class LabelledTake:
    """A recording with the labels of its files as they are called there, and the spans that they came from."""

    recording: Recording
    spans: tuple[PlacedSpan, ...] = ()
    way: TimeWay | None = None  # None: the labels come from elsewhere


def plain(name: str) -> str:
    """A label without regard to case, blanks, hyphens and underscores."""
    return name.strip().casefold().replace("-", "_").replace(" ", "_")


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


def labelled(
    recording: Recording, take: Take, spans: list[WrittenSpan] | None, description: Description
) -> LabelledTake:
    """A recording with a label for each sample.

    Args:
        recording: of a take; its own labels are those of a column.
        take: whose name may tell the label.
        spans: that speak of it; None: none do.
        description: of the set.

    Raises:
        InputError: most of the spans lie outside of it.
    """
    if take.label:
        codes = np.zeros(len(recording.samples), np.int16)
        return LabelledTake(replace(recording, labels=codes, label_names=(take.label,)))
    if not description.labels.spans:
        return LabelledTake(recording)
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
    return LabelledTake(
        replace(recording, labels=painted(recording, lines, names), label_names=names), tuple(lines), way
    )


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
