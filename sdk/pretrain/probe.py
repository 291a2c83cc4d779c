"""From a trained method to a classifier: its own, or its frozen encoders with a linear probe.

The probe is fitted by `sdk.finetune.head`, the code that adapts a head on the device: what a table says of a probe and
what a device makes of the same labels cannot differ. It is the optimum of a convex problem, so nothing is drawn.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sdk.encoders import Classifier
from sdk.finetune.head import HeadProblem
from sdk.finetune.plan import L2
from sdk.pretrain.plan import StudyTask
from sdk.pretrain.registry import Method
from sdk.pretrain.views import SideBySide


def classifier_of(method: Method, task: StudyTask, windows: Tensor, labels: NDArray[np.int64]) -> Classifier:
    """The method's own classifier; where it has none, its encoders side by side with a probe.

    Args:
        method: trained.
        task: signal and classes.
        windows: normalised, shape (n, length_samples, n_channels); those that a probe is fitted to.
        labels: shape (n,), class indices.

    Returns:
        A classifier of the columns that the task keeps.
    """
    if method.classifier is not None:
        return method.classifier
    encoder = kept_encoder(method, task)
    return with_probe(encoder, windows[:, :, task.kept_columns], labels, len(task.labels))


def kept_encoder(method: Method, task: StudyTask) -> nn.Module:
    """The encoder of what the task keeps: one, or several side by side."""
    if len(method.encoders) == 1:
        return method.encoders[0]
    kept = [method.encoders[i] for i in task.kept]
    return kept[0] if len(kept) == 1 else SideBySide(kept, task.kept_task.shapes)


def with_probe(
    encoder: nn.Module, windows: Tensor, labels: NDArray[np.int64], n_classes: int, l2: float = L2["zero"]
) -> Classifier:
    """An encoder as it is, with a linear head fitted to labelled windows.

    Args:
        encoder: stays as it is.
        windows: normalised, shape (n, length_samples, n_channels).
        labels: shape (n,), class indices.
        n_classes: rows of the head.
        l2: strength of the pull towards zero, as in `FinetunePlan(anchor="zero")`.
    """
    classifier = Classifier(encoder, n_classes).to(next(encoder.parameters()).device)
    head = classifier.head
    weight, bias = (np.zeros(p.shape, np.float32) for p in (head.weight, head.bias))
    found = HeadProblem(in_batches(encoder, windows).numpy(), labels, weight=weight, bias=bias).fit(l2)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(found.weight))
        head.bias.copy_(torch.from_numpy(found.bias))
    return classifier


def predict(classifier: Classifier, windows: Tensor) -> NDArray[np.int64]:
    """Class indices, shape (n,), of normalised windows (n, length_samples, n_channels)."""
    predicted: NDArray[np.int64] = in_batches(classifier, windows).argmax(1).numpy()
    return predicted


@torch.inference_mode()
def in_batches(module: nn.Module, windows: Tensor, batch: int = 512) -> Tensor:
    """A module's answers to all windows, on the CPU, with the module in inference mode from now on."""
    module.eval()
    device = next(module.parameters()).device
    return torch.cat([module(part.to(device)).cpu() for part in torch.split(windows, batch)])
