"""The other end of `sdk.profile.child`: starts it, reads its memory from outside, and keeps what each phase cost.

The meter stands in this process, and not in the one that is measured: its thread takes no time from a prediction.

Where the memory of a process lies depends on such things as the length of a path, and moves its speed: two copies of
one bundle differed by 0.8 % here, always in the same sense. So each process gets an environment of a random size, which
moves its stack and its heap (Mytkowicz, Diwan, Hauswirth and Sweeney 2009, "Producing wrong data without doing anything
obviously wrong!").
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from runtime import errors
from sdk.meters import Meter
from sdk.meters.sampling import Ticker
from sdk.profile.report import MemoryMark, Phase, Run, RunMemory
from sdk.profile.resident import rss_bytes

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


class Child:
    """A process that does what `sdk.profile.child` says; to be used in a `with` statement.

    Args:
        options: for it.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options

    def __enter__(self) -> Child:
        self._stderr: IO[bytes] = tempfile.TemporaryFile()
        return self

    def start(self) -> None:
        """Start it; its interpreter's time runs from here."""
        root = str(Path(__file__).parents[2])  # where this very package is
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
        command = [sys.executable, "-c", _CODE, json.dumps(self._options | {"spawned_s": time.monotonic()})]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=os.environ | {"PYTHONPATH": path, "SENSEDGE_LAYOUT": "." * secrets.randbelow(LAYOUTS)},
        )

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def ended(self, part: str) -> None:
        """Wait until a part has ended."""
        line = self._line()
        if line != f"ended {part}":
            self._raise(line)

    def go_on(self) -> None:
        """Let it begin the next part."""
        with suppress(BrokenPipeError):  # why it is gone is told when the next line is missing
            print(file=self._process.stdin, flush=True)

    def result(self) -> dict[str, Any]:
        """Wait for its answer."""
        line = self._line()
        if not line.startswith("result {") or '"error"' in line[:20]:
            self._raise(line)
        answer: dict[str, Any] = json.loads(line.removeprefix("result "))
        return answer

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def _raise(self, line: str) -> None:
        """Raise what happened in there."""
        if line.startswith("result "):
            name, parts = json.loads(line.removeprefix("result "))["error"]
            raise getattr(errors, name)(parts.pop("where"), **parts)
        code = self._process.wait()
        self._stderr.seek(0)
        last = self._stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
        raise OSError(f"a process of the profile ended with {code}: {last or 'it said nothing'}")

    def __exit__(self, *raised: object) -> None:
        if hasattr(self, "_process"):
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()
        self._stderr.close()


def one_run(
    options: dict[str, Any], phases: Phases, number: int, look: Callable[[int], None] = lambda pid: None
) -> Run:
    """Start a process, let it go through its parts, and collect what it measured.

    Args:
        options: for `sdk.profile.child`.
        phases: take its phases in.
        number: of the run.
        look: called with the process, while it still holds all its memory.

    Raises:
        SensedgeError: what the process raised.
        OSError: it ended without an answer.
    """
    with Child(options) as child, _watched(child, phases) as timeline:
        with phases.phase("start", number):
            child.start()
            child.ended("start")
        with phases.phase("warm-up", number):
            child.go_on()
            child.ended("warm-up")
        with phases.phase("measured", number):
            child.go_on()
            child.ended("measured")
        look(child.pid)
        child.go_on()
        answer = child.result()
    memory = answer.pop("memory")
    marks = tuple(MemoryMark(*mark) for mark in memory.pop("marks"))
    samples = {name: tuple(ticks) for name, ticks in answer.pop("samples").items()}
    late, warm_up = answer.pop("late"), tuple(answer.pop("warm_up"))
    return Run(
        **answer,
        warm_up=warm_up,
        samples=samples,
        late=None if late is None else tuple(late),
        memory=RunMemory(**memory, marks=marks, timeline=tuple(timeline)),
    )


def batch_run(options: dict[str, Any]) -> dict[str, list[float]]:
    """Seconds of the calls of each size of a batch."""
    with Child(options) as child:
        child.start()
        child.ended("start")
        child.go_on()
        seconds: dict[str, list[float]] = child.result()["batches"]
    return seconds


@contextmanager
def _watched(child: Child, phases: Phases) -> Iterator[list[tuple[float, int]]]:
    """The resident size of the process from outside, every 20 ms, while the block runs."""
    seen: list[tuple[float, int]] = []

    def look() -> None:
        with suppress(OSError, AttributeError, IndexError):  # not yet there, or gone
            seen.append((round(phases.now_s(), 4), rss_bytes(pid=child.pid)))

    ticker = Ticker(look, MEMORY_PERIOD_S)
    ticker.start()
    try:
        yield seen
    finally:
        ticker.stop()
