"""No meter: a straight line from the use of the processor to the power of the board, only on request.

    watts = idle + slope * use          use: 0 to 1, from /proc/stat

The lines are PowerJoular's fits for whole boards (joular/powerjoular, its linear models). Boards and firmwares differ
by a factor of two when idle, and a line knows nothing of clocks, graphics or memory: the result is labelled estimated,
with 30 % as its standard uncertainty, and must not decide whether something passes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sdk.meters.energy import ESTIMATED, MeterError
from sdk.meters.sampling import SampledMeter, Spread
from sdk.meters.sysfs import board_model, text
from sdk.meters.uncertainty import PowerSpread

SHARE = 0.30
PERIOD_S = 1.0
LINES = {  # by the beginning of the device tree's model: watts idle, watts more when all cores are busy; 64-bit fits
    "Raspberry Pi 5 Model B": (4.403, 3.458),  # fitted on rev. 1.0; other people see about 3 W idle
    "Raspberry Pi 400": (1.822, 5.025),
    "Raspberry Pi 4 Model B Rev 1.1": (2.307, 4.496),
    "Raspberry Pi 4 Model B": (2.286, 4.534),  # fitted on rev. 1.2
    "Raspberry Pi 3 Model B Plus": (2.002, 3.298),  # rev. 1.3
    "Raspberry Pi 3 Model B": (1.078, 3.477),  # rev. 1.2
    "Raspberry Pi 2 Model B": (1.290, 1.149),  # rev. 1.1
    "Raspberry Pi Zero W": (0.920, 0.473),  # rev. 1.1
}


@dataclass(frozen=True)
class ModelRail:
    """The whole board, by its line."""

    name: str
    idle_w: float
    slope_w: float
    stat: Path

    def read(self) -> float:
        """Return the seconds since boot in which the processor worked, as a mean over its cores.

        Raises:
            ValueError: the file has no line of all processors.
        """
        lines = text(self.stat)
        cores = len(re.findall(r"^cpu\d+ ", lines, re.MULTILINE))
        found = re.match(r"cpu +([\d ]+)", lines)
        if not found or not cores:
            raise ValueError(f"{self.stat}: no line of all processors")
        user, nice, system, _idle, _iowait, *interrupts = map(int, found[1].split()[:8])  # guests are in user already
        return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK") / cores

    def joules(self, before: float, after: float, seconds: float) -> float:
        """Return idle_w * seconds + slope_w * busy seconds."""
        return self.idle_w * seconds + self.slope_w * max(0.0, after - before)

    def spread(self) -> Spread:
        """None of its own: the meter states a share."""
        return PowerSpread(None)


def open_model(
    root: str | Path = "/",
    line: str = "",
    *,
    clock: Callable[[], float] = time.monotonic,
    background: bool = True,
) -> SampledMeter:
    """Return an estimate for this board, or one from your own line.

    Args:
        root: where /proc is.
        line: "" for the line of this board, or "IDLE_W,SLOPE_W".
        clock: monotonic seconds.
        background: as for `SampledMeter`.

    Raises:
        MeterError: there is no line for this board, or no use of the processor.
    """
    model = board_model(root)
    if found := re.fullmatch(r"(\d+\.?\d*),(\d+\.?\d*)", line):
        name, idle_w, slope_w = f"model:own({line})", float(found[1]), float(found[2])
    elif line:
        raise MeterError(f"no line {line!r}", "give IDLE_W,SLOPE_W, as model:2.1,4.2", there=True)
    else:
        known = next((key for key in LINES if model.startswith(key)), None)
        if known is None:
            raise MeterError(
                f"no power model of {model or 'this machine'}", "give your own line as model:IDLE_W,SLOPE_W"
            )
        name, (idle_w, slope_w) = f"model:powerjoular({known})", LINES[known]
    rail = ModelRail("board", idle_w, slope_w, Path(root) / "proc/stat")
    try:
        rail.read()
    except (OSError, ValueError) as error:
        raise MeterError(str(error), "the model needs /proc/stat", there=True) from None
    return SampledMeter(
        name,
        [rail],
        method="model",
        period_s=PERIOD_S,
        tier=ESTIMATED,
        leaves_out="graphics, clocks, memory: it only knows how busy the processor is",
        share=SHARE,
        clock=clock,
        background=background,
    )
