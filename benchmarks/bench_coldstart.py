"""From process start to `import runtime`, and to the first prediction, against bare numpy and onnxruntime.

Whole processes, in turn. Ours verifies the bundle (sizes, hashes, tensors) before it predicts; the bare one reads
model.onnx and runs it. `import runtime` alone brings neither numpy nor onnxruntime, which come with the part that is
first used: so `import_vs_bare` adds both to ours, and `import_stream_vs_bare` imports all that a stream needs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks._bench import ROOT, Options, Result, interleave, ratio

_BUNDLE = ROOT / "sdk" / "demo" / "data" / "walk.bundle"
_BARE = "import numpy, onnxruntime"
_OURS = "import runtime, numpy, onnxruntime"
_STREAM = "from runtime import Stream; import onnxruntime"
_FIRST_BARE = f"""
import os
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession({str(_BUNDLE / "model.onnx")!r}, options)
window = numpy.load({str(_BUNDLE / "golden.npz")!r})["windows"][:1]
print(int(session.run(["logits"], {{"windows": window}})[0].argmax()))
"""
_FIRST_OURS = f"""
from runtime import Stream
stream = Stream({str(_BUNDLE)!r})
prediction = stream.push(stream.bundle.golden().windows[0])[0]
print(stream.bundle.manifest.labels.index(prediction.label))
"""


def run(options: Options) -> Result:
    """Time the four processes."""
    result = Result("coldstart")
    scripts = {
        "python": "pass",
        "import_numpy_onnxruntime": _BARE,
        "import_runtime": "import runtime",
        "import_runtime_numpy_onnxruntime": _OURS,
        "import_stream_onnxruntime": _STREAM,
        "first_prediction_bare": _FIRST_BARE,
        "first_prediction": _FIRST_OURS,
    }
    candidates = {name: lambda script=script: _python(script) for name, script in scripts.items()}
    seconds = interleave(candidates, rounds=2 if options.quick else 31, calls=1)
    result.figures |= {f"{name}_ms": float(np.median(values)) * 1e3 for name, values in seconds.items()}
    for name, ours, peer in (
        ("import_vs_bare", "import_runtime_numpy_onnxruntime", "import_numpy_onnxruntime"),
        ("import_stream_vs_bare", "import_stream_onnxruntime", "import_numpy_onnxruntime"),
        ("first_prediction_vs_bare", "first_prediction", "first_prediction_bare"),
    ):
        result.ratios[name], result.ratios[f"{name}_spread"] = ratio(seconds[ours], seconds[peer])
    result.checks["same_label"] = _python(_FIRST_OURS) == _python(_FIRST_BARE) != ""
    return result


def _python(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(ROOT)
    ).stdout
