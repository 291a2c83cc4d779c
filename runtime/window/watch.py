"""What a sensor that lies looks like: a watch over windows, against what the training data were like.

    every window     has a modality stood still for the whole of it?                   Quality.frozen, at once
    one in LOOK,     acceleration: how long is the mean, how much is motion            another unit, no gravity
    each of the      angular rate: louder than any window of the training              another unit
    first FIRST      each channel: its ends, what stays at one of them                 out of range, at the rail, dead
                     the source's rate                                                 far from the model's

What is found is a word in `Quality.implausible` of every window until a later look finds it no longer, is counted, and
is said once as a sentence (`Watch.warnings`). A look is taken at windows by their number, never by the clock, so any
chunking of the samples gives the same words.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from math import inf, log, pi, sqrt
from operator import sub
from typing import NamedTuple

import numpy as np

from runtime.specs import Modality, Signal, WindowSpec
from runtime.window.pieces import Counters, Rows, Window

FIRST, LOOK, CLOSER = 64, 64, 16  # windows looked at one by one; after these, one in so many; so many on suspicion
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
_HUGE = 1e18
_SAME = 1e-6  # of a value: what a filter's rounding leaves of one that stands still
_RAIL_ROWS, _LOW_END = 8, 1.7  # rows at an end that is this many times the typical loudness
_BEYOND = 2.0  # times the training's largest
_SLOW, _FAST = 0.24, 20.0  # times the model's rate
_REAL = 0.5  # of a window's rows, below which nothing is said of it
_LEAST_ROWS, _LEAST_S = 8, 0.5  # a shorter window stands still by chance


class Expected(NamedTuple):
    """What windows of the training data were like; per modality, but for `largest`."""

    rest: tuple[float, ...]  # length of the mean in windows without motion
    usual: tuple[float, ...]  # median rms of a window
    loudest: tuple[float, ...]  # largest rms of a window
    largest: tuple[float, ...]  # per channel, farthest from 0


class Watch:
    """Looks at the windows of one stream in their order.

    Args:
        signal: names, units and rates of the channels.
        window: length.
        expected: what the training data were like; None: not known, and fewer lies are found.
    """

    def __init__(self, signal: Signal, window: WindowSpec, expected: Expected | None = None) -> None:
        self._rate_hz, self._sensors = signal.rate_hz, list(_sensors(signal, window, expected))
        self._even = np.full(window.length_samples, 1 / window.length_samples, np.float32) if signal.is_even else None
        long = window.length_samples >= _LEAST_ROWS and window.length_samples / signal.rate_hz >= _LEAST_S
        self._ends = [(s.first, s.last, s) for s in self._sensors] if long else []
        self.reset()

    def reset(self) -> None:
        """Forget everything, what was said too."""
        self._seen, self._until, self._rates = 0, 0, deque[float](maxlen=KEPT)
        self._said: dict[str, str] = {}
        self.implausible: tuple[str, ...] = ()  # what holds at the last window that was looked at
        self._before: tuple[str, ...] = ()  # what held at the last regular look
        self.moves: bool | None = None  # whether somebody moves in the last window; None: it was not looked at
        self._frozen: tuple[str, ...] = ()  # modalities that stood still in the last window
        for sensor in self._sensors:
            sensor.reset()

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence on each kind of lie so far, in the order in which they were found."""
        return tuple(self._said.values())

    def look(self, window: Window, counters: Counters) -> Window:
        """The window with what is to be said of it in its quality; what was found is counted."""
        samples, seen, self.moves = window.samples, self._seen, None
        frozen: tuple[str, ...] = ()
        self._seen = seen + 1
        item = samples.item  # one number of the first and of the last row says no nearly always
        for first, last, sensor in self._ends:
            value = item(first)
            if abs(item(last) - value) <= _SAME * abs(value) and sensor.stands(samples):
                frozen += (sensor.name,)
        if frozen or self._frozen:
            self._stand(frozen, samples)
        regular = seen < FIRST or not seen % LOOK
        if (regular or seen < self._until) and self._ends and window.quality.real == 1.0:
            self._look(samples, window.quality.source_hz)
            if regular:
                news = not self.implausible or self.implausible != self._before
                self._until = seen + CLOSER if news and any([sensor.odd for sensor in self._sensors]) else 0
                self._before = self.implausible
        if (not frozen and not self.implausible) or window.quality.real < _REAL:
            return window
        counters.windows_frozen += bool(frozen)
        counters.windows_implausible += bool(self.implausible)
        return window._replace(quality=window.quality._replace(frozen=frozen, implausible=self.implausible))

    def _stand(self, frozen: tuple[str, ...], samples: Rows) -> None:
        """Count how long each modality has stood still, and say it."""
        self._frozen = frozen
        for sensor in self._sensors:
            sensor.still = sensor.still + 1 if sensor.name in frozen else 0
            if sensor.still == SAID_AFTER:
                self._said.setdefault(f"{sensor.name} frozen", sensor.stood(samples))

    def _look(self, samples: Rows, source_hz: tuple[float, ...]) -> None:
        found = self._rate(source_hz)
        if self._even is not None:
            columns = samples.T.copy()
            levels = _levels(columns, self._even)
            for sensor in self._sensors:
                found |= sensor.look(samples, *[level[sensor.columns] for level in levels])
        else:
            for sensor in self._sensors:
                columns = sensor.part(samples).T.copy()
                found |= sensor.look(
                    samples, *_levels(columns, np.full(columns.shape[1], 1 / columns.shape[1], np.float32))
                )
        self.moves = self._sensors[0].moves
        if found:
            self._said |= {word: text for word, text in found.items() if word not in self._said}
        self.implausible = tuple(found)

    def _rate(self, source_hz: tuple[float, ...]) -> dict[str, str]:
        if source_hz:
            self._rates.append(source_hz[0])
        usual_hz = _middle(self._rates) if len(self._rates) >= DECIDES else self._rate_hz
        if _SLOW <= usual_hz / self._rate_hz <= _FAST:
            return {}
        return {"rate": f"samples come at {usual_hz:.3g} Hz, far from the {self._rate_hz:g} Hz of the training"}


class _Sensor:
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
        """Whether no channel changes over the window."""
        part = self.part(samples)
        return bool((np.abs(part - part[0]) <= _SAME * np.abs(part[0])).all())

    def stood(self, samples: Rows) -> str:
        """The sentence on a modality that stands still."""
        values = self.part(samples)[0]
        told = (
            "nothing but 0" if not values.any() else f"the same {', '.join(f'{v:.4g}' for v in values)} again and again"
        )
        return f"{self.name} gives {told}: the sensor or its driver has stopped"

    def look(
        self, samples: Rows, low: list[float], high: list[float], mean: list[float], power: list[float]
    ) -> dict[str, str]:
        """What is wrong with it, by its word.

        Args:
            samples: of the whole window.
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
        if self._any_dead or min(map(sub, high, low)) <= _SAME * farthest:
            found |= self._axes(low, high)
        if self._any_rail or farthest > _LOW_END * (self.usual or rms):
            found |= self._rail(samples, low, high, rms)
        if self._gravity_there and not self.still:
            self._lengths.append(length)
            self._ratios.append(ratio)
            found |= self._gravity()
        if self._loud_there:
            self._rms.append(rms)
            if max(self._rms) > _BEYOND * self.loudest:
                found |= self._loud()
        self.odd = rms > _BEYOND * self.loudest or self._any_dead or self._any_rail
        if self._gravity_there and not self.odd and (self.rest is not None or ratio <= _NO_GRAVITY):
            least, most = _SURE[0] * GRAVITY[self.unit], _SURE[1] * GRAVITY[self.unit]
            self.odd = not least <= length <= most if self._wants_gravity() else length >= least
        return found

    def _wants_gravity(self) -> bool:
        return self.rest is None or self.rest > _SURE[0] * GRAVITY[self.unit]

    def _gravity(self) -> dict[str, str]:
        """Motion averages out over a window, gravity does not: the mean is as long as gravity, in the unit it has."""
        if len(self._lengths) < DECIDES:
            return {}
        g, length, ratio = GRAVITY[self.unit], _middle(self._lengths), _middle(self._ratios)
        wanted = self._wants_gravity()
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
        loud = sorted(rms for rms in self._rms if rms > _BEYOND * self.loudest)
        if len(loud) < SAID_AFTER:
            return {}
        rms = loud[len(loud) // 2]
        fits = self.unit == "rad/s" and rms / _DEGREES < _BEYOND * self.loudest
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
        still = [b - a <= _SAME * abs(a) for a, b in zip(low, high, strict=True)]
        moves = self.moves and not all(still)
        for i, stands in enumerate(still):
            self._dead[i] = self._dead[i] + 1 if stands and moves else self._dead[i] if stands else 0
        self._any_dead = any(self._dead)
        names = [name for name, n in zip(self.channels, self._dead, strict=True) if n >= DEAD_AFTER]
        return {
            f"{name} dead": f"{name} never moves while the rest of {self.name} does: check its wire" for name in names
        }

    def _rail(self, samples: Rows, low: list[float], high: list[float], rms: float) -> dict[str, str]:
        """Many rows at one end, and that end far out: the range of the sensor is too small, or it is stuck there."""
        floor, rail = _LOW_END * (self.usual or rms), ""
        for name, values, a, b in zip(self.channels, self.part(samples).T, low, high, strict=True):
            end = b if b > -a else a
            if abs(end) > floor and b > a and np.count_nonzero(values == end) >= _RAIL_ROWS:
                rail = rail or f"{name} stays at {end:.4g} {self.unit}, the end of its range"
        self._rails.append(rail)
        told = [text for text in self._rails if text]
        self._any_rail = bool(told)
        return {f"{self.name} rail": f"{told[0]}: choose a larger range"} if len(told) >= SAID_AFTER else {}


def _levels(columns: Rows, even: Rows) -> tuple[list[float], ...]:
    """Of each channel: its ends, its mean and its mean square.

    Args:
        columns: shape (n_channels, n).
        even: shape (n,), a share of one for each row.
    """
    low, high = columns.min(1).tolist(), columns.max(1).tolist()
    if not max(max(high), -min(low)) < _HUGE:  # no sensor gives it, and its square is beyond float32
        return low, high, [inf] * len(low), [inf] * len(low)
    return low, high, columns.dot(even).tolist(), (columns * columns).dot(even).tolist()


def _middle(values: Iterable[float]) -> float:
    """The median; of an even number, the upper of the two."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _sensors(signal: Signal, window: WindowSpec, expected: Expected | None) -> Iterator[_Sensor]:
    """Each modality with its place in a window: first value, rows, values per row, whether windows are flat."""
    begin, channel, width = 0, 0, len(signal.channel_names)
    for at, m in enumerate(signal.modalities):
        rows, n = window.at(m.rate_hz, signal.rate_hz)[0], len(m.channels)
        place = (channel, rows, width, False) if signal.is_even else (begin, rows, n, True)
        sensor = _Sensor(m, signal.names_of(m.name), place, at)
        if expected is not None:
            sensor.expect(expected)
            largest = expected.largest[channel : channel + n]
            if m.full_scale is None:
                sensor.limit = max(sensor.limit, _BEYOND * max(largest))
        yield sensor
        begin, channel = begin + rows * n, channel + n
