"""Our side of `trainstep`: a bundle's training graph and AdamW on a flat buffer; as a process, its start and memory."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.manifest import TrainingSpec

RATE, BETAS, EPSILON, WEIGHT_DECAY = 1e-3, (0.9, 0.999), 1e-8, 1e-2  # torch's defaults


class AdamW:
    """In place, step for step what torch does."""

    def __init__(self, parameters: NDArray[np.float32]) -> None:
        self._parameters = parameters
        self._first, self._second, self._scratch = (np.zeros_like(parameters) for _ in range(3))
        self._steps = 0

    def step(self, gradient: NDArray[np.float32]) -> None:
        """The gradient is used as scratch."""
        self._steps += 1
        first, second = (1 - beta**self._steps for beta in BETAS)
        scratch = self._scratch
        self._parameters *= np.float32(1 - RATE * WEIGHT_DECAY)
        np.subtract(gradient, self._first, out=scratch)
        scratch *= np.float32(1 - BETAS[0])
        self._first += scratch
        gradient *= gradient
        gradient *= np.float32(1 - BETAS[1])
        self._second *= np.float32(BETAS[1])
        self._second += gradient
        np.sqrt(self._second, out=scratch)
        scratch /= np.float32(math.sqrt(second))
        scratch += np.float32(EPSILON)
        np.divide(self._first, scratch, out=scratch)
        scratch *= np.float32(RATE / first)
        self._parameters -= scratch


class Ours:
    """Trains a bundle from one layer on."""

    def __init__(self, bundle: Bundle, layer: int, activations: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        import onnxruntime

        from runtime.engine.ort import training_options

        self.spec: TrainingSpec = next(spec for spec in bundle.manifest.training if spec.layer == layer)
        self._session = onnxruntime.InferenceSession(
            bundle.training_model(self.spec), training_options(), providers=["CPUExecutionProvider"]
        )
        self._theta = np.concatenate([bundle.tensor(name).ravel() for name in self.spec.tensors])
        self._optimiser = AdamW(self._theta)
        weights = np.ones(len(labels), np.float32)
        self._feeds = {"activations": activations, "labels": labels, "weights": weights, "theta": self._theta}

    def gradient(self) -> tuple[float, NDArray[np.float32]]:
        """Loss and flat gradient where the parameters now are."""
        loss, gradient = self._session.run(["loss", "gradient"], self._feeds)
        return float(loss), gradient

    def step(self) -> float:
        """One step of training; the loss before it."""
        loss, gradient = self.gradient()
        self._optimiser.step(gradient)
        return loss


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def first_step(path: str, data: str) -> Ours:
    """From a bundle on disk to the first finished step."""
    with np.load(data) as file:
        ours = Ours(Bundle.open(path), 0, file["windows"], file["labels"])
    ours.step()
    return ours


if __name__ == "__main__":
    trained = first_step(*sys.argv[1:])
    print("stepped", flush=True)
    for _ in range(10):
        trained.step()
    print(json.dumps(peak_mb()))
