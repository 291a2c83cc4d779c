"""What the parent and the child of a profile say to each other; nothing heavy is imported for it.

parent  -->  ChildOptions, as JSON in an argument
        <--  {"ended": part}              a part is over; the child waits for a line
        <--  {"answer": ChildAnswer}      or {"batches": seconds by size}, or {"error": what was raised}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ChildOptions:
    """What a child measures, and how."""

    bundle: str  # absolute path
    version: str
    trust: Mapping[str, Any] | None  # the fields of a Trust, its keys in hexadecimal; None: nobody's signature is asked
    manifest_sha256: str  # of the bundle that was opened
    rows: str | None  # absolute path of a .npy file, shape (n, n_channels); None: the rows of the golden windows
    engine: str
    precision: str
    threads: int
    windows: int  # to be measured
    cap_s: float  # no window is begun after so many seconds of measuring
    least_s: float  # and it goes on for as many, for a meter that needs its time
    pace_s: float | None  # from one window to the next; None: flat out
    batches: Sequence[int] = ()  # sizes: measure batches of so many windows instead
    spawned_s: float = 0.0  # on the monotonic clock: when the process was asked for


@dataclass(frozen=True)
class ChildAnswer:
    """What a child measured; durations of single windows in ticks of 0.1 us."""

    engine_reason: str
    cold_s: Mapping[str, float]  # by stage of the cold start
    warm_up_windows: int  # that were found to differ from what followed
    steady: bool  # False: no end of the warm-up was found
    warm_up: Sequence[int]
    samples: Mapping[str, Sequence[int]]  # by stage of a window
    late: Sequence[int] | None  # None: flat out
    seconds: float
    cpu_seconds: float
    baseline_bytes: int
    peak_bytes: int
    peak_method: str
    marks: Sequence[tuple[str, int, int | None]]  # after what, resident bytes, those of its own
