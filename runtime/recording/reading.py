"""What one says about the columns of a file or of lines."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import InputError

T_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}

TIMES = ("auto", *T_UNITS, "none")


@dataclass(frozen=True)
class Reading:
    """What was said about columns; nothing by default.

    Raises:
        InputError: an unknown unit of the times.
    """

    unit: str = "auto"  # of the time: s, ms, us, ns; none: there are no times

    def __post_init__(self) -> None:
        if self.unit not in TIMES:
            raise InputError(
                "t", expected=f"one of {', '.join(TIMES)}", got=self.unit, fix="Name the unit of the times."
            )
