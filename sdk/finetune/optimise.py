"""Optimisers that work in place on a flat float32 buffer, step for step what torch does.

A tensor that is frozen for some time keeps its moments and its step count, as in torch: so each part of the buffer that
starts and stops as one has an optimiser of its own, over a view of it.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sdk import schedule
from sdk.finetune.plan import FinetunePlan

Flat = NDArray[np.float32]

BETAS, EPSILON = (0.9, 0.999), 1e-8  # torch's defaults


class Optimiser(Protocol):
    """What moves parameters against a gradient."""

    def step(self, gradient: Flat, rate: float) -> None:
        """Move the parameters by one step.

        Args:
            gradient: shape of the parameters; it may be used as scratch.
            rate: the learning rate of this step.
        """


class AdamW:
    """Adam with decoupled weight decay: "Decoupled Weight Decay Regularization", algorithm 2.

    Args:
        parameters: shape (n,), changed in place.
        weight_decay: per step, times the learning rate.
    """

    def __init__(self, parameters: Flat, weight_decay: float = 0.0) -> None:
        self._parameters, self._weight_decay = parameters, weight_decay
        self._first, self._second, self._scratch = (np.zeros_like(parameters) for _ in range(3))
        self._steps = 0

    def step(self, gradient: Flat, rate: float) -> None:
        """Move the parameters by one step at this learning rate; the gradient, of their shape, is used as scratch."""
        self._steps += 1
        correction = [1 - beta**self._steps for beta in BETAS]
        scratch = self._scratch
        if self._weight_decay:
            self._parameters *= np.float32(1 - rate * self._weight_decay)
        np.subtract(gradient, self._first, out=scratch)
        scratch *= np.float32(1 - BETAS[0])
        self._first += scratch
        gradient *= gradient
        gradient *= np.float32(1 - BETAS[1])
        self._second *= np.float32(BETAS[1])
        self._second += gradient
        np.sqrt(self._second, out=scratch)
        scratch /= np.float32(math.sqrt(correction[1]))
        scratch += np.float32(EPSILON)
        np.divide(self._first, scratch, out=scratch)
        scratch *= np.float32(rate / correction[0])
        self._parameters -= scratch


class SGD:
    """Gradient descent with momentum and coupled weight decay, as torch.optim.SGD without dampening.

    Args:
        parameters: shape (n,), changed in place.
        weight_decay: added to the gradient, times the parameters.
        momentum: share of the last step's direction that is kept.
    """

    def __init__(self, parameters: Flat, weight_decay: float = 0.0, momentum: float = 0.9) -> None:
        self._parameters, self._weight_decay, self._momentum = parameters, weight_decay, momentum
        self._direction = np.zeros_like(parameters)

    def step(self, gradient: Flat, rate: float) -> None:
        """Move the parameters by one step at this learning rate; the gradient, of their shape, is used as scratch."""
        if self._weight_decay:
            gradient += np.float32(self._weight_decay) * self._parameters
        self._direction *= np.float32(self._momentum)
        self._direction += gradient
        np.multiply(self._direction, np.float32(rate), out=gradient)
        self._parameters -= gradient


def make_optimiser(plan: FinetunePlan, parameters: Flat) -> Optimiser:
    """The plan's optimiser over a view of the parameters, shape (n,)."""
    if plan.optimiser == "sgd":
        return SGD(parameters, plan.weight_decay, plan.momentum)
    return AdamW(parameters, plan.weight_decay)


def learning_rate(plan: FinetunePlan, step: int, n_steps: int) -> float:
    """The rate of a step, counted from 0: linear warm-up, then constant or half a cosine to zero."""
    warm_up = round(plan.warmup * n_steps)
    return schedule.learning_rate(plan.learning_rate, step, n_steps, warm_up=warm_up, cosine=plan.schedule == "cosine")
