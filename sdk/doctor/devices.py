"""Meters, and the device nodes of sensors with who may open them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from sdk.doctor.finding import NOTE, OK, PROBLEM, Finding
from sdk.doctor.host import Host
from sdk.meters import NoMeter, list_meters, open_meter

DENIED = "permission denied"
UDEV_RAPL = (
    'For good: `echo \'SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chmod a+r /sys%p/energy_uj"\' | '
    "sudo tee /etc/udev/rules.d/60-rapl.rules`."
)
NODES = {  # what for: pattern under the root, group of Debian and its kin
    "firmware": ("dev/vcio*", "video"),
    "I2C": ("dev/i2c-*", "i2c"),
    "GPIO": ("dev/gpiochip*", "gpio"),
    "serial": ("dev/tty[UA][SCM][BMA]*", "dialout"),
    "IIO": ("dev/iio:device*", "plugdev"),
}


def meters(host: Host) -> Iterator[Finding]:
    """The meter that `auto` takes, and every source with what it lacks."""
    meter = open_meter(root=host.root, gencmd=host.gencmd)
    if isinstance(meter, NoMeter):
        yield Finding("energy", NOTE, f"not measured (no meter: {meter.reason})", "docs/meters.md has meters to add.")
    else:
        yield Finding("energy", OK, f"auto takes {meter.name}")
    for status in list_meters(host.root, gencmd=host.gencmd):
        if status.found:
            yield Finding(f"meter {status.name}", OK, status.detail)
        elif DENIED in status.detail:
            cure = " ".join((f"{_sentence(status.fix)}", UDEV_RAPL if status.name == "rapl" else "")).strip()
            yield Finding(f"meter {status.name}", PROBLEM, status.detail, cure)
        else:
            yield Finding(f"meter {status.name}", OK, f"not here: {status.detail}", _sentence(status.fix))


def nodes(host: Host) -> Iterator[Finding]:
    """Sensors and firmware that are there: may this user open them?"""
    for name, (pattern, group) in NODES.items():
        paths = sorted(host.root.glob(pattern))
        shut = [path.name for path in paths if not host.may(path, os.R_OK | os.W_OK)]
        names = ", ".join(f"/dev/{path.name}" for path in paths[:4]) + (" ..." if len(paths) > 4 else "")
        if shut:
            text = f"{', '.join(f'/dev/{path}' for path in shut[:4])}: {DENIED}"
            state = PROBLEM if name == "firmware" else NOTE
            rule = "Give them to a group by the rule in docs/sources.md, and: " if name == "IIO" else ""
            yield Finding(name, state, text, f"{rule}`sudo usermod -aG {group} $USER`, then log in again.")
        elif paths:
            yield Finding(name, OK, names)
    if host.is_pi and host.gencmd is None and not list(host.root.glob(NODES["firmware"][0])):
        fix = "Take the kernel of Raspberry Pi OS: without it neither throttling nor power can be read."
        yield Finding("firmware", NOTE, "no /dev/vcio", fix)


def _sentence(text: str) -> str:
    """The advice of a meter, as it stands in a list."""
    return f"{text[0].upper()}{text[1:]}." if text and text[-1] not in ".)" else text[:1].upper() + text[1:]
