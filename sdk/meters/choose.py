"""Which meter this machine has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sdk.meters.battery import open_battery
from sdk.meters.energy import Meter, MeterError, NoMeter
from sdk.meters.firmware import Gencmd
from sdk.meters.hwmon import KNOWN_CHIPS, open_hwmon
from sdk.meters.iio import open_iio
from sdk.meters.jetson import advice
from sdk.meters.lines import LineMeter, open_lines
from sdk.meters.model import open_model
from sdk.meters.nvml import open_nvml
from sdk.meters.pmic import open_pmic
from sdk.meters.rapl import open_rapl
from sdk.meters.sampling import SampledMeter

AnyMeter = SampledMeter | LineMeter


@dataclass(frozen=True)
class MeterKind:
    """One kind of meter, and how it is opened."""

    open: Callable[[str | Path, str, Gencmd | None], AnyMeter]  # root, what follows the colon, a stand-in for vcgencmd
    argument: str = ""  # what may follow the colon
    auto: bool = False  # measures the machine by itself; the others only by name
    listed: bool = True  # can be looked for


SOURCES = {  # in the order in which `auto` tries them
    "rapl": MeterKind(lambda root, _, __: open_rapl(root), auto=True),
    "hwmon": MeterKind(lambda root, chip, _: open_hwmon(root, chip), "CHIP[:RAIL+RAIL]", auto=True),
    "iio": MeterKind(lambda root, _, __: open_iio(root), auto=True),
    "pmic": MeterKind(lambda root, line, ask: open_pmic(root, line, gencmd=ask), "jfikar or SLOPE,WATTS", auto=True),
    "nvml": MeterKind(lambda root, index, _: _nvml(root, index), "INDEX"),
    "battery": MeterKind(lambda root, _, __: open_battery(root)),
    "lines": MeterKind(lambda _, path, __: open_lines(path), "PATH[@BAUD]", listed=False),
    "model": MeterKind(lambda root, line, _: open_model(root, line), "IDLE_W,SLOPE_W", listed=False),
}


def open_meter(name: str = "auto", *, root: str | Path = "/", timeline: int = 0, gencmd: Gencmd | None = None) -> Meter:
    """Return the first meter that works, or a `NoMeter` that knows why none did.

    Args:
        name: "auto"; "none"; or one source: "rapl", "hwmon", "iio", "pmic", "nvml", "battery", "lines", "model", with
            its argument, as "hwmon:ina226", "pmic:jfikar", "lines:/dev/ttyUSB0@9600". A source that is named but not
            there gives a `NoMeter` too.
        root: where /sys, /proc and /dev are; a recorded tree can stand in for a machine.
        timeline: at most so many intervals of power are kept in `Energy.timeline`; 0: none.
        gencmd: answers the commands of `vcgencmd` instead of the firmware of this machine.

    Raises:
        InputError: there is no source of that name.
    """
    if name == "none":
        return NoMeter("switched off")
    source, _, argument = name.partition(":")
    _check(name, source, argument)
    errors = []
    for key in [key for key in SOURCES if SOURCES[key].auto] if name == "auto" else [source]:
        found = _attempt(SOURCES[key], root, argument, gencmd)
        if not isinstance(found, MeterError):
            found.keep_timeline(timeline)
            return found
        errors.append(found)
    if name != "auto":
        return NoMeter(str(errors[0]))
    # a source that only lacks a permission says so; of those that are not there, one word of advice is enough
    texts = [str(error) if error.there else error.detail for error in errors]
    return NoMeter("; ".join(texts if any(error.there for error in errors) else (*texts, advice(root))))


def _check(name: str, source: str, argument: str) -> None:
    known = source in SOURCES and (not argument or bool(SOURCES[source].argument))
    if source == "hwmon" and argument and ":" not in argument:
        known = argument in KNOWN_CHIPS
    if name == "auto" or (known and not name.endswith(":")):
        return
    from runtime.errors import InputError  # only here: `import sdk.meters` stays light without the runtime

    arguments = [f"{key}:{value.argument}" for key, value in SOURCES.items() if value.argument]
    names = ("auto", "none", *SOURCES, *(f"hwmon:{chip}" for chip in KNOWN_CHIPS), *arguments)
    raise InputError(
        "meter",
        expected=f"one of {', '.join(names)}",
        got=repr(name),
        fix="Take auto for the first that works.",
    )


@dataclass(frozen=True)
class MeterStatus:
    """Whether one source of energy readings was found here."""

    name: str  # for `open_meter`
    found: bool
    detail: str  # what is summed and what it leaves out; or what is missing
    fix: str  # what to do, "" where nothing is to be done


def list_meters(root: str | Path = "/", *, gencmd: Gencmd | None = None) -> list[MeterStatus]:
    """Return every source that can be looked for, in the order of preference; `lines` and `model` are only by name."""
    return [_status(name, source, root, gencmd) for name, source in SOURCES.items() if source.listed]


def _status(name: str, source: MeterKind, root: str | Path, gencmd: Gencmd | None) -> MeterStatus:
    meter = _attempt(source, root, "", gencmd)
    if isinstance(meter, MeterError):
        return MeterStatus(name, False, meter.detail, meter.fix)
    detail = f"{meter.name}: {' + '.join(rail.name for rail in meter.rails)}; {meter.tier}"
    for part in (f"without {meter.leaves_out}" if meter.leaves_out else "", meter.detail):
        detail += f"; {part}" if part else ""
    return MeterStatus(name, True, detail, "")


def _attempt(source: MeterKind, root: str | Path, argument: str, gencmd: Gencmd | None) -> AnyMeter | MeterError:
    try:
        return source.open(root, argument, gencmd)
    except MeterError as error:
        return error


def _nvml(root: str | Path, index: str) -> SampledMeter:
    if Path(root) != Path("/"):
        raise MeterError("NVML: a recorded tree has no driver to ask")
    return open_nvml(index)
