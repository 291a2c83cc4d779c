"""Every engine that is here on the FCN, HART and ResNet-18, and `auto` beside them: it must be as fast as the best.

For each model all engines are opened, and one more by `engine="auto"`: that measures the candidates in a process of its
own, keeps its choice in a cache made for this run, and is then opened anew from that choice, as an app would. All of
them then take turns on single windows, a millisecond each, in an order that changes with every round.

    auto_vs_best_NAME     auto's time / that of the best single engine, median over the rounds
    ..._interval          that holds the true median with 95 %
    ..._twice             the best engine's time / that of itself, opened a second time: what is noise
    auto_vs_best_worst    over the models, the worst of the first

Mostly auto has opened the best engine, so that the first two measure the same thing.

Each engine's answers, one by one and as a batch, are compared with the golden ones. On one core, so every engine has
one thread; `auto` on a whole board also tries more. Quick runs leave out ResNet-18, whose export takes longest.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from benchmarks._bench import Options, Result, ratio
from exporters import export_bundle
from exporters.parity import TOLERANCE
from runtime import Bundle
from runtime.command import table
from runtime.engine import Engine, engines_here, open_engine
from runtime.engine.auto.choice import candidates_here, choose, recall
from runtime.engine.auto.faster import median_interval
from runtime.engine.inputs import Inputs
from runtime.errors import SensedgeError
from sdk.encoders import Classifier, create_encoder, encoder_info
from sdk.encoders.untrained import blank_manifest

MODELS = {"fcn": (128, 6), "hart": (128, 6), "resnet18": (3, 96, 128)}
_QUICK = ("fcn", "hart")
_LABELS = 3
_ROUND_S, _QUICK_ROUND_S = 20.0, 1.0  # for all rounds of one model
_SLICE_S = 0.001  # short against the turns that a busy machine gives
_LEAST_ROUNDS = 20
_TWICE = "best, twice"


def run(options: Options) -> Result:
    """Measure the models; nothing is written to the user's cache."""
    torch.set_num_threads(1)
    result, lines, models = Result("engines"), [], _QUICK if options.quick else tuple(MODELS)
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("SENSEDGE_CACHE")
        os.environ["SENSEDGE_CACHE"] = str(Path(folder) / "cache")
        try:
            for name in models:
                budget_s = _QUICK_ROUND_S if options.quick else _ROUND_S
                lines += _measure(name, _bundle(Path(folder) / f"{name}.bundle", name), budget_s, result)
        finally:
            os.environ.pop("SENSEDGE_CACHE") if before is None else os.environ.update(SENSEDGE_CACHE=before)
    worst = max((f"auto_vs_best_{name}" for name in models), key=lambda name: result.ratios[name])
    for part in ("", "_spread"):
        result.ratios[f"auto_vs_best_worst{part}"] = result.ratios[f"{worst}{part}"]
    result.figures["auto_vs_best_worst_interval"] = result.figures[f"{worst}_interval"]
    missing = [f"{status.name}: {status.reason}" for status in engines_here() if not status.available]
    reasons = [f"{name}: {result.figures[f'{name}_auto']}" for name in models]
    low, high = result.figures["auto_vs_best_worst_interval"]
    reasons += ["", f"auto / best, the worst: {low:.3f} to {high:.3f} hold the median with 95 %"]
    header = ("model, engine", "ms", "fastest tenth", "rounds", "off by")
    result.text = "\n".join([table(lines, header), "", *reasons, "", *missing])
    return result


def _bundle(path: Path, name: str) -> Bundle:
    shape = MODELS[name]
    torch.manual_seed(0)
    encoder = create_encoder(name, *shape) if name == "fcn" else create_encoder(name)
    assert name == "fcn" or encoder_info(name).shape == shape
    manifest, classifier = blank_manifest(name, encoder, shape), Classifier(encoder, _LABELS).eval()
    windows = np.random.default_rng(0).normal(size=(5, *manifest.window_shape)).astype(np.float32)
    return export_bundle(path, classifier.encoder, classifier.head, manifest, windows)


def _measure(name: str, bundle: Bundle, budget_s: float, result: Result) -> list[tuple[object, ...]]:
    began = perf_counter()
    choice = choose(bundle)
    result.figures[f"{name}_choosing_s"] = perf_counter() - began
    is_kept = recall(bundle) is not None  # else it was not certain, and opening measures again
    engines = {"auto": open_engine(bundle, "auto")}
    result.figures[f"{name}_auto"] = engines["auto"].reason
    if is_kept:
        result.checks[f"{name}_auto_is_what_was_chosen"] = engines["auto"].name == choice.candidate.engine
    for candidate in candidates_here():
        with suppress(SensedgeError):  # here, but not for this device: the reason of `auto` says so
            engines[str(candidate)] = open_engine(bundle, candidate.engine, threads=candidate.threads)
    errors = {key: _error(bundle, engine) for key, engine in engines.items()}
    for key, error in errors.items():
        result.checks[f"{name}_{key}_answers"] = error <= TOLERANCE
    calls = _calls(bundle, engines)
    tried = _rounds(calls, _QUICK_ROUND_S / 3)
    best = min((key for key in tried if key != "auto"), key=lambda key: statistics.median(tried[key]))
    engines[_TWICE] = open_engine(bundle, engines[best].name, threads=engines[best].threads)
    seconds = _rounds(calls | _calls(bundle, {_TWICE: engines[_TWICE]}), budget_s)
    for engine in engines.values():
        engine.close()
    key, twice = f"auto_vs_best_{name}", seconds.pop(_TWICE)
    result.ratios[key], result.ratios[f"{key}_spread"] = ratio(seconds["auto"], seconds[best])
    result.figures[f"{key}_interval"] = median_interval(
        [a / b for a, b in zip(seconds["auto"], seconds[best], strict=True)]
    )
    result.ratios[f"{key}_twice"] = ratio(twice, seconds[best])[0]
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    result.figures |= {f"{name}_{engine}_ms": median * 1e3 for engine, median in medians.items()}
    return [
        (
            f"{name}, {engine if engine != 'auto' else f'auto: {engines[engine].name}'}",
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


def _calls(bundle: Bundle, engines: dict[str, Engine]) -> dict[str, Callable[[], object]]:
    window = Inputs(bundle.manifest)(bundle.golden().windows)[0]
    return {name: partial(engine.logits, window) for name, engine in engines.items()}


def _rounds(calls: dict[str, Callable[[], object]], budget_s: float) -> dict[str, list[float]]:
    """Seconds per single window of each engine in each round."""
    n = max(1, round(_SLICE_S / min(_seconds(call, 3) for call in calls.values())))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    turns, until = np.random.default_rng(0), perf_counter() + budget_s
    while perf_counter() < until or len(seconds["auto"]) < _LEAST_ROUNDS:
        for name in turns.permutation(list(calls)).tolist():
            seconds[name].append(_seconds(calls[name], n))
    return seconds


def _seconds(call: Callable[[], object], times: int) -> float:
    began = perf_counter()
    for _ in range(times):
        call()
    return (perf_counter() - began) / times
