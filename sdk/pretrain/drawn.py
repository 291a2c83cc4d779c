"""Windows as a net of pictures sees them: the spectrogram of the runtime in front of it, while a probe is fitted.

    windows, in the units of the signal -> runtime.spectrogram -> images -> net -> features

The exported graph takes the images, so a device computes only the columns that are new.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from runtime.errors import InputError
from runtime.specs import SpectrogramSpec
from runtime.spectrogram import Spectrogram
from sdk.pretrain.plan import PretrainPlan, StudyTask

_COLOURS = 3


def spectrogram_of(plan: PretrainPlan, task: StudyTask) -> SpectrogramSpec:
    """How the first three channels become an image.

    Raises:
        InputError: less than three channels or several rates, windows shorter than n_fft; what a plan asks for that
            changes windows, which images are drawn of as they come.
    """
    s, names, length = plan.settings, task.signal.channel_names, task.window.length_samples
    if len(names) < _COLOURS or not task.signal.is_even or s["n_fft"] > length:
        raise InputError(
            f"method {plan.method}",
            expected=f"three channels of one rate, and windows of n_fft = {s['n_fft']:g} samples or more",
            got=f"{', '.join(names)} in windows of {length}",
            fix="Name an accelerometer of three axes, or lower n_fft.",
        )
    asked = {"frame": plan.frame, "augment": plan.augment, "arcsinh": plan.arcsinh, "by_set": plan.by_set}
    asked["naming by its features"] = plan.naming in ("encoder", "both")
    if given := [name for name, value in asked.items() if value]:
        expected = "windows as they come: the spectrogram is drawn of them"
        raise InputError(f"method {plan.method}", expected=expected, got=", ".join(given), fix="Leave these out.")
    return SpectrogramSpec(
        int(s["n_fft"]),
        int(s["hop"]),
        names[:_COLOURS],
        width_px=int(s["width_px"]),
        height_px=int(s["height_px"]),
    )


class Drawn(nn.Module):
    """A net of images as an encoder of windows; gradients end at the images.

    Args:
        spec: how they are drawn.
        task: whose windows they are.
        net: images (n, 3, height_px, width_px) to features.
    """

    def __init__(self, spec: SpectrogramSpec, task: StudyTask, net: nn.Module) -> None:
        super().__init__()
        self.spec, self.net = spec, net
        self.n_features = int(net.n_features)  # type: ignore[arg-type]
        self._painter = Spectrogram.of(spec, task.signal, task.window)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, n_channels) in the units of the signal to features (n, n_features)."""
        images = torch.from_numpy(self._painter.images(windows.cpu().numpy())).to(windows.device)
        features: Tensor = self.net(images)
        return features
