"""Supervised pretraining: the cross-entropy of labelled windows of many people (the papers' "FCN only" row).

loss = mean_i CE(softmax(W f(x_i) + b), y_i)        encoder f and head W, b are trained together

A label that may mean several classes (stairs: upstairs or downstairs) trains by the likelihood that it is any of them,
-log sum_k p_k(x_i).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from sdk.encoders import Classifier, create_encoder
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.processes import whole
from sdk.pretrain.registry import Method, Needs, register_method


class Supervised(Method):
    """Wraps a classifier, which is kept with its head.

    Args:
        classifier: encoder and head.
        means: for each label beyond the classes, the classes that it may mean.
    """

    classifier: Classifier
    means: Tensor

    def __init__(self, classifier: Classifier, means: Sequence[Sequence[int]] = ()) -> None:
        super().__init__()
        n = classifier.head.out_features
        table = torch.eye(n + len(means), n, dtype=torch.bool)
        for i, classes in enumerate(means):
            table[n + i, list(classes)] = True
        self.register_buffer("means", table, persistent=False)
        self.classifier = classifier
        self.encoders = (classifier.encoder,)

    def forward(self, windows: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of windows (n, length_samples, n_channels) with indices of labels (n,)."""
        logits, labels = whole(self.classifier(windows)), whole(labels)
        if len(self.means) == self.means.shape[1]:
            return functional.cross_entropy(logits, labels)
        meant = logits.masked_fill(~self.means[labels], -torch.inf)
        loss: Tensor = (logits.logsumexp(1) - meant.logsumexp(1)).mean()
        return loss


@register_method("supervised", 'the baseline of every paper, such as MaskCAE\'s rows "FCN only"', Needs(labels=True))
def supervised(plan: PretrainPlan, task: StudyTask) -> Supervised:
    """Any encoder of windows."""
    encoder = create_encoder(plan.encoder, task.window.length_samples, len(task.signal.channel_names))
    means = [[task.labels.index(name) for name in some] for some in task.either.values()]
    return Supervised(Classifier(encoder, len(task.labels)), means)
