"""Times as they are written, in seconds: which unit, ISO 8601, counters that wrap, and what kind of stamps they are.

unit      as the column's name or an option says; else epoch seconds, ms, us or ns by the size of the first value, if
          the rate that follows is one of a sensor; else seconds, if the rate is then at least a 50th of the model's;
          else the unit that brings the rate nearest to the model's (50 Hz where nobody knows it)
counter   told how wide (`bits=32`), each step is the shortest one that fits, printed signed or not. Not told, a step
          back is a wrap of 16 or 32 bits if what it then steps forward is an ordinary step, and a clock set back if not
kind      measured; spread: most stamps stand for several samples, at even steps (whole seconds); arrival: at least
          2 % are repeated with other samples and at least 10 % of the steps are off by more than half
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.recording.reading import ISO, T_UNITS, StampWord

_Array = NDArray[np.float64]

_NOMINAL_HZ = 50.0  # of a motion sensor, where nobody knows
_SLOWEST, _FASTEST = 0.02, 20_000.0  # Hz, of a sensor
_EPOCH_S = 1e9, 4.2e9  # 2001 to 2103
_LONG, _EVEN = 20.0, 0.2  # times the mean step: a hole; of the mean: as far as the median may be off
_FEW = 8  # times that are too few to tell their unit by their steps
_SLOW = 50.0  # times the model's rate
_REPEATED, _UNEVEN = 0.02, 0.1  # shares of steps that make times of arrival
_WRAPS = 2.0**16, 2.0**32
_ORDINARY = 4.0  # times the step before: the longest that a wrap may be taken for
_DAY_S = 86400.0
_STAMP = re.compile(
    r"\s*(?:(\d{4})[-/](\d\d?)[-/](\d\d?)[T ]\s*)?(\d\d?):(\d\d):(\d\d)(?:[.,](\d+))?\s*(Z|z|[+-]\d\d:?\d\d|UTC)?\s*"
)


class Clock(NamedTuple):
    """What a column of times holds."""

    unit: str  # s, ms, us, ns, iso
    is_epoch: bool  # counted from 1970
    by: str  # how the unit was found: named, said, or the reason

    def __str__(self) -> str:
        if self.unit == ISO:
            return "ISO 8601"
        words = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}[self.unit]
        return f"{'epoch ' if self.is_epoch else ''}{words}{f' ({self.by})' if self.by else ''}"


def rate_of(t: _Array, *, even: bool = True) -> float | None:
    """Samples per second by the stamps; None where they tell none.

    It is the median step that counts, or the mean of all but holes where the two differ by more than a fifth.

    Args:
        t: shape (n,), as they came.
        even: False: of times of arrival, of which the median step tells nothing.
    """
    steps = np.diff(t[np.isfinite(t)])
    forward = steps[steps > 0]
    if not len(forward):
        return None
    steps = steps[steps >= 0]
    usual = steps[steps <= max(4 * float(np.median(forward)), _LONG * float(steps.mean()))]
    if not usual.any():
        return None
    median, mean = float(np.median(usual)), float(usual.mean())
    return 1 / (median if even and abs(median - mean) <= _EVEN * mean else mean)


def clock_of(values: _Array, nominal_hz: float | None = None) -> Clock:
    """The unit of times whose name does not tell it.

    Args:
        values: shape (n,), the first times as numbers.
        nominal_hz: samples per second that are expected; None: 50.
    """
    nominal_hz, rate_hz = nominal_hz or _NOMINAL_HZ, rate_of(values)
    finite = values[np.isfinite(values)]
    size = float(np.median(finite)) if len(finite) else 0.0
    for unit, scale in T_UNITS.items():
        plausible = rate_hz is None or _SLOWEST < rate_hz / scale < _FASTEST
        if _EPOCH_S[0] < size * scale < _EPOCH_S[1] and plausible:
            return Clock(unit, True, "")
    few = len(finite) < _FEW  # two samples may be far apart
    if rate_hz is None or few or nominal_hz / _SLOW <= rate_hz <= nominal_hz * 2 * _SLOW:
        return Clock("s", False, "")
    unit = min(T_UNITS, key=lambda unit: abs(np.log(rate_hz / T_UNITS[unit] / nominal_hz)))
    return Clock(unit, False, "" if unit == "s" else f"by its steps of {1 / rate_hz:.4g}")


def is_stamp(text: str) -> bool:
    """Whether a text is a time in ISO 8601, or near it."""
    return _STAMP.fullmatch(text) is not None


def seconds_of(texts: Sequence[str]) -> _Array:
    """Texts in ISO 8601 as seconds since 1970; of a time of day alone, since midnight. Without a zone they are UTC.

    Args:
        texts: n of them; one that is no time becomes NaN, in the answer of shape (n,).
    """
    found = np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        if match := _STAMP.fullmatch(text):
            year, month, day, hour, minute, second, fraction, zone = match.groups()
            try:
                begin_s = _minute_s(year, month, day, hour, minute, zone)
            except ValueError:  # the 31st of February
                continue
            found[i] = begin_s + int(second) + (float(f"0.{fraction}") if fraction else 0.0)
    return found


@lru_cache(maxsize=64)
def _minute_s(year: str | None, month: str, day: str, hour: str, minute: str, zone: str | None) -> float:
    days = date(int(year), int(month), int(day)).toordinal() - date(1970, 1, 1).toordinal() if year else 0
    off_s = 0
    if zone and zone[0] in "+-":
        off_s = (int(zone[1:3]) * 60 + int(zone[-2:])) * (60 if zone[0] == "+" else -60)
    return float(days * _DAY_S + int(hour) * 3600 + int(minute) * 60 - off_s)


class TimeReader:
    """Turns what is written into seconds, piece by piece; any pieces give the same.

    Args:
        unit: s, ms, us, ns, iso.
        bits: of a counter that wraps; None: a wrap is recognised where it is plain.
    """

    def __init__(self, unit: str, bits: int | None = None) -> None:
        self._scale, self._bits = T_UNITS.get(unit, 1.0), bits
        self._periods = (2.0**bits,) if bits else (_DAY_S,) if unit == ISO else _WRAPS
        self._last, self._step, self._added = np.nan, np.nan, 0.0  # as written; forward; for the wraps so far
        self.wraps = 0

    def seconds(self, values: _Array) -> _Array:
        """The next times, shape (n,), as they were written; ISO 8601 as `seconds_of` gives it."""
        good = np.isfinite(values)
        all_good = bool(good.all())
        t = self._unwrapped(values if all_good else values[good])
        if self._scale != 1.0:
            t = t / round(1 / self._scale)
        if all_good:
            return t
        found = np.full(len(values), np.nan)
        found[good] = t
        return found

    def _unwrapped(self, values: _Array) -> _Array:
        if not len(values):
            return values
        before = np.concatenate([[self._last], values[:-1]])
        added = np.zeros(len(values))
        if self._bits:
            steps = np.nan_to_num(values - before)
            added = -self._periods[0] * np.floor(steps / self._periods[0] + 0.5)
            self.wraps += int(np.count_nonzero(added))
        else:
            for i in np.flatnonzero(values < before):  # rare
                added[i] = self._wrap(values, before, int(i))
            self._note_step(values, before, len(values))
        self._last = float(values[-1])
        total = self._added + np.cumsum(added)
        self._added = float(total[-1])
        return values + total if total.any() else values

    def _wrap(self, values: _Array, before: _Array, i: int) -> float:
        """What a step back adds: the period of a counter, if it then is an ordinary step forward."""
        self._note_step(values, before, i)
        back = float(values[i] - before[i])
        for period in self._periods:
            if period != _DAY_S and (values[i] != round(values[i]) or before[i] != round(before[i])):
                continue
            if 0 < back + period <= _ORDINARY * self._step:
                self.wraps += 1
                return period
        return 0.0

    def _note_step(self, values: _Array, before: _Array, end: int) -> None:
        """Remember the last step forward before a place."""
        for i in range(end - 1, -1, -1):
            step = float(values[i] - before[i])
            if step > 0:
                self._step = step
                return


class StampKind(NamedTuple):
    """What stamps are, as they look."""

    stamps: StampWord
    step_s: float  # spread: from one stamp to the next
    period_s: float  # of a sample
    repeated: float  # share of steps


def kind_of(t: _Array, samples: NDArray[np.floating]) -> StampKind:
    """What kind of stamps these are.

    Args:
        t: shape (n,), seconds.
        samples: shape (n, n_columns), what came with them: a sample that came twice is no repeated stamp.
    """
    good = np.isfinite(t)
    t, samples = t[good], samples[good]
    steps = np.diff(t)
    forward = steps[steps > 0]
    if len(forward) < 2:
        return StampKind("measured", 0.0, 0.0, 0.0)
    other = (np.nan_to_num(samples[1:]) != np.nan_to_num(samples[:-1])).any(axis=1)
    repeated = float(np.mean((steps == 0) & other))
    median_s, period_s = float(np.median(forward)), 1 / (rate_of(t) or 1.0)
    if repeated < _REPEATED:
        return StampKind("measured", median_s, period_s, repeated)
    bounds = np.flatnonzero(steps > 0)
    sizes = np.diff(bounds)  # of all groups but the first and the last, which may not be whole
    even = np.mean(np.abs(forward - median_s) <= 0.25 * median_s) >= 0.8
    if even and len(sizes) and float(np.median(sizes)) >= 2:
        inner = forward[1:] <= 1.5 * median_s
        period_s = float(forward[1:][inner].sum() / max(sizes[inner].sum(), 1)) or period_s
        return StampKind("spread", median_s, period_s, repeated)
    typical_s = float(np.median(steps)) or period_s
    uneven = float(np.mean(np.abs(steps - typical_s) > 0.5 * typical_s))
    return StampKind("arrival" if uneven >= _UNEVEN else "measured", median_s, period_s, repeated)
