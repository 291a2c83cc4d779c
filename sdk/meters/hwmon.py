"""hwmon: the power monitors of Jetson boards, and single INA chips that somebody put into a supply line.

A Jetson has an INA3221 (three channels, volts and amperes, no power file) whose labels say which rail is which. Which
rails make the total is a table here, since some rails lie behind others: adding all of them would count twice. Other
chips are used only if their name is known to mean one supply: what an unknown chip measures, nobody can guess.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sdk.meters.energy import MeterError
from sdk.meters.sampling import POLL_S, CounterRail, PowerRail, SampledMeter, read_int

FOLDER = "sys/class/hwmon"
CHIP_GLOBS = (f"{FOLDER}/hwmon*", "sys/bus/i2c/drivers/*/*/hwmon/hwmon*", "sys/bus/i2c/devices/*/hwmon/hwmon*")
FLOOR_PERIOD_S = 0.010
LABELLED = "ina3221"
SINGLE = (  # one supply each: power1_input in uW, some with energy1_input in uJ
    *("ina219", "ina220", "ina226", "ina230", "ina231", "ina260"),  # the kernel's module ina2xx
    *("ina228", "ina237", "ina238", "ina700", "ina780", "sq52206"),  # its module ina238
)
KNOWN_CHIPS = (*SINGLE, LABELLED)
TOTALS = (  # of each board, the rails that add up to it and overlap nowhere
    ("VDD_IN",),  # Orin Nano and NX, Xavier NX, TX1, TX2
    ("POM_5V_IN",),  # Nano
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin; VDDQ_VDD2_1V8AO is fed from VIN_SYS_5V0
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
)  # AGX Thor has no such rails: the INA238 of its carrier measures all of it


def open_hwmon(
    root: str | Path = "/",
    chip: str | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    background: bool = True,
) -> SampledMeter:
    """Return a meter over the whole board, or over the one chip of a name.

    Raises:
        MeterError: there is no such chip, or it is not clear what its total would be.
    """
    chips = [path for path in find_chips(Path(root)) if chip in (None, _name(path))]
    if not chips:
        raise MeterError(f"no {chip or 'known power chip'} under /{FOLDER}")
    labelled = [path for path in chips if _name(path) == LABELLED]
    rails = {rail.name: rail for path in reversed(labelled) for rail in labelled_rails(path)}
    total = next((total for total in TOTALS if rails.keys() >= set(total)), None)
    if total is not None:
        return SampledMeter(
            f"hwmon:{LABELLED}",
            [rails[name] for name in total],
            method="integrated power",
            period_s=max(_period_s(path) for path in labelled),
            clock=clock,
            background=background,
        )

    singles = [(path, rail) for path in chips if _name(path) in SINGLE if (rail := single_rail(path))]
    if not singles:
        unknown = f": no total is known for the rails {', '.join(sorted(rails))}" if rails else ": nothing to read"
        raise MeterError(", ".join(sorted({_name(path) for path in chips})) + unknown)
    if len(singles) > 1:
        found = ", ".join(sorted(_name(path) for path, _ in singles))
        raise MeterError(f"{found}: several chips, and only you know which is the total: name one as hwmon:CHIP")
    path, rail = singles[0]
    counts = isinstance(rail, CounterRail)
    return SampledMeter(
        f"hwmon:{_name(path)}",
        [rail],
        method="counter" if counts else "integrated power",
        period_s=POLL_S if counts else _period_s(path),
        clock=clock,
        background=background,
    )


def find_chips(root: Path) -> list[Path]:
    """Return the folders of the known chips, each once however many ways lead to it."""
    folders = {path.resolve() for pattern in CHIP_GLOBS for path in root.glob(pattern)}
    return sorted(path for path in folders if _name(path) in KNOWN_CHIPS)


def labelled_rails(chip: Path) -> list[PowerRail]:
    """Return the channels of an INA3221 that have a name, are switched on and can be read.

    Channel 7 and curr4 are sums of shunts, not rails.
    """
    rails = []
    for i in (1, 2, 3):
        label = _text(chip / f"in{i}_label")
        rail = PowerRail(label, (chip / f"in{i}_input", chip / f"curr{i}_input"))
        if label not in ("", "NC") and _text(chip / f"in{i}_enable") != "0" and _works(rail):
            rails.append(rail)
    return rails


def single_rail(chip: Path) -> CounterRail | PowerRail | None:
    """Return the counter of a chip if it has one, else its power, else None."""
    counter = CounterRail("energy1", chip / "energy1_input")
    power = PowerRail("power1", (chip / "power1_input",))
    return counter if _works(counter) else power if _works(power) else None


def _works(rail: CounterRail | PowerRail) -> bool:
    try:
        rail.read()
    except (OSError, ValueError):
        return False
    return True


def _period_s(chip: Path) -> float:
    """Return how often the chip has something new, in seconds."""
    try:
        return max(FLOOR_PERIOD_S, read_int(chip / "update_interval") / 1000)
    except (OSError, ValueError):
        return FLOOR_PERIOD_S


def _name(chip: Path) -> str:
    return _text(chip / "name")


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
