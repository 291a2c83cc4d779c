"""RAPL: the energy counters of x86 packages under /sys/class/powercap.

Only the top zones named package-* are summed. Their sub-zones (core, uncore, dram) are parts of them or unreliable to
add, psys contains the packages, and intel-rapl-mmio is a second view of the same counters.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from sdk.meters.energy import PARTIAL, MeterError
from sdk.meters.sampling import POLL_S, CounterRail, SampledMeter
from sdk.meters.sysfs import read_int, read_text

FOLDER = "sys/class/powercap"
# chmod -R would not do: the zones are links, and -R does not follow links
CURE = f"run as root or `sudo chmod a+r /{FOLDER}/*/energy_uj` (until the next boot)"
STEP_UJ = 61  # 2^-14 J, the coarsest unit in wide use; AMD and some servers count finer
REFRESH_S = 0.001


def open_rapl(
    root: str | Path = "/", *, clock: Callable[[], float] = time.monotonic, background: bool = True
) -> SampledMeter:
    """Return a meter over all packages.

    Raises:
        MeterError: there is no RAPL, or its counters may not be read.
    """
    folder = Path(root) / FOLDER
    absent = "on an x86 PC `sudo modprobe intel_rapl_msr`; a virtual machine has none"
    if not folder.is_dir():
        raise MeterError(f"no /{FOLDER}", absent)
    zones = sorted(path for path in folder.iterdir() if re.fullmatch(r"intel-rapl:\d+", path.name))
    try:
        rails = [
            CounterRail(name, zone / "energy_uj", read_int(zone / "max_energy_range_uj"), STEP_UJ, REFRESH_S)
            for zone in zones
            if (name := read_text(zone / "name").strip()).startswith("package-")
        ]
        for rail in rails:
            rail.read()
    except PermissionError:
        raise MeterError("energy_uj: permission denied", CURE, there=True) from None
    except (OSError, ValueError) as error:
        raise MeterError(f"/{FOLDER}: {error}", "look whether `dmesg` says why", there=True) from None
    if not rails:
        raise MeterError(f"no package-* zone under /{FOLDER}", absent)
    return SampledMeter(
        "rapl",
        rails,
        method="counter",
        period_s=POLL_S,
        tier=PARTIAL,
        leaves_out="memory, disk, screen, power supply: everything but the processor package",
        clock=clock,
        background=background,
    )
