"""The battery of a laptop while it discharges: volts and amperes, or watts, of its gauge.

Only by name: a gauge has something new every 1 to 30 s, so a window must be ten minutes long. Screen, disk and
everything else is in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sdk.meters.energy import MeterError
from sdk.meters.sampling import Power, SampledMeter
from sdk.meters.sysfs import read_int, text

FOLDER = "sys/class/power_supply"
CONTRACTS = "ucsi-source-psy-"  # what USB-C agreed on, not what flows
PERIOD_S, SHORTEST_S = 1.0, 600.0
UNPLUG = "unplug the charger"


@dataclass(frozen=True)
class BatteryRail(Power):
    """The power that one battery gives, by its own gauge."""

    name: str
    folder: Path

    def read(self) -> float:
        """Return watts; the sign of a current differs from driver to driver.

        Raises:
            ValueError: the battery is not discharging.
        """
        status = text(self.folder / "status")
        if status != "Discharging":
            raise ValueError(f"{self.name} is {status or 'without status'}: {UNPLUG}")
        if (self.folder / "power_now").exists():
            return abs(read_int(self.folder / "power_now")) / 1e6
        return abs(read_int(self.folder / "current_now")) * read_int(self.folder / "voltage_now") / 1e12


def open_battery(
    root: str | Path = "/", *, clock: Callable[[], float] = time.monotonic, background: bool = True
) -> SampledMeter:
    """Return a meter over all batteries that supply the machine.

    Raises:
        MeterError: there is none, or it is not discharging.
    """
    folders = sorted(path for path in (Path(root) / FOLDER).glob("*") if text(path / "type") == "Battery")
    folders = [path for path in folders if not path.name.startswith(CONTRACTS) and text(path / "scope") != "Device"]
    if not folders:
        raise MeterError(f"no battery under /{FOLDER}", "only a laptop has one")
    rails = [BatteryRail(path.name, path) for path in folders if text(path / "status") == "Discharging"]
    if not rails:
        raise MeterError(f"{folders[0].name} is {text(folders[0] / 'status') or 'without status'}", UNPLUG, there=True)
    try:
        for rail in rails:
            rail.read()
    except (OSError, ValueError) as error:
        raise MeterError(f"{rails[0].name}: {error}", "its gauge tells neither power nor current", there=True) from None
    return SampledMeter(
        "battery",
        rails,
        method="integrated power",
        period_s=PERIOD_S,
        shortest_s=SHORTEST_S,
        clock=clock,
        background=background,
    )
