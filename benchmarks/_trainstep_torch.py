"""Torch's side of `trainstep`, as it comes; as a process, its start and memory."""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks._trainstep_ours import peak_mb


class Torch:
    """Trains a module whose batch normalisation and dropout are in inference mode.

    Args:
        module: activations to logits; it is changed.
        activations: a batch.
        labels: shape (batch,).
        channels_last: use that memory format, and the fused AdamW.
    """

    def __init__(self, module: nn.Module, activations: Tensor, labels: Tensor, *, channels_last: bool = False) -> None:
        self._module = module.eval()
        if channels_last:
            self._module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimiser = torch.optim.AdamW(module.parameters(), fused=channels_last or None)
        self._activations, self._labels = activations, labels

    def gradient(self) -> float:
        """Loss; the gradients are in the parameters."""
        self._optimiser.zero_grad()
        loss = functional.cross_entropy(self._module(self._activations), self._labels)
        loss.backward()
        return loss.item()

    def step(self) -> float:
        """One step of training; the loss before it."""
        loss = self.gradient()
        self._optimiser.step()
        return loss


def first_step(data: str) -> Torch:
    """From nothing to the first finished step."""
    from sdk.encoders import Classifier, create_encoder

    torch.set_num_threads(1)
    with np.load(data) as file:
        windows, labels = torch.from_numpy(file["windows"]), torch.from_numpy(file["labels"])
    trained = Torch(Classifier(create_encoder("fcn", *windows.shape[1:]), 6), windows, labels)
    trained.step()
    return trained


if __name__ == "__main__":
    torch_trained = first_step(*sys.argv[1:])
    print("stepped", flush=True)
    for _ in range(10):
        torch_trained.step()
    print(json.dumps(peak_mb()))
