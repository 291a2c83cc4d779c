"""One modality under the watch: what its looks remember, and the sentence on each way in which it can lie.

length of the mean     gravity, whatever the motion: another unit, or none of it
rms                    against the loudest window of the training: another unit
ends of each channel   beyond any sensor; many rows at one of them; both the same while the others move
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf, log, pi, sqrt
from operator import sub
from typing import NamedTuple

import numpy as np

from runtime.specs import Modality
from runtime.window.pieces import Rows

SAID_AFTER = 3  # frozen windows in a row until it is said
KEPT, DECIDES = 9, 5  # looks that are remembered; so many decide
DEAD_AFTER = 8  # looks in a row at an axis that stands still while its sensor moves
GRAVITY = {"m/s^2": 9.80665, "g": 1.0}  # at rest, in the units that are known
_DEGREES = 180 / pi
_RANGE = {"m/s^2": 165.0, "g": 16.8, "rad/s": 36.6, "deg/s": 2100.0}  # of common sensors, 16 g and 2000 deg/s
_LOUD = {"rad/s": 12.0, "deg/s": 688.0}  # of a window's rms, where no training data say it
_PER_GRAVITY = {  # what the mean is at rest, times 1 g: the unit that this is, and how one says so
    1.0: ("g", "units=g"),
    1000.0: ("mg or cm/s^2", "units=mg or units=cm/s^2"),
    9.80665: ("m/s^2", "units=m/s^2"),
    9806.65: ("mm/s^2", "divide it by 1000"),
    **{float(n): (f"counts of {n} per g", f"units=g/{n}") for n in (256, 2048, 4096, 8192, 16384)},
}
_SURE, _NEAR = (0.25, 4.0), 1.25  # times gravity: what it may be, arms swung fast; of another unit, either way
_NO_GRAVITY = 2.5  # motion over the mean's length, beyond which there is no gravity in an acceleration
MOVES = 0.1  # the same, beyond which somebody moves
SAME = 1e-6  # of a value: what a filter's rounding leaves of one that stands still
_RAIL_ROWS, _LOW_END = 8, 1.7  # rows at an end that is this many times the typical loudness
BEYOND = 2.0  # times the training's largest


class Expected(NamedTuple):
    """What windows of the training data were like; per modality, but for `largest`."""

    rest: tuple[float, ...]  # length of the mean in windows without motion
    usual: tuple[float, ...]  # median rms of a window
    loudest: tuple[float, ...]  # largest rms of a window
    largest: tuple[float, ...]  # per channel, farthest from 0


class Sensor:
    """One modality of a window."""

    def __init__(self, m: Modality, names: tuple[str, ...], place: tuple[int, int, int, bool], at: int) -> None:
        self.name, self.unit, self.channels = m.name, m.unit, names
        self.first, self._rows, stride, self._flat = place  # place of its first value among all of a window
        self.last = self.first + (self._rows - 1) * stride  # of that channel's last value
        self.limit = min((m.full_scale or inf) * 1.05, _RANGE.get(m.unit, inf))
        self.rest: float | None = None  # not known
        self._gravity_there, self._loud_there = m.unit in GRAVITY, m.unit in _LOUD
        self.columns = slice(self.first, self.first + len(names))  # of a row
        self.usual, self.loudest, self.at = 0.0, _LOUD.get(m.unit, inf), at
        self.reset()

    def expect(self, expected: Expected) -> None:
        """Take what the training data say."""
        self.rest, self.usual = expected.rest[self.at], expected.usual[self.at]
        self.loudest = max(expected.loudest[self.at], 0.0) or inf

    def reset(self) -> None:
        """Forget the windows so far."""
        self.still, self.moves, self.odd = 0, False, False  # frozen in a row; of the last look: motion, suspicion
        self._lengths, self._ratios = deque[float](maxlen=KEPT), deque[float](maxlen=KEPT)
        self._rms, self._rails = deque[float](maxlen=KEPT), deque[str](maxlen=KEPT)
        self._dead, self._any_dead, self._any_rail = [0] * len(self.channels), False, False

    def part(self, samples: Rows) -> Rows:
        """Its rows, shape (n, n_channels); a view."""
        width = len(self.channels)
        if not self._flat:
            return samples[:, self.first : self.first + width]
        return samples[self.first : self.first + self._rows * width].reshape(self._rows, width)

    def stands(self, samples: Rows) -> bool:
        """Whether no channel changes over the window, shape (length, n_channels) or (n_values,)."""
        part = self.part(samples)
        return bool((np.abs(part - part[0]) <= SAME * np.abs(part[0])).all())

    def stood(self, samples: Rows) -> str:
        """The sentence on a modality that stands still in a window, shape (length, n_channels) or (n_values,)."""
        values = self.part(samples)[0]
        told = (
            "nothing but 0" if not values.any() else f"the same {', '.join(f'{v:.4g}' for v in values)} again and again"
        )
        return f"{self.name} gives {told}: the sensor or its driver has stopped"

    def look(
        self, columns: Rows, low: list[float], high: list[float], mean: list[float], power: list[float]
    ) -> dict[str, str]:
        """What is wrong with it, by its word.

        Args:
            columns: its values, shape (n_channels, n).
            low: the least value of each channel.
            high: the largest.
            mean: of each channel.
            power: mean square of each channel.
        """
        squared, total = sum([value * value for value in mean]), sum(power)
        length, motion, rms = sqrt(squared), sqrt(max(total - squared, 0.0)), sqrt(total)
        ratio, farthest = motion / length if length else inf, max(max(high), -min(low))
        self.moves = ratio > MOVES
        found: dict[str, str] = {}
        if farthest > self.limit:
            found |= self._range(low, high)
        if self._any_dead or min(map(sub, high, low)) <= SAME * farthest:
            found |= self._axes(low, high)
        if self._any_rail or farthest > _LOW_END * (self.usual or rms):
            found |= self._rail(columns, low, high, rms)
        if self._gravity_there and not self.still:
            self._lengths.append(length)
            self._ratios.append(ratio)
            found |= self._gravity()
        if self._loud_there:
            self._rms.append(rms)
            if max(self._rms) > BEYOND * self.loudest:
                found |= self._loud()
        self.odd = rms > BEYOND * self.loudest or self._any_dead or self._any_rail
        if self._gravity_there and not self.odd and (self.rest is not None or ratio <= _NO_GRAVITY):
            self.odd = self._is_no_gravity(length)
        return found

    def is_odd(self, mean: list[float], power: list[float]) -> bool:
        """Whether it is so loud, or has so much or so little gravity, that a look is due.

        Args:
            mean: of each channel over a window.
            power: mean square of each channel.
        """
        total = sum(power)
        if total > (BEYOND * self.loudest) ** 2:
            return True
        if not self._gravity_there:
            return False
        squared = sum([value * value for value in mean])
        told = self.rest is not None or total <= squared * (1 + _NO_GRAVITY**2)  # as of a look
        return told and self._is_no_gravity(sqrt(squared))

    def _is_no_gravity(self, length: float) -> bool:
        """Whether a mean of this length cannot be gravity; or must be, where the model wants none."""
        least, most = _SURE[0] * GRAVITY[self.unit], _SURE[1] * GRAVITY[self.unit]
        return not least <= length <= most if self._wants_gravity() else length >= least

    def _wants_gravity(self) -> bool:
        return self.rest is None or self.rest > _SURE[0] * GRAVITY[self.unit]

    def _gravity(self) -> dict[str, str]:
        """Motion averages out over a window, gravity does not: the mean is as long as gravity, in the unit it has."""
        if len(self._lengths) < DECIDES:
            return {}
        g, wanted = GRAVITY[self.unit], self._wants_gravity()
        if wanted and _SURE[0] * g <= min(self._lengths) and max(self._lengths) <= _SURE[1] * g:
            return {}  # as the median would say: nearly always
        length, ratio = middle(self._lengths), middle(self._ratios)
        if wanted and ratio > _NO_GRAVITY and length < _SURE[0] * g:
            text = f"{self.name} has no gravity in it (mean {length:.2g} {self.unit}), and the model wants it"
            return {} if self.rest is None else {f"{self.name} gravity": f"{text}: push the raw acceleration"}
        if _SURE[0] * g <= length <= _SURE[1] * g:
            text = f"{self.name} has gravity in it (mean {length:.3g} {self.unit}), and the model wants none"
            return {} if wanted or ratio > _NO_GRAVITY else {f"{self.name} gravity": f"{text}: say what is at rest 0"}
        near = min(_PER_GRAVITY, key=lambda per: abs(log(max(length, 1e-9) / per)))
        if ratio <= _NO_GRAVITY and 1 / _NEAR < length / near < _NEAR and near != g:
            unit, cure = _PER_GRAVITY[near]
            text = f"{self.name} looks like {unit}, not {self.unit} (mean {length:.4g}): say {cure}"
            return {f"{self.name} unit": text}
        if self.rest is None or not wanted:
            return {}
        text = f"{self.name} is {length / g:.3g} times as large as gravity in {self.unit}: check its unit"
        return {f"{self.name} unit": text}

    def _loud(self) -> dict[str, str]:
        loud = sorted(rms for rms in self._rms if rms > BEYOND * self.loudest)
        if len(loud) < SAID_AFTER:
            return {}
        rms = loud[len(loud) // 2]
        fits = self.unit == "rad/s" and rms / _DEGREES < BEYOND * self.loudest
        what = "looks like deg/s, not rad/s" if fits else f"is louder than anything in training, in {self.unit}"
        cure = "say units=deg/s" if fits else "check its unit"
        return {
            f"{self.name} unit": f"{self.name} {what} (rms {rms:.3g}, at most {self.loudest:.2g} in training): {cure}"
        }

    def _range(self, low: list[float], high: list[float]) -> dict[str, str]:
        ends = [b if b > -a else a for a, b in zip(low, high, strict=True)]
        end = max(ends, key=abs)
        name = self.channels[ends.index(end)]
        text = f"{name} reaches {end:.4g} {self.unit}, beyond the {self.limit:.4g} of a plausible sensor"
        return {f"{self.name} range": f"{text}: check its unit"}

    def _axes(self, low: list[float], high: list[float]) -> dict[str, str]:
        """An axis that stands still while another one of its sensor moves."""
        still = [b - a <= SAME * abs(a) for a, b in zip(low, high, strict=True)]
        moves = self.moves and not all(still)
        for i, stands in enumerate(still):
            self._dead[i] = self._dead[i] + 1 if stands and moves else self._dead[i] if stands else 0
        self._any_dead = any(self._dead)
        names = [name for name, n in zip(self.channels, self._dead, strict=True) if n >= DEAD_AFTER]
        return {
            f"{name} dead": f"{name} never moves while the rest of {self.name} does: check its wire" for name in names
        }

    def _rail(self, columns: Rows, low: list[float], high: list[float], rms: float) -> dict[str, str]:
        """Many rows at one end, and that end far out: the range of the sensor is too small, or it is stuck there."""
        floor, rail = _LOW_END * (self.usual or rms), ""
        for i, (name, a, b) in enumerate(zip(self.channels, low, high, strict=True)):
            end = b if b > -a else a
            if abs(end) > floor and b > a and np.count_nonzero(columns[i] == end) >= _RAIL_ROWS:
                rail = rail or f"{name} stays at {end:.4g} {self.unit}, the end of its range"
        self._rails.append(rail)
        told = [text for text in self._rails if text]
        self._any_rail = bool(told)
        return {f"{self.name} rail": f"{told[0]}: choose a larger range"} if len(told) >= SAID_AFTER else {}


def middle(values: Iterable[float]) -> float:
    """The median; of an even number, the upper of the two."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
