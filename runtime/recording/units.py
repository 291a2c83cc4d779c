"""Units of measurement: what a column is in, what the model wants, and the number between the two.

    m/s^2   g, mg, cm/s^2                  rad/s   deg/s (dps), mdps, mrad/s, rpm
    uT      nT, mT, T, G (gauss), mG       Pa      hPa, kPa, mbar, bar
    UNIT/N  N steps of the converter are one UNIT, as a data sheet says it: g/16384, deg/s/131

A unit stands behind a column's name, `acc_x (g)`, `gyro_z [deg/s]`, `acc_x_mg`, or is said: `units=g,deg/s`.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

STANDARD_GRAVITY = 9.80665  # m/s^2 in one g, by definition
_RADIAN = math.pi / 180  # rad in one degree
_KINDS: tuple[dict[str, float], ...] = (  # of each unit its size; the first of each is of size 1
    {"m/s^2": 1.0, "g": STANDARD_GRAVITY, "mg": STANDARD_GRAVITY / 1000, "cm/s^2": 0.01},
    {"rad/s": 1.0, "deg/s": _RADIAN, "mdps": _RADIAN / 1000, "mrad/s": 0.001, "rpm": math.tau / 60},
    {"uT": 1.0, "nT": 0.001, "mT": 1000.0, "T": 1e6, "G": 100.0, "mG": 0.1},
    {"Pa": 1.0, "hPa": 100.0, "mbar": 100.0, "kPa": 1000.0, "bar": 1e5},
)
_SPELLINGS = {
    "m/s^2": "m/s/s m/s2 m/s**2 m/s\u00b2 ms-2 m/s-2 ms^-2 m*s^-2 mps2 ms2 meters/second^2 meter_per_second^2",
    "g": "gs grav gravity standard_gravity g-force gforce",
    "mg": "milli-g millig",
    "rad/s": "rads/s rad/sec radps rads rad_s rad*s^-1 rads-1 rad/second radians/second radian/s radians/s",
    "deg/s": "dps degs deg/sec degps \u00b0/s \u00b0/sec deg*s^-1 degree/s degrees/s degree/second degrees/second",
    "mdps": "mdeg/s",
    "uT": "\u00b5t \u03bct microtesla ut",
    "G": "gauss gs",
}
_SUFFIXES = {"g": "g", "mg": "mg", "ms2": "m/s^2", "mps2": "m/s^2", "dps": "deg/s", "mdps": "mdps", "rads": "rad/s"}
_SUFFIXES |= {"radps": "rad/s", "degs": "deg/s", "ut": "uT", "hpa": "hPa"}
_BRACKETED = re.compile(r"^(.*\S)\s*(?:\(([^()]*)\)|\[([^\[\]]*)\])\s*$")


class Named(NamedTuple):
    """A column's name, taken apart."""

    name: str  # without the unit
    unit: str  # as it was written; "": none


def take_apart(column: str) -> Named:
    """A name as it stands in a header, without the unit behind it: `acc_x (g)`, `acc_x [g]`, `acc_x_mg`."""
    column = column.strip()
    if found := _BRACKETED.match(column):
        return Named(found[1], (found[2] or found[3] or "").strip())
    name, _, suffix = column.rpartition("_")
    if name and suffix.lower() in _SUFFIXES and len(name) > 1:
        return Named(name, _SUFFIXES[suffix.lower()])
    return Named(column, "")


def factor(unit: str, wanted: str) -> float | None:
    """What a number in one unit is multiplied by to be in another; None where nobody knows.

    Args:
        unit: as a header or an option has it; `UNIT/N` too.
        wanted: the model's.
    """
    for kind in _KINDS:
        own = _size(wanted, kind)
        if own is not None:
            size = _size(unit, kind)
            return None if size is None else size / own
    return 1.0 if _plain(unit) == _plain(wanted) else None


def units_like(wanted: str) -> tuple[str, ...]:
    """The units that can be turned into one, for a message."""
    return next((tuple(kind) for kind in _KINDS if _size(wanted, kind) is not None), (wanted,))


def _size(unit: str, kind: dict[str, float]) -> float | None:
    unit = unit.strip()
    if unit in kind:  # T and t, G and g, as SI writes them
        return kind[unit]
    for known, size in kind.items():
        if _plain(unit) in (_plain(known), *_SPELLINGS.get(known, "").split()):
            return size
    whole, slash, steps = unit.rpartition("/")
    if slash and re.fullmatch(r"\d+(\.\d+)?", steps) and float(steps) > 0:
        size_of_whole = _size(whole, kind)
        return None if size_of_whole is None else size_of_whole / float(steps)
    return None


def _plain(unit: str) -> str:
    return re.sub(r"\s+", "", unit).lower()
