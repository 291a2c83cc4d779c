"""The power of the idle machine, measured with the same meter, and energies that were measured several times.

    idle = measure_idle(meter)                  before, in the same process, the model loaded and the governor fixed
    with measure(meter, idle=idle) as m: ...
    after = measure_idle(meter)                 the two should agree: idle_between(idle, after)

An idle machine is not steady (background jobs, fans, temperature), so it is watched in several windows and their
spread counts: u_idle^2 = u_sensor^2 + s^2 / k, with s the standard deviation of the k windows.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sdk.meters.energy import Energy, Idle, Meter

WINDOWS = 5
DRIFT = 0.05  # two idles that differ by more are worth a remark
# 97.5 % points of Student's t by degrees of freedom; above 30 the next lower line is used
T_975 = {
    **dict(enumerate((12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228), start=1)),
    **dict(enumerate((2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086), start=11)),
    **dict(enumerate((2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042), start=21)),
    40: 2.021,
    60: 2.000,
    120: 1.980,
}


def measure_idle(
    meter: Meter, seconds: float = 10.0, *, windows: int = WINDOWS, sleep: Callable[[float], None] = time.sleep
) -> Idle:
    """Watch the machine for some seconds while this process sleeps.

    Args:
        meter: the one that the work will be measured with.
        seconds: in all; 10 s for a fast sensor, 30 s for the PMIC of a Raspberry Pi 5.
        windows: k, at least 2.
        sleep: waits.
    """
    energies = []
    for _ in range(windows):
        meter.start()
        sleep(seconds / windows)
        energies.append(meter.stop())
    return idle_of(energies)


def idle_of(energies: Sequence[Energy]) -> Idle:
    """Return the idle power from windows in which the machine waited, at least 2."""
    lost = next((energy for energy in energies if energy.joules is None or not energy.seconds), None)
    if lost is not None:
        return Idle(None, reason=lost.reason or "a window of no duration")
    watts = [(energy.joules or 0.0) / (energy.seconds or 1.0) for energy in energies]
    seconds = math.fsum(energy.seconds or 0.0 for energy in energies)
    sensor = [energy.uncertainty_j for energy in energies if energy.uncertainty_j is not None]
    uncertainty_w = None
    if len(sensor) == len(energies):  # steps are the same error in all windows: no averaging out
        uncertainty_w = math.hypot(math.fsum(sensor) / seconds, statistics.stdev(watts) / math.sqrt(len(watts)))
    notes = dict.fromkeys(note for energy in energies for note in energy.notes)
    return Idle(statistics.fmean(watts), uncertainty_w, seconds, notes=tuple(notes))


def idle_between(before: Idle, after: Idle) -> Idle:
    """Return the mean of the idles before and after the work; if they differ by over 5 %, it says so.

    Half their difference joins the uncertainty: nobody knows when the power changed.
    """
    if before.watts is None or after.watts is None:
        return before if before.watts is None else after
    watts, half = (before.watts + after.watts) / 2, abs(before.watts - after.watts) / 2
    uncertainty_w = None
    if before.uncertainty_w is not None and after.uncertainty_w is not None:
        uncertainty_w = math.hypot(max(before.uncertainty_w, after.uncertainty_w), half)
    notes = tuple(dict.fromkeys(before.notes + after.notes))
    if 2 * half > DRIFT * abs(watts):
        notes += (f"the idle machine changed from {before.watts:.3g} W before to {after.watts:.3g} W after",)
    return Idle(watts, uncertainty_w, (before.seconds or 0.0) + (after.seconds or 0.0), notes=notes)


@dataclass(frozen=True)
class Repeats:
    """The same work, measured several times."""

    n: int
    mean_j: float
    ci95_j: float  # half the width of the 95 % interval of the mean, by Student's t


def repeated(joules: Sequence[float]) -> Repeats:
    """Summarise the windows of a repeated piece of work; five are a good beginning.

    Raises:
        ValueError: fewer than two: one window has no spread.
    """
    if len(joules) < 2:
        raise ValueError(f"expected the joules of at least 2 windows, got {len(joules)}")
    t = T_975[max(freedom for freedom in T_975 if freedom <= len(joules) - 1)]
    return Repeats(len(joules), statistics.fmean(joules), t * statistics.stdev(joules) / math.sqrt(len(joules)))
