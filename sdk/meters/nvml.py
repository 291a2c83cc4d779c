"""NVML: the energy counter of an NVIDIA graphics card, Volta or later; `pip install sensedge[nvml]`.

Only by name: what a card uses while a processor computes is not the energy of the work. A Jetson has NVML too, which
starts and then answers NotSupported, so that only a value counts as a meter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdk.meters.energy import PARTIAL, MeterError
from sdk.meters.sampling import POLL_S, CounterRail, SampledMeter, Spread
from sdk.meters.uncertainty import CountSpread

UJ_PER_MJ = 1000
STEP_J, REFRESH_S = 0.001, 0.1  # the counter is in mJ and moves about ten times a second


@dataclass(frozen=True)
class NvmlRail:
    """The energy counter of one NVIDIA card."""

    name: str
    read_mj: Callable[[], int]

    def read(self) -> float:
        """Return microjoules since the driver was loaded.

        Raises:
            OSError: whatever NVML raises, as text.
        """
        try:
            return self.read_mj() * UJ_PER_MJ
        except Exception as error:  # NVML raises classes of its own
            raise OSError(f"{self.name}: {error}") from None

    def joules(self, before: float, after: float, seconds: float) -> float:
        """Return the step of the counter."""
        return CounterRail(self.name, Path()).joules(before, after, seconds)

    def spread(self) -> Spread:
        """The uncertainty of the driver's counter."""
        return CountSpread(STEP_J, REFRESH_S)


def open_nvml(
    index: str = "",
    *,
    nvml: Any = None,
    clock: Callable[[], float] = time.monotonic,
    background: bool = True,
) -> SampledMeter:
    """Return a meter over one card.

    Args:
        index: which card; "" where there is only one.
        nvml: a module like pynvml instead of the installed one.
        clock: monotonic seconds.
        background: as for `SampledMeter`.

    Raises:
        MeterError: no package, no driver, no such card, or a card without the counter.
    """
    nvml = nvml or load_nvml()
    try:
        nvml.nvmlInit()
        n_cards = nvml.nvmlDeviceGetCount()
    except Exception as error:
        raise MeterError(f"NVML: {error}", "install the driver of the card (`nvidia-smi` must work)") from None
    if not (index.isdigit() and int(index) < n_cards) and not (index == "" and n_cards == 1):
        raise MeterError(f"NVML: {n_cards} cards", "name one as nvml:INDEX, counted from nought", there=n_cards > 0)
    handle = nvml.nvmlDeviceGetHandleByIndex(int(index or 0))
    name = nvml.nvmlDeviceGetName(handle)
    name = name.decode() if isinstance(name, bytes) else str(name)
    rail = NvmlRail(name, lambda: int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)))
    try:
        rail.read()
    except OSError as error:
        raise MeterError(f"NVML: no energy counter: {error}", "on a Jetson take hwmon", there=True) from None
    return SampledMeter(
        "nvml",
        [rail],
        method="counter",
        period_s=POLL_S,
        refresh_s=REFRESH_S,
        tier=PARTIAL,
        leaves_out="everything but the graphics card",
        shortest_s=50 * REFRESH_S,
        clock=clock,
        background=background,
    )


def load_nvml() -> Any:
    """Return the module that speaks to NVML.

    Raises:
        MeterError: it is not installed.
    """
    try:
        import pynvml
    except ImportError:
        raise MeterError("no nvidia-ml-py", "`pip install sensedge[nvml]`") from None
    return pynvml
