"""Every registered encoder exported: parity in float32 and float16, labels, size and time in int8, on real windows.

Two kinds of rows:

    walk       the trained bundle of sdk.demo: calibrated on two of the demo's people, scored on the other two, whom
               neither training nor calibration has seen
    encoders   at their papers' shapes with random weights, on windows of public data (--data, or SENSEDGE_DATA; without
               it, and for radar, random numbers). So that labels mean something the statistics of batch normalisations
               are those of real windows, and the head is solved by ridge regression on one half of the people: those
               calibrate, the other half is scored. The net is not trained: macro-F1 says whether int8 changes it, not
               how good the encoder is. Its labels are close calls; so that size and time are those of int8, no layer is
               left in float on their account.

Times are of one window at a time, one thread, in turn with float32 on the onnxruntime CPU engine. Errors are of the
largest logit, on eight windows. The ratios `int8_vs_*` are the trained bundle's. Quick runs do that one and QUICK.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks._bench import Options, Result, interleave, ratio
from benchmarks._windows import Windows, windows_of
from exporters import export_bundle
from exporters.fp16 import FP16, to_fp16
from exporters.int8 import Int8Options, to_int8
from exporters.parity import graph_inputs
from exporters.variants import add_variant
from runtime import Bundle, Recording, labelled_windows
from runtime.bundle import Manifest
from runtime.engine import Engine, open_engine
from runtime.engine.inputs import Inputs
from runtime.errors import InputError
from runtime.specs import Normalise
from sdk.demo.__main__ import DATA
from sdk.encoders import Classifier, create_encoder, encoder_info, list_encoders
from sdk.encoders.untrained import blank_manifest, count_macs
from sdk.scores import score

QUICK = ("fcn",)
FP32_TOLERANCE, FP16_TOLERANCE = 1e-4, 2e-2
_PRECISIONS = (FP16, "int8", "int8-weights")
_ROUNDS, _CALLS_S = 21, 0.02
_CALIBRATION, _GOLDEN, _LEAST, _MOST = 128, 8, 24, 400
_MACS = 2e10  # of all windows of one half, about
_MANY_CHANNELS = 100  # from then on one mean and one deviation for all
_RIDGE = 1e-3
_ALL = Int8Options(tolerance=100.0, agreement=0.0)  # every layer that can be int8 is
_COLUMNS = (
    *("encoder", "windows", "precision", "error", "labels", "macro-F1", "size", "time", "10th to 90th", "made in s"),
    "left in float",
)


@dataclass(frozen=True)
class _Case:
    """A bundle, and windows for it."""

    name: str
    path: Path
    source: str
    calibration: NDArray[np.float32]
    data: str  # what the calibration is called in the record
    test: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    options: Int8Options


def run(options: Options) -> Result:
    """The trained bundle first, then every encoder, those asked for, or the quick ones."""
    torch.set_num_threads(1)
    result, lines = Result("export"), [_row(_COLUMNS), _row(["---"] * len(_COLUMNS))]
    wanted = options.only or (QUICK if options.quick else tuple(list_encoders()))
    began = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for done, case in enumerate(_cases(wanted, options, Path(folder))):
            lines += _variants(case, result)
            shutil.rmtree(case.path)
            print(f"{perf_counter() - began:5.0f} s  {done}/{len(wanted)}  {case.name}", file=sys.stderr, flush=True)
    for what in ("size", "time"):
        result.ratios[f"int8_vs_fp32_{what}"] = result.figures[f"walk_int8_{what}"]
    result.ratios["int8_vs_fp32_time_spread"] = result.figures["walk_int8_time_spread"]
    result.text = "\n".join(lines)
    return result


def _cases(names: tuple[str, ...], options: Options, folder: Path) -> Iterator[_Case]:
    yield _walk(folder / "walk.bundle")
    known = os.environ.get("SENSEDGE_DATA")
    data = options.data or (Path(known) if known else None)
    for name in names:
        yield _encoder(name, folder / f"{name}.bundle", data)


def _walk(path: Path) -> _Case:
    shutil.copytree(DATA / "walk.bundle", path)
    manifest, people = Bundle.open(path).manifest, sorted(DATA.glob("person_*.npz"))

    def cut(files: list[Path]) -> Any:
        recordings = [Recording.load(file) for file in files]
        return labelled_windows(recordings, manifest.signal, manifest.window, manifest.labels, manifest.clock)

    calibration, test = cut(people[:2]), cut(people[2:])
    samples = calibration.samples[:: max(1, len(calibration.samples) // _CALIBRATION)]
    data = ", ".join(file.name for file in people[:2])
    return _Case("walk", path, "MotionSense", samples, data, test.samples, test.labels, Int8Options())


def _encoder(name: str, path: Path, data: Path | None) -> _Case:
    """A bundle with random weights, a solved head, and the windows of both halves of the people."""
    torch.manual_seed(0)
    encoder = create_encoder(name).eval()
    manifest = blank_manifest(name, encoder, encoder_info(name).shape)
    windows = windows_of(name, manifest, data)
    most = int(np.clip(_MACS / count_macs(name), _LEAST, _MOST))
    ours, others = windows.halves(most)
    manifest = replace(_normalised(manifest, ours.samples), labels=windows.label_names)
    classifier = Classifier(encoder, len(manifest.labels)).eval()
    _solve(classifier, manifest, ours)
    golden = ours.samples[:_GOLDEN]
    export_bundle(path, classifier.encoder, classifier.head, manifest, golden, tolerance=FP32_TOLERANCE)
    labels = others.labels if windows.is_real else None
    source = f"half the people of {windows.source}" if windows.is_real else windows.source
    return _Case(name, path, windows.source, ours.samples[:_CALIBRATION], source, others.samples, labels, _ALL)


def _normalised(manifest: Manifest, samples: NDArray[np.float32]) -> Manifest:
    """With the mean and the deviation of each channel, or of all where they are the pixels of an image."""
    widths = [len(modality.channels) for modality in manifest.signal.modalities]
    rows = [samples] if samples.ndim == 3 else _parted(samples, manifest)
    if sum(widths) > _MANY_CHANNELS:
        return replace(
            manifest,
            normalise=Normalise((float(samples.mean()),) * sum(widths), (float(samples.std()),) * sum(widths)),
        )
    mean = np.concatenate([part.mean((0, 1)) for part in rows])
    std = np.concatenate([part.std((0, 1)) for part in rows])
    return replace(manifest, normalise=Normalise(tuple(map(float, mean)), tuple(map(float, np.maximum(std, 1e-3)))))


def _parted(samples: NDArray[np.float32], manifest: Manifest) -> list[NDArray[np.float32]]:
    """Flat windows as (n, length, channels) of each modality."""
    parts, at = [], 0
    for modality in manifest.signal.modalities:
        shape = manifest.window.at(modality.rate_hz, manifest.signal.rate_hz)[0], len(modality.channels)
        parts.append(samples[:, at : at + shape[0] * shape[1]].reshape(-1, *shape))
        at += shape[0] * shape[1]
    return parts


def _solve(classifier: Classifier, manifest: Manifest, windows: Windows) -> None:
    """Statistics of the batch normalisations, and the head by ridge regression onto the labels."""
    inputs = graph_inputs(manifest, windows.samples)
    if manifest.spectrogram is None:
        mean, std = (np.array(manifest.spread(values), np.float32) for values in _of(manifest.normalise))
        inputs = (inputs - mean) / std
    norms = [m for m in classifier.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = None
            norm.train()
        for part in _parts(inputs[:64], 16):
            classifier.encoder(torch.from_numpy(part))
        classifier.eval()
        features = np.concatenate([classifier.encoder(torch.from_numpy(part)).numpy() for part in _parts(inputs, 16)])
        weight, bias = _ridge(features.astype(np.float64), windows.labels, len(manifest.labels))
        classifier.head.weight.copy_(torch.from_numpy(weight))
        classifier.head.bias.copy_(torch.from_numpy(bias))


def _of(normalise: Normalise) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return normalise.mean, normalise.std


def _ridge(
    features: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight and bias of the regression of 1 for a window's class and 0 for the others."""
    truth = np.eye(n_classes)[labels]
    centre, share = features.mean(0), truth.mean(0)
    f = features - centre
    kernel = f @ f.T
    weight = (truth - share).T @ np.linalg.solve(kernel + _RIDGE * np.trace(kernel) / len(f) * np.eye(len(f)), f)
    return weight, share - weight @ centre


def _variants(case: _Case, result: Result) -> list[str]:
    """Figures and checks of one bundle in all precisions; its lines of the table."""
    refused, made_s = _make(case)
    bundle = Bundle.open(case.path)
    golden = bundle.golden()
    engines = {precision: open_engine(bundle, precision=precision) for precision in bundle.precisions}
    answers = {p: np.concatenate([engine.run(part) for part in _parts(case.test)]) for p, engine in engines.items()}
    errors = {p: _error(engine.run(golden.windows), golden.logits) for p, engine in engines.items()}
    seconds = _seconds(engines, golden.windows[0], bundle)
    baseline = answers["float32"].argmax(1)
    lines = []
    for precision in ("float32", *_PRECISIONS):
        if precision in refused:
            cells = [f"`{case.name}`", case.source, precision, *[""] * 7, f"refused: {refused[precision]}"]
            lines.append(_row(cells))
            continue
        labels = answers[precision].argmax(1)
        time, spread = ratio(seconds[precision], seconds["float32"])
        f1 = None if case.labels is None else score(case.labels, labels, len(bundle.manifest.labels)).macro_f1
        figures = {
            "error": errors[precision],
            "agreement": float((labels == baseline).mean()),
            "windows": len(case.test),
            "macro_f1": f1,
            "size": _bytes(bundle, precision) / _bytes(bundle, "float32"),
            "time": time,
            "time_spread": spread,
            "made_s": made_s.get(precision),
        }
        result.figures |= {f"{case.name}_{precision}_{key}": value for key, value in figures.items()}
        lines.append(_line(case, precision, figures, _left(bundle, precision)))
    result.checks[f"{case.name}_float32_parity"] = errors["float32"] <= FP32_TOLERANCE
    result.checks[f"{case.name}_fp16_parity"] = errors.get(FP16, 1.0) <= FP16_TOLERANCE
    for engine in engines.values():
        engine.close()
    return lines


def _make(case: _Case) -> tuple[dict[str, str], dict[str, float]]:
    """Add the variants; why one was refused, and the seconds that each took."""
    bundle = Bundle.open(case.path)
    model, manifest = bundle.model(), bundle.manifest
    weights = replace(case.options, weights_only=True)
    makers: dict[str, Callable[[], Any]] = {
        FP16: lambda: to_fp16(model, manifest),
        "int8": lambda: to_int8(model, manifest, case.calibration, case.options, data=case.data),
        "int8-weights": lambda: to_int8(model, manifest, case.calibration, weights, data=case.data),
    }
    refused: dict[str, str] = {}
    made_s: dict[str, float] = {}
    for precision, make in makers.items():
        began = perf_counter()
        try:
            add_variant(case.path, make())
        except InputError as error:
            refused[precision] = f"{error.expected}, got {error.got}"
        made_s[precision] = perf_counter() - began
    return refused, made_s


def _line(case: _Case, precision: str, figures: dict[str, Any], left: str) -> str:
    low, high = figures["time_spread"]
    f1, made_s = figures["macro_f1"], figures["made_s"]
    return _row(
        [
            *(f"`{case.name}`", case.source, precision, f"{figures['error']:.1e}"),
            f"{figures['agreement']:.1%} of {figures['windows']}",
            *("" if f1 is None else f"{f1:.3f}", f"{figures['size']:.2f}", f"{figures['time']:.2f}"),
            *(f"{low:.2f} to {high:.2f}", "" if made_s is None else f"{made_s:.1f}", left),
        ]
    )


def _bytes(bundle: Bundle, precision: str) -> int:
    return bundle.manifest.files["model.onnx" if precision == "float32" else f"variants/{precision}.onnx"].bytes


def _parts(samples: NDArray[np.float32], size: int = 64) -> list[NDArray[np.float32]]:
    return [samples[at : at + size] for at in range(0, len(samples), size)]


def _error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Of the largest golden logit."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _seconds(engines: dict[str, Engine], window: NDArray[np.float32], bundle: Bundle) -> dict[str, list[float]]:
    ready = Inputs(bundle.manifest)(window[None])[0]
    bound = {name: partial(engine.logits, ready) for name, engine in engines.items()}
    once = interleave(bound, rounds=3, calls=1)
    slowest_s = max(min(values) for values in once.values())
    return interleave(bound, rounds=_ROUNDS, calls=max(1, round(_CALLS_S / slowest_s)))


def _left(bundle: Bundle, precision: str) -> str:
    record = next((spec.record for spec in bundle.manifest.variants if spec.precision == precision), {})
    never, operators = record.get("never_int8", {}), record.get("float32_operators", [])
    layers = [name for name in record.get("float_layers", []) if name not in never]
    return f"{len(layers)} of {len(layers) + len(record['int8_layers'])} layers" if layers else ", ".join(operators)


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
