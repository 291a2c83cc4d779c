"""Questions to the firmware of a Raspberry Pi: what `vcgencmd` asks, without a process for each question.

The kernel passes a command on by an ioctl of /dev/vcio (protocol: the source of vcgencmd, raspberrypi/utils). Where
that fails and the program is installed, it is run instead.
"""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from sdk.meters.energy import MeterError

Gencmd = Callable[[str], str]  # a command such as "pmic_read_adc" to its answer; raises OSError

DEVICES = ("dev/vcio_gencmd", "dev/vcio")
GROUP_CURE = "`sudo usermod -aG video $USER`, then log in again"
MESSAGE_BYTES = 4096
TAG_GENCMD = 0x00030080
IOCTL_PROPERTY = 0xC0000000 | struct.calcsize("P") << 16 | 100 << 8  # _IOWR(100, 0, char *)


def open_firmware(root: str | Path = "/") -> Gencmd:
    """Return the way to ask.

    Raises:
        MeterError: this machine has no such firmware, or the device may not be opened.
    """
    device = next((path for name in DEVICES if (path := Path(root) / name).exists()), None)
    if device is None:
        raise MeterError("no /dev/vcio", "only a Raspberry Pi with the kernel of Raspberry Pi OS has it")
    try:
        ask_device(device, "version")
    except PermissionError:
        raise MeterError(f"/dev/{device.name}: permission denied", GROUP_CURE, there=True) from None
    except OSError as error:
        if Path(root) != Path("/"):
            raise MeterError(f"/dev/{device.name}: {error}", there=True) from None
        return run_vcgencmd
    return lambda command: ask_device(device, command)


def ask_device(device: Path, command: str) -> str:
    """Ask the firmware by ioctl.

    Raises:
        OSError: no such device, no permission, or the firmware knows no such command.
    """
    import fcntl  # not on every system that can import this package

    size = 4 * 6 + MESSAGE_BYTES + 4
    message = bytearray(struct.pack("=6I", size, 0, TAG_GENCMD, MESSAGE_BYTES, 0, 0)).ljust(size, b"\0")
    message[24 : 24 + len(command)] = command.encode()
    handle = os.open(device, os.O_RDWR)
    try:
        fcntl.ioctl(handle, IOCTL_PROPERTY, message, True)
    finally:
        os.close(handle)
    (error,) = struct.unpack_from("=I", message, 20)
    if error:
        raise OSError(f"the firmware answered {command!r} with error {error}")
    return message[24:-4].split(b"\0", 1)[0].decode(errors="replace")


def run_vcgencmd(command: str) -> str:
    """Ask the firmware by the program vcgencmd.

    Raises:
        OSError: no such program, no answer in 5 seconds, or an error of its own.
    """
    try:
        done = subprocess.run(["vcgencmd", *command.split()], capture_output=True, text=True, timeout=5)
    except subprocess.TimeoutExpired:
        raise OSError(f"vcgencmd {command}: no answer in 5 s") from None
    if done.returncode:
        raise OSError(f"vcgencmd {command}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
