"""Serial: lines of text from a microcontroller on a serial port, read with pyserial.

A port that goes away (unplugged, reset) is opened again as soon as it is back; what was missed is a gap.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from typing import Any

from runtime.errors import InputError, MissingError, SensedgeError
from runtime.recording.lines import Lines
from runtime.recording.reading import Reading
from runtime.sources.base import Batch
from runtime.sources.rows import LiveRows, RowReader
from runtime.specs import Signal
from runtime.wire.backoff import Backoff
from runtime.wire.url import Options

_BACKOFF = Backoff(0.2, 5.0)  # ports come back within seconds


class SerialLines(LiveRows):
    """Reads JSON lines or CSV (see `runtime.recording.text`) from a serial port.

    The first line after opening may be half a line: only a CSV header is taken from it.

    Args:
        port: its node, "/dev/ttyUSB0". Names under /dev/serial/by-id stay the same when it is plugged in again.
        signal: whose channels.
        baud: symbols per second.
        reading: what is said of times, units, names and axes. Lines without times get the time of their arrival.
        rate_hz: samples per second, if lines have no times and it is not the signal's.
        backoff: how to reopen a port that died.
    """

    def __init__(
        self,
        port: str,
        signal: Signal,
        *,
        baud: int = 115200,
        reading: Reading | None = None,
        rate_hz: float | None = None,
        backoff: Backoff = _BACKOFF,
    ) -> None:
        super().__init__(self._open, signal, reading=reading, rate_hz=rate_hz, backoff=backoff)
        self._port, self._baud = port, baud

    @classmethod
    def from_url(cls, rest: str, options: Options, signal: Signal) -> SerialLines:
        """A source from what follows the scheme of `serial:/dev/ttyUSB0?baud=115200&t=ms`.

        Raises:
            InputError: no port is named, or an option is unknown or out of its range.
        """
        if not rest:
            raise InputError("serial", expected="a port", got="none", fix="Write serial:/dev/ttyUSB0.")
        baud, rate_hz = options.whole("baud", 115200), options.number("rate")
        reading = Reading.taken(options.text, options.where)
        options.done()
        return cls(rest, signal, baud=baud, reading=reading, rate_hz=rate_hz)

    def _open(self) -> _Port:
        try:
            import serial
        except ImportError:
            raise MissingError(
                "serial ports", expected="pyserial", got="no such library", fix='Run: pip install "sensedge[serial]"'
            ) from None
        try:
            return _Port(serial.Serial(self._port, self._baud, timeout=0, exclusive=True), self._rows)
        except ValueError as error:
            raise InputError(self._port, expected="a port and its baud rate", got=error, fix="Correct it.") from None
        except OSError as error:
            raise _told(self._port, error) from None


def _told(port: str, error: OSError) -> SensedgeError:
    """What is wrong with a port, and its cure."""
    found = re.search(r"\[Errno (\d+)\]", str(error))  # pyserial keeps the number in its text only, at times
    number = error.errno or (int(found[1]) if found else 0)
    if number in (errno.EACCES, errno.EPERM):
        return MissingError(
            port,
            expected="a port that you may read",
            got="permission denied",
            fix="Run: sudo usermod -aG dialout $USER, then log in again.",
        )
    if number in (errno.EAGAIN, errno.EBUSY):
        return MissingError(
            port,
            expected="a port of our own",
            got="one that another program reads",
            fix=f"End it: sudo fuser -v {port}",
        )
    fix = "Plug it in, or name another: ls /dev/serial/by-id /dev/ttyUSB* /dev/ttyACM*"
    return MissingError(port, expected="a serial port", got=os.strerror(number) if number else error, fix=fix)


class _Port:
    def __init__(self, serial: Any, rows: RowReader) -> None:
        self._serial, self._rows, self._lines = serial, rows, Lines()
        self._first = True

    def read(self, wait_s: float) -> Sequence[Batch]:
        self._serial.timeout = wait_s
        try:
            data = self._serial.read(1)
            data += self._serial.read(self._serial.in_waiting) if data else b""
        except OSError:
            raise
        except Exception as error:  # termios has an error of its own, and pyserial a TypeError where a port closes
            raise OSError(f"{self._serial.port}: {error}") from None
        lines = self._lines.push(data)
        if self._first and lines:
            self._first = False
            first, _, lines = lines.partition(b"\n")
            self._rows.read_first(first)
        return self._rows.read(lines) if lines else []

    def close(self) -> None:
        try:
            self._serial.close()
        except Exception:  # a port that is gone cannot be closed
            return
