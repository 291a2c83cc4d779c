"""IMG2IMU: a net learns from photographs what a change of view leaves alone, and then looks at spectrograms.

Paper: "IMG2IMU: Translating Knowledge from Large-Scale Images to IMU Sensing Applications", section III: MoCo
("Momentum Contrast for Unsupervised Visual Representation Learning", equations 1 and 2) with other views.

    photograph -+-> view -> ResNet-18 -> linear, length 1 -> q -----------------+
                '-> view -> the same net, m behind        -> k -- and a queue --+-> L

    L = mean_i -log  exp(q_i k_i / tau) / (exp(q_i k_i / tau) + sum_n exp(q_i queue_n / tau))                    (1)
    key's weights <- m key's weights + (1 - m) query's weights, before each step                                 (2)

Views: `sdk.pretrain.pictures`. The k of a step take the places of the oldest in the queue, which starts with random
rows of length 1. Queue, its place and the key's weights are in the checkpoint.

What the paper leaves open, and what is inferred: MoCo's first version, so a linear layer to 64, tau 0.07, m 0.999. Its
rate of 1e-6 needs its 200,000 steps; here 1e-3. Batch normalisation is not shuffled: on one device that is void.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from runtime.errors import InputError
from sdk.encoders.resnet import ResNet18
from sdk.pretrain.contrast import against_queue
from sdk.pretrain.drawn import Drawn, spectrogram_of
from sdk.pretrain.pictures import view_of_pictures
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.processes import whole
from sdk.pretrain.project import unit
from sdk.pretrain.registry import Method, Needs, register_method

_CHANCES = {"translate": 0.8, "permute": 0.8, "hue": 0.8, "jitter": 0.8}


class MoCo(Method):
    """A net of pictures, one that follows it, and a queue of what that one said.

    Args:
        encoder: windows to images to features; its net is trained on pictures.
        dim: values of a row.
        queue: rows that are kept.
        momentum: m.
        tau: temperature.
        chances: of each change of `view_of_pictures`.
    """

    queue: Tensor
    place: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self, encoder: Drawn, *, dim: int, queue: int, momentum: float, tau: float, chances: Mapping[str, float]
    ) -> None:
        super().__init__()
        self.encoders, self.classifier = (encoder,), None
        self.net = nn.Sequential(encoder.net, nn.Linear(encoder.n_features, dim))
        self.key = copy.deepcopy(self.net).requires_grad_(False)
        self.register_buffer("queue", unit(torch.randn(queue, dim)))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        self.register_buffer("mean", torch.tensor(encoder.spec.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(encoder.spec.std)[:, None, None], persistent=False)
        self.momentum, self.tau, self.chances = momentum, tau, dict(chances)

    def view(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """Two views of pictures (n, 3, height, width) of bytes, in 0 to 1."""
        (pictures,) = batch
        plain = pictures / 255.0
        return tuple(view_of_pictures(plain, self.chances) for _ in range(2))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The loss of two views, each of shape (n, 3, height, width); the queue moves on."""
        query = unit(whole(self.net(self._finished(a))))
        with torch.no_grad():
            for own, others in zip(self.key.parameters(), self.net.parameters(), strict=True):
                own.lerp_(others, 1 - self.momentum)
            key = unit(whole(self.key(self._finished(b))))
        loss = against_queue(query, key, self.queue.clone(), self.tau)
        places = (self.place + torch.arange(len(key), device=key.device)) % len(self.queue)
        self.queue[places] = key.to(self.queue)
        self.place.add_(len(key)).remainder_(len(self.queue))
        return loss

    def _finished(self, view: Tensor) -> Tensor:
        finished: Tensor = (view - self.mean) / self.std
        return finished


@register_method(
    "img2imu",
    "IMG2IMU: Translating Knowledge from Large-Scale Images to IMU Sensing Applications",
    Needs(labels=False, views=2, pictures=True),
    PretrainPlan(
        encoder="resnet18",
        epochs=40,
        batch=256,
        learning_rate=1e-3,
        settings={
            **_CHANCES,
            "dim": 64,
            "queue": 4096,
            "momentum": 0.999,
            "tau": 0.07,
            "maps": 64,
            "height_px": 96,
            "width_px": 128,
            "n_fft": 64,
            "hop": 8,
        },
    ),
)
def img2imu(plan: PretrainPlan, task: StudyTask) -> MoCo:
    """A ResNet-18 whose first maps are as many as the plan says.

    Raises:
        InputError: another encoder than resnet18, a queue shorter than a batch, a task that gives no images.
    """
    s = plan.settings
    if plan.encoder != "resnet18":
        raise InputError("method img2imu", expected="encoder resnet18", got=plan.encoder, fix="Leave the encoder out.")
    if s["queue"] < plan.batch:
        expected = f"at least the {plan.batch} rows of a batch"
        raise InputError("method img2imu: queue", expected=expected, got=s["queue"], fix="Raise it.")
    maps = int(s["maps"])
    net = ResNet18((maps, 2 * maps, 4 * maps, 8 * maps))
    encoder = Drawn(spectrogram_of(plan, task), task, net)
    chances = {name: s[name] for name in _CHANCES}
    return MoCo(
        encoder, dim=int(s["dim"]), queue=int(s["queue"]), momentum=s["momentum"], tau=s["tau"], chances=chances
    )
