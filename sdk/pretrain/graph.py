"""Graph and student: few labels name a pool that all sensors saw, and an encoder of what is kept learns the names.

Ours; none of the five papers. The idea is MESEN's, sensors at the same instants teach each other, with a cheaper
teacher: nothing is trained before the names are there (`sdk.pretrain.few`). The student sees the sensors that are kept
alone, and people whom nothing saw are scored with these.

    L = mean_i -sum_k t_ik log softmax(W f(x_i) + b)_k          t: the name's share 1 - s + s / K, each other's s / K

A pool that other methods' features name: `--method mesen --few 1 --naming encoder` or `both`; the student is then the
method's encoder with a linear head.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from sdk.encoders import Classifier, create_encoder
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.processes import whole
from sdk.pretrain.registry import Method, Needs, register_method


class Student(Method):
    """A classifier that learns names, some of which are wrong.

    Args:
        classifier: encoder and head.
        smoothing: s.
    """

    classifier: Classifier

    def __init__(self, classifier: Classifier, smoothing: float = 0.1) -> None:
        super().__init__()
        self.classifier, self.encoders, self.smoothing = classifier, (classifier.encoder,), smoothing

    def forward(self, windows: Tensor, labels: Tensor) -> Tensor:
        """The loss of windows (n, length_samples, n_channels) with names (n,)."""
        logits = whole(self.classifier(windows))
        return functional.cross_entropy(logits, whole(labels), label_smoothing=self.smoothing)


@register_method(
    "graph",
    "ours: a pool named by few labels, `sdk.finetune.crowd`",
    Needs(labels=True),
    PretrainPlan(
        encoder="cnn-transformer",
        epochs=10,
        batch=64,
        learning_rate=1e-3,
        few=1,
        naming="hand",
        settings={"smoothing": 0.1},
    ),
)
def graph(plan: PretrainPlan, task: StudyTask) -> Student:
    """Any encoder of windows."""
    encoder = create_encoder(plan.encoder, task.window.length_samples, len(task.signal.channel_names))
    return Student(Classifier(encoder, len(task.labels)), plan.settings["smoothing"])
