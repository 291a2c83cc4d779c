"""The axes that a window is turned to before all else, so that it does not matter how a device is worn.

    frame = gravity     the window's mean acceleration points to +z; what is left of the device's orientation is an
                        angle around it, which no accelerometer can tell and a model has to bear

At rest an accelerometer measures what holds it up, so +z is up. `runtime.window.frame` turns windows in NumPy,
`exporters.frame` does so in the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runtime.errors import BundleError, OneLine, require
from runtime.specs.signals import Signal


@dataclass(frozen=True, repr=False)
class FrameSpec(OneLine):
    """Which sensor says where up is, and which are turned with it: those on the same device.

    Raises:
        BundleError: another frame than gravity; a sensor that stands twice, or `up` not among those turned.
    """

    up: str = "acc"  # a modality of three channels, with gravity in it
    turned: tuple[str, ...] = ("acc",)  # modalities of three channels: x, y, z of the same axes
    kind: Literal["gravity"] = "gravity"

    def __post_init__(self) -> None:
        once = len(set(self.turned)) == len(self.turned) and self.up in self.turned
        names = ", ".join(self.turned) or "none"
        require(
            BundleError,
            ("frame: kind", self.kind, "gravity", self.kind == "gravity"),
            ("frame: turned", names, f"names that differ, {self.up} among them", once),
            fix="Correct `frame` in the manifest.",
        )

    def fits(self, signal: Signal) -> bool:
        """Whether a signal has the sensors, of three channels each, and all its sensors one rate."""
        return signal.is_even and set(self.turned) <= {m.name for m in signal.modalities if len(m.channels) == 3}
