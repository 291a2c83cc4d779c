"""The window around a block of code, and percentiles of latencies."""

import dataclasses
import json
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InputError
from sdk.meters import Energy, latency_summary, measure
from tests.commands.tools import python


class TwoJoules:
    name = "test"

    def __init__(self):
        self.calls = []

    def start(self):
        self.calls.append("start")

    def stop(self):
        self.calls.append("stop")
        return Energy(2.0, "test", ("a", "b"), "counter", seconds=1.0, n_samples=2)


def test_seconds_and_cpu_seconds_of_a_block():
    """Inside of a block, a block that is measured, and that in another: each is at most the next."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    with measure() as waiting:
        time.sleep(0.1)
    middle_s, middle_cpu_s = time.perf_counter(), time.process_time()
    with measure() as busy:
        until_s = time.process_time() + 0.1
        while time.process_time() < until_s:
            pass
    ended_s, ended_cpu_s = time.perf_counter(), time.process_time()
    assert 0.1 <= waiting.result.seconds <= middle_s - began_s
    assert waiting.result.cpu_seconds <= min(middle_cpu_s - began_cpu_s, 0.05)
    assert 0.1 <= busy.result.cpu_seconds <= ended_cpu_s - middle_cpu_s
    assert 0.1 <= busy.result.seconds <= ended_s - middle_s


def test_the_meter_is_open_exactly_during_the_block():
    meter = TwoJoules()
    with measure(meter) as m:
        assert meter.calls == ["start"]
    assert meter.calls == ["start", "stop"]
    assert m.result.energy.joules == 2.0


def test_the_result_is_not_there_too_early():
    with measure() as m, pytest.raises(RuntimeError, match="after the `with` block"):
        _ = m.result
    assert m.result.seconds > 0


def test_a_block_that_raises_is_measured_too_and_raises():
    meter = TwoJoules()
    with pytest.raises(KeyError), measure(meter) as m:
        raise KeyError("x")
    assert meter.calls == ["start", "stop"]
    assert m.result.energy.joules == 2.0


BLOCK = """
import numpy as np
from sdk.meters import measure
with measure() as m:
    block = np.ones(50_000_000, np.uint8)
print(m.result.memory.above_baseline_bytes)
"""


def test_memory_of_a_block():
    """In a process of its own: in that of the tests, what others left may go while it is measured."""
    assert int(python("-c", BLOCK).stdout) == pytest.approx(50e6, rel=0.1)


def test_without_a_meter_the_energy_is_none_in_json_too():
    with measure() as m:
        pass
    assert str(m.result.energy) == "not measured (no meter: none was given to measure())"
    plain = m.result.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["energy"]["joules"] is None
    assert plain["energy"]["seconds"] is None
    assert set(plain) == {"seconds", "cpu_seconds", "energy", "memory"}
    memory = plain["memory"]
    assert memory["above_baseline_bytes"] == memory["peak_bytes"] - memory["baseline_bytes"]


def test_measured_energy_in_json():
    with measure(TwoJoules()) as m:
        pass
    assert m.result.to_dict()["energy"] == {
        "joules": 2.0,
        "source": "test",
        "rails": ["a", "b"],
        "method": "counter",
        "reason": "",
        "seconds": 1.0,
        "n_samples": 2,
        "n_repeats": 0,
        "tier": None,
        "leaves_out": "",
        "uncertainty_j": None,
        "metering_cpu_s": None,
        "notes": [],
        "idle": None,
        "timeline": None,
        "net_joules": None,
        "net_uncertainty_j": None,
        "metering_share": None,
    }


def test_latencies_by_hand():
    latency = latency_summary(np.arange(1001) / 1000)
    assert dataclasses.asdict(latency) == pytest.approx(
        {
            "n": 1001,
            "mean_s": 0.5,
            "p50_s": 0.5,
            "p90_s": 0.9,
            "p95_s": 0.95,
            "p99_s": 0.99,
            "p99_9_s": 0.999,
            "max_s": 1.0,
            "jitter_s": np.sqrt((1001**2 - 1) / 12) / 1000,
        }
    )


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_latencies_are_numpys(seconds):
    latency = latency_summary(seconds)
    assert (latency.p50_s, latency.p90_s, latency.p95_s, latency.p99_s, latency.p99_9_s) == tuple(
        np.percentile(seconds, [50, 90, 95, 99, 99.9])
    )
    assert (latency.n, latency.mean_s, latency.max_s) == (len(seconds), np.mean(seconds), max(seconds))
    assert latency.jitter_s == np.std(seconds)


@pytest.mark.parametrize(
    ("seconds", "got"),
    [([], "shape"), ([[1.0]], "shape"), ([1.0, np.nan], "nan"), ([np.inf], "inf"), ([0.1, -0.1], "-0.1 to 0.1")],
)
def test_latencies_that_are_none(seconds, got):
    with pytest.raises(InputError, match=f"at least one duration.*got {got}"):
        latency_summary(seconds)


def test_the_import_is_light():
    """A profile on a device must not pay for what it does not use."""
    code = "import sys, sdk.meters; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "sdk" in done.stdout.split()
    assert {"numpy", "psutil", "runtime", "onnxruntime", "scipy", "torch"}.isdisjoint(done.stdout.split())
