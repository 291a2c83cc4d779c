"""The training loop that every method shares: epochs of shuffled batches, one schedule, a checkpoint per epoch.

    epoch 0 ... n-1:   shuffle by (seed, epoch) -> batches -> loss -> AdamW step -> checkpoint
    learning rate:     linear warm-up over the first tenth, then half a cosine down to zero, per step

The order of the batches depends on seed and epoch alone, so a run that was cut off and resumed ends with the same
weights as one that was not. There is no choosing of epochs: the last one counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from runtime.errors import InputError
from sdk.pretrain.checkpoint import load_checkpoint, save_checkpoint

_WARM_UP = 0.1  # share of all steps


@dataclass(frozen=True)
class PretrainPlan:
    """What is trained and how."""

    encoder: str = "fcn-stride4"
    epochs: int = 8
    batch: int = 64
    learning_rate: float = 2e-3  # the peak
    weight_decay: float = 0.01  # AdamW's, decoupled
    seed: int = 0  # of weights and order of batches


def learning_rate(plan: PretrainPlan, step: int, n_steps: int) -> float:
    """The rate of one step of `n_steps`."""
    warm_up = max(1, round(_WARM_UP * n_steps))
    if step < warm_up:
        return plan.learning_rate * (step + 1) / warm_up
    return plan.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, n_steps - warm_up)))


def fit(
    method: nn.Module,
    windows: Tensor,
    labels: Tensor,
    plan: PretrainPlan,
    *,
    checkpoint: Path | None = None,
    report: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train a method in place.

    Args:
        method: called with a batch of windows and labels, returns the loss.
        windows: shape (n, length_samples, n_channels).
        labels: shape (n,).
        plan: epochs, batch, rates and seed.
        checkpoint: where to keep the state after each epoch; an unfinished run found there is resumed.
        report: called with the number of finished epochs and the last one's mean loss.

    Returns:
        The mean loss of each epoch.

    Raises:
        InputError: the checkpoint belongs to another plan; the loss is not a finite number.
    """
    optimiser = torch.optim.AdamW(method.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    device = next(method.parameters()).device
    losses: list[float] = []
    if checkpoint is not None and checkpoint.exists():
        facts = load_checkpoint(checkpoint, method, optimiser)
        if (found := facts.get("plan")) != asdict(plan):
            raise InputError(checkpoint, expected=f"the plan {asdict(plan)}", got=found, fix="Remove the file.")
        losses = facts["losses"]
    batches_per_epoch = math.ceil(len(windows) / plan.batch)
    for epoch in range(len(losses), plan.epochs):
        method.train()
        shuffle = torch.Generator().manual_seed(plan.seed * 100_003 + epoch)
        total = 0.0
        for i, rows in enumerate(torch.split(torch.randperm(len(windows), generator=shuffle), plan.batch)):
            rate = learning_rate(plan, epoch * batches_per_epoch + i, plan.epochs * batches_per_epoch)
            for group in optimiser.param_groups:
                group["lr"] = rate
            loss = method(windows[rows].to(device), labels[rows].to(device))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(rows)
        losses.append(total / len(windows))
        if not math.isfinite(losses[-1]):
            raise InputError(
                f"epoch {epoch + 1}", expected="a finite loss", got=losses[-1], fix="Lower the learning rate."
            )
        if checkpoint is not None:
            save_checkpoint(checkpoint, method, optimiser, {"plan": asdict(plan), "losses": losses})
        if report is not None:
            report(epoch + 1, losses[-1])
    method.eval()
    return losses
