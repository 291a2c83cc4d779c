"""The training loop that every method shares: epochs of shuffled batches, one schedule, a checkpoint per epoch.

    epoch 0 ... n-1:   shuffle by (seed, epoch) -> batches -> view -> this process's share -> loss -> step -> checkpoint
    learning rate:     a line up over the first `warm_up` of all steps, then half a cosine down to zero, per step
    weight decay:      as it is, or half a cosine to `last_decay`

Batches of an epoch are of the same size, or one less, `batch` at most. Their order depends on seed and epoch alone, and
a checkpoint keeps the state of torch's generator, from which a method draws its masks and views: a run that was cut off
and resumed ends with the same weights as one that was not. There is no choosing of epochs: the last one counts.

Device, precision and several processes are Lightning Fabric's: `sdk.pretrain.processes`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from runtime.errors import InputError
from sdk import schedule
from sdk.pretrain.checkpoint import load_checkpoint, save_checkpoint
from sdk.pretrain.lamb import LAMB, decayed_apart
from sdk.pretrain.plan import PretrainPlan
from sdk.pretrain.processes import join_norms, share, start
from sdk.pretrain.registry import Method

if TYPE_CHECKING:
    from lightning_fabric import Fabric

View: TypeAlias = Callable[..., Sequence[Tensor]]


@dataclass(frozen=True)
class Epoch:
    """What is said of one that is over."""

    number: int  # from 1
    of: int  # that the plan asks for
    loss: float  # mean over its batches
    watched: float | None  # the loss of people who do not train; None: nobody is watched
    seconds: float  # of training
    rows_per_s: float


def learning_rate(plan: PretrainPlan, step: int, n_steps: int) -> float:
    """The rate of one step of `n_steps`."""
    return schedule.learning_rate(plan.learning_rate, step, n_steps, warm_up=max(1, round(plan.warm_up * n_steps)))


def weight_decay(plan: PretrainPlan, step: int, n_steps: int) -> float:
    """The decay of one step of `n_steps`."""
    if plan.last_decay is None:
        return plan.weight_decay
    share_left = 0.5 * (1 + math.cos(math.pi * step / max(n_steps, 1)))
    return plan.last_decay + (plan.weight_decay - plan.last_decay) * share_left


def optimiser_of(plan: PretrainPlan, method: Method) -> torch.optim.Optimizer:
    """The plan's optimiser of a method's parameters."""
    if plan.optimiser == "lamb":
        return LAMB(decayed_apart(method), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    return torch.optim.AdamW(method.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)


def fit(
    method: Method,
    tensors: Sequence[Tensor],
    plan: PretrainPlan,
    *,
    view: View | None = None,
    watched: Sequence[Tensor] = (),
    checkpoint: Path | None = None,
    data: str = "",
    weights: Tensor | None = None,
    report: Callable[[Epoch], None] | None = None,
    fabric: Fabric | None = None,
) -> list[float]:
    """Train a method in place.

    Args:
        method: gives the loss of what its `view` makes of the same rows of every tensor.
        tensors: as many as the method takes, each of shape (n, ...).
        plan: epochs, batch (of all processes together), optimiser, rates and seed.
        view: from the rows of a batch to what the method takes, drawn anew each time; None: the rows themselves.
        watched: the same tensors of people who do not train, as the method takes them; empty: nobody is watched.
        checkpoint: where to keep the state after each epoch; an unfinished run found there is resumed.
        data: a hash of what is trained on, kept in the checkpoint; empty: none.
        weights: shape (n,), how likely each row is drawn, n times in an epoch; None: each once.
        report: told of every epoch.
        fabric: device, precision, processes; None: this process alone, on the CPU.

    Returns:
        The mean loss of each epoch.

    Raises:
        InputError: the checkpoint belongs to another plan or other data; the loss is not a finite number; tensors of
            several lengths.
        ImportError: Lightning Fabric is missing; says how to install it.
    """
    _check_lengths(tensors)
    fabric = fabric or start()
    method.to(fabric.device)
    join_norms(method)
    optimiser = optimiser_of(plan, method)
    kept = _resumed(checkpoint, method, optimiser, plan, data)
    losses: list[float] = kept["losses"]
    seen: list[float] = kept["watched"]
    model, stepper = fabric.setup(method, optimiser)
    run = _Run(method, model, stepper, plan, fabric)
    while len(losses) < plan.epochs and not _is_over(seen, plan.patience):
        began = time.perf_counter()
        losses.append(run.epoch(tensors, view, len(losses), weights))
        seconds = time.perf_counter() - began
        if not math.isfinite(losses[-1]):
            got, fix = losses[-1], "Lower the learning rate."
            raise InputError(f"epoch {len(losses)}", expected="a finite loss", got=got, fix=fix)
        if watched:
            seen.append(run.watch(watched))
        if checkpoint is not None and fabric.is_global_zero:
            save_checkpoint(checkpoint, method, optimiser, kept | {"plan": plan.to_dict()})
        if report is not None:
            rate = len(tensors[0]) / seconds
            report(Epoch(len(losses), plan.epochs, losses[-1], seen[-1] if seen else None, seconds, rate))
    method.eval()
    return losses


def _resumed(
    checkpoint: Path | None, method: Method, optimiser: torch.optim.Optimizer, plan: PretrainPlan, data: str
) -> dict[str, Any]:
    """What is known so far, with the state of an unfinished run put back."""
    mark: dict[str, Any] = {"data": data} if data else {}
    if checkpoint is None or not checkpoint.exists():
        return mark | {"losses": [], "watched": []}
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
    return mark | {"losses": facts["losses"], "watched": facts.get("watched", [])}


def _is_over(seen: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` epochs brought no lower loss of those who are watched."""
    return 0 < patience < len(seen) and min(seen[-patience:]) >= min(seen[:-patience])


class _Run:
    """One method with what trains it."""

    def __init__(self, method: Method, model: Any, optimiser: Any, plan: PretrainPlan, fabric: Fabric) -> None:
        self.method, self.model, self.optimiser, self.plan, self.fabric = method, model, optimiser, plan, fabric

    def epoch(self, tensors: Sequence[Tensor], view: View | None, number: int, weights: Tensor | None) -> float:
        """One pass over all rows, or as many draws; the mean loss."""
        self.method.train()
        n = len(tensors[0])
        shuffle = torch.Generator().manual_seed(self.plan.seed * 100_003 + number)
        if weights is None:
            order = torch.randperm(n, generator=shuffle)
        else:
            order = torch.multinomial(weights, n, replacement=True, generator=shuffle)
        batches = order.tensor_split(math.ceil(n / self.plan.batch))
        total = 0.0
        for i, rows in enumerate(batches):
            self._set_rates(number * len(batches) + i, self.plan.epochs * len(batches))
            batch: Sequence[Tensor] = tuple(tensor[rows] for tensor in tensors)
            loss = self._loss(batch if view is None else view(*batch))
            self.optimiser.zero_grad(set_to_none=True)
            self.fabric.backward(loss)
            if self.plan.clip:
                self.fabric.clip_gradients(self.model, self.optimiser, max_norm=self.plan.clip)
            self.optimiser.step()
            total += float(loss.detach()) * len(rows)
        return total / n

    def _loss(self, batch: Sequence[Tensor]) -> Tensor:
        loss: Tensor = self.model(*(part.to(self.fabric.device) for part in share(self.method.view(*batch))))
        return loss

    def _set_rates(self, step: int, n_steps: int) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.plan, step, n_steps)
            if not group.get("never_decayed"):
                group["weight_decay"] = weight_decay(self.plan, step, n_steps)

    @torch.no_grad()
    def watch(self, tensors: Sequence[Tensor]) -> float:
        """The loss of people who do not train, drawn alike after every epoch; no weight and no draw is changed."""
        self.method.eval()
        n = len(tensors[0])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.plan.seed)
            batches = torch.randperm(n).tensor_split(math.ceil(n / self.plan.batch))
            losses = [float(self._loss([tensor[rows] for tensor in tensors])) * len(rows) for rows in batches]
        return sum(losses) / n


def _check_lengths(tensors: Sequence[Tensor]) -> None:
    lengths = [len(tensor) for tensor in tensors]
    if len(set(lengths)) != 1:
        raise InputError("tensors", expected="one or more of the same length", got=lengths, fix="Cut them alike.")
