"""Files of labels: from when to when somebody did what.

    table          .csv, .tsv, .txt with a header: start or begin, end (or duration), label; perhaps recording, subject
    Label Studio   its export as JSON, JSON-MIN and CSV
    ELAN           its tab-delimited export, with or without a header
    Edge Impulse   info.labels: a label for each file

Others (.eaf, .TextGrid, .srt, .xlsx, ...) are refused with what to export instead.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import InputError
from runtime.recording.units import take_apart
from sdk.datasets.own.times import CLOCK, Written, written

_STARTS = ("start", "begin", "from", "onset", "starttime", "begintime", "t0", "tstart", "startsec")
_ENDS = ("end", "stop", "to", "endtime", "stoptime", "t1", "tend", "finish")
_DURATIONS = ("duration", "dur", "length")
_LABELS = (
    "label",
    "activity",
    "class",
    "annotation",
    "text",
    "name",
    "tag",
    "labels",
    "event",
    "behavior",
    "behaviour",
)
_RECORDINGS = ("recording", "file", "filename", "path", "video", "csv", "source", "audio")
_TIERS = ("tier", "tiername")
_UNITS = {"s": "s", "sec": "s", "seconds": "s", "ssmsec": "s", "ms": "ms", "msec": "ms", "us": "us", "ns": "ns"}
_UNITS |= {"samples": "samples", "sample": "samples", "index": "samples", "hhmmssms": CLOCK}
_REFUSED = {
    ".eaf": "In ELAN: File, Export As, Tab-delimited Text.",
    ".textgrid": "In Praat: Down to Table, then save as .csv.",
    ".srt": "Write start,end,label into a .csv.",
    ".vtt": "Write start,end,label into a .csv.",
    ".xlsx": "Save the sheet as .csv.",
    ".xls": "Save the sheet as .csv.",
    ".anvil": "Export a table from Anvil as .csv.",
    ".cha": "Write start,end,label into a .csv.",
    ".db": "Of a recorder's store: python -m sdk.label exports it.",
}


@dataclass(frozen=True)
class WrittenSpan:
    """A line of a file of labels."""

    where: str  # for messages
    label: str
    start: Written | None = None  # None with `end`: the whole recording
    end: Written | None = None
    recording: str = ""  # as it is called there; empty: the one that the file belongs to
    tier: str = ""


def read_spans(path: Path, tier: str = "", zone: str = "") -> list[WrittenSpan]:
    """All spans of a file.

    Args:
        path: of the file.
        tier: which one, of a file of several; empty: there is one.
        zone: of times of a clock without one.

    Raises:
        InputError: another kind of file, a line without times, several tiers and none chosen.
    """
    if path.suffix.lower() in _REFUSED:
        expected = "labels as .csv, .txt or .json"
        raise InputError(path, expected=expected, got=path.suffix, fix=_REFUSED[path.suffix.lower()])
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, expected="a file of labels that can be read", got=error, fix="Check the path.") from None
    if text.lstrip()[:1] in ("{", "["):
        return _of_json(text, path, zone)
    spans = _of_table(text, path, zone)
    tiers = sorted({span.tier for span in spans} - {""})
    if tier and tier not in tiers:
        raise InputError(path, expected=f"a tier among {', '.join(tiers) or 'none'}", got=tier, fix="Name one of them.")
    if len(tiers) > 1 and not tier:
        fix = f'Say which: tier = "{tiers[0]}" in [labels].'
        raise InputError(path, expected="one tier", got=", ".join(tiers), fix=fix)
    return [span for span in spans if not tier or span.tier == tier]


def has_spans(path: Path) -> bool:
    """Whether a file is one of labels, as far as its beginning tells."""
    if path.name == "info.labels":
        return True
    if path.suffix.lower() not in (".csv", ".tsv", ".txt", ".json"):
        return False
    with path.open("rb") as file:
        head = file.read(1 << 14).decode("utf-8-sig", "replace")
    if path.suffix.lower() == ".json":
        return "timeserieslabels" in head
    rows = _rows(head[: head.rfind("\n") + 1] or head)
    return bool(rows) and (_is_header(rows[0]) or "timeserieslabels" in head or _is_elan(rows[0]))


# ---- JSON


def _of_json(text: str, path: Path, zone: str) -> list[WrittenSpan]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InputError(path, expected="JSON", got=error, fix="Export it again.") from None
    if isinstance(content, dict) and isinstance(content.get("files"), list):
        return [
            WrittenSpan(f"{path.name}: {file['path']}", str(file["label"]["label"]), recording=str(file["path"]))
            for file in content["files"]
            if isinstance(file.get("label"), dict) and "label" in file["label"] and "path" in file
        ]
    found = []
    for number, task in enumerate(content if isinstance(content, list) else (), start=1):
        where = f"{path.name}: task {number}"
        found += _of_studio(task, where, zone) if isinstance(task, dict) else []
    if not found:
        expected = "Label Studio's export of time series (JSON or JSON-MIN), or Edge Impulse's info.labels"
        raise InputError(path, expected=expected, got="none of its labels", fix="Export it as one of these.")
    return found


def _of_studio(task: Mapping[str, Any], where: str, zone: str) -> list[WrittenSpan]:
    """The spans of one task: of JSON its annotations' results, of JSON-MIN a list under the name of the control."""
    data = task.get("data", task)
    recording = next((str(v) for v in data.values() if isinstance(v, str) and _is_file(v)), "")
    recording = recording or str(task.get("file_upload", ""))
    annotations = [a for a in task.get("annotations", ()) if not a.get("was_cancelled")]
    if len(annotations) > 1:
        got = f"{len(annotations)} annotations of one recording"
        raise InputError(where, expected="one annotation", got=got, fix="Keep the one that counts.")
    values = [result.get("value", {}) for annotation in annotations for result in annotation.get("result", ())]
    values += [value for part in task.values() if isinstance(part, list) for value in part if isinstance(value, dict)]
    return [
        span for value in values if "timeserieslabels" in value for span in _of_value(value, where, recording, zone)
    ]


def _of_value(value: Mapping[str, Any], where: str, recording: str, zone: str) -> Iterable[WrittenSpan]:
    times = [written(str(value.get(key, "")), zone=zone) for key in ("start", "end")]
    if None in times:
        raise InputError(where, expected="a start and an end", got=str(value)[:80], fix="Export it again.")
    for label in value["timeserieslabels"]:
        yield WrittenSpan(where, str(label), times[0], times[1], recording)


def _is_file(text: str) -> bool:
    return re.search(r"\.(csv|tsv|json|npz)$", text, re.I) is not None


# ---- tables


def _rows(text: str) -> list[list[str]]:
    """Lines as cells; the separator is the one that most of the first line's cells have between them."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("#", '"#'))]
    if not lines:
        return []
    separator = max("\t,;|", key=lines[0].count)
    rows = csv.reader(io.StringIO("\n".join(lines)), delimiter=separator, skipinitialspace=separator != "\t")
    return [[cell.strip() for cell in row] for row in rows]


def _of_table(text: str, path: Path, zone: str) -> list[WrittenSpan]:
    rows = _rows(text)
    if rows and "timeserieslabels" in text and not _is_header(rows[0]):
        return _of_studio_table(rows, path, zone)
    if rows and _is_header(rows[0]):
        return _with_header(rows, path, zone)
    if rows and _is_elan(rows[0]):
        return [_elan_line(row, f"{path.name}: line {number}") for number, row in enumerate(rows, start=1)]
    got = ", ".join(rows[0])[:80] if rows else "an empty file"
    raise InputError(path, expected="a header with start, end and label", got=got, fix="Write one into its first line.")


def _of_studio_table(rows: Sequence[Sequence[str]], path: Path, zone: str) -> list[WrittenSpan]:
    found: list[WrittenSpan] = []
    for number, row in enumerate(rows[1:], start=2):
        where = f"{path.name}: line {number}"
        lists = [json.loads(cell) for cell in row if cell.startswith("[") and "timeserieslabels" in cell]
        recording = next((cell for cell in row if _is_file(cell)), "")
        found += [span for values in lists for value in values for span in _of_value(value, where, recording, zone)]
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _base(name: str) -> tuple[str, str]:
    """A column's name without its unit, and the unit: start_ms, Begin Time - ss.msec, end (s)."""
    bare, unit = take_apart(name)
    if unit:
        return _plain(bare), _UNITS.get(_plain(unit), "")
    head, _, tail = re.sub(r"\s+-\s+", "_", name).rpartition("_")
    if head and _plain(tail) in _UNITS:
        return _plain(head), _UNITS[_plain(tail)]
    return _plain(name), ""


def _columns(header: Sequence[str], words: Sequence[str]) -> list[int]:
    return [i for word in words for i, name in enumerate(header) if _base(name)[0] == word]


def _is_header(row: Sequence[str]) -> bool:
    ends = _columns(row, _ENDS) or _columns(row, _DURATIONS)
    return bool(_columns(row, _STARTS) and ends) and len(row) > 2


def _with_header(rows: Sequence[Sequence[str]], path: Path, zone: str) -> list[WrittenSpan]:
    header, found = rows[0], []
    starts, ends, durations = (_columns(header, words) for words in (_STARTS, _ENDS, _DURATIONS))
    label, recording, tier = (_columns(header, words)[:1] for words in (_LABELS, _RECORDINGS, _TIERS))
    taken = {*starts, *ends, *durations, *recording, *tier, *_columns(header, ("participant",))}
    tiers = [] if label else [i for i in range(len(header)) if i not in taken and header[i]]  # ELAN: a column for each
    if not (label or tiers):
        raise InputError(f"{path}: line 1", expected="a column label", got=", ".join(header), fix="Add it.")
    for number, row in enumerate(rows[1:], start=2):
        row, where = [*row, *[""] * (len(header) - len(row))], f"{path.name}: line {number}"
        if not any(row):
            continue
        times = [_time(row, header, columns, zone) for columns in (starts, ends, durations)]
        start, end = times[0], times[1]
        if start and end is None and times[2] is not None:
            end = Written(start.value + times[2].value, start.unit)
        if start is None or end is None:
            raise InputError(where, expected="a start and an end", got=", ".join(row)[:80], fix="Complete the line.")
        name = row[recording[0]] if recording else ""
        for place in label or [i for i in tiers if row[i]]:
            kind = row[tier[0]] if tier else header[place] if tiers else ""
            found.append(WrittenSpan(where, row[place], start, end, name, kind))
    return found


def _time(row: Sequence[str], header: Sequence[str], columns: Sequence[int], zone: str) -> Written | None:
    """The first of some columns that holds a time; numbers rather than what a clock shows, as they are exact."""
    found = [written(row[i], _base(header[i])[1], zone) for i in columns]
    known = [time for time in found if time is not None]
    return next((time for time in known if time.unit != CLOCK), known[0] if known else None)


def _is_elan(row: Sequence[str]) -> bool:
    """Whether a line without a header may be ELAN's: tier, participant, begin, end, duration, annotation."""
    return len(row) >= 4 and sum(written(cell) is not None for cell in row[1:-1]) >= 2 and written(row[0]) is None


def _elan_line(row: Sequence[str], where: str) -> WrittenSpan:
    times = [time for cell in row[1:-1] if (time := written(cell)) is not None]
    if len(times) < 2:
        raise InputError(where, expected="a begin and an end", got=", ".join(row)[:80], fix="Export it again.")
    ways = len(times) // (3 if len(times) % 3 == 0 else 2)  # in which each time stands there; a duration or none
    return WrittenSpan(where, row[-1], times[ways - 1], times[2 * ways - 1], tier=row[0])
