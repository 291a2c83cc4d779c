"""What files look like: units by the norm at rest, sensors by names of columns, people by names of files."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.recording.placement import sensor_axis, sensor_of
from runtime.recording.units import take_apart
from sdk.datasets._info import STANDARD_GRAVITY

GRAVITY_TOLERANCE = 0.08  # of 9.81 m/s^2: sensors of phones are off by a few per cent, a wrong unit by far more
GRAVITY_SHARE = 0.5  # of 9.81 m/s^2: below, gravity is not in it
LARGEST_RAD_S = 36.0  # 2,000 degrees in a second, the most that sensors of motion measure, and a little
QUIET_SHARE = 0.03  # of the norm: the standard deviation of each axis in a second of rest
FREED_QUIET = 0.3  # m/s^2, where there is no norm to compare with
STEPS = (16384, 8192, 4096, 2048, 1024, 256)  # of a converter to the g
_HEAD_BYTES = 1 << 16
_SUBJECTS = ("subject", "person", "user", "participant", "userid", "subjectid", "personid", "participantid", "wearer")
_LABELS = ("label", "labels", "activity", "class", "target", "annotation", "activitylabel", "gesture", "state")
_NULLS = ("null", "none", "other", "unknown", "unlabeled", "unlabelled", "undefined", "transition", "nan", "noise", "")
_PERSON = re.compile(r"(?:subject|sub|subj|person|participant|part|user|proband|id|s|p|u)[-_ ]?\d+", re.I)
_ACTIVITIES = """walking walk running run jogging jog sitting sit standing stand laying lying lie cycling biking
    upstairs downstairs stairs jumping still idle rest wave snake circle fall falling sleep sleeping eating typing"""


class TableHead(NamedTuple):
    """The beginning of a table of text."""

    names: tuple[str, ...]
    words: Mapping[str, Counter[str]]  # of columns of text, how often each word stands there


def quiet_norms(samples: NDArray[np.floating], rate_hz: float) -> NDArray[np.float64]:
    """The norm in each second in which no axis moves, shape (n_seconds,).

    Args:
        samples: shape (n, 3).
        rate_hz: samples per second.
    """
    second = max(round(rate_hz), 2)
    whole = len(samples) // second * second
    seconds = np.asarray(samples[:whole], np.float64).reshape(-1, second, samples.shape[1])
    norm = np.linalg.norm(seconds.mean(axis=1), axis=1)
    spread = seconds.std(axis=1).max(axis=1) if len(seconds) else np.zeros(0)
    least = FREED_QUIET * (norm < FREED_QUIET)  # freed of gravity, it is near 0 at rest
    quiet = (spread < np.maximum(QUIET_SHARE * norm, least)) & seconds.any(axis=(1, 2))
    return np.asarray(norm[quiet])


def like_gravity(norm: float) -> bool:
    """Whether an acceleration at rest is that of gravity, in m/s^2."""
    return abs(norm / STANDARD_GRAVITY - 1) <= GRAVITY_TOLERANCE


def scale_of_norm(norm: float) -> str | None:
    """The unit in which gravity has a norm; None: none that is known."""
    units = {"m/s^2": STANDARD_GRAVITY, "g": 1.0, "mg": 1000.0} | {f"g/{n}": float(n) for n in STEPS}
    near = [unit for unit, value in units.items() if abs(norm / value - 1) <= GRAVITY_TOLERANCE]
    return near[0] if near else None


def rotation_unit(samples: NDArray[np.floating]) -> tuple[str, str]:
    """The unit of a gyroscope and why.

    Args:
        samples: shape (n, 3).
    """
    large = float(np.nanquantile(np.abs(samples), 0.99)) if samples.size else 0.0
    if large > 3 * LARGEST_RAD_S * 57.3:
        return "", f"1 % of it is beyond {large:.0f}: steps of a converter, whose scale its data sheet says"
    if large > LARGEST_RAD_S / 2:
        return "deg/s", f"1 % of it is beyond {large:.0f}, which would be many turns in a second"
    return "rad/s", f"99 % of it is below {large:.2f}"


def sensors_in(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Columns of sensors by their axes: {"acc": {"x": "ax", ...}}; those that are freed of gravity are called so."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        told = sensor_axis(take_apart(name).name)
        if told is not None:
            found.setdefault(told[0], {}).setdefault(told[1], name)
    return {kind: axes for kind, axes in found.items() if len(axes) == 3}


def head_of(path: Path) -> TableHead:
    """The names of the columns of a .csv, and the words in those that hold text."""
    with path.open("rb") as file:
        text = file.read(_HEAD_BYTES).decode("utf-8-sig", "replace")
    lines = [line for line in text.splitlines()[:-1] or text.splitlines() if line.strip()]
    separator = max(",;\t|", key=lambda sign: sum(line.count(sign) for line in lines[:20]))
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=separator)]
    for i, row in enumerate(rows):
        if len(row) > 1 and sum(_is_number(cell) for cell in row) == 0:
            body = [other for other in rows[i + 1 :] if len(other) == len(row)]
            words = {name: Counter(other[k] for other in body) for k, name in enumerate(row) if name}
            kept = {name: count for name, count in words.items() if count and not _are_numbers(count)}
            return TableHead(tuple(row), kept | {n: c for n, c in words.items() if _plain(n) in (*_SUBJECTS, *_LABELS)})
    return TableHead((), {})


def column_like(head: TableHead, *, of_people: bool) -> str:
    """The column of people or of labels; empty: none."""
    words = _SUBJECTS if of_people else _LABELS
    return next((name for word in words for name in head.names if _plain(name) == word), "")


def null_labels(names: Sequence[str]) -> list[str]:
    """Those that say that nothing is known."""
    return [name for name in names if _plain(name) in _NULLS]


def pattern_like(names: Sequence[str]) -> tuple[str, str]:
    """A pattern that reads people from names of files, and why; empty where none is seen.

    Args:
        names: paths without suffixes.
    """
    for sign in ("_", "-", ".", " "):
        cut = [[part for folder in name.split("/") for part in (folder, "/")][:-1] for name in names]
        parts = [[piece for part in one for piece in ([part] if part == "/" else _split(part, sign))] for one in cut]
        if len({len(one) for one in parts}) != 1 or len({tuple(p in (sign, "/") for p in one) for one in parts}) != 1:
            continue
        columns = list(zip(*parts, strict=True))
        free = [i for i, column in enumerate(columns) if column[0] not in (sign, "/")]
        if found := _columns_like(columns, free):
            text = _written(columns, free, found)
            return text, f"{len(names)} names fit; people are {', '.join(sorted(set(columns[found['subject']]))[:4])}"
    return "", ""


def sensor_pattern(names: Sequence[str]) -> tuple[dict[str, str], str]:
    """Of names that end in a sensor's: what each sensor is called there, and the pattern; empty where they do not.

    Args:
        names: paths without suffixes, such as anna_1_acc.
    """
    for sign in ("_", "-", "."):
        ends = [name.rpartition(sign) for name in names]
        kinds = {end: sensor_of(end) for rest, _, end in ends if rest and len(end) > 1}
        if len(kinds) < 2 or not set(kinds.values()) <= {"acc", "gyro", "mag"} or any(e not in kinds for *_, e in ends):
            continue
        rest, _ = pattern_like(sorted({rest for rest, _, _ in ends}))
        parts = {kind: end for end, kind in kinds.items()}
        return parts, f"{rest or '{subject}'}{sign}{{sensor}}" if len(parts) == len(kinds) else ""
    return {}, ""


def _columns_like(columns: Sequence[Sequence[str]], free: Sequence[int]) -> dict[str, int]:
    """Which part of names is the person, and which the label."""
    varied = [i for i in free if len(set(columns[i])) > 1]
    label = [i for i in varied if all(word.lower() in _ACTIVITIES.split() for word in columns[i])]
    persons = [i for i in varied if all(_PERSON.fullmatch(word) for word in columns[i])]
    others = [i for i in varied if i not in label]
    subject = persons[:1] or others[:1]
    if not subject:
        return {}
    return {"subject": subject[0], **({"label": label[0]} if label else {})}


def _written(columns: Sequence[Sequence[str]], free: Sequence[int], found: Mapping[str, int]) -> str:
    words = {place: word for word, place in found.items()}
    rest = iter(["session"])
    text = ""
    for i, column in enumerate(columns):
        if i not in free:
            text += column[0]
        elif i in words:
            text += f"{{{words[i]}}}"
        elif len(set(column)) == 1 and not column[0].isdigit():
            text += column[0]
        else:
            word = next(rest, "")
            text += f"{{{word}}}" if word else "*"
    return text


def _split(text: str, sign: str) -> list[str]:
    return [part for piece in text.split(sign) for part in (piece, sign)][:-1]


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _are_numbers(words: Mapping[str, int]) -> bool:
    return sum(n for word, n in words.items() if _is_number(word) or not word) > 0.5 * sum(words.values())


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
