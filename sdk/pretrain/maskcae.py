"""MaskCAE: the FCN sees some patches of a window, a decoder fills in all of it, and only what was hidden counts.

Paper: "MaskCAE: Masked Convolutional AutoEncoder via Sensor Data Reconstruction for Self-Supervised Human Activity
Recognition", section III and equations 1 to 3; sizes as in the released code. 3,756,385 parameters, whatever the
windows: encoder 54,560, projections 87,008, norms 480, tokens 240, decoder 3,614,097.

    window -> FCN block 1 -> block 2 -> block 3 -> block 4        only what is visible: the rest is zero after every
                 |             |           |          |           convolution and pool, and no norm counts it
              norm, and a learned token wherever nothing is visible
              projections: 5 steps, 5 steps, 5 steps, 1 step, to the decoder's width
                 |             |           |          |
    out <- 1x1 <(+)- stage 4 <(+)- stage 3 <(+)- stage 2 <- stage 1      each doubles the time and halves the width

A patch is 16 steps of one sensor channel. The stages' kernels are 5 x 5, so here the sensor channels meet. The loss is
the mean over the hidden patches p of all windows, each normalised by itself:

    L = mean_p  1/16 sum_t (z_pt - out_pt)^2        z_pt = (x_pt - mean_t x_pt) / sqrt(var_t x_pt + 1e-6)

The variance is that of a sample (divided by 15), and x is the padded window: steps that only repeat its ends count too.
Equation 3 says neither, nor that patches are normalised one by one; the released code does so. It trains for 1000
epochs of batches of 512 with LAMB at 2e-3 for every 256 windows of a batch, a warm-up over 40 epochs, gradients clipped
to a length of 5, and a weight decay that rises by half a cosine from 0.04 to 0.2; here the same for 60 epochs of
batches of 128, and the rate ends at 0 in place of a thousandth.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import InputError
from sdk.encoders import FCN
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.processes import batch_norm, n_processes, whole
from sdk.pretrain.registry import Method, Needs, register_method

PATCH_SAMPLES = 16
MASKED = 0.3  # share of the patches that is hidden
_ENCODER_WIDTHS = (128, 64, 32, 16)  # from the smallest map to the largest
_DECODER_WIDTHS = (256, 128, 64, 32, 16)
_PROJECTION_STEPS = (1, 5, 5, 5)
_FIRST_STD = 0.02
_LEAST_VARIANCE = 1e-6  # of a patch, so that a constant one has a target too


class MaskCAE(Method):
    """The masked autoencoder and its loss; the FCN is what is kept.

    Args:
        length_samples: rows of a window.
        n_channels: columns of a window.
    """

    def __init__(self, length_samples: int, n_channels: int) -> None:
        super().__init__()
        self.net = MaskedAutoencoder(length_samples, n_channels)
        self.encoders = (self.net.encoder,)
        self.classifier = None

    def view(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """Normalised windows (n, length_samples, n_channels), and which patches each shows, (n, *patches)."""
        (windows,) = batch
        return windows, random_patches(len(windows), self.net.patches)

    def forward(self, windows: Tensor, visible: Tensor) -> Tensor:
        """The loss of windows of which those patches are visible."""
        padded = self.net.encoder.padded(windows).squeeze(1)
        return hidden_error(whole(self.net(windows, visible)), whole(padded), whole(visible.float()) > 0)


def hidden_error(found: Tensor, windows: Tensor, visible: Tensor) -> Tensor:
    """The mean squared error over the hidden patches, each against its own z-score: L above.

    Args:
        found: the reconstruction, shape (n, patches in time x 16, n_channels).
        windows: padded, of the same shape.
        visible: one truth value per patch, shape (n, patches in time, n_channels).
    """
    found, windows = (torch.unflatten(t, 1, (-1, PATCH_SAMPLES)) for t in (found, windows))
    variance, mean = torch.var_mean(windows, dim=2, keepdim=True)
    target = (windows - mean) / (variance + _LEAST_VARIANCE).sqrt()
    return (found - target).square().mean(2)[~visible].mean()


class MaskedAutoencoder(nn.Module):
    """The FCN of table I with projections and decoder; `encoder` is what is kept afterwards.

    Args:
        length_samples: rows of a window; padded by replication to the next multiple of 16.
        n_channels: columns of a window.
    """

    def __init__(self, length_samples: int, n_channels: int) -> None:
        super().__init__()
        self.encoder = FCN(length_samples, n_channels)
        self.fillers = nn.ModuleList(map(_Filler, _ENCODER_WIDTHS, _DECODER_WIDTHS, _PROJECTION_STEPS))
        self.stages = nn.ModuleList(_stage(a, b) for a, b in pairwise(_DECODER_WIDTHS))
        self.last = nn.Conv2d(_DECODER_WIDTHS[-1], 1, 1)
        self.patches = (-(-length_samples // PATCH_SAMPLES), n_channels)  # shape of the grid
        for layer in (*self.stages.modules(), self.last):
            _initialise(layer)

    def forward(self, windows: Tensor, visible: Tensor) -> Tensor:
        """Reconstruct padded windows from their visible patches.

        Args:
            windows: normalised, shape (n, length_samples, n_channels).
            visible: one truth value per patch, shape (n, *patches).

        Returns:
            Shape (n, patches in time x 16, n_channels).
        """
        levels = reversed(list(self._levels(windows, visible.unsqueeze(1))))
        maps: Tensor | float = 0.0
        for (level, seen), fill, stage in zip(levels, self.fillers, self.stages, strict=True):
            maps = stage(maps + fill(level, seen))
        return self.last(maps).squeeze(1)  # type: ignore[no-any-return]

    def _levels(self, windows: Tensor, visible: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The maps after each block, and where they are visible."""
        maps = self.encoder.padded(windows)
        seen = _stretch(visible, maps)
        maps = maps * seen
        for block in self.encoder.blocks:
            convolution, norm, relu, pool = block.children()
            assert isinstance(norm, nn.BatchNorm2d)
            maps = pool(relu(visible_norm(norm, convolution(maps), seen)))
            seen = _stretch(visible, maps)
            maps = maps * seen
            yield maps, seen


def random_patches(
    n: int, patches: tuple[int, int], masked: float = MASKED, generator: torch.Generator | None = None
) -> Tensor:
    """Which patches each window shows: as many for every window, drawn anew for each.

    Rounding makes the printed ratio of 0.3 something else: of 12, 24 and 18 patches, 4, 7 and 5 are hidden.

    Args:
        n: windows.
        patches: shape of the grid.
        masked: share that is hidden.
        generator: of random numbers; None: torch's own.

    Returns:
        Truth values, shape (n, *patches).
    """
    total = patches[0] * patches[1]
    order = torch.rand(n, total, generator=generator).argsort(1).argsort(1)
    return (order < round((1 - masked) * total)).reshape(n, *patches)


class _Filler(nn.Module):
    """From a level of the encoder to what is added in the decoder."""

    def __init__(self, inputs: int, outputs: int, steps: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.token = nn.Parameter(torch.empty(1, inputs, 1, 1))
        nn.init.trunc_normal_(self.token, std=_FIRST_STD, a=-_FIRST_STD, b=_FIRST_STD)
        self.project = nn.Conv2d(inputs, outputs, (steps, 1), padding=(steps // 2, 0))

    def forward(self, maps: Tensor, seen: Tensor) -> Tensor:
        filled = torch.where(seen, visible_norm(self.norm, maps, seen), self.token)
        projected: Tensor = self.project(filled)
        return projected


def visible_norm(norm: nn.BatchNorm2d, maps: Tensor, seen: Tensor) -> Tensor:
    """Batch normalisation that knows only the visible places of maps (n, c, steps, channels); the others become 0."""
    rows = maps.permute(0, 2, 3, 1)
    places = seen[:, 0]
    after = (batch_norm if norm.training and n_processes() > 1 else _alone)(rows[places], norm)
    return torch.zeros_like(rows).masked_scatter(places.unsqueeze(3), after).permute(0, 3, 1, 2)


def _alone(rows: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    return functional.batch_norm(
        rows,
        norm.running_mean,
        norm.running_var,
        norm.weight,
        norm.bias,
        training=norm.training,
        momentum=norm.momentum or 0.0,
        eps=norm.eps,
    )


def _stretch(visible: Tensor, maps: Tensor) -> Tensor:
    """Patches (n, 1, patches in time, channels) to the steps of maps (n, c, steps, channels)."""
    return visible.repeat_interleave(maps.shape[2] // visible.shape[2], dim=2)


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, inputs, (4, 1), stride=(2, 1), padding=(1, 0)),
        nn.Conv2d(inputs, inputs, 5, padding=2, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU6(),
        nn.Conv2d(inputs, outputs, 5, padding=2, bias=False),
        nn.BatchNorm2d(outputs),
    )


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.trunc_normal_(layer.weight, std=_FIRST_STD)
    elif isinstance(layer, nn.ConvTranspose2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    else:
        return
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


@register_method(
    "maskcae",
    "MaskCAE: Masked Convolutional AutoEncoder via Sensor Data Reconstruction",
    Needs(labels=False),
    PretrainPlan(
        encoder="fcn",
        epochs=60,
        batch=128,
        learning_rate=1e-3,
        weight_decay=0.04,
        optimiser="lamb",
        warm_up=0.04,
        clip=5.0,
        last_decay=0.2,
    ),
)
def maskcae(plan: PretrainPlan, task: StudyTask) -> MaskCAE:
    """With the FCN of table I, whose maps the decoder mirrors.

    Raises:
        InputError: another encoder than fcn.
    """
    if plan.encoder != "fcn":
        raise InputError("method maskcae", expected="encoder fcn", got=plan.encoder, fix="Leave the encoder out.")
    return MaskCAE(task.window.length_samples, len(task.signal.channel_names))
