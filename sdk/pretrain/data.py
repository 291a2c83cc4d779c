"""What a study trains on: which device, at which rate, by which clock, and what of it gave nothing.

    data set -> one place on the body, or several if asked for -> windows, at the rate that the times tell
                                                               -> an account: windows and losses per place

A phone in a pocket and a watch on the wrist are two problems. A data set with recordings of several places asks which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import Modality
from runtime.window import LabelledWindows, labelled_windows
from sdk import left_out
from sdk.datasets import DatasetInfo, at_position, dataset_info, list_datasets
from sdk.datasets._pool import label_table, set_of
from sdk.pretrain.plan import StudyTask


def modalities_at(info: DatasetInfo, positions: Sequence[str]) -> dict[str, Modality]:
    """The modalities of a data set by name, as recordings at these places have them.

    Args:
        info: of the data set.
        positions: of the data set; none: all columns.

    Raises:
        InputError: a place that the data set does not have; none, where each place has recordings of its own.
    """
    if unknown := [position for position in positions if position not in info.positions]:
        known = ", ".join(info.positions) or "none: this data set has one place only"
        raise InputError("--position", expected=known, got=", ".join(unknown), fix="Choose among these.")
    if info.positions and not positions and not _columns_of(info, info.positions[0]):
        raise InputError(
            "--position",
            expected=f"which of {', '.join(info.positions)} to train on",
            got="none",
            fix=f"Say --position {info.positions[0]}; or --position {','.join(info.positions)} for all as one device.",
        )
    named = {m.name: m for m in info.signal.modalities}
    if positions and _columns_of(info, positions[0]):
        own = _columns_of(info, positions[0])
        named = {name: replace(named[f"{positions[0]}_{name}"], name=name) for name in own}
    return named


def chosen(recordings: Iterable[Recording], positions: Sequence[str], rate_hz: float | None = None) -> list[Recording]:
    """The recordings of some places.

    Args:
        recordings: left untouched.
        positions: none: all of them.
        rate_hz: of the recordings without times; those with times tell theirs. None: the nominal one.
    """
    recordings = list(recordings)
    if positions:
        worn = [recording for recording in recordings if not _has_one_place(recording)]
        others = [recording for recording in recordings if _has_one_place(recording)]
        recordings = [*others, *(recording for position in positions for recording in at_position(worn, position))]
    if rate_hz is None:
        return recordings
    return [replace(recording, rate_hz=rate_hz) if recording.t is None else recording for recording in recordings]


def placement_of(info: DatasetInfo, used: Sequence[str]) -> str:
    """Where the sensors were worn whose data was used, in words.

    Args:
        info: of the data set.
        used: its positions; none: what the data set says of itself.
    """
    if "+" in info.name:
        return f"{info.placement}{'; of these: ' if used else ''}{', '.join(used)}"
    worn = dict(zip(info.positions, info.worn, strict=False))
    return ", ".join(worn.get(position, position.replace("_", " ")) for position in used) or info.placement


def either_of(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Names in a pool that mean one of several labels, all of which are asked for."""
    return {name: some for name, some in label_table().either.items() if set(some) <= set(labels)}


def _has_one_place(recording: Recording) -> bool:
    """Whether a recording is of a data set whose sensors were worn at one place."""
    name = set_of(recording)
    return bool(name) and not (name in list_datasets() and dataset_info(name).positions)


def place_of(recording: Recording) -> str:
    """The place of a recording that is of one place; empty where the data set has one only, or several in columns."""
    name, _, rest = recording.name.partition("/")
    place = rest.rpartition("/")[2]
    return place if name in list_datasets() and place in dataset_info(name).positions else ""


def cut(recordings: Sequence[Recording], task: StudyTask) -> tuple[LabelledWindows, dict[str, Any]]:
    """Windows of recordings, and the account of them.

    Returns:
        The windows; and by place the counts of recordings, windows, recordings without a window and why, for JSON.

    Raises:
        InputError: a place of which there is no window at all.
    """
    labels = (*task.labels, *task.either)
    windows = labelled_windows(list(recordings), task.signal, task.window, labels, task.clock)
    sets = {set_of(recording) for recording in recordings}
    counts = np.bincount(windows.source, minlength=len(recordings))
    account: dict[str, Any] = {}
    for recording, n in zip(recordings, counts.tolist(), strict=True):
        key = place_of(recording)
        if len(sets) > 1:
            key = f"{set_of(recording)}{f', {key}' if key else ''}"
        of = account.setdefault(key, {"recordings": 0, "windows": 0, "without": {}})
        of["recordings"] += 1
        of["windows"] += n
        if not n:
            why = left_out.why_no_window(recording, task.signal, task.window, task.clock, labels)
            of["without"][why] = of["without"].get(why, 0) + 1
    for place, of in account.items():
        if place and not of["windows"]:
            raise InputError(
                f"{'data set' if len(sets) > 1 else 'position'} {place}",
                expected=f"windows of {task.window.length_samples / task.signal.rate_hz:g} s with labels",
                got=left_out.told(of["without"], of["recordings"], _option),
                fix="Mend that, or name another --position." if len(sets) < 2 else "Mend that, or leave it out.",
            )
    return windows, account


def told(account: dict[str, Any]) -> list[str]:
    """The account in words, a line for each place that has a name or of which something was left out."""
    lines = []
    for place, of in account.items():
        if not (place or of["without"]):
            continue
        line = f"{of['windows']:,} windows from {of['recordings']} recordings"
        without = left_out.told(of["without"], of["recordings"], _option)
        lines.append(f"{place + ': ' if place else ''}{line}{'; ' if without else ''}{without}")
    return lines


def fingerprint(*arrays: NDArray[Any]) -> str:
    """A hash of what is trained on, which tells a checkpoint of the same plan on other data."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _columns_of(info: DatasetInfo, position: str) -> list[str]:
    """Names of the modalities that one place has as columns, without the place; empty where it has recordings."""
    names = (m.name for m in info.signal.modalities)
    return [name.removeprefix(f"{position}_") for name in names if name.startswith(f"{position}_")]


def _option(reason: str) -> str:
    return reason.replace(left_out.CURE, "--clock arrival evens them out, --clock hold bridges them")
