"""One file per sensor, each with times of its own, as one recording: a phone's export, or several files that are named.

    walk/TotalAcceleration.csv    time,z,y,x          acc  |--|--|--|--|--        rows of the recording hold one sensor
    walk/Gyroscope.csv            time,z,y,x          gyro   |--|--|--|--|        each, in the order of their times

A file is the sensor that its name says (accelerometer, total acceleration, gyroscope, magnetometer, ..., or the name
that the model has), or that `map=acc:TotalAcceleration` says; its columns are `x`, `y`, `z`, or as in any other file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording.placement import sensor_of
from runtime.recording.reading import Reading, part_of
from runtime.specs import Signal

_SUFFIXES = (".csv", ".npz")


class Part(NamedTuple):
    """What one file holds of one sensor."""

    samples: NDArray[np.float32]  # shape (n, channels of the sensor)
    t: NDArray[np.float64] | None  # shape (n,), seconds
    rate_hz: float
    is_of_arrival: bool


Load: TypeAlias = Callable[[Path, Reading, Signal], Part]


class Joined(NamedTuple):
    """Rows of several sensors, in the order of their times."""

    samples: NDArray[np.float32]  # shape (n, n_channels); NaN in the channels of all sensors but one
    t: NDArray[np.float64]  # shape (n,), seconds
    rate_hz: float  # of the first sensor
    is_of_arrival: bool  # of one of them, at least, the times are
    told: tuple[str, ...]


def files_of(path: Path) -> list[Path]:
    """The files of a folder, or those that are named with commas; none where it is one file."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
    if path.exists() or "," not in str(path):
        return []
    first, *others = str(path).split(",")
    return [Path(first), *(Path(name) if Path(name).exists() else Path(first).parent / name for name in others)]


def join(files: list[Path], signal: Signal, reading: Reading, load: Load, where: str) -> Joined:
    """Read each sensor of a signal from its file.

    Args:
        files: of one recording.
        signal: what the model wants.
        reading: what was said.
        load: reads one file.
        where: for messages.

    Raises:
        InputError: a sensor without a file, or with several; a file without times, or of another time.
    """
    chosen = [_file_of(i, files, signal, reading, where) for i in range(len(signal.modalities))]
    samples, times, rates_hz, is_of_arrival = [], [], [], False
    for modality, columns, file in zip(signal.modalities, signal.columns, chosen, strict=True):
        part = load(file, part_of(reading, [m.name for m in signal.modalities], modality.name), Signal((modality,)))
        if part.t is None or not len(part.t):
            raise InputError(
                file, expected="a column of times", got="none", fix="Record it with times, or say t=COLUMN:UNIT."
            )
        rows = np.full((len(part.samples), len(signal.channel_names)), np.nan, np.float32)
        rows[:, columns] = part.samples
        samples.append(rows)
        times.append(part.t)
        rates_hz.append(part.rate_hz)
        is_of_arrival = is_of_arrival or part.is_of_arrival
    begins, ends = (max(float(np.nanmin(t)) for t in times), min(float(np.nanmax(t)) for t in times))
    if begins >= ends:
        spans = ", ".join(
            f"{f.name} {np.nanmin(t):.3f} to {np.nanmax(t):.3f} s" for f, t in zip(chosen, times, strict=True)
        )
        raise InputError(
            where, expected="sensors of one clock", got=spans, fix="Give each the same clock, as epoch ms."
        )
    order = np.argsort(np.concatenate(times), kind="stable")
    left = [file.name for file in files if file not in chosen]
    told = ["sensors: " + ", ".join(f"{m.name} is {f.name}" for m, f in zip(signal.modalities, chosen, strict=True))]
    told += [f"left out: {', '.join(left)}"] if left else []
    return Joined(np.concatenate(samples)[order], np.concatenate(times)[order], rates_hz[0], is_of_arrival, tuple(told))


def by_modality(
    rows: NDArray[np.float32], t: NDArray[np.float64], signal: Signal
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64], str]]:
    """Rows of a joined recording as each sensor's samples, times and name.

    Args:
        rows: shape (n, n_channels), some that follow one another.
        t: shape (n,), their times.
        signal: of the model.
    """
    for modality, columns in zip(signal.modalities, signal.columns, strict=True):
        own = rows[:, columns]
        here = ~np.isnan(own).all(axis=1)
        if here.any():
            yield own[here], t[here], modality.name


def _file_of(place: int, files: list[Path], signal: Signal, reading: Reading, where: str) -> Path:
    """The file of a modality."""
    name = signal.modalities[place].name
    said = reading.map.get(name)
    if said is not None:
        found = [file for file in files if said in (file.name, file.stem)]
    else:
        found = [file for file in files if sensor_of(file.stem) == sensor_of(name) or file.stem.lower() == name.lower()]
        total = [file for file in found if "total" in file.stem.lower()]
        found = total if len(total) == 1 else found
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in files) or "none"
    raise InputError(
        f"{where}: {name}",
        expected=f"one file whose name says that it is {said or name}",
        got=f"{', '.join(file.name for file in found)}" if found else names,
        fix=f"Say which: map={name}:{(found or files or [Path('FILE')])[0].stem}.",
    )
