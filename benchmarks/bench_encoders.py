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
from torch.utils.flop_counter import FlopCounterMode

from benchmarks._bench import Options, Result
from exporters import export_bundle
from exporters.parity import TOLERANCE, graph_inputs
from runtime import Bundle, Manifest, Modality, Signal, WindowSpec
from runtime.engine import open_engine
from runtime.specs import Normalise, SpectrogramSpec
from sdk.encoders import Classifier, Split, create_encoder, encoder_info, list_encoders

QUICK = ("fcn", "resnet1d")
_LABELS = ("sitting", "walking", "running")
_SECONDS, _QUICK_SECONDS = 2.0, 0.2
_LEAST_CALLS = 5
_RATE_HZ, _IMAGE_SAMPLES = 50.0, 250  # of the signal behind an image
_MEASURED = ("ms", "ms_fastest_tenth", "windows_per_s", "bundle_mb")
_COLUMNS = (
    *("name", "paper", "window", "features", "parameters", "MACs (million)"),
    *("ms", "ms, fastest tenth", "windows/s", "bundle (MB)"),
)


def manifest_of(name: str, encoder: nn.Module, shape: tuple[int, ...]) -> Manifest:
    """A manifest whose windows, or their images, have the shape that an encoder takes; normalising changes nothing."""
    if len(shape) == 3:
        signal, window = Signal((_modality("acc", 3, _RATE_HZ),)), WindowSpec(_IMAGE_SAMPLES, _IMAGE_SAMPLES)
        spectrogram = SpectrogramSpec(64, 8, signal.channel_names, height_px=shape[1], width_px=shape[2])
        return Manifest(name, signal, window, _LABELS, _unit(3), spectrogram=spectrogram)
    parts = [(shape[0], shape[1])] if len(shape) == 2 else _split_of(encoder).shapes
    signal = Signal(tuple(_modality(f"m{i}", width, length) for i, (length, width) in enumerate(parts)))
    return Manifest(name, signal, WindowSpec(parts[0][0], parts[0][0]), _LABELS, _unit(sum(part[1] for part in parts)))


def _split_of(encoder: nn.Module) -> Split:
    return next(module for module in encoder.modules() if isinstance(module, Split))


def _modality(name: str, n_channels: int, rate_hz: float) -> Modality:
    return Modality(name, "1", tuple(str(i) for i in range(n_channels)), float(rate_hz))


def _unit(n_channels: int) -> Normalise:
    return Normalise((0.0,) * n_channels, (1.0,) * n_channels)


def count_macs(name: str) -> int:
    """Multiply-accumulates of one window of the paper's shape; nothing is computed."""
    info = encoder_info(name)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        create_encoder(name).eval()(torch.zeros(1, *info.shape))
    return counter.get_total_flops() // 2


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
    classifier = Classifier(encoder, len(_LABELS)).eval()
    manifest = manifest_of(name, encoder, encoder_info(name).shape)
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
