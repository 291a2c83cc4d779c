"""Which column is which channel of the model, and by what its numbers are multiplied: names, units, axes.

A channel such as `acc_x` is found, in this order,

    1. as `map=acc_x:COLUMN` says
    2. by its own name; without regard to case, the unit behind it, or what stands between its words
    3. by the words for its sensor and its axis: `ax`, `accX`, `x_acc`, `accel_x`, `accelerometer_x`, `Acceleration.x`
       (gyro: gyr, gyroscope, rotation_rate, angular_velocity; mag: magn, magnetometer, magnetic_field), and no others

Two columns that fit equally well are asked for. The unit behind a name (`acc_x (g)`) or in `units=` is turned into the
model's. Acceleration that has been freed of gravity (`userAcceleration`, `linear_acceleration`) is not acceleration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording.reading import Matrix, Reading, part_of
from runtime.recording.units import Named, factor, take_apart, units_like
from runtime.specs import Modality, Signal

_SENSORS = {  # what they are called, as words without what stands between them
    "acc": "a acc accel accelerometer acceleration totalacceleration accelerationincludinggravity",
    "gyro": "g gyr gyro gyroscope gyroscopes rotationrate angularvelocity angvel anglvel",
    "mag": "m mag magn magnetometer magneticfield",
}
_WITHOUT_GRAVITY = [
    "useracceleration",
    "useracc",
    "linearacceleration",
    "linearacc",
    "linacc",
    "lacc",
    "bodyacceleration",
    "bodyacc",
]
_KIND_OF = {word: kind for kind, words in _SENSORS.items() for word in words.split()}
_KIND_OF |= dict.fromkeys(_WITHOUT_GRAVITY, "acc without gravity")
_AXES = ("x", "y", "z")


class Placement(NamedTuple):
    """How the model's channels are made of columns."""

    columns: tuple[int, ...]  # of each channel, the column
    scale: NDArray[np.float64] | None  # shape (n_channels,); None: all 1
    turns: tuple[tuple[tuple[int, ...], Matrix], ...]  # three channels, and the matrix that their values are turned by
    told: tuple[str, ...]  # what was not as the model has it, in words

    def apply(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Samples of the model, shape (n, n_channels), from a table, shape (n, n_columns)."""
        chosen = values[:, self.columns]
        if self.scale is not None or self.turns:
            exact = chosen.astype(np.float64) * (1.0 if self.scale is None else self.scale)
            for place, matrix in self.turns:
                exact[:, place] = _turned(exact[:, place], matrix)
            chosen = exact
        with np.errstate(over="ignore"):  # an overflow becomes infinite, which the stream counts as missing
            return np.ascontiguousarray(chosen, np.float32)


def placement(names: Sequence[str], signal: Signal, reading: Reading, where: str = "columns") -> Placement:
    """Find the channels of a signal among named columns.

    Args:
        names: of the columns, as they are written.
        signal: what the model wants.
        reading: what was said.
        where: for messages.

    Raises:
        InputError: a channel that no column or more than one fits, a unit that cannot be turned into the model's, an
            option that names what is not there, acceleration without gravity.
    """
    wanted, at = signal.channel_names, {name: i for i, name in enumerate(names)}
    if not (reading.map or reading.units or reading.axes) and len(at) == len(names) and at.keys() >= set(wanted):
        return Placement(tuple(at[name] for name in wanted), None, (), ())  # the rest is slow for thousands of columns
    _check_options(names, signal, reading, where)
    named = [Named(name, "") if name in wanted else take_apart(name) for name in names]
    columns, told, missing = [], [], []
    for modality in signal.modalities:
        for axis in modality.channels:
            channel = f"{modality.name}_{axis}"
            found = _find(channel, modality, axis, names, named, reading, len(signal.modalities) == 1)
            if not found:
                missing.append(channel)
            elif len(found) > 1:
                raise InputError(
                    f"{where}: {channel}",
                    expected="one column that it may be",
                    got=" and ".join(names[i] for i in found),
                    fix=f"Say which: map={channel}:{names[found[0]]}.",
                )
            columns += found
    if missing:
        raise _missing(missing, names, named, signal, where)
    renamed = [
        f"{c} is {names[i]}" for c, i in zip(signal.channel_names, columns, strict=True) if _is_news(c, names[i])
    ]
    told += [f"channels: {', '.join(renamed)}"] if renamed else []
    told += _without_gravity(columns, named, signal, reading)
    scale = _scale([named[i] for i in columns], signal, reading, where, told)
    turns = _turns(signal, reading)
    if turns:
        told.append("axes turned: " + ", ".join(signal.channel_names[i] for place, _ in turns for i in place))
    return Placement(tuple(columns), scale, turns, tuple(told))


def turns_of(
    signal: Signal, reading: Reading, where: str
) -> dict[str | None, Callable[[NDArray[Any]], NDArray[np.float32]]]:
    """From samples whose columns are a signal's, in other units or axes, to the signal's own.

    Args:
        signal: what the model wants.
        reading: what was said of the samples.
        where: for messages.

    Returns:
        By the name of the modality whose samples come alone, None for those of all: a function from shape
        (n, n_channels) to the same, float32.

    Raises:
        InputError: as of `placement`.
    """
    names, whole = [m.name for m in signal.modalities], placement(signal.channel_names, signal, reading, where)
    turns: dict[str | None, Callable[[NDArray[Any]], NDArray[np.float32]]] = {None: whole.apply}
    for modality in signal.modalities:
        own, said = Signal((modality,)), part_of(reading, names, modality.name)
        turns[modality.name] = placement(own.channel_names, own, said, where).apply
    return turns


def _find(
    channel: str,
    modality: Modality,
    axis: str,
    names: Sequence[str],
    named: Sequence[Named],
    reading: Reading,
    alone: bool,
) -> list[int]:
    """Columns that fit best; of a sensor that is alone, `x` is enough."""
    if channel in reading.map:
        return [column for column in [column_of(reading.map[channel], names)] if column is not None]
    taken = {column_of(name, names) for name in reading.map.values()}
    free = [i for i in range(len(names)) if i not in taken]
    key = (_KIND_OF.get(_joined(modality.name), modality.name), axis.lower())
    ways: tuple[Callable[[int], bool], ...] = (
        lambda i: names[i] == channel,
        lambda i: names[i].strip().lower() == channel.lower(),
        lambda i: _joined(named[i].name) == _joined(channel),
        lambda i: sensor_axis(named[i].name) == key,
        lambda i: alone and words_of(named[i].name) == [axis.lower()],
    )
    return next(filter(None, ([i for i in free if fits(i)] for fits in ways)), [])


def sensor_of(name: str) -> str:
    """The kind of sensor that a name says, such as "acc" of `TotalAcceleration`; the name itself where nobody knows."""
    return _KIND_OF.get(_joined(name), _joined(name))


def column_of(name: str, names: Sequence[str]) -> int | None:
    """The place of a column that was named; case and a unit behind it may be left out. None: it is not there."""
    if name in names:
        return list(names).index(name)
    plain = [take_apart(n).name.strip().lower() for n in names]
    return plain.index(name.strip().lower()) if name.strip().lower() in plain else None


def sensor_axis(name: str) -> tuple[str, str] | None:
    """Sensor and axis of a name: ("acc", "x") of `ax`, `AccX`, `x-axis acc`, `Acceleration.x`; None: not both."""
    words = [word for word in words_of(name) if word not in ("axis", "sensor")]
    if len(words) == 1 and words[0][-1:] in _AXES:
        words = [words[0][:-1], words[0][-1]]
    for axis, rest in ((words[-1:], words[:-1]), (words[:1], words[1:])):
        if axis and axis[0] in _AXES and (kind := _KIND_OF.get("".join(rest))):
            return kind, axis[0]
    return None


def words_of(name: str) -> list[str]:
    """The words of a name: `userAcceleration.x` as user, acceleration, x; `AccX` as acc, x."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [word.lower() for word in re.split(r"[^A-Za-z0-9]+", parted) if word]


def _joined(name: str) -> str:
    return "".join(words_of(name))


def _is_news(channel: str, name: str) -> bool:
    return name != channel and take_apart(name).name.strip().lower() != channel.lower()


def _check_options(names: Sequence[str], signal: Signal, reading: Reading, where: str) -> None:
    """Refuse options that name no channel, no column, no modality."""
    modalities, places = [m.name for m in signal.modalities], map(str, range(len(signal.modalities)))
    for option, given, known in (
        ("map", reading.map.keys(), signal.channel_names),
        ("units", reading.units.keys(), (*modalities, *places)),
        ("axes", reading.axes.keys(), ("", *modalities)),
    ):
        if strange := [name for name in given if name not in known]:
            expected = f"names among {', '.join(filter(None, known))}"
            raise InputError(
                f"{where}: {option}", expected=expected, got=", ".join(strange), fix="Name what the model has."
            )
    if strange := [name for name in reading.map.values() if column_of(name, names) is None]:
        expected = f"columns among {', '.join(names)}"
        raise InputError(f"{where}: map", expected=expected, got=", ".join(strange), fix="Name a column of the header.")
    for modality in signal.modalities:
        if modality.name in reading.axes and len(modality.channels) != 3:
            got = f"{modality.name} with {len(modality.channels)}"
            raise InputError(f"{where}: axes", expected="a sensor of three axes", got=got, fix="Name another.")


def _missing(
    missing: Sequence[str], names: Sequence[str], named: Sequence[Named], signal: Signal, where: str
) -> InputError:
    """What to say of channels that no column is."""
    shown = ", ".join(names) or "none"
    freed = [names[i] for i, name in enumerate(named) if (sensor_axis(name.name) or ("",))[0] == "acc without gravity"]
    if freed and any(_KIND_OF.get(_joined(m.name)) == "acc" for m in signal.modalities if m.name in missing[0]):
        return InputError(
            where,
            expected=f"acceleration with gravity in {', '.join(missing)}",
            got=f"acceleration without gravity ({', '.join(freed)})",
            fix=f"Record the total acceleration; or say that you know: map={missing[0]}:{freed[0]},...",
        )
    if sorted(words_of(name.name)[0] for name in named if name.name.lower() in _AXES) == list(_AXES):
        return InputError(
            where,
            expected=f"the channels {', '.join(signal.channel_names)}",
            got=f"one sensor ({shown})",
            fix="Name the folder with a file for each sensor, or the files with commas between them.",
        )
    return InputError(
        where,
        expected=f"the channels {', '.join(signal.channel_names)}",
        got=f"{len(names)} channels ({shown}) without {', '.join(missing)}",
        fix=f"Name the columns as the model does, or say which: map={missing[0]}:COLUMN; record what is missing.",
    )


def _without_gravity(columns: Sequence[int], named: Sequence[Named], signal: Signal, reading: Reading) -> list[str]:
    freed = [
        f"{channel} ({named[i].name})"
        for channel, i in zip(signal.channel_names, columns, strict=True)
        if (sensor_axis(named[i].name) or ("",))[0] == "acc without gravity" and channel in reading.map
    ]
    return (
        [f"acceleration without gravity, as you said, though the model wants it with: {', '.join(freed)}"]
        if freed
        else []
    )


def _scale(
    named: Sequence[Named], signal: Signal, reading: Reading, where: str, told: list[str]
) -> NDArray[np.float64] | None:
    """What each channel is multiplied by."""
    scales, words = [], {}
    modalities = [(place, m) for place, m in enumerate(signal.modalities) for _ in m.channels]
    for column, (place, modality) in zip(named, modalities, strict=True):
        said = reading.units.get(modality.name, reading.units.get(str(place), ""))
        unit = said or column.unit
        scale = factor(unit, modality.unit) if unit else 1.0
        if scale is None:
            raise InputError(
                f"{where}: unit of {modality.name}",
                expected=f"one of {', '.join(units_like(modality.unit))}, which {modality.unit} can be made of",
                got=unit,
                fix=f"Say it: units={modality.name}:{modality.unit}.",
            )
        if scale != 1.0:
            words[modality.name] = f"{modality.name} from {unit} to {modality.unit}"
        scales.append(scale)
    if not words:
        return None
    told.append(f"units: {', '.join(words.values())}")
    return np.array(scales)


def _turns(signal: Signal, reading: Reading) -> tuple[tuple[tuple[int, ...], Matrix], ...]:
    turns = []
    for modality, columns in zip(signal.modalities, signal.columns, strict=True):
        matrix = reading.axes.get(modality.name, reading.axes.get(""))
        if matrix is not None and len(modality.channels) == 3:
            turns.append((tuple(range(columns.start, columns.stop)), matrix))
    return tuple(turns)


def _turned(values: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """Each row times the matrix; column by column, so that a NaN reaches what it is part of only, and -0 is 0."""
    x, y, z = values.T
    parts = [[(c, v) for c, v in zip(row, (x, y, z), strict=True) if c] for row in matrix]
    return np.stack([np.sum([c * v for c, v in row], axis=0) for row in parts], axis=1)
