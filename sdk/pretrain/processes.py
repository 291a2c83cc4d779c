"""Several processes train one method: each embeds its rows, and every loss is that of the whole batch.

    batch of B rows -> process 0: rows 0 ... B/P - 1   -> embeddings -+
                       process 1: rows B/P ... 2B/P - 1 -> embeddings -+-> whole: all B, in order -> the loss of all B
                       ...                                            -+

So P processes with B/P rows each take the steps of one process with B: a contrastive loss has all its negatives, and
norms of a batch count all of it. Each process has the whole loss, and gradients are the mean over processes, which is
then the gradient of that loss. What is drawn for rows is drawn for the whole batch in each process, alike.

The processes are Lightning Fabric's, on one machine or several: `torchrun --nproc-per-node 2 -m sdk.pretrain ...`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import InputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


def start(device: str = "cpu", precision: str = "float32") -> Fabric:
    """Join the other processes, if this one was started with others; else be the only one.

    Args:
        device: torch's name of one, such as cpu, cuda or cuda:1.
        precision: of PRECISIONS; of other than float32 the weights stay float32, and what allows it is computed so.

    Raises:
        InputError: no such device here, or no such precision on it.
        ImportError: Lightning Fabric is missing; says how to install it.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise ImportError('pretraining needs Lightning Fabric: pip install "sensedge[train]"') from error
    kind, _, number = device.partition(":")
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    several: dict[str, Any] = {"num_nodes": max(world // local, 1), "strategy": "ddp"} if world > 1 else {}
    devices: Any = [int(number)] if number else local
    try:
        torch.empty((), device=device)
        fabric = Fabric(accelerator=kind, devices=devices, precision=cast(Any, PRECISIONS[precision]), **several)
    except (RuntimeError, AssertionError, ValueError, KeyError) as error:
        got = str(error).splitlines()[0]
        fix = "Name a device that torch has here, and a precision of it."
        raise InputError(f"device {device}, {precision}", expected="both to be here", got=got, fix=fix) from None
    fabric.launch()
    return fabric


def n_processes() -> int:
    """How many train together."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def share(batch: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """This process's rows of a batch: as many as any other's, or one more."""
    if (n := n_processes()) == 1:
        return tuple(batch)
    rank = torch.distributed.get_rank()
    return tuple(torch.tensor_split(tensor, n)[rank] for tensor in batch)


def whole(rows: Tensor) -> Tensor:
    """The rows of all processes in order, (n_all, ...), of this one's, (n, ...); gradients go back to each."""
    if (n := n_processes()) == 1:
        return rows
    rank = torch.distributed.get_rank()
    counts = functional.one_hot(torch.tensor(rank), n).to(rows.device) * len(rows)
    torch.distributed.all_reduce(counts)
    before, after = int(counts[:rank].sum()), int(counts[rank + 1 :].sum())
    return _sum(functional.pad(rows, (0, 0) * (rows.ndim - 1) + (before, after)))


def _sum(own: Tensor) -> Tensor:
    """Over all processes, each of which has a loss of its own."""
    total: Tensor = _Sum.apply(own)  # type: ignore[no-untyped-call]
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, own: Tensor) -> Tensor:
        return _Sum.backward(context, own)

    @staticmethod
    def backward(context: Any, own: Tensor) -> Tensor:
        total = own.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total


class WholeNorm(nn.BatchNorm2d):
    """A norm of torch's of any number of axes that counts the rows of all processes while it trains.

    Torch's own for several processes has no CPU.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        """Rows (n, c, ...), normalised."""
        if not self.training:
            return super().forward(input)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        return batch_norm(input, self)


def batch_norm(rows: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """What a norm does to rows (n, c, ...) while it trains, by mean and variance over the rows of all processes."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    axes = [axis for axis in range(rows.ndim) if axis != 1]
    shape = [1, -1, *[1] * (rows.ndim - 2)]
    x = rows.float() if rows.dtype in (torch.bfloat16, torch.float16) else rows
    sums = _sum(torch.cat([x.sum(axes), x.new_tensor([x.numel() / x.shape[1]])]))
    count, mean = sums[-1].detach(), sums[:-1] / sums[-1].detach()
    centred = x - mean.view(shape)
    variance = _sum(centred.square().sum(axes)) / count
    with torch.no_grad():
        norm.running_mean.lerp_(mean.to(norm.running_mean), norm.momentum or 0.0)
        norm.running_var.lerp_((variance * count / (count - 1)).to(norm.running_var), norm.momentum or 0.0)
    scale = norm.weight.view(shape) * (variance.view(shape) + norm.eps).rsqrt()
    after: Tensor = centred * scale + norm.bias.view(shape)
    return after.to(rows.dtype)


def join_norms(module: nn.Module) -> None:
    """Let the norms of a module count all processes' rows; nothing where there is one process."""
    if n_processes() > 1:
        for norm in module.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                norm.__class__ = WholeNorm
