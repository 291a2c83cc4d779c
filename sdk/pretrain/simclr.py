"""SimCLR: two views of a window are told from the views of all other windows. The papers' baseline.

Paper: "Exploring Contrastive Learning in Human Activity Recognition for Healthcare", which takes SimCLR's equation 1 to
windows of sensors.

    window -+-> view -> encoder -> projector -> a          L = NT-Xent(a, b), tau 0.1
            '-> view -> encoder -> projector -> b

Views are the twins of IMG2IMU's changes of pictures (`sdk.pretrain.pictures`); by default rotation and noise, each with
a chance of 0.8: rotation alone is what the released code runs. Axes are turned as they come, so normalised. The
projector has two layers, 128 and 50, in place of three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from sdk.encoders import create_encoder
from sdk.pretrain.contrast import two_views
from sdk.pretrain.pictures import view_of_windows
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.processes import whole
from sdk.pretrain.project import Projector
from sdk.pretrain.registry import Method, Needs, register_method

_HIDDEN, _WIDTH = 128, 50
_CHANCES = {"translate": 0.0, "permute": 0.0, "rotate": 0.8, "jitter": 0.8}


class SimCLR(Method):
    """An encoder to which two views of a window are the same.

    Args:
        encoder: windows to features.
        sensors: columns of each sensor.
        chances: of each change of `view_of_windows`.
        tau: temperature.
    """

    def __init__(
        self, encoder: nn.Module, sensors: Sequence[slice], *, chances: Mapping[str, float] = _CHANCES, tau: float = 0.1
    ) -> None:
        super().__init__()
        self.encoders, self.classifier = (encoder,), None
        self.project = Projector(encoder, _HIDDEN, _WIDTH)
        self.sensors, self.chances, self.tau = tuple(sensors), dict(chances), tau

    def view(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """Two views of windows (n, length_samples, n_channels)."""
        (windows,) = batch
        return tuple(view_of_windows(windows, self.chances, self.sensors) for _ in range(2))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The loss of two views, each of shape (n, length_samples, n_channels)."""
        return two_views(whole(self.project(a)), whole(self.project(b)), self.tau)


@register_method(
    "simclr",
    "Exploring Contrastive Learning in Human Activity Recognition for Healthcare",
    Needs(labels=False, views=2),
    PretrainPlan(epochs=20, batch=128, learning_rate=1e-3, settings={**_CHANCES, "tau": 0.1}),
)
def simclr(plan: PretrainPlan, task: StudyTask) -> SimCLR:
    """Any encoder of windows."""
    encoder = create_encoder(plan.encoder, task.window.length_samples, len(task.signal.channel_names))
    s = plan.settings
    chances = {name: s[name] for name in _CHANCES}
    return SimCLR(encoder, task.signal.columns, chances=chances, tau=s["tau"])
