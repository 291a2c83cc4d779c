"""How the kernel of a convolution or of a pool moves over space, and how maps lie in memory for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporters.training.differentiate import Case, refuse
from exporters.training.graph import Laid, Shape


def maps_order(value: Laid) -> tuple[int, ...]:
    """The order of axes of feature maps: channels, space, batch."""
    return (*range(1, len(value.order)), 0)


@dataclass(frozen=True)
class Geometry:
    """How a kernel moves over space; one entry per axis of space."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    before: Shape  # padding
    after: Shape
    groups: int = 1

    @classmethod
    def of(cls, case: Case, attributes: Mapping[str, Any], kernel: Shape) -> Geometry:
        """Read an operator's attributes.

        Raises:
            InputError: padding that is given by a word.
        """
        rank = len(kernel)
        padding = attributes.get("auto_pad", b"NOTSET").decode()
        if padding not in ("NOTSET", "VALID"):
            raise refuse(case, "padding in numbers", padding)
        pads = attributes.get("pads", [0] * (2 * rank))
        ones = [1] * rank
        return cls(
            tuple(kernel),
            tuple(attributes.get("strides", ones)),
            tuple(attributes.get("dilations", ones)),
            tuple(pads[:rank]),
            tuple(pads[rank:]),
            attributes.get("group", 1),
        )

    def trivial(self, axis: int) -> bool:
        """Whether nothing happens along an axis."""
        return (self.kernel[axis], self.strides[axis], self.before[axis], self.after[axis]) == (1, 1, 0, 0)

    @property
    def moving(self) -> int:
        """How many axes there are up to the last one along which something happens."""
        axes = range(len(self.kernel))
        return max((axis + 1 for axis in axes if not self.trivial(axis)), default=0)

    def order(self, maps: Laid) -> tuple[int, ...]:
        """How maps had best lie for this convolution."""
        plain = tuple(range(len(maps.order)))
        return maps_order(maps) if self.moving == 1 or (self.moving == 0 and maps.order != plain) else plain

    def reach(self, axis: int) -> int:
        """How many entries a kernel spans."""
        return self.dilations[axis] * (self.kernel[axis] - 1) + 1

    def out(self, sizes: Shape) -> Shape:
        """Sizes of the maps that come out."""
        return tuple(
            (size + self.before[i] + self.after[i] - self.reach(i)) // self.strides[i] + 1
            for i, size in enumerate(sizes)
        )

    def attributes(self, axes: int, more: int = 0) -> dict[str, Any]:
        """For Conv or ConvTranspose along the first axes, and with more axes along which nothing happens."""
        ones, zeros = [1] * more, [0] * more
        return {
            "kernel_shape": [*self.kernel[:axes], *ones],
            "strides": [*self.strides[:axes], *ones],
            "dilations": [*self.dilations[:axes], *ones],
            "pads": [*self.before[:axes], *zeros, *self.after[:axes], *zeros],
            "group": self.groups,
        }
