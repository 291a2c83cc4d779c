"""One fresh process of a profile.

`sdk.profile.parent` starts it and is told when each part ends:

    interpreter  imports  open  session  first prediction | warm-up | measured windows |  answer
                                                          ^         ^                  ^
    a line to the parent, which reads its meter and answers; nothing of that is in the times

Until the first prediction this process imports what a program that streams would import, and no more.
"""

from __future__ import annotations

import sys
from time import monotonic, perf_counter, process_time, sleep

from sdk.profile.resident import resident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from runtime import Bundle, Stream
    from runtime.bundle import Trust
    from runtime.engine import Engine
    from runtime.process.parent import Parent
    from sdk.meters.memory import PeakMemory
    from sdk.profile.talk import ChildAnswer, ChildOptions

TICKS_PER_S = 10_000_000
ROUND_WINDOWS = 200  # of the warm-up, before it is looked at
ROUNDS = 5
WARM_UP_SHARE = 0.2  # of the time for measuring
LEAST_WINDOWS = 5  # of the warm-up, however slow
_PARTS = ("window", "engine", "decide")


def main(began_s: float) -> None:
    """Do what the first argument says; `began_s` is when the interpreter could run its first line."""
    import json

    from runtime.errors import SensedgeError
    from runtime.process.parent import Parent

    parent = Parent()
    try:
        message = _run(json.loads(sys.argv[1]), began_s, parent)
    except SensedgeError as error:
        message = {"error": error.to_plain()}
    parent.tell(message)


class _Start:
    """Times each part of the cold start, and reads the memory after it."""

    def __init__(self, began_s: float, spawned_s: float) -> None:
        reading_s = monotonic()
        self.cold_s: dict[str, float] = {}
        self.marks: list[tuple[str, int, int | None]] = []
        self.took("interpreter", began_s - spawned_s)
        self._began_s = began_s + monotonic() - reading_s

    def begin(self) -> None:
        """A part begins now."""
        self._began_s = monotonic()

    def ended(self, part: str) -> None:
        """It ends now, and the next one begins."""
        self.took(part, monotonic() - self._began_s)
        self.begin()

    def took(self, part: str, seconds: float) -> None:
        self.cold_s[part] = seconds
        self.mark(part)

    def mark(self, part: str) -> None:
        self.marks.append((part, *resident()))


def _run(plain: dict[str, Any], began_s: float, parent: Parent) -> dict[str, Any]:
    """From the cold start to the answer, as a message."""
    start = _Start(began_s, plain["spawned_s"])
    from sdk.profile.talk import ChildOptions

    options = ChildOptions(**plain)
    import numpy

    bundle, engine, peak = _opened(options, start)
    from runtime import Stream

    rows = golden_rows(bundle) if options.rows is None else numpy.load(options.rows)
    hops, stream = endless_hops(rows, bundle.manifest.window.hop_samples), Stream(bundle, engine)
    start.took("first_prediction", first_prediction_s(stream, hops))
    parent.ask({"ended": "start"})
    if options.batches:
        return {"batches": batches(bundle, engine, options.batches, options.cap_s)}
    return {"answer": vars(_answer(options, engine, pusher(stream, hops), start, peak, parent))}


def _opened(options: ChildOptions, start: _Start) -> tuple[Bundle, Engine, PeakMemory]:
    """The bundle and its engine, and the peak of the memory from before they were opened."""
    if options.engine.startswith("onnxruntime"):
        import onnxruntime  # noqa: F401
    from runtime import Bundle, Stream, open_engine  # noqa: F401

    start.ended("imports")
    from sdk.meters.memory import PeakMemory

    peak = PeakMemory()
    peak.start()
    start.begin()
    bundle = Bundle.open(
        options.bundle, options.version, trust=_trust(options.trust), manifest_sha256=options.manifest_sha256
    )
    start.ended("open")
    engine = open_engine(bundle, options.engine, threads=options.threads, precision=options.precision)
    if hasattr(engine, "wait"):
        engine.wait()  # what another engine answers meanwhile is not what was asked about
    start.ended("session")
    return bundle, engine, peak


def _answer(
    options: ChildOptions, engine: Engine, push: Callable[[], Row], start: _Start, peak: PeakMemory, parent: Parent
) -> ChildAnswer:
    """The warm-up, and the windows that count."""
    from sdk.profile.talk import ChildAnswer

    warm_up, warm_up_windows = warm_up_of(push, options.cap_s * WARM_UP_SHARE)
    parent.ask({"ended": "warm-up"})
    cpu_s, wall_s = process_time(), perf_counter()
    samples, late = measured(push, options.windows, options.cap_s, options.least_s, options.pace_s)
    cpu_s, wall_s = process_time() - cpu_s, perf_counter() - wall_s
    parent.ask({"ended": "measured"})
    memory = peak.stop()
    start.mark("measured")
    return ChildAnswer(
        engine_reason=engine.reason,
        cold_s=start.cold_s,
        warm_up_windows=len(warm_up) if warm_up_windows is None else warm_up_windows,
        steady=warm_up_windows is not None,
        warm_up=[ticks(row[-1]) for row in warm_up],
        samples={name: [ticks(row[i]) for row in samples] for i, name in enumerate((*_PARTS, "total"))},
        late=None if late is None else [ticks(seconds) for seconds in late],
        seconds=wall_s,
        cpu_seconds=cpu_s,
        baseline_bytes=memory.baseline_bytes,
        peak_bytes=memory.peak_bytes,
        peak_method=memory.method,
        marks=start.marks,
    )


def _trust(plain: Mapping[str, Any] | None) -> Trust | None:
    if plain is None:
        return None
    from runtime.bundle import Trust

    return Trust.from_plain(plain)


def ticks(seconds: float) -> int:
    """Whole ticks of 0.1 us."""
    return round(seconds * TICKS_PER_S)


def golden_rows(bundle: Bundle) -> NDArray[np.float32]:
    """The rows of the golden windows, one window after the other, shape (n, n_channels)."""
    import numpy as np

    return np.concatenate(bundle.golden().windows)


def endless_hops(rows: NDArray[np.float32], hop: int) -> Iterator[Any]:
    """The rows, shape (n, n_channels), in pieces of a hop, again and again."""
    from itertools import cycle

    return cycle(hops_of(rows, hop))


def hops_of(rows: NDArray[np.float32], hop: int) -> list[Any]:
    """The rows, shape (n, n_channels), in pieces of so many; the last one begins anew where they end."""
    return [rows.take(range(begin, begin + hop), axis=0, mode="wrap") for begin in range(0, len(rows), hop)]


def first_prediction_s(stream: Stream, hops: Iterator[Any]) -> float:
    """Seconds of the push that completes the first window."""
    while True:
        hop = next(hops)
        began = perf_counter()
        if stream.push(hop):
            return perf_counter() - began


Row = tuple[float, float, float, float]  # window, engine, decide, total


def pusher(stream: Stream, hops: Iterator[Any]) -> Callable[[], Row]:
    """A call pushes hops until there is a prediction, and says how long the last push took, and its parts."""

    def push() -> Row:
        while True:
            hop = next(hops)
            began = perf_counter()
            predictions = stream.push(hop)
            ended = perf_counter()
            if predictions:
                parts = [(p.window_s, p.engine_s, p.decide_s) for p in predictions]
                window_s, engine_s, decide_s = map(sum, zip(*parts, strict=True))
                return window_s, engine_s, decide_s, ended - began

    return push


def warm_up_of(push: Callable[[], Row], cap_s: float) -> tuple[list[Row], int | None]:
    """Push until the beginning has ended, or the time is up: all that was pushed, and how many belong to it."""
    from sdk.profile.warmup import warm_up_windows

    rows: list[Row] = []
    until, found = perf_counter() + cap_s, None
    for _ in range(ROUNDS):
        for _ in range(ROUND_WINDOWS):
            rows.append(push())
            if perf_counter() > until and len(rows) >= LEAST_WINDOWS:
                return rows, warm_up_windows([row[-1] for row in rows])
        found = warm_up_windows([row[-1] for row in rows])
        if found is not None:
            break
    return rows, found


def measured(
    push: Callable[[], Row], n: int, cap_s: float, least_s: float, pace_s: float | None
) -> tuple[list[Row], list[float] | None]:
    """The durations of windows, and how late each was begun.

    Args:
        push: one window.
        n: windows, or more until `least_s` is over.
        cap_s: no window is begun after so many seconds, but for the first.
        least_s: for a meter that needs its time.
        pace_s: from one window to the next; None: flat out.
    """
    if pace_s is not None:
        return _paced(push, n, cap_s, pace_s)
    rows = [push()]
    began = perf_counter()
    while (now := perf_counter() - began) < cap_s and (len(rows) < n or now < least_s):
        rows.append(push())
    return rows, None


def _paced(push: Callable[[], Row], n: int, cap_s: float, pace_s: float) -> tuple[list[Row], list[float]]:
    """Each window when it is due; one that is late does not move those that follow."""
    rows: list[Row] = []
    late: list[float] = []
    began = perf_counter()
    while len(rows) < n and (not rows or len(rows) * pace_s < cap_s):
        due = began + len(rows) * pace_s
        sleep(max(0.0, due - perf_counter()))
        late.append(perf_counter() - due)
        rows.append(push())
    return rows, late


def batches(bundle: Bundle, engine: Engine, sizes: Sequence[int], cap_s: float) -> dict[str, list[float]]:
    """Seconds of one call per batch of so many windows; the sizes take turns."""
    import numpy as np

    windows = np.concatenate([bundle.golden().windows] * (1 + max(sizes) // len(bundle.golden().windows)))
    seconds: dict[str, list[float]] = {str(size): [] for size in sizes}
    until = perf_counter() + cap_s
    for turn in range(BATCH_TURNS):
        for size in sizes:
            began = perf_counter()
            engine.run(windows[:size])
            if turn >= BATCH_WARM_UP:
                seconds[str(size)].append(perf_counter() - began)
        if perf_counter() > until and turn > BATCH_WARM_UP:
            break
    return seconds


BATCH_TURNS, BATCH_WARM_UP = 60, 10
