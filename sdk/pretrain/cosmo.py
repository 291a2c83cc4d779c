"""Cosmo, stage 1: weighted combinations of several sensors' features are to say the same.

Paper: "Cosmo: Contrastive Fusion Learning with Small Data for Multimodal Human Activity Recognition", section 5.1,
equations 3 and 4.

    windows of j -> encoder j -> projection j -> r_j            v_k = sum_j alpha_jk r_j, length 1     k = 1 ... P   (3)
    L = mean over anchors of -1/(P - 1) sum over the window's other combinations of their log-softmax                (4)

The paper draws the weights alpha_jk, which sum to 1; here once per step for all windows, each at least `low`. The
released code takes the fixed grid 0.1, 0.2 ... 0.9 (P = 9) for its two modalities: `grid=1`, the default for two.
Projections are two layers of 1280 and 128, temperature 0.07, and the rows r_j have length 1, as there. The code trains
300 epochs of batches of 32 by SGD at 0.01; here the loop is everybody's.

Stage 2 is on the device: `python -m sdk.finetune --method iterative`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import InputError
from sdk.encoders import create_encoder
from sdk.pretrain.contrast import many_positives
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.processes import whole
from sdk.pretrain.project import Projector, unit
from sdk.pretrain.registry import Method, Needs, register_method

_HIDDEN, _WIDTH = 1280, 128
_TAU = 0.07


class Cosmo(Method):
    """Encoders whose fused features are the same whatever the weights of the fusion.

    Args:
        encoders: one per modality, windows to features.
        n_views: P, combinations per window.
        low: least weight of a modality.
        grid: the evenly spaced weights low ... 1 - low instead of drawn ones; for two modalities.
        tau: temperature.
    """

    def __init__(
        self, encoders: list[nn.Module], *, n_views: int = 9, low: float = 0.1, grid: bool = True, tau: float = _TAU
    ) -> None:
        super().__init__()
        self.encoders, self.classifier = tuple(encoders), None
        self.projectors = nn.ModuleList(Projector(encoder, _HIDDEN, _WIDTH) for encoder in encoders)
        self.n_views, self.low, self.grid, self.tau = n_views, low, grid, tau

    def forward(self, *windows: Tensor) -> Tensor:
        """The loss, equation 4, of windows (n, length_samples, n_channels) of each modality."""
        rows = torch.stack([unit(whole(project(part))) for project, part in zip(self.projectors, windows, strict=True)])
        weights = combinations_of(len(windows), self.n_views, self.low, self.grid).to(rows)
        return many_positives(fused(rows, weights), self.tau)


def fused(rows: Tensor, weights: Tensor) -> Tensor:
    """Equation 3: rows (n_modalities, n, d) and weights (P, n_modalities) to combinations (P, n, d) of length 1."""
    return functional.normalize(torch.einsum("pm,mnd->pnd", weights, rows), dim=2)


def combinations_of(n_modalities: int, n_views: int, low: float, grid: bool) -> Tensor:
    """Weights of the modalities in each combination, shape (n_views, n_modalities); each at least `low`, in all 1.

    Args:
        n_modalities: columns.
        n_views: rows.
        low: least weight.
        grid: evenly spaced for two modalities; else drawn, evenly over all that is allowed (a flat Dirichlet).
    """
    if grid and n_modalities == 2:
        first = torch.linspace(low, 1 - low, n_views)
        return torch.stack([first, 1 - first], 1)
    drawn = -torch.rand(n_views, n_modalities).clamp_min(torch.finfo(torch.float32).tiny).log()
    return low + (1 - n_modalities * low) * drawn / drawn.sum(1, keepdim=True)


@register_method(
    "cosmo",
    "Cosmo: Contrastive Fusion Learning with Small Data for Multimodal Human Activity Recognition",
    Needs(labels=False, modalities=2),
    PretrainPlan(
        encoder="cosmo-imu",
        epochs=20,
        batch=32,
        learning_rate=1e-3,
        settings={"views": 9, "low": 0.1, "grid": 1, "tau": _TAU},
    ),
)
def cosmo(plan: PretrainPlan, task: StudyTask) -> Cosmo:
    """An encoder of the plan's kind for each modality of the task.

    Raises:
        InputError: a least weight that leaves nothing to choose.
    """
    encoders = [create_encoder(plan.encoder, *shape) for shape in task.shapes]
    s = plan.settings
    check_least(s["low"], len(encoders))
    return Cosmo(encoders, n_views=int(s["views"]), low=s["low"], grid=bool(s["grid"]), tau=s["tau"])


def check_least(low: float, n_modalities: int) -> None:
    """Refuse a least weight that cannot be.

    Raises:
        InputError: below 0, or so high that the weights would sum to more than 1.
    """
    if not 0 <= low < 1 / n_modalities:
        raise InputError(
            "method cosmo: low",
            expected=f"a weight from 0 to below 1/{n_modalities}",
            got=low,
            fix="Lower it.",
        )
