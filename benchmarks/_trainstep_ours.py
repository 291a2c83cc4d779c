"""Our side of `trainstep`: a bundle's training graph and AdamW on a flat buffer; as a process, its start and memory."""

from __future__ import annotations

import json
import sys

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.bundle.contents import TrainingSpec
from sdk.finetune.optimise import AdamW

RATE, WEIGHT_DECAY = 1e-3, 1e-2  # torch's defaults


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
        self._optimiser = AdamW(self._theta, WEIGHT_DECAY)
        weights = np.ones(len(labels), np.float32)
        self._feeds = {"activations": activations, "labels": labels, "weights": weights, "theta": self._theta}

    def gradient(self) -> tuple[float, NDArray[np.float32]]:
        """Loss and flat gradient where the parameters now are."""
        loss, gradient = self._session.run(["loss", "gradient"], self._feeds)
        return float(loss), gradient

    def step(self) -> float:
        """One step of training; the loss before it."""
        loss, gradient = self.gradient()
        self._optimiser.step(gradient, RATE)
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
