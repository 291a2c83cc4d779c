"""The bundle's training graphs on this device: which one is taken, what it needs of memory, how it is asked.

A bundle may carry one graph per place where the frozen part can end. Chosen is the one that leaves out most: the cut
lies above the last frozen layer, counted from the input. Frozen layers above a layer that moves keep their values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.bundle.contents import TrainingSpec
from runtime.errors import InputError
from sdk.finetune.optimise import Flat
from sdk.finetune.plan import FinetunePlan
from sdk.finetune.sample import Activations

VECTORS = 8  # of theta's length: start, theta, gradient, two moments, scratch, the graph's own copy, what is kept
SESSION_BYTES = 15_000_000  # two sessions of onnxruntime and what numpy and it load with them, measured
ARENA = 1.25  # what its arena holds, for each byte that lives in it, measured
# The measured peak was within this share of the prediction for FCNs (batches of 1 to 128), HART, MobileHART and ISPL
# Inception (batches of 10), whatever moved, on x86-64. A DeepConvLSTM took up to 0.27 more.
TOLERANCE = 0.2


def choose_spec(bundle: Bundle, gammas: Sequence[float]) -> TrainingSpec:
    """The graph with the highest cut below the first layer that moves.

    Args:
        bundle: with or without graphs.
        gammas: of each layer; an infinite one is frozen.

    Raises:
        InputError: there is none.
    """
    first = next(layer for layer, gamma in enumerate(gammas) if math.isfinite(gamma))
    below = [spec for spec in bundle.manifest.training if spec.layer <= first]
    if not below:
        there = sorted(spec.layer for spec in bundle.manifest.training)
        raise InputError(
            bundle.path,
            expected=f"a training graph from layer {first} or below",
            got=f"graphs from layer {', '.join(map(str, there))}" if there else "a bundle without training graphs",
            fix="Train the head only, move layers nearer to it, or export the bundle with its training graphs.",
        )
    return max(below, key=lambda spec: spec.layer)


class GradientSession:
    """One training graph in an onnxruntime session on the CPU."""

    def __init__(self, bundle: Bundle, spec: TrainingSpec, *, threads: int = 1) -> None:
        from runtime.engine.ort import open_session, training_options

        where = bundle.path / spec.file
        self._session = open_session(bundle.training_model(spec), where, options=training_options(threads))

    def gradient(
        self, theta: Flat, activations: Activations, labels: NDArray[np.int64], weights: Flat
    ) -> tuple[float, Flat]:
        """Weighted mean cross-entropy of a batch and its gradient, shape of theta."""
        feeds = {"activations": activations, "labels": labels, "weights": weights, "theta": theta}
        loss, gradient = self._session.run(["loss", "gradient"], feeds)
        return float(loss), gradient

    def logits(self, theta: Flat, activations: Activations) -> NDArray[np.float32]:
        """Logits, shape (n, n_classes). It takes as long as a gradient: the engine runs the whole graph."""
        n = len(activations)
        feeds = {
            "activations": activations,
            "labels": np.zeros(n, np.int64),
            "weights": np.ones(n, np.float32),
            "theta": theta,
        }
        logits: NDArray[np.float32] = self._session.run(["logits"], feeds)[0]
        return logits


def predicted_bytes(bundle: Bundle, spec: TrainingSpec, n_cached: int, batch: int) -> int:
    """Resident memory above the start that a training will need at its peak.

    What backward must keep at once, as the exporter counted it in the graph, times the batch; the activations at the
    cut of all windows; theta with its gradient, moments and copies; and what onnxruntime takes for itself and for the
    two graphs, of which that of the frozen layers is closed again before the training. The measured peak of a run in a
    fresh process lies within TOLERANCE of it.

    Args:
        bundle: for the sizes of its files.
        spec: the graph.
        n_cached: windows whose activations are kept.
        batch: windows per step.
    """
    theta = 4 * sum(spec.sizes) * VECTORS
    cached = 4 * n_cached * math.prod(spec.cut_shape)
    training = theta + cached + spec.fixed_bytes + round(ARENA * batch * spec.bytes_per_window)
    files = bundle.manifest.files
    frozen = files["model.onnx"].bytes if spec.cut != bundle.manifest.input_name else 0
    return SESSION_BYTES + max(3 * frozen, 2 * frozen + 3 * files[spec.file].bytes + training)


def fitting_batch(bundle: Bundle, spec: TrainingSpec, n_cached: int, plan: FinetunePlan) -> int:
    """The plan's batch, halved until it fits the budget of megabytes.

    Raises:
        InputError: one window at a time is still too much.
    """
    batch, limit = plan.batch, plan.budget.megabytes
    while limit is not None and predicted_bytes(bundle, spec, n_cached, batch) > limit * 1e6:
        if batch == 1:
            least = predicted_bytes(bundle, spec, n_cached, 1) / 1e6
            raise InputError(
                "budget.megabytes",
                expected=f"at least {least:.1f} MB for these layers and {n_cached} windows, one at a time",
                got=limit,
                fix="Move fewer layers, or the head only.",
            )
        batch = (batch + 1) // 2
    return batch
