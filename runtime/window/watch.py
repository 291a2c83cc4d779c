"""What a sensor that lies looks like: a watch over windows, against what the training data were like.

    every window     has a modality stood still for the whole of it?                   Quality.frozen, at once
    one in GLANCE    the length of each modality's mean, and of all: does it need a look?
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
from collections.abc import Iterator
from math import inf

import numpy as np

from runtime.specs import Signal, WindowSpec
from runtime.window.pieces import Counters, Rows, Window
from runtime.window.sensor import BEYOND, DECIDES, KEPT, SAID_AFTER, SAME, Expected, Sensor, middle

FIRST, LOOK, CLOSER = 64, 64, 16  # windows looked at one by one; after these, one in so many; so many on suspicion
GLANCE = 16  # of so many windows one is asked for the lengths of its mean and of all: a look follows where they are odd
_HUGE = 1e18
_SLOW, _FAST = 0.24, 20.0  # times the model's rate
_REAL = 0.5  # of a window's rows, below which nothing is said of it
_LEAST_ROWS, _LEAST_S = 8, 0.5  # a shorter window stands still by chance


class Watch:
    """Looks at the windows of one stream in their order.

    Args:
        signal: names, units and rates of the channels.
        window: length.
        expected: what the training data were like; None: not known, and fewer lies are found.
        silent: modalities that are known not to come: frozen, but no sentence is said of it.
    """

    def __init__(
        self, signal: Signal, window: WindowSpec, expected: Expected | None = None, silent: tuple[str, ...] = ()
    ) -> None:
        self._silent = silent
        self._rate_hz, self._sensors = signal.rate_hz, list(_sensors(signal, window, expected))
        self._even = np.full(window.length_samples, 1 / window.length_samples, np.float32) if signal.is_even else None
        long = window.length_samples >= _LEAST_ROWS and window.length_samples / signal.rate_hz >= _LEAST_S
        self._ends = [(s.first, s.last, s) for s in self._sensors] if long else []
        self.reset()

    def reset(self) -> None:
        """Forget everything, what was said too."""
        self._seen, self._until, self._rates = 0, 0, deque[float](maxlen=KEPT)
        self._next = 0  # the window that is next looked at; until then only what stands still is seen
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
            if abs(item(last) - value) <= SAME * abs(value) and sensor.stands(samples):
                frozen += (sensor.name,)
        if seen < self._next and not (frozen or self._frozen or self.implausible):
            return window
        if frozen or self._frozen:
            self._stand(frozen, samples)
        regular = seen < FIRST or not seen % LOOK
        if not regular and not seen % GLANCE and seen >= self._until:
            regular = self._glance(window)
        if (regular or seen < self._until) and self._ends and window.quality.real == 1.0:
            self._look(samples, window.quality.source_hz)
            if regular:
                news = not self.implausible or self.implausible != self._before
                self._until = seen + CLOSER if news and any([sensor.odd for sensor in self._sensors]) else 0
                self._before = self.implausible
        closer = seen < FIRST or seen < self._until
        self._next = seen + 1 if closer else (seen // GLANCE + 1) * GLANCE
        if (not frozen and not self.implausible) or window.quality.real < _REAL:
            return window
        counters.windows_frozen += bool(frozen)
        counters.windows_implausible += bool(self.implausible)
        return window._replace(quality=window.quality._replace(frozen=frozen, implausible=self.implausible))

    def _glance(self, window: Window) -> bool:
        """Whether a window that is whole needs a look: by two numbers of each modality, which cost little."""
        if self._even is None or not self._ends or window.quality.real != 1.0:
            return False
        if window.quality.saturated:  # the squares of such values may be beyond float32
            return True
        samples = window.samples
        mean, power = self._even.dot(samples).tolist(), self._even.dot(samples * samples).tolist()
        return any([sensor.is_odd(mean[sensor.columns], power[sensor.columns]) for sensor in self._sensors])

    def _stand(self, frozen: tuple[str, ...], samples: Rows) -> None:
        """Count how long each modality has stood still, and say it."""
        self._frozen = frozen
        for sensor in self._sensors:
            sensor.still = sensor.still + 1 if sensor.name in frozen else 0
            if sensor.still == SAID_AFTER and sensor.name not in self._silent:
                self._said.setdefault(f"{sensor.name} frozen", sensor.stood(samples))

    def _look(self, samples: Rows, source_hz: tuple[float, ...]) -> None:
        found = self._rate(source_hz)
        if self._even is not None:
            columns = samples.T.copy()
            levels = _levels(columns, self._even)
            for sensor in self._sensors:
                part = sensor.columns
                found |= sensor.look(columns[part], *[level[part] for level in levels])
        else:
            for sensor in self._sensors:
                columns = sensor.part(samples).T.copy()
                even = np.full(columns.shape[1], 1 / columns.shape[1], np.float32)
                found |= sensor.look(columns, *_levels(columns, even))
        self.moves = self._sensors[0].moves
        if found:
            self._said |= {word: text for word, text in found.items() if word not in self._said}
        self.implausible = tuple(found)

    def _rate(self, source_hz: tuple[float, ...]) -> dict[str, str]:
        if source_hz:
            self._rates.append(source_hz[0])
        usual_hz = middle(self._rates) if len(self._rates) >= DECIDES else self._rate_hz
        if _SLOW <= usual_hz / self._rate_hz <= _FAST:
            return {}
        return {"rate": f"samples come at {usual_hz:.3g} Hz, far from the {self._rate_hz:g} Hz of the training"}


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


def _sensors(signal: Signal, window: WindowSpec, expected: Expected | None) -> Iterator[Sensor]:
    """Each modality with its place in a window: first value, rows, values per row, whether windows are flat."""
    begin, channel, width = 0, 0, len(signal.channel_names)
    for at, m in enumerate(signal.modalities):
        rows, n = window.at(m.rate_hz, signal.rate_hz)[0], len(m.channels)
        place = (channel, rows, width, False) if signal.is_even else (begin, rows, n, True)
        sensor = Sensor(m, signal.names_of(m.name), place, at)
        if expected is not None:
            sensor.expect(expected)
            largest = expected.largest[channel : channel + n]
            if m.full_scale is None:
                sensor.limit = max(sensor.limit, BEYOND * max(largest))
        yield sensor
        begin, channel = begin + rows * n, channel + n
