"""Push to prediction against a bare session.run of the same graph on a ready window.

Ours: a hop of samples is pushed; it is checked, stored, cut, run, turned into probabilities and a Prediction. The peer:
`InferenceSession.run(["logits"], {"windows": window})` with the same options on the same windows, which lie ready.
Three nets: MaskCAE's FCN of table I on 30 x 6 and on 128 x 6, and the shipped one, whose first pool takes four steps.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from benchmarks._bench import Options, Result, interleave, ratio
from exporters import export_bundle
from runtime import Bundle, Manifest, Modality, Signal, Stream, WindowSpec
from runtime.engine.ort import open_session
from runtime.specs import Normalise
from sdk.encoders import Classifier, create_encoder

SHIPPED = Path(__file__).parent.parent / "sdk" / "demo" / "data" / "walk.bundle"


def run(options: Options) -> Result:
    """Measure the nets."""
    result = Result("stream")
    with tempfile.TemporaryDirectory() as folder:
        for length in (30, 128):
            _measure(f"fcn{length}", _fcn(Path(folder) / f"fcn{length}.bundle", length), options, result)
    _measure("shipped", Bundle.open(SHIPPED), options, result)
    return result


def _measure(key: str, bundle: Bundle, options: Options, result: Result) -> None:
    windows = bundle.golden().windows
    hop, length = bundle.manifest.window.hop_samples, bundle.manifest.window.length_samples
    session = open_session(bundle.model())
    samples = np.concatenate([*windows] * 2)
    chunks = [samples[i : i + hop].copy() for i in range(0, len(samples) - hop + 1, hop)]
    feeds = [{"windows": samples[None, i : i + length].copy()} for i in range(0, len(samples) - length + 1, hop)]
    stream = Stream(bundle)
    stream.push(samples[: length - hop])  # from now on every hop completes a window
    ours, peers = itertools.cycle(chunks), itertools.cycle(feeds)
    candidates = {
        "push": lambda: stream.push(next(ours)),
        "run": lambda: session.run(["logits"], next(peers)),
    }
    seconds = interleave(candidates, rounds=12 if options.quick else 200, calls=100)
    for name, values in seconds.items():
        result.figures[f"{name}_us_{key}"] = float(np.median(values)) * 1e6
    result.figures[f"own_us_{key}"] = result.figures[f"push_us_{key}"] - result.figures[f"run_us_{key}"]
    name = f"push_vs_run_{key}"
    result.ratios[name], result.ratios[f"{name}_spread"] = ratio(seconds["push"], seconds["run"])
    result.checks[f"answers_{key}"] = _same_answers(bundle, session, samples)


def _same_answers(bundle: Bundle, session: onnxruntime.InferenceSession, samples: np.ndarray) -> bool:
    """The stream's probabilities against the softmax of the peer's logits, window by window."""
    stream, spec = Stream(bundle), bundle.manifest.window
    found = [prediction.probabilities for prediction in stream.push(samples)]
    starts = range(0, len(samples) - spec.length_samples + 1, spec.hop_samples)
    logits = np.concatenate(
        [session.run(["logits"], {"windows": samples[None, i : i + spec.length_samples]})[0] for i in starts]
    )
    expected = torch.softmax(torch.from_numpy(logits.astype(np.float64)), 1).numpy()
    return len(found) == len(expected) and bool(np.allclose(found, expected, rtol=1e-6, atol=1e-9))


def _fcn(path: Path, length: int) -> Bundle:
    torch.manual_seed(0)
    rate_hz = 30.0 if length == 30 else 50.0
    signal = Signal(
        tuple(Modality(name, unit, ("x", "y", "z"), rate_hz) for name, unit in (("acc", "m/s^2"), ("gyro", "rad/s")))
    )
    window, labels = WindowSpec(length, length // 2), tuple("abcdefghijkl"[: 12 if length == 30 else 6])
    manifest = Manifest(f"fcn{length}", signal, window, labels, Normalise((0.0,) * 6, (1.0,) * 6))
    classifier = Classifier(create_encoder("fcn", length, 6), len(labels)).eval()
    windows = np.random.default_rng(0).normal(size=(8, length, 6)).astype(np.float32)
    return export_bundle(path, classifier.encoder, classifier.head, manifest, windows)
