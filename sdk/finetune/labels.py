"""From a file of labels to labelled windows.

A file of labels is one of three things:

    spans       a .csv with the columns start_s, end_s, label, and optionally weight and recording (a path, relative to
                the file); one row per span of time in which the wearer did one thing
    recording   a .csv or .npz recording that has a label for each sample
    store       the .db of a recorder (runtime.recorder), marked with python -m sdk.label

A window belongs to a span when the whole of it lies inside. Windows of the same recordings that no span touches come
along without a label. A name that the model does not have is a new activity where the wearer said so (`--new`; in a
store every such mark was made with it); else it is left out, and said, and hides none of the others. What was guessed,
left out or in conflict is in the `notes` of the labelled set.
"""

from __future__ import annotations

import bisect
import csv
import hashlib
import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Manifest
from runtime.errors import InputError, OneLine
from runtime.recording import UNLABELLED, Recording
from runtime.recording.times import is_stamp, seconds_of
from runtime.window import LabelledWindows, Window, cut_windows
from runtime.window.track import SPARSE
from sdk.finetune.spans import LabelSpan, Names, conflict, painted
from sdk.left_out import told, why_no_window

MOST_REST = 300  # windows without labels that come along
PIECE_S = 10.0  # of a stretch of time: what is worth as much as a single window elsewhere
_COLUMNS = ("start_s", "end_s", "label")
_DAY_S, _YEAR_2001_S = 86400.0, 1e9
_EDGE_S = 1e-6  # two instants closer than this are one


@dataclass(frozen=True, repr=False)
class LabelledSet(OneLine):
    """Windows with labels and weights."""

    windows: NDArray[np.float32]  # shape (n, length_samples, n_channels); n is 0 where there are only features
    labels: NDArray[np.int64]  # shape (n,), index into the manifest's labels
    weights: NDArray[np.float64]  # shape (n,)
    features: NDArray[np.float32] | None = None  # shape (n, n_features), of the encoder in use; None: from the windows
    names: tuple[str, ...] | None = (
        None  # what `labels` counts: the model's and behind them new ones; None: the model's
    )
    spans_s: NDArray[np.float64] | None = None  # shape (n, 2), start and end of each window; None: nobody knows
    rest: NDArray[np.float32] | None = None  # windows of the wearer without labels, (m, *window_shape), or features
    notes: tuple[str, ...] = ()  # what was left out or guessed, as sentences

    @property
    def sha256(self) -> str:
        """Hash of all of it, to tell in a record which labels a version was made from."""
        digest = hashlib.sha256()
        for array in (self.windows, self.labels, self.weights, *(() if self.features is None else (self.features,))):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def worth(data: LabelledSet) -> NDArray[np.float64]:
    """What each labelled window counts as evidence, shape (n,): the windows of a stretch of time count once together.

    A stretch is a run of one label without a gap; a long one counts once for each `PIECE_S`. Where nobody knows when,
    each window is a stretch of its own.
    """
    first, counts = np.unique(stretches(data), return_index=True, return_counts=True)[1:]
    if data.spans_s is None:
        return np.ones(len(data.labels))
    lasts_s = data.spans_s[first + counts - 1, 1] - data.spans_s[first, 0]
    return np.repeat(np.maximum(lasts_s / PIECE_S, 1) / counts, counts)


def stretches(data: LabelledSet) -> NDArray[np.int64]:
    """The stretch of time that each labelled window is of, shape (n,), from 0: see `worth`."""
    if data.spans_s is None:
        return np.arange(len(data.labels))
    begin_s, end_s = data.spans_s.T
    apart = (begin_s[1:] > end_s[:-1] + _EDGE_S) | (begin_s[1:] < begin_s[:-1]) | (np.diff(data.labels) != 0)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(apart)])[: len(data.labels)]


def renamed(data: LabelledSet, now: NDArray[np.int64], names: tuple[str, ...]) -> LabelledSet:
    """The set with other classes, without the windows of those that are dropped.

    Args:
        data: labelled windows.
        now: shape (n_classes,), what each of its classes is now; -1: dropped.
        names: of the classes then.
    """
    labels = now[data.labels]
    rows = labels >= 0
    return LabelledSet(
        data.windows[rows] if len(data.windows) else data.windows,
        labels[rows],
        data.weights[rows],
        None if data.features is None else data.features[rows],
        names,
        None if data.spans_s is None else data.spans_s[rows],
        data.rest,
        data.notes,
    )


def set_apart(
    windows: LabelledWindows, chosen: NDArray[np.int64], window_s: float
) -> tuple[LabelledSet, LabelledWindows]:
    """The chosen windows as a labelled set, and the others that share no sample with them, to score on.

    Args:
        windows: of one person.
        chosen: shape (k,), rows of them, those of each class in the order of time.
        window_s: seconds that a window spans.
    """
    same = windows.source[:, None] == windows.source[chosen]
    near = np.abs(windows.start_s[:, None] - windows.start_s[chosen]) < window_s - _EDGE_S
    rest = ~(same & near).any(axis=1)
    labelled = LabelledSet(windows.samples[chosen], windows.labels[chosen], np.ones(len(chosen)))
    return labelled, LabelledWindows(*(column[rest] for column in windows))


def read_labels(
    path: str | Path,
    manifest: Manifest,
    recording: str | Path | None = None,
    new: Collection[str] = (),
    *,
    leave_out: Collection[str] = (),
) -> LabelledSet:
    """Read a file of labels and cut the recordings that it speaks of.

    Args:
        path: spans or a recording, see above.
        manifest: signal, window and labels of the model.
        recording: what the spans refer to, where the file has no column `recording`.
        new: names of activities that the model does not have and is to learn.
        leave_out: labels whose windows are not wanted.

    Raises:
        InputError: a file that cannot be read, a span outside its recording, no window at all.
    """
    path, names = Path(path), Names(manifest.labels, new, leave_out)
    found: list[tuple[Window, int, float]] = []
    rest: list[NDArray[np.float32]] = []
    without, n_recordings = Counter[str](), 0
    for source, spans in _sources(path, manifest, recording, names):
        cuts = cut_windows(source, manifest.signal, manifest.window, manifest.clock)
        inside = _inside(cuts, spans)
        n_recordings += 1
        if not inside:
            without[_why_none(source, cuts, manifest)] += 1
        found += inside
        rest += _outside(cuts, spans)
    if not found and names.first:
        raise names.unknown(*names.first)
    if not found:
        why = next(iter(without), "")
        raise InputError(
            path,
            expected=f"spans of at least {manifest.window_s:g} s, the length of a window",
            got="no window that lies inside one" + (f": recordings {why}" if "labels" not in why and why else ""),
            fix="Label longer stretches.",
        )
    return LabelledSet(
        np.stack([cut.samples for cut, _, _ in found]),
        np.array([label for _, label, _ in found]),
        np.array([weight for _, _, weight in found]),
        names=tuple(names.all),
        spans_s=np.array([(cut.start_s, cut.end_s) for cut, _, _ in found]),
        rest=spread_over(rest),
        notes=(
            *names.notes(),
            *([told(without, n_recordings)] if without else []),
            *_made_up([cut for cut, _, _ in found], manifest.signal.rate_hz),
        ),
    )


def _made_up(cuts: list[Window], rate_hz: float) -> list[str]:
    """A line on windows whose rows are mostly not measured, where there are some."""
    rates_hz = [hz for cut in cuts if cut.quality.source_hz and (hz := cut.quality.source_hz[0]) < SPARSE * rate_hz]
    if not rates_hz:
        return []
    slow = f"{min(rates_hz):.3g} samples per second, for {rate_hz:g} rows of the model"
    return [f"{len(rates_hz)} of {len(cuts)} windows are mostly made up between samples: there are {slow}"]


def _inside(cuts: list[Window], spans: list[LabelSpan]) -> list[tuple[Window, int, float]]:
    """The windows that lie inside one of the spans, which do not overlap, with its label and weight."""
    ends, found = [span.end_s for span in spans], []
    for cut in cuts:
        at = bisect.bisect_left(ends, cut.end_s - _EDGE_S)
        if at < len(spans) and spans[at].start_s - _EDGE_S <= cut.start_s and (label := spans[at].label) is not None:
            found.append((cut, label, spans[at].weight))
    return found


def _outside(cuts: list[Window], spans: list[LabelSpan]) -> list[NDArray[np.float32]]:
    """The windows that none of the spans touches."""
    ends, found = [span.end_s for span in spans], []
    for cut in cuts:
        at = bisect.bisect_right(ends, cut.start_s)
        if at == len(spans) or spans[at].start_s >= cut.end_s:
            found.append(cut.samples)
    return found


def _why_none(source: Recording, cuts: list[Window], manifest: Manifest) -> str:
    """Why a recording gave no window, as the end of "... gave no window, because N"."""
    if cuts:
        return "have no window inside a span of labels"
    return why_no_window(source, manifest.signal, manifest.window, manifest.clock)


def spread_over(windows: list[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """At most `MOST_REST` of them, evenly, shape (m, *their own); None: there are none."""
    rows = np.linspace(0, len(windows) - 1, min(MOST_REST, len(windows))).round().astype(int)
    return np.stack([windows[row] for row in rows]) if windows else None


def _sources(
    path: Path, manifest: Manifest, recording: str | Path | None, labels: Names
) -> list[tuple[Recording, list[LabelSpan]]]:
    rows = _span_rows(path)
    if rows is None:
        whole = Recording.load(path, manifest.signal.rate_hz, signal=manifest.signal)
        if recording is not None:
            raise InputError(
                path, expected=f"the columns {', '.join(_COLUMNS)}", got="a recording", fix="Leave out --recording."
            )
        spans = _spans_of_samples(whole, labels)
        return [(whole, spans if whole.is_rising else painted(spans))]
    names: dict[Path, list[tuple[str, dict[str, str]]]] = {}
    for where, row in rows:
        if not row.get("recording") and recording is None:
            raise InputError(
                where, expected="a column recording", got="none", fix="Add it, or name the file with --recording."
            )
        name = path.parent / row["recording"] if row.get("recording") else Path(str(recording))
        names.setdefault(name, []).append((where, row))
    sources = []
    for name, own in names.items():
        source = Recording.load(name, manifest.signal.rate_hz, signal=manifest.signal)
        spans = [_span(where, row, source, labels) for where, row in own]
        if (shared := conflict(spans)) is not None:
            labels.conflicts.append(
                f"{path}: {shared[0]:g} s of {source.name} have two labels, first at {shared[1]:g} s; "
                "the later line counts"
            )
        sources.append((source, painted(spans)))
    return sources


def _span_rows(path: Path) -> list[tuple[str, dict[str, str]]] | None:
    """The rows of a file of spans, each with where it stands; None when the file is something else."""
    if path.suffix.lower() != ".csv":
        return None
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            found = [column for column in _COLUMNS if column in (reader.fieldnames or ())]
            if not {"start_s", "end_s"} & set(found):
                if {"start", "end", "label"} <= set(reader.fieldnames or ()):
                    raise InputError(
                        f"{path}: line 1",
                        expected=f"the columns {', '.join(_COLUMNS)}",
                        got="start and end, without a unit",
                        fix="Call them start_s and end_s if they are seconds.",
                    )
                return None
            if len(found) < len(_COLUMNS):
                raise InputError(
                    f"{path}: line 1",
                    expected=f"the columns {', '.join(_COLUMNS)}",
                    got=f"{', '.join(found)} only",
                    fix="Complete the header.",
                )
            rows = [(f"{path}: line {reader.line_num}", {k: v or "" for k, v in row.items() if k}) for row in reader]
            return [(where, row) for where, row in rows if any(value.strip() for value in row.values())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, expected="a .csv file that can be read", got=error, fix="Check the path.") from None


def _span(where: str, row: dict[str, str], source: Recording, labels: Names) -> LabelSpan:
    try:
        start_s, end_s = (_instant_s(row.get(key, "")) for key in ("start_s", "end_s"))
        weight = float(row.get("weight") or 1)
    except ValueError as error:
        fix = "Repair the line."
        raise InputError(where, expected="seconds, ISO 8601 or hh:mm:ss", got=error, fix=fix) from None
    first_s = 0.0 if source.t is None or not len(source.t) else float(source.t[0])
    last_s = first_s + source.duration_s
    if not first_s - _EDGE_S <= start_s < end_s <= last_s + _EDGE_S:
        raise InputError(
            where,
            expected=f"start_s before end_s, both between {first_s:.10g} and {last_s:.10g} s of {source.name}",
            got=f"{start_s:.10g} to {end_s:.10g}",
            fix=_cure(first_s, end_s),
        )
    if not (math.isfinite(weight) and weight > 0):
        raise InputError(where, expected="a weight above 0", got=weight, fix="Drop the line, or weigh it.")
    return LabelSpan(start_s, end_s, labels.index(where, row["label"].strip()), weight)


def _cure(first_s: float, end_s: float) -> str:
    """What to do about a span that lies outside of a recording which begins there."""
    if end_s < _DAY_S < _YEAR_2001_S < first_s:
        return "Write the date before the time of day."
    if first_s < _YEAR_2001_S < end_s < math.inf:
        return "The recording's times do not count from 1970: give seconds of its own, or hh:mm:ss."
    return "Correct the times."


def _instant_s(text: str) -> float:
    """Seconds of the recording's time: a number, ISO 8601 (since 1970), hh:mm:ss (since midnight, or its start)."""
    return float(seconds_of([text])[0]) if is_stamp(text) else float(text or "nan")


def _spans_of_samples(recording: Recording, labels: Names) -> list[LabelSpan]:
    """Runs of samples with one label, as spans."""
    if recording.labels is None:
        raise InputError(
            recording.name,
            expected=f"the columns {', '.join(_COLUMNS)}, or a recording with labels",
            got="neither",
            fix="Say when the wearer did what.",
        )
    edges = [0, *(int(i) + 1 for i in np.flatnonzero(np.diff(recording.labels))), len(recording.labels)]
    spans = []
    for begin, end in pairwise(edges):
        if begin < end and recording.labels[begin] != UNLABELLED:
            label = labels.index(recording.name, recording.label_names[int(recording.labels[begin])])
            spans.append(
                LabelSpan(_time(recording, begin), _time(recording, end - 1) + 1 / recording.rate_hz, label, 1.0)
            )
    return spans


def _time(recording: Recording, row: int) -> float:
    return row / recording.rate_hz if recording.t is None else float(recording.t[row])
