"""A stream with every kind of fault, for thousands of hops: nothing grows."""

import gc
import tracemalloc

import numpy as np
import pytest

from runtime.specs import ClockSpec, Modality, Signal, WindowSpec
from runtime.window import Windower

HOPS, HOP, LENGTH = 2000, 8, 16
LEAST = 8  # bytes per hop; the smallest object is larger, NumPy's and Python's own caches fill more slowly
ONE = Signal((Modality("acc", "m/s^2", ("x", "y", "z"), 50.0, 4.0),))
TWO = Signal((Modality("acc", "m/s^2", ("x", "y", "z"), 50.0), Modality("gyro", "rad/s", ("z",), 50.0)))


def faulty(source_hz, seed):
    """Endless chunks with stamps: lost, doubled, swapped, damaged, and a clock that is set now and then."""
    rng, began = np.random.default_rng(seed), 1.7e9
    n = round(HOP * source_hz / 50)
    for k in range(10**9):
        t = began + (k * n + np.arange(n)) / source_hz + rng.uniform(-0.2, 0.2, n) / source_hz
        rows = rng.normal(size=(n, 3)).astype(np.float32)
        kind = k % 40
        if kind == 3:
            rows[0] = np.nan
        elif kind == 7:
            t[-1] = np.inf
        elif kind == 11:
            t[1] = t[0]
        elif kind == 15:
            t[:] = t[::-1]
        elif kind == 19:
            rows, t = rows[:0], t[:0]
        elif kind == 23:
            began += rng.choice([0.3, 5, 86400])
        elif kind == 31:
            began -= 3
        yield rows, t


def growth(step):
    """Bytes that the second half of the hops left behind, per hop."""
    tracemalloc.start()
    for _ in range(HOPS // 2):
        step()
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(HOPS // 2):
        step()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / (HOPS // 2)


def arrays_of(windower):
    return [(b._rows.shape, b._flags.shape, b._places.shape) for b in windower._buffers]


@pytest.mark.parametrize(
    ("clock", "source_hz"),
    [
        (ClockSpec(), 50),
        (ClockSpec(gap="mark", reorder_s=0.05), 200),
        (ClockSpec(stamps="arrival"), 50),
    ],
    ids=["split", "mark, 200 Hz", "arrival"],
)
def test_one_clock(clock, source_hz):
    windower, source, given = Windower(ONE, WindowSpec(LENGTH, HOP), clock), faulty(source_hz, 1), []

    def step():
        given.append(len(windower.push(*next(source))))
        given[:] = [sum(given)]

    for _ in range(10):
        step()
    shapes = arrays_of(windower)
    assert growth(step) < LEAST
    assert arrays_of(windower) == shapes
    assert given[0] == windower.counters.windows > HOPS / 8
    assert min(windower.counters.not_finite, windower.counters.gaps, windower.counters.clock_back) > 10


@pytest.mark.parametrize("silent", ["often", "always"])
def test_two_clocks(silent):
    windower, acc, gyro = Windower(TWO, WindowSpec(LENGTH, HOP)), faulty(50, 1), faulty(50, 1)
    turn = iter(range(10**9))

    def step():
        windower.push(*next(acc), "acc")
        rows, t = next(gyro)
        if silent == "never" or (silent == "often" and next(turn) // 50 % 2):
            windower.push(rows[:, :1], t, "gyro")

    assert growth(step) < LEAST
    assert (windower.counters.windows > 50) == (silent != "always")
    assert sum(len(stretch.rows) for buffer in windower._buffers for stretch in buffer.queue) <= 2 * 4 * LENGTH
