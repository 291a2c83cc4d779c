"""What one says about the columns of a file or of lines: the time, its unit, the sensor's units, names and axes.

It is written behind the `?` of a source's URL and behind the name of a file, wherever a file is named:

    --replay 'today.csv?t=timestamp:ms&units=g,deg/s'        --source 'stdin?t=us&bits=32'

`Reading` is that, read; docs/files.md explains each. What is not said is recognised by rules (`runtime.recording`) or
asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args
from urllib.parse import parse_qsl, quote

import numpy as np
from numpy.typing import ArrayLike

from runtime.errors import InputError

HELP = """\
  t=COLUMN:UNIT, t=UNIT, t=COLUMN   which column is the time; s, ms, us, ns, iso (8601); t=none: there is no time
  bits=32                           the time is a counter of so many bits, which wraps (printed signed or not)
  stamps=arrival                    the times are of arrival: late, in bunches (measured: they are not; spread: equal
                                    stamps stand for samples up to the next)
  units=g,deg/s                     of each sensor in the model's order; or units=gyro:deg/s; g/16384: 16384 steps per g
  map=acc_x:ax,acc_y:ay             which column is which channel, where the name does not tell
  axes=y,-x,z                       the model's x, y, z, made of the sensor's; or nine numbers, row by row; or
                                    axes=acc:y,-x,z;gyro:x,y,z
  label=COLUMN                      which column holds the true labels (else label, labels or activity)"""

StampWord: TypeAlias = Literal["measured", "arrival", "spread"]
Matrix: TypeAlias = tuple[tuple[float, ...], ...]
T_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
ISO = "iso"
OPTIONS = ("t", "bits", "stamps", "units", "map", "axes", "label")
_WORDS = (*T_UNITS, ISO)
_MOST_BITS = 52  # of a counter: beyond, a float64 holds no whole numbers


@dataclass(frozen=True)
class Reading:
    """What was said about columns; nothing by default.

    Raises:
        InputError: an option that makes no sense; the message names it.
    """

    time: str = ""  # column of the time; "": as its name tells
    unit: str = "auto"  # of the time: s, ms, us, ns, iso; none: there are no times
    bits: int | None = None  # of a counter that wraps; None: one is recognised where it is plain
    stamps: StampWord | None = None  # None: as they look, where one can look ahead
    units: Mapping[str, str] = field(default_factory=dict)  # of a modality, by its name or its place "0", "1", ...
    map: Mapping[str, str] = field(default_factory=dict)  # of a channel, the column
    axes: Mapping[str, Matrix] = field(default_factory=dict)  # of a modality by its name, "": of all others
    label: str = ""  # column of the true labels; "": as its name tells
    text: str = ""  # as it was written

    def __post_init__(self) -> None:
        known = ("auto", *_WORDS, "none")
        if self.unit not in known:
            raise InputError(
                "t", expected=f"one of {', '.join(known)}", got=self.unit, fix="Name the unit of the times."
            )

    @classmethod
    def of(cls, text: str, where: str = "options") -> Reading:
        """What stands behind a `?`, and nothing else.

        Raises:
            InputError: an option that there is not, or one that makes no sense.
        """
        words = dict(parse_qsl(text, keep_blank_values=True))
        if strange := sorted(words.keys() - set(OPTIONS)):
            raise InputError(
                where, expected=f"the options {', '.join(OPTIONS)}", got=", ".join(strange), fix="See docs/files.md."
            )
        return cls.taken(words.get, where)

    @classmethod
    def taken(cls, take: Callable[[str], str | None], where: str = "options") -> Reading:
        """The options that `take` gives by their names; those of a source's URL stand beside others.

        Args:
            take: the text of an option, None where it was not given.
            where: for messages.

        Raises:
            InputError: an option that makes no sense.
        """
        words = {name: word for name in OPTIONS if (word := take(name)) is not None}
        time, unit = _time(words.get("t", "auto"), where)
        return cls(
            time=time,
            unit=unit,
            bits=_bits(words.get("bits"), where),
            stamps=_stamps(words.get("stamps"), where),
            units=_pairs(words.get("units", ""), f"{where}: units", by_place=True),
            map=_pairs(words.get("map", ""), f"{where}: map"),
            axes=_axes(words.get("axes", ""), f"{where}: axes"),
            label=words.get("label", ""),
            text="&".join(f"{name}={quote(word, safe='/,:;^-')}" for name, word in words.items()),
        )

    @classmethod
    def of_values(
        cls, units: str | Mapping[str, str] | None, axes: str | ArrayLike | None, where: str = "options"
    ) -> Reading:
        """What a program says of the numbers that it pushes.

        Args:
            units: as text, or of a modality by its name.
            axes: as text, or a matrix of shape (3, 3).
            where: for messages.

        Raises:
            InputError: as of `taken`.
        """
        words = {"units": units, "axes": axes}
        if isinstance(units, Mapping):
            words["units"] = ",".join(f"{name}:{unit}" for name, unit in units.items())
        if axes is not None and not isinstance(axes, str):
            words["axes"] = ",".join(repr(float(number)) for number in np.ravel(axes))
        return cls.taken({name: str(word) for name, word in words.items() if word is not None}.get, where)

    @property
    def values(self) -> str:
        """The options that say what the numbers are, not when they were: what a saved recording keeps."""
        kept = [part for part in self.text.split("&") if part.split("=")[0] in ("units", "map", "axes")]
        return "&".join(kept)


def part_of(reading: Reading, names: Sequence[str], name: str | None) -> Reading:
    """What was said of one modality.

    Args:
        reading: of all.
        names: of the modalities, in the model's order.
        name: of the modality; None: all of them.
    """
    if name is None:
        return reading
    place = list(names).index(name)
    units = reading.units.get(name, reading.units.get(str(place)))
    axes = reading.axes.get(name, reading.axes.get(""))
    own = {channel: column for channel, column in reading.map.items() if channel.startswith(f"{name}_")}
    return replace(
        reading, units={} if units is None else {name: units}, axes={} if axes is None else {name: axes}, map=own
    )


def split_path(path: str | Path) -> tuple[Path, str]:
    """A file's name, and the options behind its `?`; a file that has a `?` in its name is that file."""
    name, mark, options = str(path).rpartition("?")
    if not mark or "=" not in options or Path(path).exists():
        return Path(path), ""
    return Path(name), options


def _time(word: str, where: str) -> tuple[str, str]:
    if word in ("auto", "none", *_WORDS):
        return "", word
    column, colon, unit = word.rpartition(":")
    if word in ("h", "m", "min", "d"):
        expected = f"one of auto, {', '.join(_WORDS)}, none, or a column"
        raise InputError(f"{where}: t", expected=expected, got=word, fix=f"Of a column of that name say t={word}:s.")
    if not colon:
        return word, "auto"
    if not column or unit not in _WORDS:
        raise InputError(
            f"{where}: t",
            expected=f"COLUMN:UNIT with a unit of {', '.join(_WORDS)}",
            got=word,
            fix="Write it as in t=timestamp:ms.",
        )
    return column, unit


def _bits(word: str | None, where: str) -> int | None:
    if word is None:
        return None
    if not word.isdecimal() or not 8 <= int(word) <= _MOST_BITS:
        raise InputError(
            f"{where}: bits", expected=f"a whole number from 8 to {_MOST_BITS}", got=word, fix="Write bits=32."
        )
    return int(word)


def _stamps(word: str | None, where: str) -> StampWord | None:
    for known in get_args(StampWord):
        if word == known:
            return known  # type: ignore[no-any-return]
    if word is None:
        return None
    expected = f"one of {', '.join(get_args(StampWord))}"
    raise InputError(f"{where}: stamps", expected=expected, got=word, fix="Say what the times are.")


def _pairs(text: str, where: str, *, by_place: bool = False) -> dict[str, str]:
    """`name:word,name:word`; words without a name are named by their places."""
    found: dict[str, str] = {}
    for place, part in enumerate(text.split(",") if text else []):
        name, colon, word = part.partition(":")
        if not colon and by_place:
            name, word = str(place), part
        if not name.strip() or not word.strip() or name.strip() in found:
            form = "WORD,WORD or NAME:WORD,NAME:WORD" if by_place else "CHANNEL:COLUMN,CHANNEL:COLUMN"
            raise InputError(where, expected=form, got=text, fix="Name each once.")
        found[name.strip()] = word.strip()
    return found


def _axes(text: str, where: str) -> dict[str, Matrix]:
    """`y,-x,z` or nine numbers, perhaps for a modality by its name; several are separated by `;`."""
    found: dict[str, Matrix] = {}
    for part in text.split(";") if text else []:
        name, colon, words = part.rpartition(":")
        cells = [cell.strip().lower() for cell in words.split(",")]
        matrix = _letters(cells) if len(cells) == 3 else _numbers(cells)
        if matrix is None or name.strip() in found or bool(colon) != bool(name.strip()):
            expected = "three axes such as y,-x,z, or nine numbers of a matrix that can be inverted, row by row"
            raise InputError(where, expected=expected, got=text, fix="Name each sensor once, as in axes=acc:y,-x,z.")
        found[name.strip()] = matrix
    return found


def _letters(cells: list[str]) -> Matrix | None:
    rows = []
    for cell in cells:
        sign, letter = (-1.0, cell[1:]) if cell.startswith("-") else (1.0, cell.removeprefix("+").strip())
        if letter not in ("x", "y", "z"):
            return None
        rows.append(tuple(sign if letter == axis else 0.0 for axis in "xyz"))
    return tuple(rows) if len({row.index(next(filter(None, row))) for row in rows}) == 3 else None


def _numbers(cells: list[str]) -> Matrix | None:
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return None
    if len(numbers) != 9 or not all(map(math.isfinite, numbers)):
        return None
    (a, b, c), (d, e, f), (g, h, i) = rows = (tuple(numbers[:3]), tuple(numbers[3:6]), tuple(numbers[6:]))
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return rows if abs(determinant) > 1e-9 else None
