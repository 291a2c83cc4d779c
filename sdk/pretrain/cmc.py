"""CMC: a sensor's features against those of the other sensors at the same instant. Cosmo's and MESEN's baseline.

Paper: "Contrastive Multiview Coding", as Cosmo's released code has it: its contrast over the sensors' own projections
in place of their combinations, so rows of the same sensor are negatives too.

    L = equation 4 of Cosmo with v_k = r_k, one view per modality
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sdk.encoders import create_encoder
from sdk.pretrain.contrast import many_positives
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.processes import whole
from sdk.pretrain.project import Projector, unit
from sdk.pretrain.registry import Method, Needs, register_method

_HIDDEN, _WIDTH = 1280, 128
_TAU = 0.07


class CMC(Method):
    """Encoders whose projections tell which instants belong together.

    Args:
        encoders: one per modality, windows to features.
        tau: temperature.
    """

    def __init__(self, encoders: list[nn.Module], *, tau: float = _TAU) -> None:
        super().__init__()
        self.encoders, self.classifier = tuple(encoders), None
        self.projectors = nn.ModuleList(Projector(encoder, _HIDDEN, _WIDTH) for encoder in encoders)
        self.tau = tau

    def forward(self, *windows: Tensor) -> Tensor:
        """The loss of windows (n, length_samples, n_channels) of each modality."""
        rows = [unit(whole(project(part))) for project, part in zip(self.projectors, windows, strict=True)]
        return many_positives(torch.stack(rows), self.tau)


@register_method(
    "cmc",
    "Contrastive Multiview Coding, as in Cosmo's comparison",
    Needs(labels=False, modalities=2),
    PretrainPlan(encoder="cosmo-imu", epochs=20, batch=32, learning_rate=1e-3, settings={"tau": _TAU}),
)
def cmc(plan: PretrainPlan, task: StudyTask) -> CMC:
    """An encoder of the plan's kind for each modality of the task."""
    return CMC([create_encoder(plan.encoder, *shape) for shape in task.shapes], tau=plan.settings["tau"])
