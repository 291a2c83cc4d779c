"""Every engine that is here on the FCN, HART and ResNet-18, and `auto` beside them: it must be as fast as the best.

For each model all engines are opened, and one more by `engine="auto"`: that measures the candidates in a process of its
own, keeps its choice in a cache made for this run, and is then opened anew from that choice, as an app would. All of
them then take turns on single windows, in an order that changes with every round.

    auto_vs_best_worst    over the models, the worst of: auto's time / the best engine's, median over the rounds

Each engine's answers, one by one and as a batch, are compared with the golden ones. On one core, so every engine has
one thread; `auto` on a whole board also tries more. Quick runs leave out ResNet-18, whose export takes longest.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from benchmarks._bench import Options, Result, ratio
from benchmarks.bench_encoders import manifest_of
from exporters import export_bundle
from exporters.parity import TOLERANCE
from runtime import Bundle
from runtime.command import table
from runtime.engine import Engine, engines_here, open_engine
from runtime.engine.choice import candidates_here, choose
from runtime.engine.inputs import Inputs
from runtime.errors import SensedgeError
from sdk.encoders import Classifier, create_encoder, encoder_info

MODELS = {"fcn": (128, 6), "hart": (128, 6), "resnet18": (3, 96, 128)}
_QUICK = ("fcn", "hart")
_LABELS = 3
_ROUND_S, _QUICK_ROUND_S = 20.0, 3.0  # for all rounds of one model
_SLICE_S = 0.003  # short against the turns that a busy machine gives
_LEAST_ROUNDS = 15


def run(options: Options) -> Result:
    """Measure the models; nothing is written to the user's cache."""
    torch.set_num_threads(1)
    result, lines = Result("engines"), []
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("SENSEDGE_CACHE")
        os.environ["SENSEDGE_CACHE"] = str(Path(folder) / "cache")
        try:
            for name in _QUICK if options.quick else MODELS:
                budget_s = _QUICK_ROUND_S if options.quick else _ROUND_S
                lines += _measure(name, _bundle(Path(folder) / f"{name}.bundle", name), budget_s, result)
        finally:
            os.environ.pop("SENSEDGE_CACHE") if before is None else os.environ.update(SENSEDGE_CACHE=before)
    ratios = {name: value for name, value in result.ratios.items() if not name.endswith("_spread")}
    worst = max(ratios, key=lambda name: ratios[name])
    result.ratios["auto_vs_best_worst"] = result.ratios[worst]
    result.ratios["auto_vs_best_worst_spread"] = result.ratios[f"{worst}_spread"]
    missing = [f"{status.name}: {status.reason}" for status in engines_here() if not status.available]
    result.text = "\n".join([table(lines, ("model, engine", "ms", "fastest tenth", "rounds", "off by")), "", *missing])
    return result


def _bundle(path: Path, name: str) -> Bundle:
    shape = MODELS[name]
    torch.manual_seed(0)
    encoder = create_encoder(name, *shape) if name == "fcn" else create_encoder(name)
    assert name == "fcn" or encoder_info(name).shape == shape
    manifest, classifier = manifest_of(name, encoder, shape), Classifier(encoder, _LABELS).eval()
    windows = np.random.default_rng(0).normal(size=(5, *manifest.window_shape)).astype(np.float32)
    return export_bundle(path, classifier.encoder, classifier.head, manifest, windows)


def _measure(name: str, bundle: Bundle, budget_s: float, result: Result) -> list[tuple[object, ...]]:
    began = perf_counter()
    choice = choose(bundle)
    result.figures[f"{name}_choosing_s"] = perf_counter() - began
    result.figures[f"{name}_auto"] = choice.reason
    engines = {"auto": open_engine(bundle, "auto")}
    result.checks[f"{name}_auto_is_what_was_chosen"] = engines["auto"].name == choice.candidate.engine
    for candidate in candidates_here():
        with suppress(SensedgeError):  # here, but not for this device: the reason of `auto` says so
            engines[str(candidate)] = open_engine(bundle, candidate.engine, threads=candidate.threads)
    errors = {key: _error(bundle, engine) for key, engine in engines.items()}
    for key, error in errors.items():
        result.checks[f"{name}_{key}_answers"] = error <= TOLERANCE
    seconds = _race(bundle, engines, budget_s)
    for engine in engines.values():
        engine.close()
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    best = min((key for key in medians if key != "auto"), key=lambda key: medians[key])
    key = f"auto_vs_best_{name}"
    result.ratios[key], result.ratios[f"{key}_spread"] = ratio(seconds["auto"], seconds[best])
    result.figures |= {f"{name}_{engine}_ms": median * 1e3 for engine, median in medians.items()}
    return [
        (
            f"{name}, {engine if engine != 'auto' else f'auto: {choice.candidate}'}",
            f"{medians[engine] * 1e3:.4g}",
            f"{float(np.quantile(values, 0.1)) * 1e3:.4g}",
            len(values),
            f"{errors[engine]:.1e}",
        )
        for engine, values in seconds.items()
    ]


def _error(bundle: Bundle, engine: Engine) -> float:
    """The largest difference from the golden answers, as a share of the largest of these."""
    golden = bundle.golden()
    return max(
        float(np.abs(found - truth).max() / np.abs(truth).max())
        for output, truth in (("features", golden.features), ("logits", golden.logits))
        for found in (
            engine.run(golden.windows, output),
            np.concatenate([engine.run(window[None], output) for window in golden.windows]),
        )
    )


def _race(bundle: Bundle, engines: dict[str, Engine], budget_s: float) -> dict[str, list[float]]:
    """Seconds per single window of each engine in each round."""
    window = Inputs(bundle.manifest)(bundle.golden().windows)[0]
    fastest_s = min(_seconds(engine, window, 3) for engine in engines.values())
    calls = max(1, round(_SLICE_S / fastest_s))
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    turns, began = np.random.default_rng(0), perf_counter()
    while perf_counter() - began < budget_s or len(seconds["auto"]) < _LEAST_ROUNDS:
        for name in turns.permutation(list(engines)).tolist():
            engines[name].logits(window)
            seconds[name].append(_seconds(engines[name], window, calls))
    return seconds


def _seconds(engine: Engine, window: np.ndarray, calls: int) -> float:
    began = perf_counter()
    for _ in range(calls):
        engine.logits(window)
    return (perf_counter() - began) / calls
