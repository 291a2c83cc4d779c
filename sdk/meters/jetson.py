"""Which power rails of a Jetson are its total, and which lie behind others.

Adding all rails counts twice. A board is known by the names of its rails, since the numbers of chips and buses change
with JetPack and from boot to boot. All totals but Thor's are those of the compute module: the carrier board with its
USB ports, fan and regulators is not in them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from sdk.meters.sysfs import board_model

CARRIER = "the carrier board (USB, disk, fan, regulators)"


@dataclass(frozen=True)
class JetsonBoard:
    """What adds up to a board, and what must not be added to it."""

    names: str
    total: tuple[str, ...]
    parts: tuple[str, ...]  # behind the total
    total_chip: str = ""  # a chip of one supply that measures the total instead of the rails
    leaves_out: str = CARRIER


BOARDS = (
    JetsonBoard(
        "AGX Thor", ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"), (), total_chip="ina238", leaves_out=""
    ),  # its INA238, without labels, measures the input of the whole system
    JetsonBoard("Orin Nano, Orin NX, Xavier NX", ("VDD_IN",), ("VDD_CPU_GPU_CV", "VDD_SOC")),
    JetsonBoard("TX2 NX", ("VDD_IN",), ("VDD_CPU_GPU", "VDD_SOC")),
    JetsonBoard(
        "TX2", ("VDD_IN",), ("VDD_SYS_GPU", "VDD_SYS_SOC", "VDD_4V0_WIFI", "VDD_SYS_CPU", "VDD_SYS_DDR")
    ),  # VDD_MUX and its neighbours on the carrier are beside VDD_IN, not in it
    JetsonBoard("TX1", ("VDD_IN",), ("VDD_GPU", "VDD_CPU")),
    JetsonBoard("Nano", ("POM_5V_IN",), ("POM_5V_GPU", "POM_5V_CPU")),
    JetsonBoard(
        "AGX Orin, IGX Orin", ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), ("VDDQ_VDD2_1V8AO",)
    ),  # fed by VIN_SYS_5V0
    JetsonBoard("AGX Xavier", ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), ()),  # no rail above the six
)


def board_of(rails: Collection[str]) -> JetsonBoard | None:
    """Return the board whose total can be read; of several the one with the most of its parts among the rails."""
    fitting = [board for board in BOARDS if set(board.total) <= set(rails)]
    return max(fitting, key=lambda board: len(set(board.parts) & set(rails)), default=None)


def advice(root: str | Path) -> str:
    """Return what a machine without any meter can do; boards that are known to have none are named."""
    model = board_model(root)
    external = "put an INA226 or INA228 into its supply, or read a USB meter (lines:PATH): docs/meters.md"
    if "Jetson Nano 2GB" in model:
        return f"the Jetson Nano 2GB has no power monitor: {external}"
    if model.startswith("Raspberry Pi") and not any(name in model for name in (" 5", " 500", "Module 5")):
        return f"{model} has no power sensor: {external}"
    return external
