"""hwmon: the power monitors of Jetson boards, and single chips that somebody put into a supply line.

A Jetson has an INA3221 (three channels, volts and amperes, no power file) whose labels say which rail is which;
`jetson` knows which of them are the total. Other chips are used only if their name is known to mean one supply, or if
the user names chip and rail: what an unknown chip measures, nobody can guess.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sdk.meters.energy import MEASURED, PARTIAL, MeterError
from sdk.meters.jetson import board_of
from sdk.meters.sampling import FLOOR_PERIOD_S, POLL_S, CounterRail, PowerRail, SampledMeter
from sdk.meters.sysfs import int_or_none, text

FOLDER = "sys/class/hwmon"
CHIP_GLOBS = (f"{FOLDER}/hwmon*", "sys/bus/i2c/drivers/*/*/hwmon/hwmon*", "sys/bus/i2c/devices/*/hwmon/hwmon*")
LABELLED = "ina3221"
SINGLE = (  # one supply each: power1_input in uW, some with energy1_input in uJ
    *("ina219", "ina220", "ina226", "ina230", "ina231", "ina260"),  # the kernel's module ina2xx
    *("ina228", "ina237", "ina238", "ina700", "ina780", "sq52206"),  # its module ina238
)
KNOWN_CHIPS = (*SINGLE, LABELLED)
# Data sheets: a step of power is this many volts times the step of current, which is so many volts over the shunt
POWER_STEP_V2 = {
    **dict.fromkeys(("ina219", "ina220"), 20 * 10e-6),
    **dict.fromkeys(("ina226", "ina230", "ina231"), 25 * 2.5e-6),
}
INA3221_SHUNT_STEP_UV, INA3221_BUS_STEP_MV = 40, 8
LOAD = "load the driver (`sudo modprobe ina2xx`, or ina238, ina3221) or, on a Pi, the overlay i2c-sensor"


def open_hwmon(
    root: str | Path = "/",
    chip: str | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    background: bool = True,
) -> SampledMeter:
    """Return a meter over the whole board, over the one chip of a name, or over rails of a chip.

    Args:
        root: where /sys is.
        chip: "ina226", or any chip with its rails, by label or file: "ina3221:VDD_SOC", "nct6775:power1+power2".
        clock: monotonic seconds.
        background: as for `SampledMeter`.

    Raises:
        MeterError: there is no such chip, or it is not clear what its total would be.
    """
    chip, _, picked = (chip or "").partition(":")
    if picked:
        return _picked_meter(Path(root), chip, tuple(picked.split("+")), clock, background)
    chips = [path for path in find_chips(Path(root)) if chip in ("", _name(path))]
    if not chips:
        raise MeterError(f"no {chip or 'known power chip'} under /{FOLDER}", LOAD)
    labelled = [path for path in chips if _name(path) == LABELLED]
    rails = {rail.name: rail for path in reversed(labelled) for rail in labelled_rails(path)}
    board = board_of(rails)
    if board is not None and not board.total_chip:
        return SampledMeter(
            f"hwmon:{LABELLED}",
            [rails[name] for name in board.total],
            method="integrated power",
            period_s=max(_period_s(path) for path in labelled),
            leaves_out=board.leaves_out,
            detail=f"the total of a Jetson {board.names}",
            clock=clock,
            background=background,
        )

    wanted = SINGLE if board is None else (board.total_chip,)
    singles = [(path, rail) for path in chips if _name(path) in wanted if (rail := single_rail(path))]
    if not singles:
        unknown = f": no total is known for the rails {', '.join(sorted(rails))}" if rails else ": nothing to read"
        fix = f"name what to sum, as hwmon:CHIP:{'+'.join(sorted(rails)) or 'power1'}"
        raise MeterError(", ".join(sorted({_name(path) for path in chips})) + unknown, fix, there=True)
    if len(singles) > 1:
        found = ", ".join(sorted(_name(path) for path, _ in singles))
        raise MeterError(
            f"{found}: several chips, and only you know which is the total", "name one as hwmon:CHIP", there=True
        )
    path, rail = singles[0]
    outside = "what is not fed through this chip" if board is None else board.leaves_out
    return _meter(path, [rail], MEASURED, outside, clock, background)


def _meter(
    chip: Path,
    rails: list[CounterRail | PowerRail],
    tier: str,
    leaves_out: str,
    clock: Callable[[], float],
    background: bool,
) -> SampledMeter:
    counts = all(isinstance(rail, CounterRail) for rail in rails)
    shunt_uohm = int_or_none(chip / "shunt_resistor")
    return SampledMeter(
        f"hwmon:{_name(chip)}",
        rails,
        method="counter" if counts else "integrated power",
        period_s=POLL_S if counts else _period_s(chip),
        tier=tier,
        leaves_out=leaves_out,
        detail=f"shunt {shunt_uohm / 1000:g} mOhm: a wrong value here scales every figure" if shunt_uohm else "",
        clock=clock,
        background=background,
    )


def _picked_meter(
    root: Path, chip: str, names: tuple[str, ...], clock: Callable[[], float], background: bool
) -> SampledMeter:
    folders = [path for path in _folders(root) if _name(path) == chip]
    if not folders:
        raise MeterError(f"no {chip} under /{FOLDER}", LOAD)
    found = {key: (path, rail) for path in reversed(folders) for key, rail in named_rails(path).items()}
    missing = [name for name in names if name not in found]
    if missing:
        raise MeterError(f"{chip} has no rail {', '.join(missing)}", f"it has {', '.join(found) or 'none'}", there=True)
    rails = [found[name][1] for name in names]
    if len({isinstance(rail, CounterRail) for rail in rails}) > 1:
        raise MeterError(f"{chip}: energies and powers cannot be summed", "name rails of one kind", there=True)
    return _meter(found[names[0]][0], rails, PARTIAL, "what these rails do not feed", clock, background)


def find_chips(root: Path) -> list[Path]:
    """Return the folders of the known chips, each once however many ways lead to it."""
    return [path for path in _folders(root) if _name(path) in KNOWN_CHIPS]


def _folders(root: Path) -> list[Path]:
    return sorted({path.resolve() for pattern in CHIP_GLOBS for path in root.glob(pattern)})


def labelled_rails(chip: Path) -> list[PowerRail]:
    """Return the channels of an INA3221 that have a name, are switched on and can be read.

    Channel 7 and curr4 are sums of shunts, not rails.
    """
    rails = []
    for i in (1, 2, 3):
        label = text(chip / f"in{i}_label")
        rail = PowerRail(label, (chip / f"in{i}_input", chip / f"curr{i}_input"), step_w=_ina3221_step_w(chip, i))
        if label not in ("", "NC") and text(chip / f"in{i}_enable") != "0" and _works(rail):
            rails.append(rail)
    return rails


def _ina3221_step_w(chip: Path, channel: int) -> float | None:
    """Return the steps of current and voltage as power, at the voltage and current of now: U dI + I dU."""
    shunt_uohm = int_or_none(chip / f"shunt{channel}_resistor")
    volts_mv, amps_ma = int_or_none(chip / f"in{channel}_input"), int_or_none(chip / f"curr{channel}_input")
    if not shunt_uohm or volts_mv is None or amps_ma is None:
        return None
    step_ma = INA3221_SHUNT_STEP_UV / shunt_uohm * 1000
    return (volts_mv * step_ma + abs(amps_ma) * INA3221_BUS_STEP_MV) / 1e6


def single_rail(chip: Path) -> CounterRail | PowerRail | None:
    """Return the counter of a chip if it has one, else its power, else None."""
    counter, power = _counter(chip, "energy1"), _power(chip, "power1")
    return counter if _works(counter) else power if _works(power) else None


def named_rails(chip: Path) -> dict[str, CounterRail | PowerRail]:
    """Return all rails of any chip that work, by the names of their files (power1, energy2) and by their labels."""
    rails: dict[str, CounterRail | PowerRail] = {rail.name: rail for rail in labelled_rails(chip)}
    for path in sorted(chip.iterdir()):
        found = re.fullmatch(r"((?:power|energy)\d+)_(?:input|average)", path.name)
        if found and found[1] not in rails:
            rail = _counter(chip, found[1]) if found[1].startswith("energy") else _power(chip, found[1])
            label = text(chip / f"{found[1]}_label")
            if _works(rail):
                rails |= dict.fromkeys(filter(None, (found[1], label)), replace(rail, name=label or found[1]))
    return rails


def _counter(chip: Path, stem: str) -> CounterRail:
    return CounterRail(stem, chip / f"{stem}_input")


def _power(chip: Path, stem: str) -> PowerRail:
    """Return what the chip measures now, or the mean that it forms itself where it gives no other."""
    file = next(
        (name for kind in ("input", "average") if (chip / (name := f"{stem}_{kind}")).exists()), f"{stem}_input"
    )
    shunt_uohm, step_v2 = int_or_none(chip / "shunt_resistor"), POWER_STEP_V2.get(_name(chip))
    return PowerRail(stem, (chip / file,), step_w=step_v2 / (shunt_uohm / 1e6) if shunt_uohm and step_v2 else None)


def _works(rail: CounterRail | PowerRail) -> bool:
    try:
        rail.read()
    except (OSError, ValueError):
        return False
    return True


def _period_s(chip: Path) -> float:
    """Return how often the chip has something new, in seconds."""
    told_ms = int_or_none(chip / "update_interval") or int_or_none(chip / "power1_average_interval") or 0
    return max(FLOOR_PERIOD_S, told_ms / 1000)


def _name(chip: Path) -> str:
    return text(chip / "name")
