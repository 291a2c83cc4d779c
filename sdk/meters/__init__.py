"""Meters: the time, memory and energy that any piece of code costs, and the machine it ran on.

    energy            what a meter answers (`Energy`) and what every meter can do (`Meter`)
    sampling          the two ways to get joules from readings: the steps of a counter, the area under a power
    uncertainty       how far the joules may be off
    baseline          the idle machine, repeated windows
    timeline          the power over a window, for a picture
    rapl, hwmon, iio, pmic, nvml, battery, lines, model
                      one file per source: where it is found, what may be summed
    jetson, firmware  rails of the Jetson boards; questions to the firmware of a Raspberry Pi
    choose            `open_meter`: the first source that works on this machine; `list_meters`: all of them
    memory            peak resident memory of a window; peak of the control group
    gpu_memory        memory of NVIDIA's cards
    measure           the window itself, and percentiles of latencies
    fingerprint       board, clocks, temperature and versions, to stand beside every figure

What could not be measured is `None` and prints as "not measured (why)", never as 0.
"""

from sdk.meters.baseline import Repeats, idle_between, idle_of, measure_idle, repeated
from sdk.meters.choose import MeterStatus, list_meters, open_meter
from sdk.meters.energy import Energy, Idle, Meter, NoMeter, Timeline, add_energies
from sdk.meters.fingerprint import Fingerprint, decode_throttled, fingerprint, throttled
from sdk.meters.gpu_memory import GpuMemory, GpuWatch
from sdk.meters.lines import LineMeter, energy_of_lines
from sdk.meters.measure import Latency, Measurement, Measuring, latency_summary, measure
from sdk.meters.memory import GroupMemory, GroupPeak, Memory, PeakMemory

__all__ = [
    "Energy",
    "Fingerprint",
    "GpuMemory",
    "GpuWatch",
    "GroupMemory",
    "GroupPeak",
    "Idle",
    "Latency",
    "LineMeter",
    "Measurement",
    "Measuring",
    "Memory",
    "Meter",
    "MeterStatus",
    "NoMeter",
    "PeakMemory",
    "Repeats",
    "Timeline",
    "add_energies",
    "decode_throttled",
    "energy_of_lines",
    "fingerprint",
    "idle_between",
    "idle_of",
    "latency_summary",
    "list_meters",
    "measure",
    "measure_idle",
    "open_meter",
    "repeated",
    "throttled",
]
