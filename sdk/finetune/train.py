"""The loop: batches through the training graph, the pull of the anchor, a step of the optimiser.

    rows -> activations at the cut -> graph: loss, gradient -> + pull -> optimiser, in place -> theta
             cached, or augmented      onnxruntime             eq. 9       NumPy

It ends after the planned epochs, or earlier when the allowance is used up. It never looks at labels that are held out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from sdk.finetune.optimise import Flat, Optimiser, learning_rate, make_optimiser
from sdk.finetune.plan import FinetunePlan
from sdk.finetune.sample import Activations, ActivationSource, Indices, epoch
from sdk.finetune.theta import Layout, Pull


class Gradients(Protocol):
    """What a training graph answers."""

    def gradient(
        self, theta: Flat, activations: Activations, labels: NDArray[np.int64], weights: Flat
    ) -> tuple[float, Flat]:
        """Weighted mean cross-entropy and its gradient, shape of theta."""

    def logits(self, theta: Flat, activations: Activations) -> NDArray[np.float32]:
        """Logits, shape (n, n_classes)."""


@dataclass(frozen=True)
class Examples:
    """What a training sees: some rows of all windows."""

    source: ActivationSource
    rows: Indices  # shape (n,), at least one
    labels: NDArray[np.int64]  # of all windows
    weights: NDArray[np.float64]  # of all windows


@dataclass(frozen=True)
class Trained:
    """Where a training ended, and after how much."""

    theta: Flat
    losses: tuple[float, ...]  # mean over the steps of each epoch, pull included
    epochs: float  # that were done; not whole where the allowance ended one
    steps: int
    stopped_by: str  # which limit ended it early; empty: all planned epochs were done


def train(
    graph: Gradients,
    layout: Layout,
    start: Flat,
    examples: Examples,
    plan: FinetunePlan,
    *,
    stream: int = 0,
    epochs: float | None = None,
    over: Callable[[], str] = lambda: "",
    report: Callable[[float, float, Flat], None] = lambda epochs, loss, theta: None,
) -> Trained:
    """Train from `start` on examples.

    Args:
        graph: gradients of theta.
        layout: what moves, and the gammas.
        start: theta at the beginning, shape (layout.size,), left as it is; also the anchor where the plan says
            `pretrained`.
        examples: what is trained on.
        plan: optimiser, schedule, batches, seed.
        stream: of random numbers, beside the seed; trainings on different folds take different ones.
        epochs: end after so many, on the plan's schedule; None: all of the plan's.
        over: asked after each step; the name of the limit that is used up, or nothing.
        report: called after each step with the epochs done, the loss, and theta, which it must not keep.

    Raises:
        InputError: the loss or the parameters are no longer finite.
    """
    rng = np.random.default_rng((plan.seed, stream))
    theta = start.copy()
    turns = _turns(layout, plan, theta)
    pull = Pull(layout, plan.pull, start if plan.anchor == "pretrained" else None)
    labels = examples.labels[examples.rows]
    per_epoch = -(-len(labels) // plan.batch)
    total = plan.epochs * per_epoch
    wanted = total if epochs is None else max(1, round(epochs * per_epoch))
    losses: list[list[float]] = []
    step, reason = 0, ""
    while step < wanted and not reason:
        losses.append([])
        parts = turns[(len(losses) - 1) // plan.turn_epochs % len(turns)]
        for drawn in epoch(labels, plan.batch, plan.balanced, rng):
            rows = examples.rows[drawn]
            weights = examples.weights[rows].astype(np.float32)
            loss, gradient = graph.gradient(theta, examples.source(rows, rng), examples.labels[rows], weights)
            rate = learning_rate(plan, step, total)
            with np.errstate(over="ignore", invalid="ignore"):  # found below
                loss += pull.add_to(gradient, theta)
                for part, optimiser in parts:
                    optimiser.step(gradient[part], rate)
            step += 1
            _check(loss, theta, step, total)
            losses[-1].append(loss)
            report(step / per_epoch, loss, theta)
            reason = over()
            if step == wanted or reason:
                break
    return Trained(
        theta, tuple(map(float, map(np.mean, losses))), step / per_epoch, step, reason if step < total else ""
    )


def _turns(layout: Layout, plan: FinetunePlan, theta: Flat) -> list[list[tuple[slice, Optimiser]]]:
    """The parts of theta that move together, with an optimiser each: one list, or two that take turns."""
    head = max(layout.layers)
    groups = [range(head), [head]] if plan.method == "iterative" else [layout.layers]
    turns = [[(part, make_optimiser(plan, theta[part])) for part in layout.moving(group)] for group in groups]
    return [turn for turn in turns if turn]


def _check(loss: float, theta: Flat, step: int, total: int) -> None:
    if not (math.isfinite(loss) and np.isfinite(theta).all()):
        raise InputError(
            "training",
            expected="a finite loss",
            got=f"{loss} at step {step} of {total}",
            fix="Nothing was changed. Lower the learning rate, and look at the recording for values far outside.",
        )
