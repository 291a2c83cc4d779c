"""The board: what it is, whether it holds its speed, and how much room there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sdk.doctor.finding import NOTE, OK, PROBLEM, Finding
from sdk.doctor.host import Host
from sdk.meters import Fingerprint, decode_throttled, fingerprint
from sdk.meters.sysfs import text

HOT_C = 80.0  # where a Raspberry Pi begins to slow down
LEAST_MEMORY, LITTLE_MEMORY = 128 << 20, 512 << 20
LEAST_DISK, LITTLE_DISK = 100 << 20, 1 << 30
STREAM_MB = 70  # what a stream over the shipped bundle has resident
UNDER_VOLTAGE = "Take the power supply that belongs to the board, and a short cable."
COOLING = "Cool it: a heat sink with a fan, and air around it."


def board(host: Host) -> Iterator[Finding]:
    """Which board this is, how warm it is, and whether it was throttled."""
    found = fingerprint(host.root, gencmd=host.gencmd)
    names = [found.board or "no device tree (a PC or a virtual machine)", found.soc, found.release, found.cpu]
    cores = None if found.cores is None else f"{found.cores} cores"
    yield Finding("board", OK, ", ".join(filter(None, (*names, cores))), facts=found.to_dict())
    yield from _throttling(host, found)
    if found.temperature_c is not None:
        hot = found.temperature_c >= HOT_C
        yield Finding("temperature", *(NOTE, f"{found.temperature_c:.1f} °C", COOLING) if hot else (
            OK, f"{found.temperature_c:.1f} °C"))  # fmt: skip
    if found.power_mode is not None:
        yield Finding("power mode", OK, f"nvpmodel left {found.power_mode}; only runs in one mode can be compared")


def _throttling(host: Host, found: Fingerprint) -> Iterator[Finding]:
    """Now is a problem: figures taken now are wrong. Since boot is a note."""
    bits, alarms = found.throttled_bits, found.over_currents
    if bits is None and alarms is None:
        text_ = "the firmware could not be asked" if host.is_pi else "this machine does not tell"
        yield Finding("throttling", NOTE if host.is_pi else OK, text_, "See the firmware below." if host.is_pi else "")
        return
    flags = decode_throttled(bits or 0)
    now = [flag for flag in flags if flag.endswith("now")]
    past = [flag for flag in flags if not flag.endswith("now")] + [
        f"over-current at {name} ({count})" for name, count in (alarms or {}).items() if count
    ]
    fix = " ".join(
        ([UNDER_VOLTAGE] if any("under-voltage" in flag or "current" in flag for flag in flags + past) else [])
        + ([COOLING] if any(word in flag for flag in flags for word in ("throttled", "capped", "limit")) else [])
    )
    facts = {"throttled_bits": bits, "over_currents": alarms}
    if now:
        yield Finding("throttling", PROBLEM, ", ".join(now + past), fix, facts)
    elif past:
        yield Finding("throttling", NOTE, ", ".join(past), fix, facts)
    else:
        yield Finding("throttling", OK, "none now, none since boot", facts=facts)


def room(host: Host, folder: Path) -> Iterator[Finding]:
    """Memory, swap, disk, and what the control group allows."""
    whole, free = (_kilobytes(host, name) for name in ("MemTotal", "MemAvailable"))
    if whole is not None and free is not None:
        told = f"{free / 1e6:.0f} of {whole / 1e6:.0f} MB are free"
        if free < LEAST_MEMORY:
            fix = f"End other programs: a stream takes about {STREAM_MB} MB, fine-tuning more."
            yield Finding("memory", PROBLEM, told, fix)
        else:
            yield Finding("memory", OK, told)
        yield _swap(host, free)
    yield from _disk(host, folder)
    yield from _limits(host)


def _swap(host: Host, free: int) -> Finding:
    whole, left = (_kilobytes(host, name) or 0 for name in ("SwapTotal", "SwapFree"))
    used = whole - left
    told = f"{used / 1e6:.0f} of {whole / 1e6:.0f} MB in use" if whole else "none"
    if used > free:
        return Finding("swap", NOTE, told, "More is swapped out than is free: latencies will have long tails.")
    if not whole and free < LITTLE_MEMORY:
        return Finding("swap", NOTE, told, "With so little memory switch on zram: `sudo apt install zram-tools`.")
    return Finding("swap", OK, told)


def _disk(host: Host, folder: Path) -> Iterator[Finding]:
    try:
        free = host.free_bytes(folder)
    except OSError:
        return
    told = f"{free / 1e9:.1f} GB are free at {folder}"
    fix = "Make room: every fine-tuning run writes a version of its own."
    state = PROBLEM if free < LEAST_DISK else NOTE if free < LITTLE_DISK else OK
    yield Finding("disk", state, told, "" if state == OK else fix)


def _limits(host: Host) -> Iterator[Finding]:
    """Of the second version of control groups: in a container the group is mounted as the root of all."""
    group = re.search(r"^0::(.*)$", text(host.root / "proc/self/cgroup"), re.MULTILINE)
    folders = [f"sys/fs/cgroup{group[1]}" if group else "sys/fs/cgroup", "sys/fs/cgroup"]
    folder = next((host.root / name for name in folders if (host.root / name / "memory.max").is_file()), None)
    memory, cpu = ("", "") if folder is None else (text(folder / "memory.max"), text(folder / "cpu.max"))
    quota = re.fullmatch(r"(\d+) (\d+)", cpu)
    found = [f"{int(memory) / 1e6:.0f} MB of memory"] if memory.isdigit() else []
    if quota:
        found.append(f"{int(quota[1]) / int(quota[2]):g} cores")
    facts = {"memory.max": memory, "cpu.max": cpu}
    small = (memory.isdigit() and int(memory) < LEAST_MEMORY) or (quota and int(quota[1]) < int(quota[2]))
    if not found:
        yield Finding("control group", OK, "no limit of memory or processor", facts=facts)
    else:
        fix = "Give the container more: below one core, windows are stopped in the middle." if small else ""
        yield Finding("control group", NOTE if small else OK, f"allows {' and '.join(found)}", fix, facts)


def _kilobytes(host: Host, name: str) -> int | None:
    kb = host.number(rf"^{name}:\s+(\d+) kB", "proc/meminfo")
    return None if kb is None else kb * 1024
