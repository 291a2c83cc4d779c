"""Supervised pretraining: the cross-entropy of labelled windows of many people (the papers' "FCN only" row).

loss = mean_i CE(softmax(W f(x_i) + b), y_i)        encoder f and head W, b are trained together
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from sdk.encoders import Classifier, create_encoder
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.registry import Method, Needs, register_method


class Supervised(Method):
    """Wraps a classifier, which is kept with its head.

    Args:
        classifier: encoder and head.
    """

    classifier: Classifier

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.encoders = (classifier.encoder,)

    def forward(self, windows: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of windows (n, length_samples, n_channels) with class indices (n,)."""
        return functional.cross_entropy(self.classifier(windows), labels)


@register_method("supervised", 'the baseline of every paper, such as MaskCAE\'s rows "FCN only"', Needs(labels=True))
def supervised(plan: PretrainPlan, task: StudyTask) -> Supervised:
    """Any encoder of windows."""
    encoder = create_encoder(plan.encoder, task.window.length_samples, len(task.signal.channel_names))
    return Supervised(Classifier(encoder, len(task.labels)))
