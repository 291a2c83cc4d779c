"""Serial lines against a pseudo-terminal: half lines, rubbish, a plug that is pulled and put back."""

import errno
import os
import threading
import time
import tty

import pytest

from runtime import InputError, MissingError, Modality, Signal
from runtime.recording import Reading
from runtime.sources import Backoff, SerialLines, open_source
from tests.waiting import ending, until

serial = pytest.importorskip("serial", reason='needs pyserial: pip install "sensedge[serial]"')
SIGNAL = Signal((Modality("acc", "m/s^2", ("x", "z"), 50.0),))


class Plug:
    """A microcontroller behind a pseudo-terminal, under a name that stays."""

    def __init__(self, path):
        self.path = path
        self.put_in()

    def put_in(self):
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.path.symlink_to(os.ttyname(self.slave))

    def pull(self):
        self.path.unlink()
        os.close(self.slave)
        os.close(self.master)

    def say(self, *pieces):
        for piece in pieces:
            os.write(self.master, piece)
            time.sleep(0.005)


@pytest.fixture
def plug(tmp_path):
    plug = Plug(tmp_path / "ttyUSB0")
    yield plug
    plug.pull()


def taken(source, n):
    found = []
    for batch in source:
        found.append((batch.samples.tolist()[0], float(batch.t[0])))
        if len(found) == n:
            return found
    return found


def test_csv_with_milliseconds(plug):
    with SerialLines(str(plug.path), SIGNAL, baud=9600, reading=Reading(unit="ms")) as source:
        plug.say(b"7,8,9\r\n1000,1,", b"2\r\n\xff\xfe\x00rub", b"bish\r\n1020,3,4\r\n", b"1040,5\r\n1060,7,8\r\n")
        assert taken(source, 3) == [([1, 2], 1.0), ([3, 4], 1.02), ([7, 8], 1.06)]
        assert source.stamps is None  # as the manifest says
    assert source.counters.malformed == 3  # a zero ends a line, too
    assert "not UTF-8" in source.counters.first_malformed


def test_a_header_in_the_first_line_counts(plug):
    with SerialLines(str(plug.path), SIGNAL) as source:
        plug.say(b"acc_z,acc_x,t\r\n2,1,0.5\r\n")
        assert taken(source, 1) == [([1, 2], 0.5)]


def test_json_lines_without_times_have_that_of_arrival(plug):
    with SerialLines(str(plug.path), SIGNAL) as source:
        before = time.time()
        plug.say(b"\n[1, 2]\n")
        ((samples, t),) = taken(source, 1)
        assert source.stamps == "arrival"
    assert samples == [1, 2]
    assert before <= t <= time.time()


def test_pulled_and_put_back(plug):
    with SerialLines(str(plug.path), SIGNAL, backoff=Backoff(0.01, 0.05)) as source:
        plug.say(b"\n1,1,1\n2,2,2\n")
        assert [t for _, t in taken(source, 2)] == [1, 2]
        plug.pull()
        until(lambda: source.counters.lost)
        time.sleep(0.1)  # time for it to look in vain
        plug.put_in()
        until(lambda: source.counters.reconnects)
        plug.say(b"9,9\n5,5,5\n")  # half a line first
        assert [t for _, t in taken(source, 1)] == [5]
    assert (source.counters.lost, source.counters.reconnects, source.counters.malformed) == (1, 1, 0)


def test_stopping_a_silent_port(plug):
    with SerialLines(str(plug.path), SIGNAL) as source:
        threading.Timer(0.05, source.stop).start()
        assert ending(lambda: [list(source)]) == [[]]


def test_no_such_port(tmp_path):
    with pytest.raises(
        MissingError, match=r"ttyUSB7: expected a serial port, got No such file or directory. Plug it in, or"
    ):
        SerialLines(str(tmp_path / "ttyUSB7"), SIGNAL).__enter__()
    (tmp_path / "file").write_text("no port")
    with pytest.raises(MissingError, match=r"expected a serial port, got .*Inappropriate ioctl"):
        SerialLines(str(tmp_path / "file"), SIGNAL).__enter__()


def test_no_permission(plug, monkeypatch):
    def refuse(*arguments, **more):
        raise serial.SerialException(errno.EACCES, f"could not open port {plug.path}: [Errno 13] Permission denied")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(
        MissingError, match=r"permission denied. Run: sudo usermod -aG dialout \$USER, then log in again."
    ):
        SerialLines(str(plug.path), SIGNAL).__enter__()


def test_two_readers_would_tear_the_lines(plug):
    port = str(plug.path)
    with (
        SerialLines(port, SIGNAL),
        pytest.raises(MissingError, match="expected a port of our own, got one that another program reads"),
    ):
        SerialLines(port, SIGNAL).__enter__()
    with SerialLines(port, SIGNAL):
        pass


def test_no_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "serial", None)
    with pytest.raises(
        MissingError, match=r'expected pyserial, got no such library. Run: pip install "sensedge\[serial\]"'
    ):
        SerialLines("/dev/ttyUSB0", SIGNAL).__enter__()


def test_by_url(plug):
    with open_source(f"serial:{plug.path}?baud=57600&t=us&rate=100", SIGNAL) as source:
        assert (source._baud, source.rate_hz) == (57600, 100)
        plug.say(b"\n1000000,1,2\n")
        assert taken(source, 1) == [([1, 2], 1.0)]
    with pytest.raises(InputError, match=r"serial: expected a port, got none. Write serial:/dev/ttyUSB0."):
        open_source("serial:", SIGNAL)
    with pytest.raises(InputError, match=r"serial: t: expected one of auto, s, ms, .* or a column, got h"):
        open_source("serial:/dev/ttyUSB0?t=h", SIGNAL)
