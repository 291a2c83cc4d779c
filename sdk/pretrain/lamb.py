"""LAMB: Adam's step, as long as the layer is large; MaskCAE's optimiser.

Paper: "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", algorithm 2, with phi(z) = z.

    m <- b1 m + (1 - b1) g         v <- b2 v + (1 - b2) g^2
    r = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
    x <- x - rate |x| / |r + lambda x| (r + lambda x)

As in the code that MaskCAE uses: lambda is 0 for biases, norms and mask tokens, so for whatever has one axis at most
that is longer than 1, and these take Adam's step as it is, without the ratio of lengths; so does a layer of which
either length is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_BETAS = (0.9, 0.999)
_EPS = 1e-6


class LAMB(Optimizer):
    """See above.

    Args:
        parameters: tensors, or groups of them.
        lr: the rate.
        betas: b1 and b2.
        eps: below.
        weight_decay: lambda.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = _BETAS,
        eps: float = _EPS,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step along the gradients that there are; what `closure` gives, if there is one."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, x: Tensor, g: Tensor, group: dict[str, Any]) -> None:
        state = self.state[x]
        if not state:
            state.update(step=torch.zeros(()), m=torch.zeros_like(x), v=torch.zeros_like(x))
        first, second = group["betas"]
        state["step"] += 1
        t = float(state["step"])
        m, v = state["m"].lerp_(g, 1 - first), state["v"].mul_(second).addcmul_(g, g, value=1 - second)
        move = (m / (1 - first**t)) / ((v / (1 - second**t)).sqrt() + group["eps"])
        ratio = 1.0
        if group["weight_decay"]:
            move = move + group["weight_decay"] * x
            lengths = float(x.norm()), float(move.norm())
            ratio = lengths[0] / lengths[1] if all(lengths) else 1.0
        x.sub_(move, alpha=group["lr"] * ratio)


def decayed_apart(module: nn.Module) -> list[dict[str, Any]]:
    """A module's parameters in two groups: those that are decayed, and those with one axis at most, which never are."""
    every = [parameter for parameter in module.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in every if parameter.squeeze().ndim > 1]
    kept = {id(parameter) for parameter in decayed}
    others = [parameter for parameter in every if id(parameter) not in kept]
    return [{"params": decayed}, {"params": others, "weight_decay": 0.0, "never_decayed": True}]
