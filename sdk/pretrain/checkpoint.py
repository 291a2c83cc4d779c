"""A training run in one file, as safetensors: weights, optimiser, epoch, torch's generator. None of it can run code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from runtime.errors import InputError
from runtime.files.atomic import write_atomic

_GENERATOR = "generator"  # the state of torch's, of the CPU


def save_checkpoint(path: Path, module: nn.Module, optimiser: torch.optim.Optimizer, facts: dict[str, Any]) -> None:
    """Write the state of a run and of torch's generator, atomically.

    Args:
        path: a .safetensors file.
        module: its whole state_dict is kept.
        optimiser: its tensors are kept, by the parameter's index.
        facts: JSON, such as the plan and the number of finished epochs.
    """
    from safetensors.torch import save

    tensors = {_GENERATOR: torch.get_rng_state()}
    tensors |= {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": tensor for name, tensor in state.items()}
    write_atomic(path, save({name: t.contiguous() for name, t in tensors.items()}, {"facts": json.dumps(facts)}))


def load_checkpoint(path: Path, module: nn.Module, optimiser: torch.optim.Optimizer | None = None) -> dict[str, Any]:
    """Put a saved state into a module of the same shape, and return the facts.

    With its optimiser, training goes on: torch's generator too is put back.

    Raises:
        InputError: not a checkpoint, or one of another model.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["facts"])
            if not isinstance(facts, dict):
                raise TypeError("facts that are no JSON object")
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        generator = tensors.pop(_GENERATOR)
        module.load_state_dict({n.removeprefix("module."): t for n, t in tensors.items() if n.startswith("module.")})
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            path,
            expected="a checkpoint of this model",
            got=str(error).splitlines()[0],
            fix="Train again, or name the file that this plan wrote.",
        ) from None
    if optimiser is not None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = tensor
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        # laid out as before, so that sums are added up in the same order
        for parameter, kept in optimiser.state.items():
            kept |= {k: torch.empty_like(parameter).copy_(t) for k, t in kept.items() if t.shape == parameter.shape}
        torch.set_rng_state(generator)
    return facts
