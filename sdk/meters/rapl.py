"""RAPL: the energy counters of x86 packages under /sys/class/powercap.

Only the top zones named package-* are summed. Their sub-zones (core, uncore, dram) are parts of them or unreliable to
add, psys contains the packages, and intel-rapl-mmio is a second view of the same counters.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from sdk.meters.energy import MeterError
from sdk.meters.sampling import POLL_S, CounterRail, SampledMeter, read_int

FOLDER = "sys/class/powercap"
# chmod -R would not do: the zones are links, and -R does not follow links
CURE = f"run as root or `sudo chmod a+r /{FOLDER}/*/energy_uj` (until the next boot)"


def open_rapl(
    root: str | Path = "/", *, clock: Callable[[], float] = time.monotonic, background: bool = True
) -> SampledMeter:
    """Return a meter over all packages.

    Raises:
        MeterError: there is no RAPL, or its counters may not be read.
    """
    folder = Path(root) / FOLDER
    if not folder.is_dir():
        raise MeterError(f"no /{FOLDER}")
    zones = sorted(path for path in folder.iterdir() if re.fullmatch(r"intel-rapl:\d+", path.name))
    try:
        rails = [
            CounterRail(name, zone / "energy_uj", read_int(zone / "max_energy_range_uj"))
            for zone in zones
            if (name := (zone / "name").read_text().strip()).startswith("package-")
        ]
        for rail in rails:
            rail.read()
    except PermissionError:
        raise MeterError(f"energy_uj: permission denied: {CURE}") from None
    except (OSError, ValueError) as error:
        raise MeterError(f"/{FOLDER}: {error}") from None
    if not rails:
        raise MeterError(f"no package-* zone under /{FOLDER}")
    return SampledMeter("rapl", rails, method="counter", period_s=POLL_S, clock=clock, background=background)
