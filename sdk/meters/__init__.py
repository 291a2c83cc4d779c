"""Meters: the time, memory and energy that any piece of code costs, and the machine it ran on.

    energy        what a meter answers (`Energy`) and what every meter can do (`Meter`)
    sampling      the two ways to get joules from readings: the steps of a counter, the area under a power
    rapl, hwmon   one file per source: where it is found, what may be summed
    choose        `open_meter`: the first source that works on this machine
    memory        peak resident memory of a window
    measure       the window itself, and percentiles of latencies
    fingerprint   board, clocks, temperature and versions, to stand beside every figure

What could not be measured is `None` and prints as "not measured (why)", never as 0.
"""

from sdk.meters.choose import open_meter
from sdk.meters.energy import Energy, Meter, NoMeter
from sdk.meters.fingerprint import Fingerprint, fingerprint
from sdk.meters.measure import Latency, Measurement, Measuring, latency_summary, measure
from sdk.meters.memory import Memory, PeakMemory

__all__ = [
    "Energy",
    "Fingerprint",
    "Latency",
    "Measurement",
    "Measuring",
    "Memory",
    "Meter",
    "NoMeter",
    "PeakMemory",
    "fingerprint",
    "latency_summary",
    "measure",
    "open_meter",
]
