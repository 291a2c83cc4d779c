"""Every registered encoder at its paper's shape: parameters, products, latency through the runtime, size of the bundle.

One window at a time on one core through `open_engine`; weights are random, which changes nothing of the cost. The
products are multiply-accumulates (MACs) of one window through the encoder without head: every product of a convolution,
a linear layer, an attention or a recurrent net is one; biases, norms, activations and pools count as nothing. Quick
runs measure small encoders only; parameters and MACs are there for all.

An image lies ready: drawing it is not in the time.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import nn

from benchmarks._bench import Options, Result
from exporters import export_bundle
from exporters.parity import TOLERANCE, graph_inputs
from runtime import Bundle
from runtime.engine import open_engine
from sdk.encoders import Classifier, create_encoder, encoder_info, list_encoders
from sdk.encoders.untrained import LABELS, blank_manifest, count_macs

QUICK = ("fcn", "resnet1d")
_SECONDS, _QUICK_SECONDS = 2.0, 0.2
_LEAST_CALLS = 5
_MEASURED = ("ms", "ms_fastest_tenth", "windows_per_s", "bundle_mb")
_COLUMNS = (
    *("name", "paper", "window", "features", "parameters", "MACs (million)"),
    *("ms", "ms, fastest tenth", "windows/s", "bundle (MB)"),
)


def run(options: Options) -> Result:
    """Count all, measure all or the quick ones."""
    torch.set_num_threads(1)
    result, lines = Result("encoders"), [_row(_COLUMNS), _row(["---"] * len(_COLUMNS))]
    for name in list_encoders():
        info, encoder = encoder_info(name), create_encoder(name)
        figures = {
            "features": encoder.n_features,
            "parameters": sum(parameter.numel() for parameter in encoder.parameters()),
            "macs": count_macs(name),
        }
        if name in QUICK or not options.quick:
            figures |= _measure(name, encoder, result, _QUICK_SECONDS if options.quick else _SECONDS)
        result.figures |= {f"{name}_{key}": value for key, value in figures.items()}
        lines.append(_line(name, info.paper, info.shape, figures))
    result.text = "\n".join(lines)
    return result


def _measure(name: str, encoder: nn.Module, result: Result, at_least_s: float) -> dict[str, float]:
    classifier = Classifier(encoder, len(LABELS)).eval()
    manifest = blank_manifest(name, encoder, encoder_info(name).shape)
    window = np.random.default_rng(0).normal(size=(1, *manifest.window_shape)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.bundle"
        bundle = export_bundle(path, classifier.encoder, classifier.head, manifest, window)
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        seconds, answer = _run_for(bundle, graph_inputs(manifest, window), at_least_s)
        expected = bundle.golden().logits
    result.checks[f"{name}_answer"] = bool(np.abs(answer - expected).max() <= TOLERANCE * np.abs(expected).max())
    median, fastest = statistics.median(seconds), float(np.quantile(seconds, 0.1))
    return {
        "ms": median * 1e3,
        "ms_fastest_tenth": fastest * 1e3,
        "windows_per_s": 1 / median,
        "bundle_mb": size / 1e6,
    }


def _run_for(bundle: Bundle, window: np.ndarray, at_least_s: float) -> tuple[list[float], np.ndarray]:
    """Seconds of single calls, after one to warm up, and the last answer."""
    engine = open_engine(bundle)
    answer = engine.run(window)
    seconds: list[float] = []
    while sum(seconds) < at_least_s or len(seconds) < _LEAST_CALLS:
        began = perf_counter()
        answer = engine.run(window)
        seconds.append(perf_counter() - began)
    engine.close()
    return seconds, answer


def _line(name: str, paper: str, shape: tuple[int, ...], figures: dict[str, float]) -> str:
    measured = [_short(figures[key]) if key in figures else "" for key in _MEASURED]
    counted = [f"{figures['features']:,}", f"{figures['parameters']:,}", f"{figures['macs'] / 1e6:,.2f}"]
    return _row([f"`{name}`", paper, " x ".join(map(str, shape)), *counted, *measured])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
