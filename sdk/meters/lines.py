"""Lines of numbers from a USB power meter, a microcontroller or another computer: live, or from a log.

One reading per line, numbers separated by commas:

    4.150                 watts, at the moment in which the line arrives
    12.500,4.150          seconds, watts
    12.500,5.104,0.812    seconds, volts, amperes

Seconds are of any clock that runs evenly and forward; watts are linear between readings. A line that does not begin
with a number is a remark or a heading and is skipped.

            start()                                   stop()
    o----------|----o---------o---------o---------o------|----o        o: a line; the parts outside are cut off

A live window waits for the first line after its end. A gap of more than five times the usual distance of two lines, or
the end of the lines, makes it incomplete.
"""

from __future__ import annotations

import math
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from sdk.meters.energy import MEASURED, Energy, MeterError
from sdk.meters.sampling import GAP_PERIODS, Power
from sdk.meters.timeline import TimelineKeeper

METHOD = "integrated power"
RAIL = "watts"
OUTSIDE = "what is not fed through that meter"
DEFAULT_BAUD = 115200
FEWEST_GAPS, USUAL_GAPS = 3, 20  # distances of lines that tell what is usual
WAIT_S = 5.0  # for a line, at the start and at the end of a window
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
LINE = re.compile(rf"\s*({NUMBER})(?:\s*,\s*({NUMBER}))?(?:\s*,\s*({NUMBER}))?\s*")


class LineReading(NamedTuple):
    """What one line says: power at an instant."""

    time_s: float
    watts: float


def parse_line(line: str, arrived_s: float) -> LineReading | None:
    """Return a reading; None for a remark.

    Raises:
        ValueError: the line begins with a number and is not one to three of them.
    """
    if not re.match(r"\s*[-+.\d]", line):
        return None
    found = LINE.fullmatch(line)
    if not found:
        raise ValueError(f"expected W or t_s,W or t_s,V,A, got {line.strip()[:80]!r}")
    first, second, third = (None if value is None else float(value) for value in found.groups())
    assert first is not None  # the pattern asks for one number at least
    if second is None:
        return LineReading(arrived_s, first)
    return LineReading(first, second if third is None else second * third)


class Pace:
    """The usual distance of two lines: the mean of the first twenty, since they may come in bursts."""

    def __init__(self) -> None:
        self._gaps_s: list[float] = []

    @property
    def known(self) -> bool:
        """Whether enough lines have come to know how far apart they are."""
        return len(self._gaps_s) >= FEWEST_GAPS

    def fault(self, before: LineReading, after: LineReading) -> str:
        """Take in a distance and say what is wrong with it, if anything."""
        gap_s = after.time_s - before.time_s
        if gap_s < 0:
            return f"the time went back from {before.time_s:g} to {after.time_s:g} s"
        usual_s = statistics.fmean(self._gaps_s) if self.known else math.inf
        if gap_s > GAP_PERIODS * usual_s:
            return f"{gap_s:.3g} s without a line, usually {usual_s:.3g} s"
        if len(self._gaps_s) < USUAL_GAPS:
            self._gaps_s.append(gap_s)
        return ""


class Area:
    """The joules of readings between two moments, interval by interval."""

    def __init__(self, begin_s: float, end_s: float, keeper: TimelineKeeper | None = None) -> None:
        self.begin_s, self.end_s = begin_s, end_s
        self.joules, self.n_samples, self.n_repeats = 0.0, 0, 0
        self.fault = ""
        self.reached_s = -math.inf  # the time of the last reading
        self._spread = Power().spread()
        self._keeper = keeper
        self._latest: tuple[LineReading, LineReading, str] | None = None  # not counted yet: the end may fall into it
        if keeper:
            keeper.begin(begin_s)

    def add(self, last: LineReading, reading: LineReading, fault: str) -> None:
        """Take in two neighbours and what is wrong between them."""
        self._count_latest()
        self.reached_s = max(self.reached_s, reading.time_s)
        self._latest = (last, reading, fault)

    def _count_latest(self) -> None:
        if self._latest is None:
            return
        (last, reading, fault), self._latest = self._latest, None
        if last.time_s >= self.end_s or reading.time_s <= self.begin_s:
            return
        self.fault = self.fault or fault
        gap_s = reading.time_s - last.time_s
        if gap_s <= 0:
            return
        begin_s, end_s = max(last.time_s, self.begin_s), min(reading.time_s, self.end_s)
        slope = (reading.watts - last.watts) / gap_s
        middle_w = last.watts + slope * ((begin_s + end_s) / 2 - last.time_s)
        self.joules += middle_w * (end_s - begin_s)
        self.n_samples += 1
        self.n_repeats += reading.watts == last.watts
        self._spread.add(last.watts, reading.watts, last.time_s, reading.time_s)
        if self._keeper:
            self._keeper.add(end_s, (middle_w * (end_s - begin_s),))

    def energy(self, source: str, cpu_s: float | None = None) -> Energy:
        """Return what was used in the window, or why it is not known."""
        self._count_latest()
        seconds = self.end_s - self.begin_s
        reason = f"incomplete: {self.fault}" if self.fault else ""
        return Energy(
            joules=None if reason else self.joules,
            source=source,
            rails=(RAIL,),
            method=METHOD,
            reason=reason,
            seconds=seconds,
            n_samples=self.n_samples,
            n_repeats=self.n_repeats,
            tier=None if reason else MEASURED,
            leaves_out=OUTSIDE,
            uncertainty_j=None if reason else self._spread.joules(self.joules, seconds),
            metering_cpu_s=cpu_s,
            timeline=self._keeper.timeline((RAIL,)) if self._keeper else None,
        )


def energy_of_lines(lines: Iterable[str], begin_s: float, end_s: float, *, source: str = "lines") -> Energy:
    """Return the energy between two moments of a log, in the clock of its lines (two or three columns).

    Raises:
        ValueError: the end is not after the beginning, or a line is no reading.
    """
    if not end_s > begin_s:
        raise ValueError(f"expected an end after {begin_s}, got {end_s}")
    area, pace, last = Area(begin_s, end_s), Pace(), None
    for line in lines:
        reading = parse_line(line, math.nan)
        if reading is None:
            continue
        if math.isnan(reading.time_s):
            raise ValueError(f"a log needs the time in every line, got {line.strip()!r}")
        if last is not None:
            area.add(last, reading, pace.fault(last, reading))
        elif reading.time_s > begin_s:
            area.fault = f"the lines begin at {reading.time_s:g} s"
        last = reading
    if area.reached_s < end_s:
        area.fault = area.fault or f"the lines end at {area.reached_s:g} s"
    return area.energy(source)


class LineMeter:
    """A `Meter` over a stream of lines that a thread reads from now on.

    Args:
        name: the source.
        lines: gives one line at a time, text or bytes: a file, a pyserial port.
        clock: monotonic seconds, for the moments of start, stop and arrival.
        wait_s: for a line at the start and at the end of a window.
    """

    def __init__(
        self,
        name: str,
        lines: Iterable[str | bytes],
        *,
        clock: Callable[[], float] = time.monotonic,
        wait_s: float = WAIT_S,
    ) -> None:
        self.name = name
        self.tier, self.leaves_out, self.detail, self.rails = MEASURED, OUTSIDE, "", ()
        self._lines, self._clock, self._wait_s = lines, clock, wait_s
        self._changed = threading.Condition()
        self._pace = Pace()
        self._area: Area | None = None
        self._last: LineReading | None = None
        self._latest: tuple[LineReading, LineReading, str] | None = None  # neighbours, and what is wrong between them
        self._offset_s = math.inf  # from the clock of the lines to ours
        self._bad = self._ended = ""
        self._cpu_s = 0.0
        self._keeper: TimelineKeeper | None = None
        threading.Thread(target=self._read, name="sensedge-lines", daemon=True).start()

    def keep_timeline(self, limit: int) -> None:
        """From the next window on keep its power in up to `limit` intervals (0: no more)."""
        self._keeper = TimelineKeeper(limit) if limit else None

    def start(self) -> None:
        """Open a window; waits until some lines have come.

        Raises:
            RuntimeError: a window is already open.
        """
        if self._area is not None:
            raise RuntimeError(f"the meter {self.name} is already measuring: stop it, or open a second one")
        with self._changed:
            self._changed.wait_for(lambda: self._pace.known or self._ended, self._wait_s)
            self._area = Area(self._clock(), math.inf, self._keeper)
            if self._latest is not None:
                self._area.add(*self._latest)  # a line that was delayed less than those before it reaches beyond now
            if not self._pace.known:
                self._area.fault = self._ended or f"less than {FEWEST_GAPS + 1} lines in {self._wait_s:g} s"
            self._bad = ""
            self._began_cpu_s = self._cpu_s

    def stop(self) -> Energy:
        """Close the window: wait for the first line after its end and return what was used in it.

        Raises:
            RuntimeError: no window is open.
        """
        if self._area is None:
            raise RuntimeError(f"the meter {self.name} is not measuring: start it first")
        with self._changed:
            area = self._area
            area.end_s = self._clock()
            if not area.fault:
                self._changed.wait_for(lambda: area.reached_s >= area.end_s or self._ended, self._wait_s)
            area.fault = area.fault or self._bad
            if not area.fault and area.reached_s < area.end_s:
                area.fault = self._ended or f"no line in {self._wait_s:g} s"
            self._area = None
            return area.energy(self.name, self._cpu_s - self._began_cpu_s)

    def _read(self) -> None:
        ended = "the lines ended"
        try:
            for line in self._lines:
                self._take(line if isinstance(line, str) else line.decode(errors="replace"))
        except (OSError, ValueError) as error:
            ended = f"the lines ended: {error}"
        with self._changed:
            self._ended = ended
            self._changed.notify_all()

    def _take(self, line: str) -> None:
        arrived_s = self._clock()
        with self._changed:
            try:
                reading = parse_line(line, math.nan)
            except ValueError as error:
                if self._last is not None:  # one opens a serial line in the middle of a reading
                    self._bad = str(error)
                return
            if reading is None:
                return
            reading = LineReading(self._our_time_s(reading.time_s, arrived_s), reading.watts)
            if self._last is not None:
                self._latest = (self._last, reading, self._pace.fault(self._last, reading))
                if self._area is not None:
                    self._area.add(*self._latest)
            self._last = reading
            self._cpu_s = time.thread_time()
            self._changed.notify_all()

    def _our_time_s(self, time_s: float, arrived_s: float) -> float:
        """Move the time of a line to our clock, by that of the first lines which was delayed least.

        Once and for all: a later correction would bend the window.
        """
        if math.isnan(time_s):
            return arrived_s
        sooner_s = self._offset_s - (arrived_s - time_s)
        if not self._pace.known and sooner_s > 0:
            if self._last is not None and sooner_s < math.inf:
                self._last = self._last._replace(time_s=self._last.time_s - sooner_s)
            self._offset_s = arrived_s - time_s
        return time_s + self._offset_s


def open_lines(path: str) -> LineMeter:
    """Return a meter over a serial device (PATH or PATH@BAUD, 115200 if not said) or a pipe, which needs its writer.

    Raises:
        MeterError: it cannot be opened.
    """
    name, _, baud = path.partition("@")
    if not name:
        raise MeterError("no path of a serial device or pipe", "give it as lines:/dev/ttyUSB or lines:PATH@BAUD")
    if baud and not baud.isdigit():
        raise MeterError(f"no baud rate {baud!r}", "give it as lines:PATH@BAUD", there=True)
    try:
        stream = Path(name).open("rb")  # noqa: SIM115  # stays open as long as the meter lives
        if stream.isatty():
            _set_raw(stream.fileno(), int(baud or DEFAULT_BAUD))
    except PermissionError:
        cure = "`sudo usermod -aG dialout $USER`, then log in again"
        raise MeterError(f"{name}: permission denied", cure, there=True) from None
    except (OSError, ValueError) as error:
        raise MeterError(f"{name}: {error}", "plug the meter in and look at `ls /dev/serial/by-id`") from None
    return LineMeter(f"lines:{name}", _closing(stream))


def _closing(stream: IO[bytes]) -> Iterator[bytes]:
    with stream:
        yield from stream


def _set_raw(handle: int, baud: int) -> None:
    """Set a serial port to bytes as they are and forget what it had kept; raises ValueError for an odd baud rate."""
    import termios  # not on every system that can import this package
    import tty

    speed = getattr(termios, f"B{baud}", None)
    if speed is None:
        raise ValueError(f"no baud rate {baud} on this system")
    tty.setraw(handle)
    attributes = termios.tcgetattr(handle)
    attributes[4] = attributes[5] = speed
    termios.tcsetattr(handle, termios.TCSANOW, attributes)
    termios.tcflush(handle, termios.TCIFLUSH)
