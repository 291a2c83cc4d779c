"""Hand-made features as an encoder: nothing is learned but the spread of each, and that only where one trains.

    windows -> the recipe of sdk.features, in operators that every engine has -> normalised -> features

As a graph it is exported, streamed and adapted like any network, and a head is all that there is to train. `hand+fcn`
sets it beside MaskCAE's FCN.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from runtime.errors import InputError
from sdk.encoders.fcn import FCN
from sdk.encoders.registry import register_encoder
from sdk.features import FLOOR, LINEAR, SENSOR, Recipe, pairs, recipe

LEAST_SAMPLES = 8


class Hand(nn.Module):
    """About a hundred features per sensor; see `sdk.features` for the list.

    Args:
        length_samples: rows of a window, at least 8.
        n_channels: columns of a window; three in turn are one sensor.

    Raises:
        InputError: shorter windows, or none.
    """

    def __init__(self, length_samples: int, n_channels: int) -> None:
        super().__init__()
        if length_samples < LEAST_SAMPLES or n_channels < 1:
            raise InputError(
                "encoder hand",
                expected=f"windows of at least {LEAST_SAMPLES} rows and one column",
                got=f"{length_samples} x {n_channels}",
                fix="Take longer windows.",
            )
        whole, rest = divmod(n_channels, SENSOR)
        kinds = [(0, whole, SENSOR), (whole * SENSOR, 1, rest)]  # sensors alike are computed as one tensor
        self.parts = nn.ModuleList(_Sensors(*kind, recipe(length_samples)) for kind in kinds if kind[1] * kind[2])
        self.n_features = sum(part.n_features for part in self.parts)  # type: ignore[misc]
        self.normalise = nn.BatchNorm1d(self.n_features, affine=False)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, n_channels) to features (n, n_features)."""
        rows = windows.transpose(1, 2)
        features: Tensor = self.normalise(torch.cat([part(rows) for part in self.parts], dim=1))
        return features


class _Sensors(nn.Module):
    """The features of some sensors of equal width."""

    fourier: Tensor
    bands: Tensor
    waves: Tensor
    quantiles: Tensor
    both: Tensor

    def __init__(self, first: int, sensors: int, width: int, made: Recipe) -> None:
        super().__init__()
        self._first, self._sensors, self._width = first, sensors, width
        signals = width + (width > 1)
        both = torch.eye(signals**2)[:, [a * signals + b for a, b in pairs(signals)]]
        self.register_buffer("both", both.contiguous(), persistent=False)
        for name in ("fourier", "bands", "waves", "quantiles"):
            self.register_buffer(name, torch.from_numpy(getattr(made, name)), persistent=False)
        each = 3 + len(made.quantiles.T) + len(made.bands.T) + len(made.waves.T)
        self.n_features = sensors * (each * signals + both.shape[1])

    def forward(self, rows: Tensor) -> Tensor:
        x = rows.narrow(1, self._first, self._sensors * self._width)
        x = x.reshape(-1, self._sensors, self._width, rows.shape[2])
        if self._width > 1:
            x = torch.cat([x, (x * x).sum(dim=2, keepdim=True).sqrt()], dim=2)
        mean, length = x.mean(dim=3, keepdim=True), x.shape[3]
        x = x - mean
        spread = (x * x).mean(dim=3, keepdim=True).sqrt()
        step = (x.narrow(3, 1, length - 1) - x.narrow(3, 0, length - 1)).abs().mean(dim=3, keepdim=True)
        turns = x @ self.fourier
        bins = self.waves.shape[0]
        cosines, sines = turns.narrow(3, 0, bins), turns.narrow(3, bins, bins)
        energy = cosines * cosines + sines * sines
        logs = (torch.cat([spread, step, (energy @ self.bands).sqrt()], dim=3) + FLOOR).log()
        ordered = torch.topk(x, length, dim=3, largest=False).values @ self.quantiles
        ordered = ordered.sign() * (ordered.abs() / LINEAR + 1).log()
        again = energy @ self.waves / (energy.sum(dim=3, keepdim=True) + FLOOR**2)
        told = torch.cat([mean, logs, ordered, again], dim=3).flatten(2)
        if self._width > 1:
            both = (x @ x.transpose(2, 3) / length) / (spread @ spread.transpose(2, 3) + FLOOR**2)
            told = torch.cat([told, both.flatten(2) @ self.both], dim=2)
        return told.flatten(1)


class Beside(nn.Module):
    """Hand-made features and a network's of the same windows, side by side.

    Args:
        hand: with nothing to train.
        net: from windows (n, length_samples, n_channels) to features (n, n_features).
    """

    def __init__(self, hand: Hand, net: nn.Module) -> None:
        super().__init__()
        self.hand, self.net = hand, net
        self.n_features = hand.n_features + net.n_features  # type: ignore[operator]

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (n, length_samples, n_channels) to features (n, n_features)."""
        return torch.cat([self.hand(windows), self.net(windows)], dim=1)


@register_encoder("hand", "none", (128, 6))
def hand(length_samples: int, n_channels: int) -> Hand:
    """Hand-made features alone, of windows (n, length_samples, n_channels)."""
    return Hand(length_samples, n_channels)


@register_encoder("hand+fcn", "none", (128, 6))
def hand_fcn(length_samples: int, n_channels: int) -> Beside:
    """Hand-made features beside MaskCAE's FCN."""
    return Beside(Hand(length_samples, n_channels), FCN(length_samples, n_channels))
