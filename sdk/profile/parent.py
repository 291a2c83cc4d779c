"""The other end of `sdk.profile.child`: starts it, reads its memory from outside, and keeps what each phase cost.

The meter stands in this process, and not in the one that is measured: its thread takes no time from a prediction.

Where the memory of a process lies depends on such things as the length of a path, and moves its speed: two copies of
one bundle differed by 0.8 % here, always in the same sense. So each process gets an environment of a random size, which
moves its stack and its heap (Mytkowicz, Diwan, Hauswirth and Sweeney 2009, "Producing wrong data without doing anything
obviously wrong!").
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from runtime.errors import SensedgeError
from runtime.process.child import Child
from sdk.meters import Meter
from sdk.meters.sampling import Ticker
from sdk.profile.report import MemoryMark, Phase, Run, RunMemory
from sdk.profile.resident import rss_bytes
from sdk.profile.talk import ChildAnswer, ChildOptions

MEMORY_PERIOD_S = 0.02
LAYOUTS = 4096  # bytes, a page
_CODE = "import time; began = time.monotonic(); from sdk.profile.child import main; main(began)"


class Phases:
    """What the machine did when, with the energy of each part.

    Args:
        meter: of energy.
    """

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.began_s = time.monotonic()
        self.done: list[Phase] = []

    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began_s

    @contextmanager
    def phase(self, name: str, run: int | None = None) -> Iterator[None]:
        """Measure a stretch of time."""
        self.meter.start()
        begin_s = self.now_s()
        try:
            yield
        finally:
            end_s = self.now_s()
            self.done.append(Phase(name, run, begin_s, end_s, self.meter.stop()))


def child_process() -> Child:
    """A process that does what `sdk.profile.child` says, not yet started; for a `with` statement."""
    return Child(["-c", _CODE], environment={"SENSEDGE_LAYOUT": "." * secrets.randbelow(LAYOUTS)})


def start(child: Child, options: ChildOptions) -> None:
    """Start it; its interpreter's time runs from here."""
    child.start(json.dumps(vars(options) | {"spawned_s": time.monotonic()}))


def one_run(options: ChildOptions, phases: Phases, number: int, look: Callable[[int], None] = lambda pid: None) -> Run:
    """Start a process, let it go through its parts, and collect what it measured.

    Args:
        options: for it.
        phases: take its phases in.
        number: of the run.
        look: called with the process, while it still holds all its memory.

    Raises:
        SensedgeError: what the process raised.
        OSError: it ended without an answer.
    """
    with child_process() as child, _watched(child, phases) as timeline:
        with phases.phase("start", number):
            start(child, options)
            _ended(child, "start")
        for part in ("warm-up", "measured"):
            with phases.phase(part, number):
                child.go_on()
                _ended(child, part)
        look(child.pid)
        child.go_on()
        answer = ChildAnswer(**_received(child, "answer"))
    return run_of(answer, timeline)


def run_of(answer: ChildAnswer, timeline: Sequence[tuple[float, int]]) -> Run:
    """What is kept of an answer, with the resident size of the process as it was seen from outside."""
    return Run(
        cold_s=dict(answer.cold_s),
        warm_up_hops=answer.warm_up_windows,
        steady=answer.steady,
        warm_up=tuple(answer.warm_up),
        samples={name: tuple(ticks) for name, ticks in answer.samples.items()},
        late=None if answer.late is None else tuple(answer.late),
        seconds=answer.seconds,
        cpu_seconds=answer.cpu_seconds,
        memory=RunMemory(
            baseline_bytes=answer.baseline_bytes,
            peak_bytes=answer.peak_bytes,
            method=answer.peak_method,
            marks=tuple(MemoryMark(*mark) for mark in answer.marks),
            timeline=tuple(timeline),
        ),
        engine_reason=answer.engine_reason,
    )


def batch_run(options: ChildOptions) -> dict[str, list[float]]:
    """Seconds of the calls of each size of a batch."""
    with child_process() as child:
        start(child, options)
        _ended(child, "start")
        child.go_on()
        seconds: dict[str, list[float]] = _received(child, "batches")
    return seconds


def _ended(child: Child, part: str) -> None:
    """Wait until a part has ended."""
    if _received(child, "ended") != part:
        raise OSError(f"a process of the profile left out its {part}")


def _received(child: Child, kind: str) -> Any:
    """What its next message, of this kind, holds.

    Raises:
        SensedgeError: what was raised in there.
        OSError: it ended.
    """
    message = child.receive() or {}
    if kind in message:
        return message[kind]
    if "error" in message:
        raise SensedgeError.from_plain(message["error"])
    raise OSError(f"a process of the profile ended with {child.ending()}: {child.last_line() or 'it said nothing'}")


@contextmanager
def _watched(child: Child, phases: Phases) -> Iterator[list[tuple[float, int]]]:
    """The resident size of the process from outside, every 20 ms, while the block runs."""
    seen: list[tuple[float, int]] = []

    def look() -> None:
        with suppress(OSError, RuntimeError, IndexError):  # not yet there, or gone
            seen.append((round(phases.now_s(), 4), rss_bytes(pid=child.pid)))

    ticker = Ticker(look, MEMORY_PERIOD_S)
    ticker.start()
    try:
        yield seen
    finally:
        ticker.stop()
