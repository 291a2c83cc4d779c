"""How to measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.errors import InputError
from runtime.specs import FLOAT32

SWEEPS = ("threads", "engines", "batch")
WINDOWS = 10_000
RUNS, WINDOWS_PER_RUN = 10, 200  # at most so many runs, of at least so many windows
CAP_S = 60.0
IDLE_S = 5.0


@dataclass(frozen=True)
class ProfileOptions:
    """How a bundle is profiled.

    Raises:
        InputError: a field outside its range; the message names it as the command's option.
    """

    windows: int = WINDOWS  # predictions to be measured, over all runs
    runs: int | None = None  # processes; None: 10, fewer for few windows; one in real time
    engine: str = "onnxruntime"
    precision: str = FLOAT32
    threads: int = 1
    cap_s: float = CAP_S  # of measuring, over all runs: no window is begun after it
    deadline_s: float | None = None  # None: a hop
    real_time: bool = False  # each window when its last sample would arrive
    idle_s: float = IDLE_S  # watched before and after, where there is a meter
    sweeps: Sequence[str] = ()  # of SWEEPS

    def __post_init__(self) -> None:
        for name, expected, good in (
            ("windows", "at least 1", self.windows >= 1),
            ("runs", "at least 1", self.runs is None or self.runs >= 1),
            ("threads", "at least 1", self.threads >= 1),
            ("cap_s", "a number above 0", self.cap_s > 0),
            ("deadline_s", "a number above 0", self.deadline_s is None or self.deadline_s > 0),
            ("idle_s", "a number above 0", self.idle_s > 0),
            ("sweeps", f"names among {', '.join(SWEEPS)}", set(self.sweeps) <= set(SWEEPS)),
        ):
            if not good:
                got = ",".join(self.sweeps) if name == "sweeps" else getattr(self, name)
                raise InputError(name, expected=expected, got=got, fix="Correct it.")

    @property
    def n_runs(self) -> int:
        """How many fresh processes measure, one after the other."""
        if self.runs is not None:
            return min(self.runs, self.windows)
        return 1 if self.real_time else max(1, min(RUNS, self.windows // WINDOWS_PER_RUN))
