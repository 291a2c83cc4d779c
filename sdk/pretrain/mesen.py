"""MESEN: several sensors at the same instants teach each other's encoders; later one sensor works alone.

Paper: "MESEN: Exploit Multimodal Data to Design Unimodal Human Activity Recognition with Few Labels", section 4.2,
equations 1 to 8. No code was released.

    window of a -> encoder a -> projector a -> h_a --+-> linear, length 1 -> z_a --- L_CMF --- z_b <- ... window of b
                                                     '-> pseudo-classifier -> y_a -- L_MPC --- y_b <-

    L = L_CMF + delta L_MPC          L_MPC = mean of equation 6 over 2 K columns + lambda_PR L_PR          (7, 8)

Encoders and projectors are private to a modality, the pseudo-classifier is shared: the paper writes one symbol for it.
With more than two modalities, losses are means over all pairs.

What the paper leaves open, and what is inferred: the projector's two layers are convolutions of one step with batch
normalisation between, 128 wide, and the mean over time; M_Norm is linear to 128, then length 1; delta, "computed by
the values of both losses", is L_CMF / L_MPC without gradient, so that both weigh the same; lambda_PR is -1, with log K
added so that the loss stays above 0; tau is 0.1, that of the pseudo-classes 0.2, 20 epochs with batches of 128 (more
harmed in our runs).
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor, nn

from sdk.encoders import create_encoder
from sdk.pretrain.contrast import cross_modal, evenness, prototypes
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.processes import whole
from sdk.pretrain.project import Projector, unit
from sdk.pretrain.registry import Method, Needs, register_method

_LEAST = 1e-8  # of L_MPC, below which it is not divided by


class MESEN(Method):
    """Encoders of several modalities that agree on what they see.

    Args:
        encoders: one per modality, windows to features.
        n_classes: K, pseudo-classes; as many as activities.
        tau: temperature of the features.
        tau_classes: of the pseudo-classes.
        width: of projectors and of z.
    """

    def __init__(
        self,
        encoders: list[nn.Module],
        n_classes: int,
        *,
        tau: float = 0.1,
        tau_classes: float = 0.2,
        width: int = 128,
    ) -> None:
        super().__init__()
        self.encoders, self.classifier = tuple(encoders), None
        self.projectors = nn.ModuleList(Projector(encoder, width, width, per_step=True) for encoder in encoders)
        self.norms = nn.ModuleList(nn.Linear(width, width) for _ in encoders)
        self.pseudo = nn.Linear(width, n_classes)
        self.tau, self.tau_classes = tau, tau_classes

    def forward(self, *windows: Tensor) -> Tensor:
        """The loss, equation 8, of windows (n, length_samples, n_channels) of each modality."""
        features = [whole(project(part)) for project, part in zip(self.projectors, windows, strict=True)]
        rows = [unit(norm(h)) for norm, h in zip(self.norms, features, strict=True)]
        classes = [self.pseudo(h).softmax(1) for h in features]
        pairs = list(combinations(range(len(windows)), 2))
        cmf = sum((cross_modal(rows[i], rows[j], self.tau) for i, j in pairs), torch.zeros(())) / len(pairs)
        mpc = sum((self._aligned(classes[i], classes[j]) for i, j in pairs), torch.zeros(())) / len(pairs)
        return cmf + (cmf / mpc.clamp_min(_LEAST)).detach() * mpc

    def _aligned(self, p: Tensor, q: Tensor) -> Tensor:
        """L_MPC of one pair, equation 7."""
        return prototypes(p, q, self.tau_classes) + evenness(p) + evenness(q)


@register_method(
    "mesen",
    "MESEN: Exploit Multimodal Data to Design Unimodal Human Activity Recognition with Few Labels",
    Needs(labels=False, modalities=2),
    PretrainPlan(
        encoder="cnn-transformer",
        epochs=20,
        batch=128,
        learning_rate=1e-3,
        settings={"tau": 0.1, "tau_classes": 0.2, "width": 128},
    ),
)
def mesen(plan: PretrainPlan, task: StudyTask) -> MESEN:
    """An encoder of the plan's kind for each modality of the task."""
    encoders = [create_encoder(plan.encoder, *shape) for shape in task.shapes]
    settings = plan.settings
    return MESEN(
        encoders,
        len(task.labels),
        tau=settings["tau"],
        tau_classes=settings["tau_classes"],
        width=int(settings["width"]),
    )
