"""Residual nets: ResNet-18 for spectrogram images, and a small one in one dimension for windows.

"resnet18": "IMG2IMU: Translating Knowledge from Large-Scale Images to IMU Sensing Applications" pretrains a ResNet-18
on photographs and shows it spectrograms of three axes as red, green and blue, 128 wide and 96 high. The backbone has
11,176,512 parameters and ends in 512 maps of 3 x 4, of which the features are the means. Parameters have the names
that torchvision and MoCo give them (conv1, bn1, layer1.0.conv1 ...), so that published weights can be loaded.

"resnet1d": none of the five papers describes a residual net over time; MaskCAE names them among what is used. This
is the usual baseline of that kind: Wang, Yan and Oates, "Time Series Classification from Scratch with Deep Neural
Networks: A Strong Baseline", arXiv:1611.06455. Three blocks of convolutions of 8, 5 and 3 steps to 64, 128 and 128
maps, each with batch normalisation. Inferred from the code that is published with OS-CNN: the shortcuts have batch
normalisation, and a convolution of 1 step only where the width changes.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import InputError
from sdk.encoders._keras import same_padding
from sdk.encoders.registry import register_encoder

_COLOURS = 3
_STAGES = (64, 128, 256, 512)
_BLOCKS_PER_STAGE = 2


class ResNet18(nn.Module):
    """The backbone; features are the means of the last maps. Images may have any size.

    Args:
        widths: maps of the four stages.
    """

    def __init__(self, widths: tuple[int, int, int, int] = _STAGES) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(_COLOURS, widths[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = _stage(widths[0], widths[0], stride=1)
        self.layer2, self.layer3, self.layer4 = (_stage(a, b, stride=2) for a, b in pairwise(widths))
        self.n_features = widths[-1]
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def maps(self, images: Tensor) -> Tensor:
        """Images (n, 3, height, width) to maps (n, 512, height / 32, width / 32), rounded up."""
        maps = functional.relu(self.bn1(self.conv1(images)))
        maps = functional.max_pool2d(maps, 3, stride=2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = stage(maps)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, height, width) to features (n, n_features)."""
        return self.maps(images).mean(dim=(2, 3))


class _Block2d(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps if self.downsample is None else self.downsample(maps)
        maps = functional.relu(self.bn1(self.conv1(maps)))
        return functional.relu(self.bn2(self.conv2(maps)) + shortcut)


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *(_Block2d(outputs if i else inputs, outputs, 1 if i else stride) for i in range(_BLOCKS_PER_STAGE))
    )


class SmallResNet(nn.Module):
    """The encoder; features are the means over time of the last maps.

    Args:
        length_samples: rows of a window; any number.
        n_channels: columns of a window; any number.
        widths: maps of each block.
        kernels: steps of the convolutions of each block.
    """

    def __init__(
        self,
        length_samples: int,
        n_channels: int,
        widths: tuple[int, ...] = (64, 128, 128),
        kernels: tuple[int, ...] = (8, 5, 3),
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_Block1d(a, b, kernels) for a, b in pairwise((n_channels, *widths))))
        self.n_features = widths[-1]

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, n_channels) to features (n, n_features)."""
        features: Tensor = self.blocks(windows.transpose(1, 2)).mean(dim=2)
        return features


class _Block1d(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Sequential(
                nn.ConstantPad1d(same_padding(kernel, kernel), 0),
                nn.Conv1d(outputs if i else inputs, outputs, kernel),
                nn.BatchNorm1d(outputs),
            )
            for i, kernel in enumerate(kernels)
        )
        shortcut = [nn.BatchNorm1d(outputs)]
        self.shortcut = nn.Sequential(*([] if inputs == outputs else [nn.Conv1d(inputs, outputs, 1)]), *shortcut)

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = self.shortcut(maps)
        for convolution in self.convolutions[:-1]:
            maps = functional.relu(convolution(maps))
        return functional.relu(self.convolutions[-1](maps) + shortcut)


@register_encoder("resnet18", "IMG2IMU", (_COLOURS, 96, 128))
def resnet18(colours: int, height: int, width: int) -> ResNet18:
    """The backbone without the head; it takes images of any size.

    Raises:
        InputError: other than 3 colours.
    """
    if colours != _COLOURS:
        raise InputError(
            "encoder resnet18",
            expected="3 colours, one per axis",
            got=colours,
            fix="Make the image of three axes.",
        )
    return ResNet18()


@register_encoder("resnet1d", "Wang et al. 2017", (128, 6))
def resnet1d(length_samples: int, n_channels: int) -> SmallResNet:
    """Three blocks to 64, 128 and 128 maps."""
    return SmallResNet(length_samples, n_channels)
