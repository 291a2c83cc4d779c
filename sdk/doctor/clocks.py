"""Clocks that stamp samples, and the speed of the cores."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sdk.doctor.finding import NOTE, OK, Finding
from sdk.doctor.host import Host
from sdk.meters.sysfs import int_or_none, text

FOLDER = "sys/devices/system/cpu/cpufreq"
COARSE_S = 1e-5
STEP_S = 0.05
BUILT_S = 1_750_000_000  # 2025: a wall clock before that is wrong
FIXED = ("performance", "userspace")


class Wall:
    """Whether the wall clock ran as the monotonic one did, from `__init__` on."""

    def __init__(self) -> None:
        self._ahead_s = time.time() - time.monotonic()

    def stepped_s(self) -> float:
        """Seconds by which the wall clock was moved since."""
        return time.time() - time.monotonic() - self._ahead_s


def clocks(host: Host, wall: Wall, now_s: float | None = None) -> Iterator[Finding]:
    """How fine the monotonic clock is, and whether the wall clock was set."""
    resolution_s = time.get_clock_info("monotonic").resolution
    source = text(host.root / "sys/devices/system/clocksource/clocksource0/current_clocksource")
    told = f"steps of {resolution_s:g} s" + (f", from {source}" if source else "")
    coarse = resolution_s > COARSE_S or source == "jiffies"
    fix = "Latencies below a millisecond cannot be measured with it." if coarse else ""
    yield Finding("monotonic clock", NOTE if coarse else OK, told, fix)
    now_s = time.time() if now_s is None else now_s
    stepped_s, is_set = wall.stepped_s(), host.clock_is_set()
    advice = "`timedatectl set-ntp true`. Streams do not care, records of several devices do."
    if now_s < BUILT_S:
        told = f"stands at {time.strftime('%Y-%m-%d', time.gmtime(now_s))}"
        yield Finding("wall clock", NOTE, told, f"It was never set: {advice}")
    elif abs(stepped_s) > STEP_S:
        told = f"was moved by {stepped_s:.3g} s while this ran"
        yield Finding("wall clock", NOTE, told, "Stamp samples by time.monotonic(), not by time.time().")
    elif is_set is False:
        yield Finding("wall clock", NOTE, "nobody keeps it right (not synchronised)", advice)
    else:
        yield Finding("wall clock", OK, "synchronised" if is_set else "whether it is synchronised is not known")


def speed(host: Host) -> Iterator[Finding]:
    """Governor and frequencies of every cluster of cores."""
    found = []
    for path in sorted((host.root / FOLDER).glob("policy*"), key=lambda path: int(path.name[6:])):
        governor = text(path / "scaling_governor")
        names = ("scaling_cur_freq", "scaling_min_freq", "scaling_max_freq", "cpuinfo_max_freq")
        now, low, high, most = (int_or_none(path / name) for name in names)
        found.append({"governor": governor, "khz": now, "low_khz": low, "high_khz": high, "most_khz": most})
    if not found:
        yield Finding("governor", OK, "not told (a virtual machine or a container)")
        return
    governors = dict.fromkeys(str(one["governor"]) for one in found)
    fast = all(governor in FIXED for governor in governors)
    fix = f"To compare figures: `echo performance | sudo tee /{FOLDER}/policy*/scaling_governor`."
    yield Finding("governor", OK if fast else NOTE, ", ".join(governors), "" if fast else fix, {"clusters": found})
    told = ", ".join(f"{_mhz(one['khz'])} of {_mhz(one['most_khz'] or one['high_khz'])}" for one in found)
    capped = [one for one in found if isinstance(one["high_khz"], int) and isinstance(one["most_khz"], int)]
    if any(int(str(one["high_khz"])) < int(str(one["most_khz"])) for one in capped):
        told += f"; limited to {', '.join(_mhz(one['high_khz']) for one in found)}"
        yield Finding("frequency", NOTE, told, "Something set scaling_max_freq lower: heat, nvpmodel, or a setting.")
    else:
        yield Finding("frequency", OK, told)


def _mhz(khz: object) -> str:
    return f"{khz / 1000:.0f} MHz" if isinstance(khz, int) else "unknown"
