"""A hub against the streams that it stands for, against plain lists, and against slow engines and many threads."""

import logging
import math
import sys
import threading
import time
from collections import Counter, defaultdict, deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runtime.hub.thread
from runtime.bundle import Bundle
from runtime.engine import open_engine
from runtime.errors import InputError
from runtime.hub import Hub, HubCore, HubCounters
from runtime.specs import Modality, Normalise, Signal
from runtime.stream import Stream
from tests.bundles_small import CHANNELS, LENGTH, small_manifest
from tests.waiting import PATIENCE_S, Clock, ending, until

HOP, RATE_HZ = 12, 32.0  # as in bundles_small
LIMITS_S = runtime.hub.thread._DRAIN_S, runtime.hub.thread._JOIN_S


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """What waits when a hub is closed is run, however slow this machine is; two tests are about the limit."""
    monkeypatch.setattr(runtime.hub.thread, "_DRAIN_S", PATIENCE_S)
    monkeypatch.setattr(runtime.hub.thread, "_JOIN_S", PATIENCE_S)


@pytest.fixture(scope="module")
def bundle(exported):
    return Bundle.open(exported("fcn").path)


@pytest.fixture(scope="module")
def engine(bundle):
    return open_engine(bundle)


class FakeEngine:
    """Answers from each window's mean; may be slow, blocked or broken; remembers its batches."""

    name = "fake"

    def __init__(self, fails=(), before=lambda: None):
        self.fails, self.before, self.batches = fails, before, []
        self.free = threading.Event()
        self.free.set()
        self.running = 0

    def run(self, windows, output="logits"):
        assert not self.running, "two threads in one engine"
        self.running += 1
        self.before()
        self.free.wait(PATIENCE_S)
        self.batches.append(len(windows))
        self.running -= 1
        if len(self.batches) in self.fails:
            raise RuntimeError("engine on fire")
        mean = windows.mean(axis=(1, 2))
        return np.stack([mean, -mean, 0 * mean], axis=1)

    def logits(self, window):
        return self.run(window[None])[0].tolist()


def samples_of(seed, n):
    return np.random.default_rng(seed).normal((0.5, -1, 9), (2, 3, 4), (n, CHANNELS)).astype(np.float32)


def rows_for(n_windows, first=True):
    """Samples that complete so many windows, of a new stream or of one that has had some."""
    n = n_windows * HOP + (LENGTH - HOP if first else 0)
    return np.zeros((n, CHANNELS), np.float32)


def agree(found, expected):
    assert [(p.label, p.start_s, p.end_s) for p in found] == [(p.label, p.start_s, p.end_s) for p in expected]
    if expected:
        a, b = (np.array([p.probabilities for p in predictions]) for predictions in (found, expected))
        assert np.abs(a - b).max() < 1e-5


# ---- the core


@settings(max_examples=40, deadline=None)
@given(
    pushes=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60), st.booleans()), max_size=25),
    max_batch=st.integers(1, 9),
    timed=st.booleans(),
)
def test_every_stream_gets_what_its_own_stream_gives(bundle, engine, pushes, max_batch, timed):
    core = HubCore(bundle, engine, max_batch=max_batch, max_queue=1000)
    samples = [samples_of(seed, 100) for seed in range(5)]
    t = np.arange(100) / RATE_HZ + np.where(np.arange(100) < 60, 0, 7)
    found, done = defaultdict(list), [0] * 5
    for i, n, step in [*pushes, *((i, 100, True) for i in range(5)), *[(0, 0, True)] * 30]:
        rows = slice(done[i], done[i] + n)
        core.push(f"s{i}", samples[i][rows], t[rows] if timed else None, now_s=0)
        done[i] += n
        for name, prediction in core.step() if step else ():
            found[name].append(prediction)
    for i in range(5):
        agree(found[f"s{i}"], Stream(bundle, engine).push(samples[i], t if timed else None))
        assert core.counters(f"s{i}") == HubCounters(len(found[f"s{i}"]), len(found[f"s{i}"]), 0, 0)


def test_the_end_of_a_stream(bundle):
    samples = samples_of(3, LENGTH + 5)
    core, stream = HubCore(bundle, FakeEngine()), Stream(bundle, FakeEngine())
    core.push("a", samples, now_s=0)
    assert not core.flush("a", "hold", now_s=1)  # due since the first
    expected = stream.push(samples) + stream.flush("hold")
    assert len(expected) == 2
    found = [p for _, p in core.step()]
    agree(found, expected)
    assert found[1].quality.padded == HOP - 5
    core.push("a", rows_for(1), now_s=2)  # a new stream
    assert not core.flush("a", now_s=2)
    assert [p.start_s for _, p in core.step()] == [0]
    with pytest.raises(InputError, match="expected the name of a stream, got 'b'"):
        core.flush("b", now_s=2)


def test_times_of_computing_are_shares(bundle, engine):
    core = HubCore(bundle, engine)
    core.push("a", samples_of(0, LENGTH + HOP), now_s=0)
    began = time.perf_counter()
    predictions = [p for _, p in core.step()]
    assert sum(p.engine_s + p.decide_s for p in predictions) <= time.perf_counter() - began
    assert min(min(p.window_s, p.engine_s, p.decide_s) for p in predictions) > 0


def test_when_a_batch_is_due(bundle):
    core = HubCore(bundle, FakeEngine(), max_delay_s=0.25, max_batch=3)
    assert core.due_s() is None
    assert not core.push("a", rows_for(1)[:-1], now_s=10)
    assert core.due_s() is None
    assert core.push("a", rows_for(1)[-1:], now_s=11)
    assert core.due_s() == 11.25
    assert not core.push("b", rows_for(1), now_s=11.1)
    assert core.due_s() == 11.25
    assert core.push("c", rows_for(1), now_s=11.2)
    assert core.due_s() == -math.inf
    assert not core.push("d", rows_for(1), now_s=11.2)
    assert [name for name, _ in core.step()] == ["a", "b", "c"]
    assert core.due_s() == 11.25  # what is left is not later than the first was
    assert [name for name, _ in core.step()] == ["d"]
    assert core.due_s() is None
    assert core.step() == []


def test_what_a_hub_allows_unless_it_is_told(bundle):
    """Fifty milliseconds, 32 windows in one run, 8 of one stream that wait, and 4096 streams."""
    core = HubCore(bundle, FakeEngine())
    core.push("a", rows_for(8), now_s=1)
    assert (core.due_s(), core.counters().dropped) == (1.05, 0)
    core.push("a", rows_for(1, first=False), now_s=2)
    assert core.counters().dropped == 1
    for name, n in (("b", 8), ("c", 8), ("d", 7)):
        core.push(name, rows_for(n), now_s=2)
    assert core.due_s() == 1.05
    assert core.push("d", rows_for(1, first=False), now_s=2)
    assert core.due_s() == -math.inf
    assert len(core.step()) == 32
    assert core.max_streams == 4096


def test_the_oldest_windows_are_dropped(bundle):
    core = HubCore(bundle, FakeEngine(), max_queue=3)
    core.push("a", rows_for(2), now_s=0)
    core.push("a", rows_for(4, first=False), now_s=0)
    assert core.counters("a") == HubCounters(windows=6, predicted=0, dropped=3, queued=3)
    core.push("b", rows_for(7), now_s=0)
    assert core.counters() == HubCounters(13, 0, 7, 6)
    assert [(name, p.start_s * RATE_HZ / HOP) for name, p in core.step()] == [
        ("a", 3),
        ("b", 4),
        ("a", 4),
        ("b", 5),
        ("a", 5),
        ("b", 6),
    ]
    assert core.counters() == HubCounters(13, 6, 7, 0)


def test_a_noisy_stream_takes_no_turn_from_the_others(bundle):
    """Nine streams complete a window per round, the tenth fifty; the engine manages twelve per round."""
    core, served = HubCore(bundle, FakeEngine(), max_batch=12, max_queue=8), Counter()
    for i in range(9):
        core.push(f"quiet {i}", rows_for(1)[:-HOP], now_s=0)
    for _ in range(20):
        core.push("noisy", rows_for(50, first=False), now_s=0)
        for i in range(9):
            core.push(f"quiet {i}", rows_for(1, first=False), now_s=0)
        served.update(name for name, _ in core.step())
    assert all(core.counters(f"quiet {i}") == HubCounters(20, 20, 0, 0) for i in range(9))
    assert served["noisy"] == 20 * 3
    assert core.counters("noisy").dropped > 800


def test_when_all_are_too_many_all_get_the_same(bundle):
    core, served = HubCore(bundle, FakeEngine(), max_batch=7, max_queue=2), Counter()
    for _ in range(60):
        for i in range(10):
            core.push(str(i), rows_for(1 + i, first=False), now_s=0)
        served.update(name for name, _ in core.step())
    assert sum(served.values()) == 60 * 7
    assert max(served.values()) - min(served.values()) <= 3


def reference(operations, max_queue, max_batch):
    """Windows by number as plain lists: what is served, and what is dropped per stream."""
    queues, turns, dropped, made, served = defaultdict(deque), [], Counter(), Counter(), []
    for name, n in operations:
        if name is None:
            batch = []
            while turns and len(batch) < max_batch:
                first = turns.pop(0)
                batch.append((first, queues[first].popleft()))
                turns += [first] if queues[first] else []
            served.append(batch)
            continue
        for _ in range(n):
            turns += [] if name in turns else [name]
            queues[name].append(made[name])
            made[name] += 1
            if len(queues[name]) > max_queue:
                queues[name].popleft()
                dropped[name] += 1
    return served, dropped, {name: len(queue) for name, queue in queues.items()}


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(("a", "b", "c", "d", None)), st.integers(0, 6), st.sampled_from((0.0, 0.01, 0.2))),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(operations=OPERATIONS, max_queue=st.integers(1, 5), max_batch=st.integers(1, 6))
def test_queues_as_plain_lists(bundle, operations, max_queue, max_batch):
    core, served, fed = HubCore(bundle, FakeEngine(), max_queue=max_queue, max_batch=max_batch), [], set()
    for name, n, _ in operations:
        if name is None:
            served.append([(who, round(p.start_s * RATE_HZ / HOP)) for who, p in core.step()])
        elif n:
            core.push(name, rows_for(n, first=name not in fed), now_s=0)
            fed.add(name)
        assert core.counters().queued <= max_queue * len(fed)
    expected, dropped, queued = reference([(name, n) for name, n, _ in operations], max_queue, max_batch)
    assert served == expected
    for name in fed:
        counters = core.counters(name)
        assert (counters.dropped, counters.queued) == (dropped[name], queued[name])
        assert counters.windows == counters.predicted + counters.dropped + counters.queued
    assert core.counters().windows == sum(n for name, n, _ in operations if name is not None)


@settings(max_examples=100, deadline=None)
@given(operations=OPERATIONS, max_batch=st.integers(1, 6), max_delay_s=st.sampled_from((0.0, 0.05, 0.5)))
def test_no_window_waits_longer_than_the_delay(bundle, operations, max_batch, max_delay_s):
    """A fake clock, and an engine that takes no time: batches are run at the instant when they are due."""
    core = HubCore(bundle, FakeEngine(), max_delay_s=max_delay_s, max_batch=max_batch, max_queue=1000)
    now_s, arrived, waited, fed = 0.0, defaultdict(deque), [], set()

    def run_until(end_s):
        while (due_s := core.due_s()) is not None and due_s <= end_s:
            at_s = max(due_s, now_s)
            waited.extend(at_s - arrived[name].popleft() for name, _ in core.step())

    for name, n, pause_s in operations:
        if name is not None and n:
            core.push(name, rows_for(n, first=name not in fed), now_s=now_s)
            fed.add(name)
            arrived[name].extend([now_s] * n)
        run_until(now_s + pause_s)
        now_s += pause_s
    run_until(math.inf)
    assert not any(arrived.values())
    assert max(waited, default=0) <= max_delay_s + 1e-9


def test_removing_a_stream(bundle):
    core = HubCore(bundle, FakeEngine(), max_streams=2)
    core.push("a", rows_for(2), now_s=0)
    core.push("b", rows_for(1), now_s=0)
    with pytest.raises(InputError, match=r"stream 'c': expected at most 2 streams, got one more. Remove streams"):
        core.push("c", rows_for(1), now_s=0)
    core.remove("a")
    assert core.streams == ("b",)
    assert core.counters() == HubCounters(windows=3, predicted=0, dropped=2, queued=1)
    assert [name for name, _ in core.step()] == ["b"]
    for ask in (core.remove, core.counters):
        with pytest.raises(InputError, match=r"stream: expected the name of a stream, got 'a'. Push to it first."):
            ask("a")
    core.push("a", rows_for(1), now_s=0)  # from its beginning
    assert [p.start_s for _, p in core.step()] == [0]
    core.push("b", rows_for(1, first=False), now_s=0)
    core.remove("b")
    assert core.due_s() is None
    assert core.counters() == HubCounters(5, 2, 3, 0)


def test_a_stream_that_is_removed_while_its_batch_runs(bundle):
    fake = FakeEngine()
    core = HubCore(bundle, fake)
    core.push("a", rows_for(2), now_s=0)
    fake.free.clear()
    thread = threading.Thread(target=core.step)
    thread.start()
    until(lambda: fake.running)
    assert core.counters() == HubCounters(2, 0, 0, 2)
    core.remove("a")
    assert core.counters() == HubCounters(2, 0, 0, 2)
    fake.free.set()
    thread.join()
    assert core.counters() == HubCounters(2, 2, 0, 0)


def push_late(core, meanwhile):
    """What a push raised during whose cutting of windows something else happened."""
    errors = []

    def push():
        try:
            core.push("a", rows_for(2), now_s=0)
        except InputError as error:
            errors.append(error)

    core.push("a", rows_for(1)[:0], now_s=0)
    source = core._sources["a"]
    windower, cutting, go_on = source.windower, threading.Event(), threading.Event()

    class Slow:
        counters = windower.counters

        def take(self, *samples):
            cutting.set()
            go_on.wait(PATIENCE_S)
            return windower.take(*samples)

    source.windower = Slow()
    thread = threading.Thread(target=push)
    thread.start()
    assert cutting.wait(PATIENCE_S)
    meanwhile()
    go_on.set()
    thread.join()
    return errors


def test_a_stream_that_is_removed_while_windows_are_cut(bundle):
    core = HubCore(bundle, FakeEngine())
    assert push_late(core, lambda: core.remove("a")) == []
    assert core.counters() == HubCounters(2, 0, 2, 0)
    assert core.step() == []


def test_a_core_that_is_closed_while_windows_are_cut(bundle):
    core = HubCore(bundle, FakeEngine())
    (error,) = push_late(core, core.close)
    assert "hub: expected an open hub, got a closed one" in str(error)
    assert core.counters() == HubCounters(0, 0, 0, 0)


def test_a_closed_core_takes_nothing_more_and_runs_what_waits(bundle):
    core = HubCore(bundle, FakeEngine())
    core.push("a", rows_for(2), now_s=0.0)
    core.close()
    for late in (lambda: core.push("a", rows_for(1), now_s=1.0), lambda: core.flush("a", "hold", now_s=1.0)):
        with pytest.raises(InputError, match="hub: expected an open hub, got a closed one"):
            late()
    assert len(core.step()) == 2
    assert core.counters() == HubCounters(2, 2, 0, 0)


def test_a_core_whose_windows_were_dropped_goes_on(bundle):
    core = HubCore(bundle, FakeEngine())
    core.push("a", rows_for(2), now_s=0)
    core.push("b", rows_for(1), now_s=0)
    core.drop_all()
    assert (core.due_s(), core.step(), core.counters()) == (None, [], HubCounters(3, 0, 3, 0))
    core.push("a", rows_for(1, first=False), now_s=5)
    assert core.due_s() == 5.05
    assert [(name, p.start_s * RATE_HZ) for name, p in core.step()] == [("a", 2 * HOP)]
    assert core.counters() == HubCounters(4, 1, 3, 0)


def test_an_engine_that_raises_drops_its_batch(bundle):
    core = HubCore(bundle, FakeEngine(fails={1}), max_batch=2)
    core.push("a", rows_for(3), now_s=0)
    with pytest.raises(RuntimeError, match="on fire"):
        core.step()
    assert core.counters("a") == HubCounters(3, 0, 2, 1)
    assert [p.start_s * RATE_HZ for _, p in core.step()] == [2 * HOP]


@pytest.mark.parametrize("bound", ["max_batch", "max_queue", "max_streams"])
def test_bounds_that_allow_nothing(bundle, bound):
    with pytest.raises(InputError, match=rf"{bound}: expected at least 1, got 0. Allow one or more."):
        HubCore(bundle, FakeEngine(), **{bound: 0})


@pytest.mark.parametrize("delay_s", [-0.1, math.nan])
def test_a_delay_below_none(bundle, delay_s):
    with pytest.raises(InputError, match=r"max_delay_s: expected at least 0 s, got"):
        HubCore(bundle, FakeEngine(), max_delay_s=delay_s)


def test_a_refused_push_leaves_the_stream_as_it_was(bundle):
    core = HubCore(bundle, FakeEngine())
    core.push("a", rows_for(1)[:-1], now_s=0)
    with pytest.raises(InputError, match="expected real numbers of shape"):
        core.push("a", [[math.nan] * (CHANNELS + 1)], now_s=0)
    core.push("a", rows_for(1)[-1:], now_s=0)
    assert [p.start_s for _, p in core.step()] == [0]


# ---- the thread


def test_threads_that_push_at_random(bundle):
    """Eight threads, five streams each, chunks of any size: all get what their own streams give."""
    found, lock = defaultdict(list), threading.Lock()

    def keep(name, prediction):
        with lock:
            found[name].append(prediction)

    def feed(hub, thread):
        random = np.random.default_rng(thread)
        done = dict.fromkeys(range(thread * 5, thread * 5 + 5), 0)
        while done:
            stream = int(random.choice(list(done)))
            n = int(random.integers(0, 50))
            hub.push(f"s{stream}", samples_of(stream, 250)[done[stream] : done[stream] + n])
            done[stream] += n
            if done[stream] >= 250:
                del done[stream]

    with Hub(bundle, keep, max_delay_s=0.002, max_batch=16, max_queue=100) as hub:
        threads = [threading.Thread(target=feed, args=(hub, i)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    n_windows = (250 - LENGTH) // HOP + 1
    assert hub.counters() == HubCounters(40 * n_windows, 40 * n_windows, 0, 0)
    assert hub.errors == 0
    one = open_engine(bundle)
    for i in range(40):
        agree(found[f"s{i}"], Stream(bundle, one).push(samples_of(i, 250)))


@pytest.fixture
def hasty_threads():
    """Threads take turns a thousand times more often than usual."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(usual_s / 1000)
    yield
    sys.setswitchinterval(usual_s)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_that_push_to_the_same_stream(bundle):
    """Order among them is theirs to keep, but no sample is lost and the windows follow one another."""
    found = []
    with Hub(bundle, lambda _, p: found.append(p), engine=FakeEngine(), max_queue=10_000) as hub:
        threads = [
            threading.Thread(target=lambda: [hub.push("a", np.zeros((7, CHANNELS))) for _ in range(120)])
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    n_windows = (6 * 120 * 7 - LENGTH) // HOP + 1
    assert [round(p.start_s * RATE_HZ) for p in found] == [HOP * i for i in range(n_windows)]


def test_a_slow_engine_drops_and_stays_bounded_and_fair(bundle):
    turns, got = threading.Semaphore(0), Counter()
    fake = FakeEngine(before=lambda: turns.acquire(timeout=PATIENCE_S))
    with Hub(
        bundle, lambda name, _: got.update([name]), engine=fake, max_batch=4, max_queue=3, max_delay_s=0.001
    ) as hub:
        for done in range(60):  # 17 windows come, and 4 are run
            for i in range(8):
                hub.push(str(i), rows_for(1 + 9 * (i == 0), first=False))
            assert hub.counters().queued <= 8 * 3 + 4
            turns.release()
            until(lambda done=done: len(fake.batches) > done)
        counters = hub.counters()
        turns.release(1000)
    assert counters.dropped > 600
    per_stream = [hub.counters(str(i)) for i in range(8)]
    assert all(c.queued == 0 and c.windows == c.predicted + c.dropped for c in per_stream)
    assert sum(c.predicted for c in per_stream) == sum(fake.batches) == sum(got.values()) == hub.counters().predicted
    shares = [c.predicted for c in per_stream]
    assert max(shares) <= 1.2 * min(shares) + 3
    assert max(fake.batches) <= 4


def test_closing_while_others_push(bundle):
    refused, got = [], Counter()
    hub = Hub(bundle, lambda name, _: got.update([name]), engine=FakeEngine())

    def feed(name):
        try:
            while True:
                hub.push(name, np.zeros((5, CHANNELS)))
        except InputError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=feed, args=(str(i),)) for i in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: got)
    ending(lambda: (hub.close(), True))
    for thread in threads:
        thread.join(PATIENCE_S)
    assert refused == ["hub: expected an open hub, got a closed one. Open another one."] * 6
    counters = hub.counters()
    assert counters.queued == 0
    assert counters.predicted == sum(got.values()) > 0
    assert counters.windows == counters.predicted + counters.dropped
    hub.close()  # twice is once


def test_closing_runs_what_waits(bundle):
    found = []
    with Hub(bundle, lambda _, p: found.append(p), engine=FakeEngine(), max_delay_s=60, max_batch=3) as hub:
        hub.push("a", rows_for(2))
        assert hub.streams == ("a",)
    assert len(found) == 2


def test_what_cannot_be_run_in_time_is_dropped(bundle, monkeypatch):
    """A run of the engine takes 0.3 s on a clock of its own; the first one's callback closes the hub."""
    now = Clock()
    monkeypatch.setattr(runtime.hub.thread, "monotonic", now)
    monkeypatch.setattr(runtime.hub.thread, "_DRAIN_S", 0.8)
    fake = FakeEngine(before=lambda: now.sleep(0.3))
    hub = Hub(bundle, lambda *_: hub.close(), engine=fake, max_batch=1, max_queue=50)
    hub.push("a", rows_for(40))
    hub._thread.join(PATIENCE_S)
    assert hub.counters() == HubCounters(windows=40, predicted=1 + 3, dropped=36, queued=0)


def test_an_engine_that_hangs_does_not_hold_up_closing(bundle, monkeypatch):
    monkeypatch.setattr(runtime.hub.thread, "_JOIN_S", 0.95)
    fake = FakeEngine()
    fake.free.clear()
    hub = Hub(bundle, lambda *_: None, engine=fake)
    hub.push("a", rows_for(1))
    until(lambda: fake.running)
    hub.close()
    assert (fake.running, fake.batches) == (1, [])  # closed, and the engine hangs still
    fake.free.set()
    hub._thread.join(PATIENCE_S)
    assert not hub._thread.is_alive()


def test_closing_takes_less_than_a_second():
    drain_s, join_s = LIMITS_S
    assert 0 < drain_s < join_s < 1


def test_a_callback_that_raises_is_counted_and_told_once(bundle, caplog):
    found = []

    def callback(name, prediction):
        found.append(prediction)
        raise KeyError("no such wearer")

    with caplog.at_level(logging.ERROR), Hub(bundle, callback, engine=FakeEngine()) as hub:
        hub.push("a", rows_for(5))
    assert (len(found), hub.errors) == (5, 5)
    (record,) = caplog.records
    assert "a callback raised; the hub goes on; further errors are only counted" in record.getMessage()
    assert "no such wearer" in caplog.text
    assert hub.counters("a") == HubCounters(5, 5, 0, 0)


def test_an_engine_that_raises_is_counted_and_told_once(bundle, caplog):
    found = []
    with caplog.at_level(logging.ERROR):
        with Hub(bundle, lambda _, p: found.append(p), engine=FakeEngine(fails={1, 3}), max_batch=2) as hub:
            hub.push("a", rows_for(7))
        assert (len(found), hub.errors, len(caplog.records)) == (3, 2, 1)
    assert hub.counters("a") == HubCounters(7, 3, 4, 0)


def test_a_callback_may_push_and_close(bundle):
    echoed, done = [], threading.Event()

    def callback(name, prediction):
        if name == "echo":
            echoed.append(prediction)
            hub.close()
            done.set()
        else:
            hub.push("echo", rows_for(1))

    hub = Hub(bundle, callback, engine=FakeEngine(), max_delay_s=0.001)
    hub.push("a", rows_for(1))
    assert done.wait(PATIENCE_S)
    hub._thread.join(PATIENCE_S)
    assert (len(echoed), hub.errors, hub._thread.is_alive()) == (1, 0, False)


def test_a_lone_window_comes_after_the_delay(bundle):
    came = threading.Event()
    with Hub(bundle, lambda *_: came.set(), engine=FakeEngine(), max_delay_s=0.2) as hub:
        time.sleep(0.05)  # the thread sleeps by now
        began = time.monotonic()
        hub.push("a", rows_for(1))
        assert came.wait(PATIENCE_S)
        assert time.monotonic() - began > 0.19
        came.clear()
        hub.remove("a")
        hub.push("a", rows_for(1))  # again from sleep
        assert came.wait(PATIENCE_S)


def test_a_hub_without_work_takes_no_time(bundle, monkeypatch):
    """It looks whether something is due once when it begins, and sleeps until it is woken."""
    looks, honest = [], HubCore.due_s
    monkeypatch.setattr(HubCore, "due_s", lambda self: (looks.append(1), honest(self))[1])
    with Hub(bundle, lambda *_: None, engine=FakeEngine()) as hub:
        hub.push("a", rows_for(1)[:-1])
        until(lambda: looks)
        time.sleep(0.3)
        assert len(looks) == 1


def test_modalities_with_clocks_of_their_own(bundle):
    both = Signal(tuple(Modality(name, "1", ("x", "y", "z"), RATE_HZ) for name in ("acc", "gyro")))
    manifest = small_manifest(signal=both, normalise=Normalise((0.0,) * 6, (1.0,) * 6))
    bundle, found, samples = replace(bundle, manifest=manifest), [], samples_of(2, 3 * LENGTH)
    t = np.arange(3 * LENGTH) / RATE_HZ
    with Hub(bundle, lambda _, p: found.append(p), engine=FakeEngine()) as hub:
        hub.push("a", samples, t, "acc")
        hub.push("a", samples[:-1], t[:-1] + 0.25, "gyro")
        with pytest.raises(InputError, match="modality: expected acc or gyro"):
            hub.push("a", samples, t, "mag")
        hub.flush("a")
    stream = Stream(bundle, FakeEngine())
    expected = stream.push(samples, t, "acc") + stream.push(samples[:-1], t[:-1] + 0.25, "gyro") + stream.flush()
    assert len(expected) >= 3
    agree(found, expected)


def test_a_path_will_do(bundle):
    found = []
    with Hub(bundle.path, lambda _, p: found.append(p)) as hub:
        hub.push("a", samples_of(1, LENGTH))
    agree(found, Stream(bundle).push(samples_of(1, LENGTH)))
