"""Which meter this machine has."""

from __future__ import annotations

from pathlib import Path

from sdk.meters.energy import Meter, MeterError, NoMeter
from sdk.meters.hwmon import KNOWN_CHIPS, open_hwmon
from sdk.meters.rapl import open_rapl

SOURCES = {"rapl": open_rapl, "hwmon": open_hwmon}  # in the order in which `auto` tries them


def open_meter(root: str | Path = "/", name: str = "auto") -> Meter:
    """Return the first meter that works, or a `NoMeter` that knows why none did.

    Args:
        root: where /sys is; a recorded tree can stand in for a machine.
        name: "auto"; "none"; or one source, "rapl", "hwmon" or a chip such as "hwmon:ina226". A source that is named
            but not there gives a `NoMeter` too.

    Raises:
        InputError: there is no source of that name.
    """
    source, _, chip = name.partition(":")
    if name == "none":
        return NoMeter("switched off")
    if not (name == "auto" or name in SOURCES or (source == "hwmon" and chip in KNOWN_CHIPS)):
        from runtime.errors import InputError  # only here: `import sdk.meters` stays light without the runtime

        raise InputError(
            "meter",
            expected=f"one of auto, none, {', '.join(SOURCES)}, {', '.join(f'hwmon:{known}' for known in KNOWN_CHIPS)}",
            got=repr(name),
            fix="Take auto for the first that works.",
        )
    reasons = []
    for tried in SOURCES if name == "auto" else (source,):
        meter = _attempt(root, tried, chip)
        if not isinstance(meter, NoMeter):
            return meter
        reasons.append(meter.reason)
    return NoMeter("; ".join(reasons))


def _attempt(root: str | Path, source: str, chip: str) -> Meter:
    try:
        return open_hwmon(root, chip) if chip else SOURCES[source](root)
    except MeterError as error:
        return NoMeter(str(error))
