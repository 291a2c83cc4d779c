"""The power management chip of a Raspberry Pi 5 (500, Compute Module 5), read through its firmware.

It measures volts and amperes of twelve rails behind it. What takes 5 V directly (USB, HATs, NVMe, fan) and the losses
of conversion are not in their sum, so that it reads too low. One person compared one board with a USB meter and found

    board = 1.1451 * sum + 0.5879 W        (jfikar, RPi5-power; no error given)

which "pmic:jfikar" applies; "pmic:1.2,0.5" applies your own line, from your own meter. Both are labelled estimated.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sdk.meters.energy import ESTIMATED, PARTIAL, MeterError
from sdk.meters.firmware import Gencmd, open_firmware, run_vcgencmd
from sdk.meters.sampling import Power, Rail, SampledMeter, Spread
from sdk.meters.sysfs import board_model
from sdk.meters.uncertainty import PowerSpread

COMMAND = "pmic_read_adc"
PERIOD_S = 0.1  # its refresh is not documented; repeats show in the result
PROCESS_PERIOD_S = 1.0  # where every reading starts a process
SHORTEST_S = 1.0
LINES = {"jfikar": (1.1451, 0.5879)}  # slope, watts
LINE = re.compile(r"^\s*(\S+)_([AV])\s+(?:current|volt)\(\d+\)=(-?[0-9.]+)[AV]\s*$", re.MULTILINE)
LEAVES_OUT = "what takes 5 V directly (USB, HATs, NVMe, fan) and the losses of conversion: it reads too low"


def rail_watts(answer: str) -> dict[str, float]:
    """Return the watts of every rail that has both amperes and volts, by name: their numbers differ, names agree."""
    values = {(name, unit): float(value) for name, unit, value in LINE.findall(answer)}
    return {
        name: amps * values[name, "V"] for (name, unit), amps in values.items() if unit == "A" if (name, "V") in values
    }


class Board:
    """One answer of the firmware for all rails: asking for the first rail reads anew, the others share it."""

    def __init__(self, gencmd: Gencmd) -> None:
        self._gencmd = gencmd
        self.names = tuple(self._ask())

    def _ask(self) -> dict[str, float]:
        self._watts = rail_watts(self._gencmd(COMMAND))
        return self._watts

    def watts(self, name: str) -> float:
        """Return the watts of one rail; all rails are asked when the first one is.

        Raises:
            OSError: the firmware does not answer.
            ValueError: the answer has no such rail.
        """
        watts = self._ask() if name == self.names[0] else self._watts
        if name not in watts:
            raise ValueError(f"{COMMAND} gave no {name}")
        return watts[name]


@dataclass(frozen=True)
class PmicRail(Power):
    """One rail, times the slope of a correction."""

    name: str
    board: Board
    slope: float = 1.0

    def read(self) -> float:
        """Return watts, corrected by the slope."""
        return self.slope * self.board.watts(self.name)


@dataclass(frozen=True)
class ConstantRail(Power):
    """The constant of a correction, as a rail of its own."""

    name: str
    watts: float

    def read(self) -> float:
        """Return watts, always the same."""
        return self.watts

    def spread(self) -> Spread:
        """Nothing: nobody knows the error of the correction."""
        return PowerSpread(0.0)


def open_pmic(
    root: str | Path = "/",
    line: str = "",
    *,
    gencmd: Gencmd | None = None,
    clock: Callable[[], float] = time.monotonic,
    background: bool = True,
) -> SampledMeter:
    """Return a meter over the sum of the rails.

    Args:
        root: where /dev and /proc are.
        line: "", "jfikar" or "SLOPE,WATTS".
        gencmd: answers commands instead of the firmware of this machine.
        clock: monotonic seconds.
        background: as for `SampledMeter`.

    Raises:
        MeterError: there is no such chip, its device may not be opened, or the line is none.
    """
    slope, offset_w = _line(line)
    gencmd = gencmd or open_firmware(root)
    try:
        board = Board(gencmd)
    except (OSError, ValueError) as error:
        raise _no_pmic(root, str(error)) from None
    if not board.names:
        raise _no_pmic(root, f"the firmware gave no volts and amperes to {COMMAND}")
    rails: list[Rail] = [PmicRail(name, board, slope) for name in board.names]
    if offset_w:
        rails.append(ConstantRail("constant", offset_w))
    return SampledMeter(
        f"pmic+linear({line})" if line else "pmic",
        rails,
        method="integrated power",
        period_s=PROCESS_PERIOD_S if gencmd is run_vcgencmd else PERIOD_S,
        tier=ESTIMATED if line else PARTIAL,
        leaves_out="" if line else LEAVES_OUT,
        shortest_s=SHORTEST_S,
        clock=clock,
        background=background,
    )


def _line(line: str) -> tuple[float, float]:
    found = re.fullmatch(r"(\d+\.?\d*),(-?\d+\.?\d*)", line)
    if line and line not in LINES and not found:
        raise MeterError(f"no correction {line!r}", f"take one of {', '.join(LINES)} or SLOPE,WATTS", there=True)
    return (float(found[1]), float(found[2])) if found else LINES.get(line, (1.0, 0.0))


def _no_pmic(root: str | Path, detail: str) -> MeterError:
    model = board_model(root)
    return MeterError(
        detail, f"only a Raspberry Pi 5 has it, this is {model or 'another machine'}", there="Pi 5" in model
    )
