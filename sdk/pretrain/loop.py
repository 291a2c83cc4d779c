"""The training loop that every method shares: epochs of shuffled batches, one schedule, a checkpoint per epoch.

    epoch 0 ... n-1:   shuffle by (seed, epoch) -> batches -> loss -> AdamW step -> checkpoint
    learning rate:     linear warm-up over the first tenth, then half a cosine down to zero, per step

The order of the batches depends on seed and epoch alone, and a checkpoint keeps the state of torch's generator, from
which a method draws its masks and views: a run that was cut off and resumed ends with the same weights as one that was
not. There is no choosing of epochs: the last one counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from runtime.errors import InputError
from sdk import schedule
from sdk.pretrain.checkpoint import load_checkpoint, save_checkpoint
from sdk.pretrain.plan import PretrainPlan

_WARM_UP = 0.1  # share of all steps
View: TypeAlias = Callable[..., Sequence[Tensor]]


def learning_rate(plan: PretrainPlan, step: int, n_steps: int) -> float:
    """The rate of one step of `n_steps`."""
    return schedule.learning_rate(plan.learning_rate, step, n_steps, warm_up=max(1, round(_WARM_UP * n_steps)))


def fit(
    method: nn.Module,
    tensors: Sequence[Tensor],
    plan: PretrainPlan,
    *,
    view: View | None = None,
    checkpoint: Path | None = None,
    data: str = "",
    weights: Tensor | None = None,
    report: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train a method in place.

    Args:
        method: called with the same rows of every tensor, returns their loss.
        tensors: as many as the method takes, each of shape (n, ...).
        plan: epochs, batch, rates and seed.
        view: from the rows of a batch to what the method takes, drawn anew each time; None: the rows themselves.
        checkpoint: where to keep the state after each epoch; an unfinished run found there is resumed.
        data: a hash of what is trained on, kept in the checkpoint; empty: none.
        weights: shape (n,), how likely each row is drawn, n times in an epoch; None: each once.
        report: called with the number of finished epochs and the last one's mean loss.

    Returns:
        The mean loss of each epoch.

    Raises:
        InputError: the checkpoint belongs to another plan or other data; the loss is not a finite number; tensors of
            several lengths.
    """
    _check_lengths(tensors)
    optimiser = torch.optim.AdamW(method.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    losses: list[float] = []
    mark = {"data": data} if data else {}
    if checkpoint is not None and checkpoint.exists():
        facts = load_checkpoint(checkpoint, method, optimiser)
        if (found := PretrainPlan.from_dict(facts.get("plan", {}))) != plan:
            expected, got = f"the plan {plan.to_dict()}", found.to_dict()
            raise InputError(checkpoint, expected=expected, got=got, fix="Remove the file.")
        if data and facts.get("data", data) != data:
            raise InputError(
                checkpoint,
                expected="windows as it was trained on",
                got="others: another position, clock, rate or archive",
                fix="Remove the file, or name another folder.",
            )
        losses = facts["losses"]
    for epoch in range(len(losses), plan.epochs):
        losses.append(_epoch(method, optimiser, tensors, view, plan, epoch, weights))
        if not math.isfinite(losses[-1]):
            raise InputError(
                f"epoch {epoch + 1}", expected="a finite loss", got=losses[-1], fix="Lower the learning rate."
            )
        if checkpoint is not None:
            save_checkpoint(checkpoint, method, optimiser, mark | {"plan": plan.to_dict(), "losses": losses})
        if report is not None:
            report(epoch + 1, losses[-1])
    method.eval()
    return losses


def _epoch(
    method: nn.Module,
    optimiser: torch.optim.Optimizer,
    tensors: Sequence[Tensor],
    view: View | None,
    plan: PretrainPlan,
    epoch: int,
    weights: Tensor | None,
) -> float:
    """One pass over all rows, or as many draws; the mean loss."""
    method.train()
    n = len(tensors[0])
    device = next(method.parameters()).device
    shuffle = torch.Generator().manual_seed(plan.seed * 100_003 + epoch)
    n_batches = math.ceil(n / plan.batch)
    total = 0.0
    if weights is None:
        order = torch.randperm(n, generator=shuffle)
    else:
        order = torch.multinomial(weights, n, replacement=True, generator=shuffle)
    for i, rows in enumerate(torch.split(order, plan.batch)):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(plan, epoch * n_batches + i, plan.epochs * n_batches)
        batch = tuple(tensor[rows] for tensor in tensors)
        loss = method(*(part.to(device) for part in (batch if view is None else view(*batch))))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        total += float(loss.detach()) * len(rows)
    return total / n


def _check_lengths(tensors: Sequence[Tensor]) -> None:
    lengths = [len(tensor) for tensor in tensors]
    if len(set(lengths)) != 1:
        raise InputError("tensors", expected="one or more of the same length", got=lengths, fix="Cut them alike.")
