"""A dataset.toml, guessed from the files of a folder; what was guessed is told with its reason, and can be corrected.

names of columns or files -> sensors      norm at rest -> units       steps of times -> rate
names of files, a column  -> people       spans, a column -> labels
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from runtime.errors import InputError
from runtime.files.atomic import write_atomic
from runtime.recording import Recording
from runtime.recording.placement import sensor_of
from runtime.recording.units import take_apart
from sdk.datasets._info import NAMES
from sdk.datasets._rates import measured_rate
from sdk.datasets.own.description import FILE, Description, Labels, SensorTable, parse
from sdk.datasets.own.files import SENSORS, TABLES, Take, takes
from sdk.datasets.own.guesses import (
    GRAVITY_SHARE,
    TableHead,
    column_like,
    head_of,
    null_labels,
    pattern_like,
    quiet_norms,
    rotation_unit,
    scale_of_norm,
    sensor_pattern,
    sensors_in,
)
from sdk.datasets.own.labels import plain
from sdk.datasets.own.read import OwnSet, as_text, beside_one_another
from sdk.datasets.own.spans import has_spans

RATES_HZ = (10, 12.5, 20, 25, 26, 30, 31.25, 32, 40, 50, 52, 60, 62.5, 64, 80, 100, 104, 119, 125, 128, 200, 208, 256)
_NEAR = 0.02  # of a rate that sensors have
_LOOKED_AT = 3  # recordings, for units and rates
_KINDS = ("acc", "gyro", "mag")


@dataclass
class Drafted:
    """A description that grows, and the lines that tell what it was guessed from."""

    told: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)  # what somebody has to say

    def guess(self, key: str, value: object, why: str) -> None:
        """Tell what was guessed, and why."""
        self.told.append(f"{key} = {value}: {why}")


def write_draft(root: Path) -> tuple[Path, Drafted]:
    """Write the dataset.toml of a folder that has none.

    Args:
        root: the folder.

    Returns:
        The file, and what is to be told.

    Raises:
        InputError: no folder, one that has a dataset.toml, files of which no sensor is recognised.
    """
    if not root.is_dir():
        got = "a file" if root.exists() else "nothing there"
        raise InputError(root, expected="a folder of recordings", got=got, fix="Unpack it, or check the path.")
    path = root / FILE
    if path.exists():
        fix = f"Remove it first, or look it over: python -m sdk.datasets check {root}"
        raise InputError(path, expected="no such file yet", got="one", fix=fix)
    draft = Drafted()
    description = _labelled(root, _guessed(root, draft), draft)
    text = written(description, draft.unsure)
    assert parse(text, str(path)) is not None
    write_atomic(path, text.encode())
    return path, draft


def _guessed(root: Path, draft: Drafted) -> Description:
    """All but the names of labels."""
    spans = [path for path in sorted(root.rglob("*")) if path.is_file() and has_spans(path)]
    exclude = tuple(path.relative_to(root).as_posix() for path in spans)
    bare = Description(_name_of(root), 50.0, (), exclude=exclude)
    found = takes(root, bare)
    parts, pattern = sensor_pattern([take.name for take in found])
    if pattern:
        kinds = [kind for kind in _KINDS if kind in parts]
        sensors = tuple(SensorTable(kind) for kind in kinds)
        draft.guess("signal", " and ".join(kinds), f"names of files end in {', '.join(sorted(parts.values()))}")
        draft.guess("people.pattern", pattern, f"{len(found)} names fit")
        bare = replace(bare, sensors=sensors, pattern=pattern)
        found = takes(root, bare)
    else:
        sensors = _sensors(found, draft)
    head = _head(found)
    bare = replace(bare, sensors=sensors, labels=_source_of_labels(root, spans, found, head, draft))
    bare = bare if pattern else _people(bare, found, head, draft)
    if bare.labels.spans and not any(name != bare.labels.spans for name in exclude):
        bare = replace(bare, exclude=())  # the file of labels is no recording anyway
    return _units_and_rate(bare, found, draft)


def _name_of(root: Path) -> str:
    name = re.sub(r"[^\w.-]+", "_", root.resolve().name).strip("_.-") or "own"
    return f"my_{name}" if name in NAMES or not name[0].isalnum() else name


def _head(found: Sequence[Take]) -> TableHead:
    path = found[0].path
    return head_of(path) if path.is_file() and path.suffix.lower() == ".csv" else TableHead((), {})


@contextmanager
def _text_of(take: Take) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(as_text(take, Path(folder)))  # of a take of several files, their paths with commas


def _sensors(found: Sequence[Take], draft: Drafted) -> tuple[SensorTable, ...]:
    """Which sensors the first recording has.

    Raises:
        InputError: none is recognised.
    """
    with _text_of(found[0]) as path:
        if path.is_dir():
            names = [file.stem for file in sorted(path.iterdir()) if file.suffix.lower() in TABLES]
            kinds = list(dict.fromkeys(sensor_of(name) for name in names if sensor_of(name) in SENSORS))
            why = f"the files of {found[0].name} are called {', '.join(names)}"
            columns: dict[str, tuple[str, ...]] = {kind: () for kind in kinds}
        else:
            header = head_of(path).names if path.suffix.lower() == ".csv" else Recording.load(path).channels
            own = sensors_in(header)
            columns = {kind: tuple(axes[a] for a in "xyz") for kind, axes in own.items()}
            kinds, why = list(own), f"the columns of {found[0].name} are {', '.join(header)}"
    usable = [kind for kind in kinds if kind in _KINDS]
    if "acc without gravity" in kinds and "acc" not in kinds:
        usable = ["acc", *usable]
        draft.unsure.append("signal.acc has no gravity: a recording of the total acceleration tells postures, too")
    if not usable:
        expected = "columns or files that are called as a sensor and its axes, such as acc_x, gyro_z, Accelerometer.csv"
        fix = f"Write {FILE} yourself: docs/own_data.md has every key."
        raise InputError(found[0].path, expected=expected, got=why, fix=fix)
    draft.guess("signal", " and ".join(usable), why)
    ordered = [kind for kind in _KINDS if kind in usable]
    freed = columns.get("acc without gravity", ())
    return tuple(
        SensorTable(kind, columns=() if kind in kinds else freed, gravity=kind in kinds or kind != "acc")
        for kind in ordered
    )


def _source_of_labels(
    root: Path, spans: Sequence[Path], found: Sequence[Take], head: TableHead, draft: Drafted
) -> Labels:
    if len(spans) == 1:
        file = spans[0].relative_to(root).as_posix()
        draft.guess("labels.spans", file, "it has a start, an end and a label in each line")
        return Labels(spans=file)
    if spans:
        for take in found:
            stem = take.name.rpartition("/")[2]
            own = [path.relative_to(root).as_posix() for path in spans if stem in path.name]
            if own:
                pattern = own[0].replace(stem, "{stem}")
                pattern = pattern.rpartition("/")[2] if "/" in take.name else pattern
                draft.guess("labels.spans", pattern, f"{own[0]} has the spans of {take.name}, and so on")
                return Labels(spans=pattern)
    if column := column_like(head, of_people=False):
        words = ", ".join(sorted(head.words.get(column, {}))[:5])
        draft.guess("labels.column", column, f"so it is called, and {words} stand in it")
        return Labels(column=column)
    return Labels()


def _people(description: Description, found: Sequence[Take], head: TableHead, draft: Drafted) -> Description:
    if column := column_like(head, of_people=True):
        draft.guess("people.column", column, "so it is called")
        return replace(description, subject_column=column)
    pattern, why = pattern_like([take.name for take in found]) if len(found) > 1 else ("", "")
    if pattern:
        draft.guess("people.pattern", pattern, why)
    else:
        draft.unsure.append("people.pattern: whose a recording is cannot be told from the names of files")
    return replace(description, pattern=pattern)


def _units_and_rate(description: Description, found: Sequence[Take], draft: Drafted) -> Description:
    """Units by the values, and the rate by the times, of a few recordings."""
    recordings = []
    for take in found[:: max(len(found) // _LOOKED_AT, 1)][:_LOOKED_AT]:
        files = {sensor: path.stem for sensor, path in take.files.items()}
        reading = description.reading(description.labels.column, files)
        with _text_of(take) as path:
            whole = Recording.load(path, 50.0, reading=reading, signal=description.signal)
        recordings.append(beside_one_another(whole, description.signal) if whole.by_modality else whole)
    name = found[0].name
    sensors, at = [], 0
    for sensor in description.sensors:
        columns = slice(at, at + len(sensor.channels))
        at += len(sensor.channels)
        told = _unit_in_header(found[0], sensor.name)
        samples = [recording.samples[:, columns] for recording in recordings]
        unit, why = (told, "so the header says") if told else _unit_of(sensor, samples, recordings, name)
        if not unit:
            draft.unsure.append(f"signal.{sensor.name}.unit: {why}")
        else:
            draft.guess(f"signal.{sensor.name}.unit", unit, why)
        sensors.append(sensor if told else replace(sensor, unit=unit))
    rate_hz = _rate(recordings, draft)
    return replace(description, sensors=tuple(sensors), rate_hz=rate_hz)


def _unit_in_header(take: Take, sensor: str) -> str:
    if take.files:
        names = head_of(take.files[sensor]).names if take.files[sensor].suffix.lower() == ".csv" else ()
        return next((unit for name in names if (unit := take_apart(name).unit) and unit not in ("s", "ms")), "")
    with _text_of(take) as path:
        if path.is_dir():
            return ""
        names = head_of(path).names if path.suffix.lower() == ".csv" else Recording.load(path).channels
    return next((take_apart(column).unit for column in sensors_in(names).get(sensor, {}).values()), "")


def _unit_of(
    sensor: SensorTable, samples: Sequence[np.ndarray], recordings: Sequence[Recording], name: str
) -> tuple[str, str]:
    """A unit, empty where none is seen, and why."""
    if sensor.name == "gyro":
        return rotation_unit(np.concatenate(samples))
    if sensor.name != "acc":
        return sensor.si_unit, "it is usual"
    norms = np.concatenate([quiet_norms(s, r.rate_hz) for s, r in zip(samples, recordings, strict=True)])
    if not sensor.gravity:
        return "m/s^2", "it is usual; without gravity, nothing tells"
    if not len(norms):
        whole = float(np.nanmedian(np.linalg.norm(np.concatenate(samples), axis=1)))
        unit = "g" if whole < 3 else "mg" if whole > 300 else "m/s^2"
        return unit, f"its norm is {whole:.3g} in the middle; no second of rest tells better"
    rest = float(np.median(norms))
    known = scale_of_norm(rest)
    why = f"its norm is {rest:.4g} in {len(norms)} seconds of rest of {name} and others"
    if known is None and rest < GRAVITY_SHARE:
        why += ": it looks freed of gravity; if so, say gravity = false"
    return known or "", why


def _rate(recordings: Sequence[Recording], draft: Drafted) -> float:
    rates = [rate.typical_hz for recording in recordings if (rate := measured_rate(recording.t)) is not None]
    if not rates:
        hz = recordings[0].rate_hz
        draft.unsure.append(f"rate_hz: the files have no times; {hz:g} Hz is what stands there, or is usual")
        return hz
    measured = float(np.median(rates))
    nearest = min(RATES_HZ, key=lambda hz: abs(hz / measured - 1))
    hz = float(nearest) if abs(nearest / measured - 1) <= _NEAR else round(measured, 1)
    draft.guess("rate_hz", f"{hz:g}", f"by the times there are {measured:.2f} samples in a second")
    return hz


def _labelled(root: Path, description: Description, draft: Drafted) -> Description:
    """The names of labels, those that are none, and how times are meant: all recordings are read for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # check says them
        pieces = list(OwnSet(root, description).pieces())
    names = Counter(name for piece in pieces for name in piece.recording.label_names if name.strip())
    if not names:
        draft.unsure.append("labels: none are found; say column, spans, or {label} in people.pattern")
        return description
    nulls = null_labels(list(names))
    kept = tuple(sorted({plain(name) for name in names if name not in nulls}))
    draft.guess("labels.names", ", ".join(kept), f"they stand in the labels of {len(pieces)} recordings")
    if nulls:
        draft.guess("labels.leave_out", ", ".join(nulls), "they say that nothing is known")
    ways = {piece.way for piece in pieces if piece.way is not None and any(piece.spans)}
    its = replace(description.labels, names=kept, leave_out=tuple(nulls))
    if len(ways) == 1:
        way = next(iter(ways))
        draft.guess("labels.unit, labels.from", f"{way.unit}, {way.origin}", "so they lie in their recordings")
        its = replace(its, unit=way.unit, origin=way.origin)
    still = [name for name in kept if name in ("sitting", "standing", "laying", "lying", "still", "idle", "rest")]
    return replace(description, labels=replace(its, resting=tuple(still)))


def written(description: Description, unsure: Sequence[str] = ()) -> str:
    """A description as TOML."""
    its = description.labels
    lines = [f"name = {_text(description.name)}", f"rate_hz = {description.rate_hz:g}"]
    lines += [f"# to be said: {one}" for one in unsure]
    for sensor in description.sensors:
        lines += ["", f"[signal.{sensor.name}]"]
        lines += [f"unit = {_text(sensor.unit)}"] if sensor.unit else []
        lines += [f"columns = {_list(sensor.columns)}"] if sensor.columns else []
        lines += [] if sensor.gravity else ["gravity = false"]
    if description.exclude:
        lines += ["", "[files]", f"exclude = {_list(description.exclude)}"]
    if description.pattern or description.subject_column:
        key, value = ("pattern", description.pattern) if description.pattern else ("column", description.subject_column)
        lines += ["", "[people]", f"{key} = {_text(value)}"]
    lines += ["", "[labels]"]
    for key, text in {"column": its.column, "spans": its.spans, "unit": its.unit, "from": its.origin}.items():
        lines += [f"{key} = {_text(text)}"] if text else []
    for key, texts in {"names": its.names, "leave_out": its.leave_out, "resting": its.resting}.items():
        lines += [f"{key} = {_list(texts)}"] if texts else []
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"
