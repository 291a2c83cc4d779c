"""IIO: the power monitors of Jetson boards with JetPack 4 and before (driver ina3221x, kernel 4.9).

Channels count from 0 here and give milliwatts: rail_name_0, in_power0_input. The same table of totals as for hwmon.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sdk.meters.energy import MeterError
from sdk.meters.jetson import board_of
from sdk.meters.sampling import FLOOR_PERIOD_S, PowerRail, SampledMeter
from sdk.meters.sysfs import text

FOLDER = "sys/bus/i2c/drivers/ina3221x"
MW_PER_W = 1000


def open_iio(
    root: str | Path = "/", *, clock: Callable[[], float] = time.monotonic, background: bool = True
) -> SampledMeter:
    """Return a meter over the total of the board.

    Raises:
        MeterError: there is no such driver, or no total among the rails that can be read.
    """
    folder = Path(root) / FOLDER
    chips = sorted({path.resolve() for name in ("iio:device*", "iio_device") for path in folder.glob(f"*/{name}")})
    if not chips:
        raise MeterError(f"no /{FOLDER}", "only a Jetson with JetPack 4 or before has it")
    rails = {rail.name: rail for chip in chips for rail in _rails(chip)}
    board = board_of(rails)
    if board is None or board.total_chip:
        raise MeterError(
            f"ina3221x: no total is known for the rails {', '.join(sorted(rails)) or '(none can be read)'}",
            "look at in_power*_input under that folder",
            there=True,
        )
    return SampledMeter(
        "iio:ina3221x",
        [rails[name] for name in board.total],
        method="integrated power",
        period_s=FLOOR_PERIOD_S,
        leaves_out=board.leaves_out,
        detail=f"the total of a Jetson {board.names}",
        clock=clock,
        background=background,
    )


def _rails(chip: Path) -> list[PowerRail]:
    rails = []
    for i in (0, 1, 2):
        rail = PowerRail(text(chip / f"rail_name_{i}"), (chip / f"in_power{i}_input",), MW_PER_W)
        try:
            rail.read()
        except (OSError, ValueError):
            continue
        if rail.name not in ("", "NC"):
            rails.append(rail)
    return rails
