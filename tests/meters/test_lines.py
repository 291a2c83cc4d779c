"""Readings that come as lines of text, live and from a log."""

import io
import math
import os
import pty
import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.meters import LineMeter, energy_of_lines, open_meter
from sdk.meters.lines import LineReading, parse_line
from tests.board_trees import Feed
from tests.waiting import until


@pytest.mark.parametrize(
    ("line", "reading"),
    [
        ("4.15\n", LineReading(7, 4.15)),
        ("12.5,4.15", LineReading(12.5, 4.15)),
        (" 12.5 , 5.0 , 0.5 \r\n", LineReading(12.5, 2.5)),
        ("-1e3,-.5", LineReading(-1000, -0.5)),
        ("t_s,W", None),
        ("# a remark", None),
        ("", None),
    ],
)
def test_a_line(line, reading):
    assert parse_line(line, arrived_s=7) == reading


@pytest.mark.parametrize("line", ["1,2,3,4", "1;2", "1.2.3", "-", "1,", "1,W"])
def test_a_line_that_is_none(line):
    with pytest.raises(ValueError, match="expected W or t_s,W or t_s,V,A"):
        parse_line(line, 0)


# ---- logs

RAMP = ["t_s,W", *(f"{second},{second}" for second in range(11))]  # a watt more each second


@pytest.mark.parametrize(("begin", "end", "joules"), [(0, 10, 50), (2, 4, 6), (2.5, 3.5, 3), (2.25, 2.75, 1.25)])
def test_the_edges_of_a_window_are_cut(begin, end, joules):
    energy = energy_of_lines(RAMP, begin, end)
    assert energy.joules == pytest.approx(joules)
    assert (energy.seconds, energy.tier, energy.rails) == (end - begin, "measured", ("watts",))


@given(
    cuts=st.lists(st.floats(0, 10), min_size=1, max_size=5), watts=st.lists(st.floats(0, 100), min_size=11, max_size=11)
)
def test_parts_add_up(cuts, watts):
    lines = [f"{second},{watt}" for second, watt in enumerate(watts)]
    edges = sorted({0.0, 10.0, *cuts})
    parts = [energy_of_lines(lines, a, b).joules for a, b in pairwise(edges)]
    whole = energy_of_lines(lines, 0, 10).joules
    assert sum(parts) == pytest.approx(whole, abs=1e-9)
    assert whole == pytest.approx(sum((a + b) / 2 for a, b in pairwise(watts)), abs=1e-9)


@pytest.mark.parametrize(
    ("lines", "begin", "end", "says"),
    [
        (RAMP, -1, 5, "incomplete: the lines begin at 0 s"),
        (RAMP, 5, 11, "incomplete: the lines end at 10 s"),
        ([], 0, 1, "incomplete: the lines end at -inf s"),
        ([*RAMP, "16,16"], 8, 12, "incomplete: 6 s without a line, usually 1 s"),
        ([*RAMP, "9,9", "12,12"], 8, 12, "incomplete: the time went back from 10 to 9 s"),
    ],
)
def test_a_log_with_holes(lines, begin, end, says):
    energy = energy_of_lines(lines, begin, end)
    assert (energy.joules, energy.reason) == (None, says)


def test_a_hole_outside_of_the_window_does_no_harm():
    assert energy_of_lines([*RAMP, "30,30"], 2, 4).joules == pytest.approx(6)


def test_mistakes_with_a_log():
    with pytest.raises(ValueError, match="expected an end after 3, got 3"):
        energy_of_lines(RAMP, 3, 3)
    with pytest.raises(ValueError, match="a log needs the time in every line"):
        energy_of_lines(["1.5"], 0, 1)


# ---- live


def settled(meter, n):
    """Wait until the thread has taken the line of a time, since it works beside us."""
    until(lambda: meter._last is not None and meter._last.watts == n)


def test_a_window_between_lines(clock):
    """Lines each second at 1000, 1001, ...: watts equal the seconds since 1000; the window is 1003.5 to 1006.5."""
    feed = Feed()
    meter = LineMeter("lines:x", feed, clock=clock)
    meter.keep_timeline(100)
    for second in range(4):
        clock.now = 1000 + second
        feed.put(f"{second},{second}")
        settled(meter, second)
    clock.now = 1003.5
    meter.start()
    for second in (4, 5, 6):
        clock.now = 1000 + second
        feed.put(f"{second},{second}")
        settled(meter, second)
    clock.now = 1006.5
    feed.put("7,7")  # the first line after the end
    settled(meter, 7)
    energy = meter.stop()
    feed.end()
    assert energy.joules == pytest.approx(3 * 5)
    assert energy.seconds == pytest.approx(3)
    assert (energy.source, energy.method, energy.tier) == ("lines:x", "integrated power", "measured")
    assert energy.timeline.edges_s == pytest.approx((0, 0.5, 1.5, 2.5, 3))
    assert [watts for (watts,) in energy.timeline.watts] == pytest.approx([3.75, 4.5, 5.5, 6.25])


@pytest.mark.parametrize("delays", [(0.4, 0, 0, 0, 0), (0, 0.4, 0.4, 0.4, 0), (0.4, 0.4, 0.4, 0.4, 0)])
def test_lines_that_were_delayed(clock, delays):
    """Whichever of the first lines was held up, and if all were: no part of the window is lost, or counted twice."""
    feed = Feed()
    meter = LineMeter("lines:x", feed, clock=clock)
    for second, delay in enumerate(delays):
        clock.now = 1000 + second + delay
        feed.put(f"{second},{3 + second % 2}")
        settled(meter, 3 + second % 2)
    meter.start()
    for second in (5, 6, 7):
        clock.now = 1000 + second
        feed.put(f"{second},{3 + second % 2}")
        settled(meter, 3 + second % 2)
    clock.now = 1006.5
    energy = meter.stop()
    feed.end()
    begin = 4.0 - min(delays[:4])  # by the lines' own time, which is ours but for the least delay
    edges = [begin, *range(math.ceil(begin), 7), 2.5 + begin]
    edges = sorted({edge for edge in edges if edge <= 2.5 + begin})
    middles = np.interp([(a + b) / 2 for a, b in pairwise(edges)], range(8), [3 + second % 2 for second in range(8)])
    truth = sum(watts * (b - a) for watts, (a, b) in zip(middles, pairwise(edges), strict=True))
    assert energy.reason == ""
    assert energy.seconds == pytest.approx(2.5)
    assert energy.joules == pytest.approx(truth)


def test_lines_that_stop(clock):
    feed = Feed()
    meter = LineMeter("lines:x", feed, clock=clock, wait_s=0.05)
    for second in range(5):
        feed.put(f"{second},1.5")
    settled(meter, 1.5)
    meter.start()
    clock.now += 9
    assert meter.stop().reason == "incomplete: no line in 0.05 s"
    meter.start()
    feed.end()
    assert "incomplete: " in meter.stop().reason
    meter.start()
    assert meter.stop().reason == "incomplete: the lines ended"


def test_a_meter_that_says_nothing(clock):
    meter = LineMeter("lines:x", feed := Feed(), clock=clock, wait_s=0.02)
    meter.start()
    assert meter.stop().reason == "incomplete: less than 4 lines in 0.02 s"
    feed.end()


def test_a_broken_line_in_a_window(clock):
    feed = Feed()
    meter = LineMeter("lines:x", feed, clock=clock, wait_s=0.05)
    feed.put("0.1,0.2,0.3,the end of a line, as one gets it in the middle")
    for second in range(5):
        feed.put(f"{second},1.5")
    settled(meter, 1.5)
    meter.start()
    feed.put("5,1.5,x")
    feed.put("6,1.25")
    settled(meter, 1.25)
    energy = meter.stop()
    feed.end()
    assert energy.reason.startswith("incomplete: expected W or t_s,W or t_s,V,A, got '5,1.5,x'")


def test_lines_of_another_kind_of_stream():
    """Bytes, as a serial port gives them, and a file that is at its end."""
    meter = LineMeter("lines:x", io.BytesIO(b"1,2\r\n2,2\r\n3,2\r\n4,2\r\n"), wait_s=0.05)
    meter.start()
    assert meter.stop().reason in ("incomplete: the lines ended", "incomplete: no line in 0.05 s")
    assert meter._last.watts == 2


def test_a_serial_device():
    """A terminal stands in for the port: 2.5 W ten times a second, with the time in every line."""
    ours, theirs = pty.openpty()
    meter = open_meter(f"lines:{os.ttyname(theirs)}@9600")
    assert meter.name == f"lines:{os.ttyname(theirs)}"
    done = threading.Event()

    def send():
        while not done.wait(0.1):
            os.write(ours, f"{time.monotonic() - 77:.6f},5.0,0.5\n".encode())

    sender = threading.Thread(target=send)
    sender.start()
    meter.start()
    time.sleep(0.6)
    energy = meter.stop()
    done.set()
    sender.join()
    os.close(ours)
    os.close(theirs)
    assert energy.reason == ""
    assert energy.joules == pytest.approx(2.5 * energy.seconds)
    assert energy.seconds >= 0.6
    assert 4 <= energy.n_samples <= 9
    assert energy.metering_cpu_s > 0


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("lines", "no path of a serial device or pipe: give it as lines:/dev/ttyUSB"),
        (
            "lines:/no/such/port",
            "/no/such/port: [Errno 2] No such file or directory: '/no/such/port': plug the meter in",
        ),
        ("lines:/dev/null@fast", "no baud rate 'fast': give it as lines:PATH@BAUD"),
    ],
)
def test_ports_that_cannot_be_opened(name, says):
    assert open_meter(name).reason.startswith(says)
