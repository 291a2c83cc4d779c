"""What a meter answers, and what every meter can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class MeterError(Exception):
    """A source that cannot measure on this machine; the text says why."""


@dataclass(frozen=True)
class Energy:
    """The energy of one window: joules and where they come from, or None and why not."""

    joules: float | None  # None: not measured, and then `reason` is not empty
    source: str  # "rapl", "hwmon:ina3221", "none"
    rails: tuple[str, ...] = ()  # what was summed
    method: str = "none"  # "counter", "integrated power" or "none"
    reason: str = ""  # why it was not measured
    seconds: float | None = None  # from the first reading to the last
    n_samples: int = 0  # how often all rails were read

    def __post_init__(self) -> None:
        if (self.joules is None) != bool(self.reason):
            raise ValueError(f"an energy has either joules or a reason, got {self.joules} and {self.reason!r}")

    def describe(self) -> str:
        """Return one line such as "1.234 J (rapl: package-0)" or "not measured (no meter: ...)"."""
        if self.joules is None:
            return f"not measured ({'no meter' if self.source == 'none' else self.source}: {self.reason})"
        joules = f"{self.joules:.4g}" if abs(self.joules) < 1000 else f"{self.joules:.1f}"
        return f"{joules} J ({self.source}: {' + '.join(self.rails)})"

    __str__ = describe


class Meter(Protocol):
    """One window after another: `start`, the work, `stop`.

    A window never raises for what the hardware does: its energy is then None, with the reason. Starting a meter twice,
    or stopping one that was not started, is a mistake in the program and raises RuntimeError.
    """

    @property
    def name(self) -> str:
        """The source, as `Energy.source` gives it."""

    def start(self) -> None:
        """Open a window."""

    def stop(self) -> Energy:
        """Close the window and return what was used in it."""


class NoMeter:
    """The meter of a machine that has none: every window is "not measured", with the reason."""

    name = "none"

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def start(self) -> None:
        """Open a window."""

    def stop(self) -> Energy:
        """Close the window and return that nothing was measured."""
        return Energy(None, self.name, reason=self.reason)
