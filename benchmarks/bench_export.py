"""Every registered encoder exported: parity in float32 and float16, labels, size and time in int8.

Weights are random, so equal labels of int8 say little about a trained model: they are taken of the golden windows,
which are noise. What is meant in earnest is `walk`, the trained bundle of sdk.demo: its variants are calibrated on two
of the demo's people and scored by macro-F1 on the other two, whom neither training nor calibration has seen. Further
trained bundles with recordings of their own: --data DIR, where DIR/NAME/model.bundle and DIR/NAME/*.npz lie.

Times are of one window at a time, one thread, in turn with float32 on the onnxruntime CPU engine. The ratios
`int8_vs_*` are the trained bundle's. Quick runs do that one and small encoders.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._bench import Options, Result, interleave, ratio
from benchmarks.bench_encoders import manifest_of
from exporters import export_bundle
from exporters.fp16 import FP16, to_fp16
from exporters.int8 import Int8Options, to_int8
from exporters.variants import add_variant
from runtime import Bundle, Recording, labelled_windows
from runtime.engine import open_engine
from runtime.engine.inputs import Inputs
from runtime.errors import InputError
from runtime.window import LabelledWindows
from sdk.demo.__main__ import DATA
from sdk.encoders import Classifier, create_encoder, encoder_info, list_encoders
from sdk.scores import score

QUICK = ("fcn",)
FP32_TOLERANCE, FP16_TOLERANCE = 1e-4, 2e-2
_LABELS = ("sitting", "walking", "running")
_PRECISIONS = (FP16, "int8", "int8-weights")
_ROUNDS, _CALLS_S = 21, 0.02
_COLUMNS = ("encoder", "precision", "error", "labels", "macro-F1", "size", "time", "10th to 90th", "left in float")


def run(options: Options) -> Result:
    """The trained bundles first, then every encoder or the quick ones."""
    torch.set_num_threads(1)
    result, lines = Result("export"), [_row(_COLUMNS), _row(["---"] * len(_COLUMNS))]
    for name, bundle, recordings in _trained(options.data):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(shutil.copytree(bundle, Path(folder) / "copy.bundle"))
            half = len(recordings) // 2
            lines += _variants(name, path, result, recordings[:half], recordings[half:])
    for name in list_encoders() if not options.quick else QUICK:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "encoder.bundle"
            _export(name, path)
            lines += _variants(name, path, result, [], [])
    for what in ("size", "time"):
        result.ratios[f"int8_vs_fp32_{what}"] = result.figures[f"walk_int8_{what}"]
    result.ratios["int8_vs_fp32_time_spread"] = result.figures["walk_int8_time_spread"]
    result.text = "\n".join(lines)
    return result


def _trained(data: Path | None) -> list[tuple[str, Path, list[Path]]]:
    """Name, bundle and recordings of people that its training has not seen."""
    found = [("walk", DATA / "walk.bundle", sorted(DATA.glob("person_*.npz")))]
    more = sorted(data.glob("*/model.bundle")) if data is not None else []
    return found + [(path.parent.name, path, sorted(path.parent.glob("*.npz"))) for path in more]


def _export(name: str, path: Path) -> None:
    torch.manual_seed(0)
    classifier = Classifier(create_encoder(name), len(_LABELS)).eval()
    manifest = manifest_of(name, classifier.encoder, encoder_info(name).shape)
    windows = np.random.default_rng(0).normal(size=(8, *manifest.window_shape)).astype(np.float32)
    export_bundle(path, classifier.encoder, classifier.head, manifest, windows, tolerance=FP32_TOLERANCE)


def _variants(name: str, path: Path, result: Result, calibration: list[Path], test: list[Path]) -> list[str]:
    """Figures and checks of one bundle in all precisions; its lines of the table."""
    bundle = Bundle.open(path)
    model, golden = bundle.model(), bundle.golden()
    calibrating = _windows(bundle, calibration)
    data = ", ".join(file.name for file in calibration) or "golden windows"
    windows = golden.windows if calibrating is None else calibrating.samples[:: max(1, len(calibrating.samples) // 256)]
    makers: dict[str, Callable[[], Any]] = {
        FP16: lambda: to_fp16(model, bundle.manifest),
        "int8": lambda: to_int8(model, bundle.manifest, windows, data=data),
        "int8-weights": lambda: to_int8(model, bundle.manifest, windows, Int8Options(weights_only=True), data=data),
    }
    refused: dict[str, str] = {}
    for precision, make in makers.items():
        try:
            add_variant(path, make())
        except InputError as error:  # noqa: PERF203
            refused[precision] = error.got
    bundle = Bundle.open(path)
    engines = {precision: open_engine(bundle, precision=precision) for precision in bundle.precisions}
    scored = _windows(bundle, test)
    samples = golden.windows if scored is None else scored.samples
    answers = {p: np.concatenate([engine.run(part) for part in _parts(samples)]) for p, engine in engines.items()}
    errors = {p: _error(engine.run(golden.windows), golden.logits) for p, engine in engines.items()}
    seconds = _seconds({p: engine.logits for p, engine in engines.items()}, golden.windows[0], bundle)
    lines = []
    for precision in ("float32", *_PRECISIONS):
        if precision in refused:
            lines.append(_row([f"`{name}`", precision, *[""] * 6, f"refused: {refused[precision]}"]))
            continue
        time, spread = ratio(seconds[precision], seconds["float32"])
        file = "model.onnx" if precision == "float32" else f"variants/{precision}.onnx"
        size = bundle.manifest.files[file].bytes / bundle.manifest.files["model.onnx"].bytes
        labels = answers[precision].argmax(1)
        agreement = float((labels == answers["float32"].argmax(1)).mean())
        f1 = None if scored is None else score(scored.labels, labels, len(bundle.manifest.labels)).macro_f1
        figures = {"error": errors[precision], "agreement": agreement, "macro_f1": f1, "size": size, "time": time}
        figures |= {"time_spread": spread}
        result.figures |= {f"{name}_{precision}_{key}": value for key, value in figures.items()}
        left = _left(bundle, precision)
        cells = [f"{errors[precision]:.1e}", f"{agreement:.1%}", "" if f1 is None else f"{f1:.3f}", f"{size:.2f}"]
        lines.append(_row([f"`{name}`", precision, *cells, f"{time:.2f}", f"{spread[0]:.2f} to {spread[1]:.2f}", left]))
    result.checks[f"{name}_float32_parity"] = errors["float32"] <= FP32_TOLERANCE
    if FP16 in errors:
        result.checks[f"{name}_fp16_parity"] = errors[FP16] <= FP16_TOLERANCE
    for engine in engines.values():
        engine.close()
    return lines


def _windows(bundle: Bundle, recordings: list[Path]) -> LabelledWindows | None:
    manifest = bundle.manifest
    loaded = [Recording.load(path) for path in recordings]
    if not loaded:
        return None
    return labelled_windows(loaded, manifest.signal, manifest.window, manifest.labels, manifest.clock)


def _parts(samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [samples[at : at + 64] for at in range(0, len(samples), 64)]


def _error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Of the largest golden logit."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _seconds(
    calls: dict[str, Callable[[NDArray[np.float32]], object]], window: NDArray[np.float32], bundle: Bundle
) -> dict[str, list[float]]:
    ready = Inputs(bundle.manifest)(window[None])[0]
    bound = {name: partial(call, ready) for name, call in calls.items()}
    once = interleave(bound, rounds=3, calls=1)
    slowest_s = max(min(values) for values in once.values())
    return interleave(bound, rounds=_ROUNDS, calls=max(1, round(_CALLS_S / slowest_s)))


def _left(bundle: Bundle, precision: str) -> str:
    record = next((spec.record for spec in bundle.manifest.variants if spec.precision == precision), {})
    layers, operators = record.get("float_layers", []), record.get("float32_operators", [])
    return f"{len(layers)} of {len(layers) + len(record['int8_layers'])} layers" if layers else ", ".join(operators)


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
