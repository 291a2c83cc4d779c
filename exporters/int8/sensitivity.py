"""Which layers stay in float, found by measuring.

all in int8 -> within tolerance? -> done
    no: each layer alone in int8, on some of the windows -> its error
        the fewest of the worst in float with which the rest is within tolerance, found by halving
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporters.int8.qdq import Layer
from exporters.parity import agreement_of
from runtime.errors import InputError
from runtime.progress import ShowProgress, silent

Trial = Callable[[Sequence[Layer], int], NDArray[np.float32]]
ALONE_WINDOWS = 32  # enough to order the layers by


@dataclass(frozen=True)
class LayerChoice:
    """What was found; the errors are of the calibration windows."""

    layers: tuple[Layer, ...]  # in int8
    float_layers: tuple[str, ...]  # names of the weights that stay in float
    alone: dict[str, float]  # error with this layer alone in int8; empty where all at once were good enough
    error: float
    agreement: float


def logits_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Root mean square of the difference as a share of the expected logits', both centred per window as softmax does.

    Args:
        found: shape (n, n_classes).
        expected: of the same shape.
    """
    a, b = (logits.astype(np.float64) - logits.mean(1, keepdims=True) for logits in (found, expected))
    scale = float(np.sqrt((b**2).mean()))
    return float(np.sqrt(((a - b) ** 2).mean())) / max(scale, 1e-12)


def choose_layers(
    layers: Sequence[Layer],
    trial: Trial,
    expected: NDArray[np.float32],
    tolerance: float,
    agreement: float,
    progress: ShowProgress = silent,
) -> LayerChoice:
    """Leave the most sensitive layers in float until the rest is good enough.

    Args:
        layers: that can be int8.
        trial: the logits of the calibration windows with some of the layers in int8; of every so-manieth window.
        expected: the float32 model's logits, shape (n, n_classes).
        tolerance: of `logits_error`.
        agreement: least share of windows with the float32 model's label.
        progress: told steps done, steps in all at most, and what is tried.

    Raises:
        InputError: not even one layer may be int8.
    """
    kept, alone = list(layers), dict[str, float]()
    total = len(layers) + len(layers).bit_length() + 1
    found = trial(kept, 1)
    if not _good(found, expected, tolerance, agreement):
        every = max(1, len(expected) // ALONE_WINDOWS)
        for step, layer in enumerate(layers, 1):
            progress(step, total, f"{layer.name} alone")
            alone[layer.name] = logits_error(trial([layer], every), expected[::every])
        order = sorted(layers, key=lambda layer: -alone[layer.name])
        bad, good = 0, len(order)  # so many in float
        while good - bad > 1:
            middle = (bad + good) // 2
            progress(total - (good - bad).bit_length(), total, f"{middle} layers in float")
            tried = trial(rest := _in_order(layers, order[middle:]), 1)
            if _good(tried, expected, tolerance, agreement):
                good, kept, found = middle, rest, tried
            else:
                bad = middle
        kept = kept if good < len(order) else []
    progress(total, total, "")
    if not kept:
        raise InputError(
            "int8",
            expected=f"a layer whose logits stay within {tolerance:g} and {agreement:.0%} of the labels",
            got="none" if layers else "no Conv, Gemm or MatMul with a trainable weight",
            fix="Calibrate with real windows of all classes, allow more (--tolerance, --agreement), or take fp16.",
        )
    left = tuple(layer.name for layer in layers if layer not in kept)
    return LayerChoice(tuple(kept), left, alone, logits_error(found, expected), agreement_of(found, expected))


def _in_order(layers: Sequence[Layer], some: Sequence[Layer]) -> list[Layer]:
    return [layer for layer in layers if layer in some]


def _good(found: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float, agreement: float) -> bool:
    return logits_error(found, expected) <= tolerance and agreement_of(found, expected) >= agreement
