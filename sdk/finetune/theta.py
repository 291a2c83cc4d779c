"""All trainable tensors of a training graph as one flat vector, and how tightly each layer is held.

    theta   | blocks.0.weight | blocks.0.bias | ... | head.weight | head.bias |
    layer   |        0        |       0       |     |      4      |     4     |
    gamma   |       inf       |      inf      |     |      1      |     1     |    inf: does not move

The pull is MESEN's eq. 9 and 10:  loss = CE + l2 * (sum_i gamma_i ||theta_e,i - a_i||^2 + ||theta_c - a_c||^2)
where the anchor a is zero, as printed, or the weights from which the run starts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Manifest
from sdk.finetune.optimise import Flat


@dataclass(frozen=True)
class Layout:
    """Where each tensor lies in theta."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    layers: tuple[int, ...]  # depth of each tensor
    gammas: tuple[float, ...]  # of each tensor

    @classmethod
    def of(cls, manifest: Manifest, names: Sequence[str], gammas: Sequence[float]) -> Layout:
        """The layout of some tensors of a bundle, with one gamma for each layer."""
        specs = {spec.name: spec for spec in manifest.tensors}
        layers = tuple(specs[name].layer for name in names)
        return cls(tuple(names), tuple(specs[n].shape for n in names), layers, tuple(gammas[i] for i in layers))

    @property
    def size(self) -> int:
        """How many numbers theta has."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def moving_layers(self) -> tuple[int, ...]:
        """Depths of the layers that are not frozen."""
        pairs = zip(self.layers, self.gammas, strict=True)
        return tuple(sorted({layer for layer, gamma in pairs if math.isfinite(gamma)}))

    def slices(self) -> tuple[slice, ...]:
        """Where each tensor lies in theta."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes]).tolist()
        return tuple(slice(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True))

    def moving(self, layers: Sequence[int] | None = None) -> list[slice]:
        """The contiguous parts of theta that are not frozen, of all layers or of some."""
        runs: list[slice] = []
        for part, layer, gamma in zip(self.slices(), self.layers, self.gammas, strict=True):
            if math.isfinite(gamma) and (layers is None or layer in layers):
                if runs and runs[-1].stop == part.start:
                    part = slice(runs.pop().start, part.stop)
                runs.append(part)
        return runs

    def flatten(self, tensors: Mapping[str, NDArray[np.float32]]) -> Flat:
        """The tensors, each in its shape, as one vector of shape (size,)."""
        return np.concatenate([np.asarray(tensors[name], np.float32).ravel() for name in self.names])

    def moved(self, theta: Flat) -> dict[str, NDArray[np.float32]]:
        """From theta, shape (size,), the tensors that are not frozen, by name, each in its shape; copies."""
        return {
            name: theta[part].reshape(shape).copy()
            for name, part, shape, gamma in zip(self.names, self.slices(), self.shapes, self.gammas, strict=True)
            if math.isfinite(gamma)
        }


class Pull:
    """The regularisation of eq. 9 and 10 on the tensors that move.

    Args:
        layout: with the gammas.
        l2: lambda of eq. 10.
        anchor: a of each parameter, shape (layout.size,); None: zero.
    """

    def __init__(self, layout: Layout, l2: float, anchor: Flat | None) -> None:
        self._anchor = anchor
        self._parts = [
            (part, l2 * gamma)
            for part, gamma in zip(layout.slices(), layout.gammas, strict=True)
            if math.isfinite(gamma) and l2 * gamma > 0
        ]

    def add_to(self, gradient: Flat, theta: Flat) -> float:
        """Add the pull's gradient in place, both of theta's shape; the value of the pull."""
        value = 0.0
        for part, strength in self._parts:
            distance = theta[part] if self._anchor is None else theta[part] - self._anchor[part]
            value += strength * float(distance @ distance)
            gradient[part] += np.float32(2 * strength) * distance
        return value
