"""What live sources share: threads, queues, restarts; and the synthetic sensor and stdin."""

import os
import select
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from runtime import InputError, MissingError, Modality, Signal, Windower, WindowSpec
from runtime.sources import Backoff, Batch, Faults, Live, StdinLines, Synthetic, open_source
from tests.waiting import PATIENCE_S, ending, until

SIGNAL = Signal((Modality("acc", "m/s^2", ("x", "z"), 50.0),))
QUICK = Backoff(0.005, 0.01)


class Script:
    """A connection that gives what it is told: batches, None at its end, or an error."""

    def __init__(self, *steps):
        self.steps, self.closed, self.reads = list(steps), False, 0

    def read(self, wait_s):
        self.reads += 1
        if not self.steps:
            time.sleep(min(wait_s, 0.01))
            return []
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step

    def close(self):
        self.closed = True


def batch(first, n=2):
    t = np.arange(first, first + n) / 50
    return Batch(np.ones((n, 2), np.float32), t)


def numbers(batches):
    return [round(t * 50) for b in batches for t in b.t.tolist()]


def lives(*connections):
    waiting = list(connections)

    def connect():
        step = waiting.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    return connect


def test_until_the_end():
    connection = Script([batch(0), batch(2)], [], [batch(4)], None)
    with Live(lambda: connection) as source:
        assert numbers(source) == [0, 1, 2, 3, 4, 5]
    assert source.counters.samples == 6
    assert connection.closed


def test_one_that_dies_comes_back_and_the_hole_is_a_gap():
    away = MissingError("port", expected="one", got="none", fix="Plug it in.")
    connect = lives(Script([batch(0, 100)], OSError("gone")), away, OSError("still"), Script([batch(150, 100)], None))
    with Live(connect, backoff=QUICK) as source:
        batches = list(source)
    assert numbers(batches) == [*range(100), *range(150, 250)]
    assert (source.counters.lost, source.counters.reconnects) == (1, 1)
    windower = Windower(SIGNAL, WindowSpec(50, 50), source_hz=50)
    windows = [window for b in batches for window in windower.push(*b)]
    assert windower.counters.gaps == 1
    assert [round(window.start_s * 50) for window in windows] == [0, 50, 150, 200]


def test_without_back_off_death_is_the_end():
    with Live(lambda: Script([batch(0)], OSError("gone"))) as source:
        assert numbers(source) == [0, 1]
    assert source.counters.lost == 1


def test_a_slow_consumer_loses_the_oldest_and_it_is_counted():
    read = threading.Event()

    class Flood(Script):
        def read(self, wait_s):
            if not self.steps:
                read.set()
            return super().read(wait_s)

    with Live(lambda: Flood(*([batch(i)] for i in range(0, 200, 2))), queue_samples=20) as source:
        assert read.wait(PATIENCE_S)
        found = []
        for b in source:
            found.append(b)
            assert source._queued <= 20
            if numbers(found)[-1] == 199:
                break
    assert numbers(found) == list(range(180, 200))
    assert source.counters.dropped == 180
    assert source.counters.samples == 200


def test_one_that_can_wait_loses_nothing():
    with Live(lambda: Script(*([batch(i)] for i in range(0, 200, 2)), None), keep_all=True, queue_samples=20) as source:
        found = []
        for b in source:
            assert source._queued <= 20
            found.append(b)
    assert numbers(found) == list(range(200))
    assert source.counters.dropped == 0


def test_what_is_no_matter_of_the_data_is_raised():
    with (
        Live(lambda: Script([batch(0)], ZeroDivisionError("a defect")), backoff=QUICK) as source,
        pytest.raises(ZeroDivisionError),
    ):
        list(source)


def test_what_is_wrong_at_the_start_is_raised_there():
    with pytest.raises(OSError, match="no such thing"):
        Live(lives(OSError("no such thing")), backoff=QUICK).__enter__()
    with pytest.raises(InputError, match="expected an open source"):
        list(Live(lambda: Script()))


@pytest.mark.parametrize("steps", [[], [OSError("gone")]], ids=["silent", "dead"])
def test_stopping_waits_for_nothing_but_the_reading_that_goes_on(steps):
    connection, waits = Script(*steps), []

    def stop():
        until(lambda: connection.reads > len(steps) or source.counters.lost)
        waits.append(connection.reads)
        source.stop()

    with Live(lives(connection, *([OSError("away")] * 1000)), backoff=Backoff(3600, 3600)) as source:
        threading.Thread(target=stop).start()
        assert ending(lambda: [list(source)]) == [[]]
    assert connection.reads <= waits[0] + 1
    assert not source._thread.is_alive()


def test_one_that_was_stopped_before_it_ran_is_closed():
    connection = Script([batch(0)])
    source = Live(lambda: connection)
    source.stop()
    with source:
        assert list(source) == []
    assert connection.closed


def test_a_connection_that_comes_too_late_is_closed():
    late = Script([batch(0)])

    def connect():
        if not source.counters.lost:
            return Script(OSError("gone"))
        source.stop()
        return late

    source = Live(connect, backoff=QUICK)
    with source:
        assert list(source) == []
    assert late.closed


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S
    ).stdout.split()


def test_a_signal_at_any_instant_stops_it():
    """The handler runs in the thread that waits, whatever that holds."""
    assert run("""if True:
        import random, signal
        from runtime import Modality, Signal
        from runtime.sources import Synthetic
        for _ in range(300):
            source = Synthetic(Signal((Modality("acc", "m/s^2", ("x", "z"), 1e5),)), chunk_samples=1)
            signal.signal(signal.SIGALRM, lambda *_: source.stop())
            signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-4, 1e-3))
            for batch in source: pass
        print("stopped")""") == ["stopped"]


def test_in_a_fork_it_says_so():
    assert run("""if True:
        import os, time
        from runtime import InputError, Modality, Signal
        from runtime.sources import StdinLines
        with StdinLines(Signal((Modality("acc", "m/s^2", ("x", "z"), 50.0),)), file=os.pipe()[0]) as source:
            if os.fork() == 0:
                try: list(source)
                except InputError as error: print(str(error).split(",")[1].split(".")[0], flush=True)
                os._exit(0)
            os.wait()""") == ["got", "a", "fork"]


def test_back_off():
    waits = [[Backoff(0.5, 30).wait_s(attempt) for _ in range(200)] for attempt in (0, 1, 5, 6, 7, 10_000)]
    for found, longest in zip(waits, (0.5, 1, 16, 30, 30, 30), strict=True):
        assert longest / 2 <= min(found) < 0.6 * longest
        assert 0.9 * longest < max(found) <= longest


# ---- synthetic


def all_of(source):
    batches = list(source)
    return np.concatenate([b.samples for b in batches]), np.concatenate([b.t for b in batches])


def test_a_synthetic_sensor_is_the_same_each_time_in_any_chunks():
    faults = Faults(drift_ppm=1000, jitter_s=0.001, gap_every_s=3, gap_s=1)
    first, second, other = (
        all_of(Synthetic(SIGNAL, seconds=10, seed=seed, chunk_samples=n, realtime=False, faults=faults))
        for seed, n in ((1, 16), (1, 7), (2, 16))
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    assert not np.allclose(first[0], other[0])


def test_what_a_synthetic_sensor_sends():
    samples, t = all_of(Synthetic(SIGNAL, rate_hz=40, seconds=100, realtime=False, faults=Faults(drift_ppm=500)))
    np.testing.assert_allclose(t, np.arange(4000) / 40 * 1.0005)
    np.testing.assert_allclose(samples.mean(0), [0, 9.80665], atol=0.05)
    _, t = all_of(Synthetic(SIGNAL, seconds=9, realtime=False, faults=Faults(gap_every_s=3, gap_s=1)))
    assert (np.diff(t) > 1).sum() == 2
    assert len(t) == 300
    _, t = all_of(Synthetic(SIGNAL, seconds=60, realtime=False, faults=Faults(jitter_s=0.002), start_s=7))
    assert np.std(np.diff(t)) == pytest.approx(0.002 * 2**0.5, rel=0.1)
    assert t[0] == pytest.approx(7, abs=0.01)


def test_a_synthetic_sensor_takes_its_time():
    slept = []
    list(Synthetic(SIGNAL, seconds=3.2, chunk_samples=16, sleep=slept.append))
    assert len(slept) == 10
    assert sum(slept) == pytest.approx(0.32 * 55, rel=0.01)  # the clock of the machine stands still meanwhile


@pytest.mark.parametrize("fast", ["", "&fast"])
def test_a_synthetic_sensor_that_only_has_holes_stops(fast):
    with open_source(f"synthetic?gap_every=0.5&gap=0.5{fast}", SIGNAL) as source:
        threading.Timer(0.05, source.stop).start()
        assert list(source) == []


def test_synthetic_by_url():
    source = open_source("synthetic?rate=25&seconds=4&fast=1&gap_every=2", SIGNAL)
    assert source.rate_hz == 25
    with source:
        assert sum(len(b.samples) for b in source) == 76  # two holes of 0.5 s, 12 samples each
    for url, told in (
        (
            "synthetic?sample=1",
            "expected the options drift, jitter, gap_every, gap, rate, seconds, seed, fast, chunk, got sample",
        ),
        ("synthetic?rate=0", "synthetic: rate: expected a number above 0, got 0"),
        ("synthetic?fast=yes", "synthetic: fast: expected 0 or 1, got yes"),
        ("synthetic?chunk=1.5", "synthetic: chunk: expected a whole number of at least 1, got 1.5"),
        ("synthetic:x", "expected options after a ?"),
        ("bluetooth:x", "source: expected one of replay, synthetic, stdin, iio, serial, mqtt, mqtts, got bluetooth:x"),
    ):
        with pytest.raises(InputError) as caught:
            open_source(url, SIGNAL)
        assert told in str(caught.value)


# ---- stdin


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, os.fdopen(writer, "wb", buffering=0)
    os.close(reader)


def test_lines_of_another_program(pipe):
    reader, writer = pipe
    with StdinLines(SIGNAL, file=reader) as source:
        for piece in (b'{"t": 1, "samp', b'les": [1, 2]}\nrubbish\n{"t": 2, "acc_x": 3,', b' "acc_z": 4}\n', b"3,5,6"):
            writer.write(piece)
            time.sleep(0.01)
        writer.close()
        batches = list(source)
    assert [row for b in batches for row in b.samples.tolist()] == [[1, 2], [3, 4], [5, 6]]
    assert [t for b in batches for t in b.t.tolist()] == [1, 2, 3]
    assert source.stamps is None  # as the manifest says
    assert source.counters.malformed == 1


def test_the_other_program_waits_and_nothing_is_lost(pipe):
    reader, writer = pipe
    lines = b"".join(b"%d,0\n" % i for i in range(30_000))  # more than pipe and queue hold

    def write():
        with writer:
            writer.write(lines)

    thread = threading.Thread(target=write)
    with StdinLines(SIGNAL, file=reader) as source:
        thread.start()
        until(lambda: source._queued and not select.select([], [writer], [], 0)[1])
        assert thread.is_alive()
        found = [sample for b in source for sample in b.samples[:, 0].tolist()]
    thread.join()
    assert found == list(range(30_000))
    assert source.counters.dropped == 0
