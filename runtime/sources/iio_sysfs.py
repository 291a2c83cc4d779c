"""The files of a Linux IIO device: finding it, its channels, rates, scales; and what to do where one refuses.

    /sys/bus/iio/devices/iio:device0/
      name                              mpu6050
      in_accel_x_raw  in_accel_scale    value = (raw + offset) * scale, in m/s^2, rad/s, Gauss
      sampling_frequency[_available]
      scan_elements/in_accel_x_{en,index,type}
      buffer/{length,watermark,enable}
      trigger/current_trigger
    /dev/iio:device0                    the scans

Source: Linux, Documentation/ABI/testing/sysfs-bus-iio.
"""

from __future__ import annotations

import errno
import math
import os
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import InputError, MissingError
from runtime.files.kernel import read_text
from runtime.specs import Signal

SYSFS, DEV = Path("/sys/bus/iio/devices"), Path("/dev")
_UDEV = (
    """echo 'SUBSYSTEM=="iio", GROUP="plugdev", MODE="0660", RUN+="/bin/chgrp -R plugdev /sys%p", """
    """RUN+="/bin/chmod -R g=u /sys%p"' | sudo tee /etc/udev/rules.d/90-iio.rules && """
    "sudo udevadm trigger --subsystem-match=iio && sudo usermod -aG plugdev $USER (then log in again)"
)
_UNITS = {  # of a bundle: what IIO calls it, and how many of that unit one of IIO's is
    "m/s^2": ("accel", 1.0),
    "g": ("accel", 1 / 9.80665),
    "rad/s": ("anglvel", 1.0),
    "deg/s": ("anglvel", 180 / math.pi),
    "uT": ("magn", 100.0),  # a Gauss is 100 microtesla
    "G": ("magn", 1.0),
}


@dataclass(frozen=True)
class Channel:
    """One column of a bundle's signal as IIO knows it."""

    name: str  # in_accel_x
    kind: str  # in_accel
    factor: float  # from IIO's unit to the bundle's


def channels_of(signal: Signal) -> dict[str, list[Channel]]:
    """The channels of each modality, told by its unit.

    Raises:
        InputError: a unit that no IIO channel has, or two modalities of one kind.
    """
    found: dict[str, list[Channel]] = {}
    kinds: set[str] = set()
    for modality in signal.modalities:
        if modality.unit not in _UNITS or _UNITS[modality.unit][0] in kinds:
            raise InputError(
                f"modality {modality.name}",
                expected=f"one modality for each unit of {', '.join(_UNITS)}",
                got=modality.unit,
                fix="IIO cannot feed this bundle: read the sensor in a program of yours and use stdin or push().",
            )
        kind, factor = _UNITS[modality.unit]
        kinds.add(kind)
        found[modality.name] = [Channel(f"in_{kind}_{axis}", f"in_{kind}", factor) for axis in modality.channels]
    return found


class Folder:
    """A folder of sysfs files, whose refusals say what to do about them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).exists()

    def text(self, name: str) -> str:
        """What a file holds.

        Raises:
            MissingError: not there, or not to be read.
        """
        try:
            return read_text(self.path / name).strip()
        except OSError as error:
            raise refused(self.path / name, error) from None

    def number(self, name: str, default: float) -> float:
        """A number; the default if there is no such file.

        Raises:
            InputError: something else is in it.
        """
        if not self.has(name):
            return default
        word = self.text(name)
        try:
            return float(word)
        except ValueError:
            raise InputError(
                self.path / name, expected="a number", got=repr(word), fix="Look at the driver of the sensor."
            ) from None

    def write(self, name: str, value: object) -> None:
        """Write a value.

        Raises:
            MissingError: it may not be written, or the driver refuses the value.
        """
        try:
            (self.path / name).write_text(f"{value}\n")
        except OSError as error:
            raise refused(self.path / name, error, value) from None

    def scale_of(self, channel: Channel) -> tuple[float, float]:
        """Offset and scale of a channel: its own, or those of its kind."""
        of = [
            next(
                (
                    self.number(f"{stem}_{what}", default)
                    for stem in (channel.name, channel.kind)
                    if self.has(f"{stem}_{what}")
                ),
                default,
            )
            for what, default in (("offset", 0.0), ("scale", 1.0))
        ]
        return of[0], of[1]


def find_device(device: str, root: Path = SYSFS) -> Folder:
    """A device by its name (mpu6050), or as iio:device0.

    Raises:
        MissingError: there is none.
        InputError: there are several of that name.
    """
    folders = [Folder(path) for path in sorted(root.glob("iio:device*")) if (path / "name").exists()]
    found = [folder for folder in folders if device in (folder.path.name, folder.path.name.removeprefix("iio:"))]
    found = found or [folder for folder in folders if folder.text("name") == device]
    if len(found) > 1:
        raise InputError(
            f"{root}: {device}",
            expected="one device of that name",
            got=" and ".join(folder.path.name for folder in found),
            fix=f"Name the one you mean: {found[0].path.name}. Numbers may change when the machine starts.",
        )
    if found:
        return found[0]
    here = ", ".join(f"{folder.path.name} {folder.text('name')}" for folder in folders)
    raise MissingError(
        f"{root}: {device}",
        expected="the name of an IIO device",
        got=here or "no device at all",
        fix="Load its driver; for an MPU-6050 on a Raspberry Pi: "
        "echo dtoverlay=mpu6050 | sudo tee -a /boot/firmware/config.txt && sudo reboot",
    )


def set_rate(folder: Folder, kinds: list[str], wanted_hz: float, triggers: Path) -> float | None:
    """Ask for a rate, or the next above it that the device has; what it then says it is, None if it says nothing.

    A device without a rate of its own may have a trigger that has one.

    Raises:
        MissingError: it may not be written.
    """
    places = [(folder, "sampling_frequency"), *((folder, f"{kind}_sampling_frequency") for kind in kinds)]
    name = folder.text("trigger/current_trigger") if folder.has("trigger/current_trigger") else ""
    places += [(trigger, "sampling_frequency") for trigger in _triggers(triggers) if name == trigger.text("name")]
    rates = [_set_rate(place, file, wanted_hz) for place, file in places if place.has(file)]
    return min(rates) if rates else None


def _set_rate(folder: Folder, file: str, wanted_hz: float) -> float:
    words = folder.text(f"{file}_available").split() if folder.has(f"{file}_available") else []
    try:
        rates = {float(word): word for word in words}
    except ValueError:  # a range, [10 1 500]
        rates = {}
    above = [rate for rate in rates if rate >= wanted_hz * 0.999]
    nearest = min(above) if above else max(rates) if rates else None
    folder.write(file, f"{wanted_hz:g}" if nearest is None else rates[nearest])
    return folder.number(file, wanted_hz)


def set_trigger(folder: Folder, wanted: str | None, root: Path) -> None:
    """See that the device has a trigger, if it needs one: the one that is asked for, its own, or the only one.

    Raises:
        MissingError: none is there, or it is not to be set.
    """
    if not folder.has("trigger/current_trigger"):
        return
    current, names = folder.text("trigger/current_trigger"), [trigger.text("name") for trigger in _triggers(root)]
    if wanted is None and current:
        return
    own = [name for name in names if name.startswith(f"{folder.text('name')}-dev")]
    choice = wanted or (own or [*names, ""])[0]
    if choice not in names:
        raise MissingError(
            folder.path / "trigger/current_trigger",
            expected=f"a trigger{'' if wanted is None else f' {wanted}'}",
            got=", ".join(names) or "none",
            fix="Run: sudo modprobe iio-trig-hrtimer && sudo mkdir -p /sys/kernel/config/iio/triggers/hrtimer/sensedge",
        )
    folder.write("trigger/current_trigger", choice)


def _triggers(root: Path) -> list[Folder]:
    return [Folder(path) for path in sorted(root.glob("trigger*")) if (path / "name").exists()]


def refused(path: Path, error: OSError, value: object = None) -> MissingError:
    """What a file's refusal means, and its cure."""
    what = "a file that can be read" if value is None else f"a file that takes {value}"
    cures = {
        errno.EACCES: f"Run it once as root, or: {_UDEV}",
        errno.EPERM: f"Run it once as root, or: {_UDEV}",
        errno.EBUSY: "End the other program that reads this sensor (sudo fuser -v /dev/iio:device*).",
        errno.ENOENT: "Look at the wiring and at the sensor's driver: dmesg | grep -i iio",
        errno.ENODEV: "Look at the wiring and at the sensor's driver: dmesg | grep -i iio",
    }
    return MissingError(
        path,
        expected=what,
        got=os.strerror(error.errno) if error.errno else error,
        fix=cures.get(error.errno or 0, "The driver refuses this: try ?poll, another rate, or another trigger."),
    )
