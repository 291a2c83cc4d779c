"""The words of the house: what a signal, a window, a clock, a spectrogram and an event rule are, as a manifest says it.

signals  Signal, Modality   what a row of samples holds: sensors, channels, units, rates
         WindowSpec         how it is cut
         ClockSpec          what is done about time stamps that are late, uneven or missing
         Normalise          the z-score that a graph applies
         BASE, FLOAT32      the version and the precision that every bundle has
frame    FrameSpec          the axes that a window is turned to, before all else
image    SpectrogramSpec    how a window becomes an image
event    EventRule, Delay   how predictions become events, and how late they then come

The machines that follow these words are `runtime.window`, `runtime.spectrogram` and `runtime.events`;
`runtime.bundle.manifest` writes them down.
"""

from typing import TYPE_CHECKING

from runtime.lazy import attach

if TYPE_CHECKING:
    from runtime.specs.event import SLACK_HOPS, Delay, EventRule
    from runtime.specs.frame import FrameSpec
    from runtime.specs.image import SpectrogramSpec
    from runtime.specs.signals import BASE, FLOAT32, ClockSpec, Modality, Normalise, Signal, WindowSpec

__getattr__ = attach(
    __name__,
    {
        "event": "SLACK_HOPS Delay EventRule",
        "frame": "FrameSpec",
        "image": "SpectrogramSpec",
        "signals": "BASE FLOAT32 ClockSpec Modality Normalise Signal WindowSpec",
    },
)

__all__ = [
    "BASE",
    "FLOAT32",
    "SLACK_HOPS",
    "ClockSpec",
    "Delay",
    "EventRule",
    "FrameSpec",
    "Modality",
    "Normalise",
    "Signal",
    "SpectrogramSpec",
    "WindowSpec",
]
