"""Supervised pretraining: the cross-entropy of labelled windows of many people (the papers' "FCN only" row)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sdk.encoders import Classifier


class Supervised(nn.Module):
    """Wraps a classifier; calling it with a batch gives the loss.

    Args:
        classifier: encoder and head.
        mean: shape (n_channels,), of the training windows.
        std: shape (n_channels,), of the training windows.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: Classifier, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.classifier = classifier
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, windows: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of windows (n, length_samples, n_channels) with class indices (n,)."""
        return functional.cross_entropy(self.logits(windows), labels)

    def logits(self, windows: Tensor) -> Tensor:
        """Logits (n, n_classes) of windows in the units of the signal."""
        logits: Tensor = self.classifier((windows - self.mean) / self.std)
        return logits

    @torch.inference_mode()
    def predict(self, windows: Tensor, batch: int = 512) -> Tensor:
        """Class indices (n,), with batch normalisation in inference mode."""
        self.eval()
        device = self.mean.device
        return torch.cat([self.logits(part.to(device)).argmax(1).cpu() for part in torch.split(windows, batch)])
