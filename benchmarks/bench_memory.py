"""What a stream keeps resident, and whether it grows: against a process that only opens the session and runs it.

Whole processes. The bare one reads model.onnx, opens a session of one thread and runs it as often. Ours streams with
jittered time stamps, lost samples and NaN rows, so that every path of the clock is taken. Then a day of 50 Hz data is
replayed as fast as possible: the resident size is read every simulated half hour, and its slope is fitted with its
standard error; the blocks that Python has allocated are counted before and after.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np

from benchmarks._bench import ROOT, Options, Result

_BUNDLE = ROOT / "sdk" / "demo" / "data" / "walk.bundle"
_BARE = """
import json, os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy, onnxruntime
bundle, runs = sys.argv[1], int(sys.argv[2])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(bundle + "/model.onnx", options)
window = numpy.random.default_rng(0).normal(size=(1, 128, 6)).astype(numpy.float32)
for _ in range(runs):
    session.run(["logits"], {"windows": window})
print(json.dumps({"rss_kb": int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024}))
"""
_STREAM = """
import json, os, sys
import numpy
from runtime import ClockSpec, Stream
bundle, runs, hop, warm_up = sys.argv[1], int(sys.argv[2]), 64, int(sys.argv[3])
page_kb = os.sysconf("SC_PAGE_SIZE") // 1024
stream = Stream(bundle, clock=ClockSpec(gap="hold"))
rng = numpy.random.default_rng(0)
samples = rng.normal(size=(hop, 6)).astype(numpy.float32)
samples[5] = numpy.nan  # in every hop
jitter = rng.uniform(-0.004, 0.004, hop)

def rss_kb():
    return int(open("/proc/self/statm").read().split()[1]) * page_kb

def push(i):
    t = (i * hop + numpy.arange(hop)) / 50 + jitter
    if i % 100:
        return len(stream.push(samples, t))
    return len(stream.push(samples[:-20], t[:-20]))  # and now and then a gap

every = 1406  # hops: half an hour
predictions = sum(push(i) for i in range(warm_up))
first, blocks, readings = rss_kb(), sys.getallocatedblocks(), []
for i in range(warm_up, warm_up + runs):
    predictions += push(i)
    if (i - warm_up) % every == 0:
        readings.append(((i - warm_up) * hop / 50 / 3600, rss_kb()))
blocks = sys.getallocatedblocks() - blocks
print(json.dumps({"rss_kb": rss_kb(), "readings": readings, "blocks": blocks, "predictions": predictions}))
"""
_HOPS_PER_DAY = 67500  # of 64 samples at 50 Hz
_WARM_UP = 3000  # hops; Python's own free lists fill up during the first two thousand


def run(options: Options) -> Result:
    """Both processes, each several times, and the long one."""
    result = Result("memory")
    pairs = [(_run(_BARE, 500)["rss_kb"], _run(_STREAM, 500, 100)["rss_kb"]) for _ in range(2 if options.quick else 7)]
    bare, ours = (float(np.median(column)) / 1024 for column in zip(*pairs, strict=True))
    result.figures |= {"bare_rss_mb": bare, "stream_rss_mb": ours, "rss_over_bare_mb": ours - bare}
    long = _run(_STREAM, _HOPS_PER_DAY // (24 if options.quick else 1), _WARM_UP)
    hours, kilobytes = np.array(long["readings"], np.float64).T
    slope, error = _slope(hours, kilobytes)
    result.figures |= {
        "hours_replayed": float(hours[-1]),
        "rss_slope_kb_per_hour": slope,
        "rss_slope_error_kb_per_hour": error,
        "rss_growth_kb": float(kilobytes[-1] - kilobytes[0]),
        "blocks_gained": long["blocks"],
        "predictions": long["predictions"],
    }
    result.checks["blocks_do_not_grow"] = long["blocks"] < 200
    result.checks["predictions_came"] = long["predictions"] > 0
    return result


def _run(script: str, *numbers: int) -> dict[str, Any]:
    command = [sys.executable, "-c", script, str(_BUNDLE), *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Least squares and its standard error."""
    dx = x - x.mean()
    slope = float(dx @ y / (dx @ dx))
    residuals = y - y.mean() - slope * dx
    return slope, float(np.sqrt(residuals @ residuals / max(len(x) - 2, 1) / (dx @ dx)))
