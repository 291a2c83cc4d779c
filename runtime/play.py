"""The one loop: what a source sends goes through a stream, and what the stream says to a recorder, to sinks, to you.

    source -> batch -> Stream.push -> prediction -> Recorder      where one was handed in
                                                 -> Sink, Sink    in turn
                                                 -> on_prediction(prediction, true label or None)

    with open_source("iio:mpu6050", bundle.manifest.signal) as source:
        play(source, bundle, lambda prediction, true: print(prediction.label))

With `follow` the stream changes to the version in use of its bundle's folder, whenever that is another (`Follower`).
It ends when the source ends or is stopped; what is then held back is predicted too, unless a signal interrupts the
engine in the middle of a window (`runtime.process.signals`): then that is the end. A true label is known where the
source plays a recording that has labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from runtime.bundle import Bundle
from runtime.engine import Engine, open_engine
from runtime.engine.base import Interrupted
from runtime.errors import SensedgeError
from runtime.sources import Source
from runtime.stream import Prediction, Stream
from runtime.window import Counters

if TYPE_CHECKING:
    from runtime.recorder import Recorder
    from runtime.sinks import Sink

OnPrediction = Callable[[Prediction, str | None], object]
_REPLAYED_WINDOWS = 64  # from one commit of a recorder to the next
_LONGEST_S = 60.0  # between two tries to open what does not open


def play(
    source: Source,
    bundle: Bundle,
    on_prediction: OnPrediction | None = None,
    *,
    engine: Engine | None = None,
    recorder: Recorder | None = None,
    sinks: Sequence[Sink] = (),
    on_warning: Callable[[str], object] | None = None,
    follow: Callable[[Stream], Follower] | None = None,
) -> Counters:
    """Stream what an opened source sends, until it ends.

    Args:
        source: that was opened.
        bundle: what predicts.
        on_prediction: called with each prediction and its true label, None where nobody knows it.
        engine: None: onnxruntime.
        recorder: of this bundle; it is flushed at the end.
        sinks: that were opened.
        on_warning: called once with each of `Stream.warnings`, and at the end with a word on `Stream.unusual`.
        follow: makes what looks after the stream's model: `Follower`, or one with other options.

    Returns:
        What became of the samples.
    """
    engine, stream, follower, kept, n_told = engine or open_engine(bundle), None, None, 0, 0
    label_of: Callable[[float, float], str | None] | None = getattr(source, "true_label", None)  # of a replay

    def tell(predictions: list[Prediction]) -> None:
        nonlocal n_told
        for prediction in predictions:
            n_told += 1
            for sink in sinks:
                sink.write(prediction)
            if on_prediction is not None:
                true = None if label_of is None else label_of(prediction.start_s, prediction.end_s)
                on_prediction(prediction, true)

    told: list[str] = []

    def warn(texts: Sequence[str]) -> None:
        for text in texts[len(told) :]:
            told.append(text)
            if on_warning is not None:
                on_warning(text)

    try:
        for batch in source:
            if stream is None:
                stream = stream_for(source, bundle, engine, recorder)
                follower = None if follow is None else follow(stream)
            if follower is not None:
                follower.look()
            tell(stream.push(*batch))
            if len(stream.warnings) > len(told):
                warn(stream.warnings)
            if recorder is not None and label_of is not None and stream.counters.windows - kept >= _REPLAYED_WINDOWS:
                recorder.flush()  # a sensor gives it time enough; a replay does not wait
                kept = stream.counters.windows
        if stream is not None:
            tell(stream.flush())
            warn([*stream.warnings, *unlike(stream)])
    except Interrupted:  # the window that was being computed is given up; all that was told stands
        if not n_told:
            raise
    if recorder is not None:
        recorder.flush()
    return Counters() if stream is None else stream.counters


def unlike(stream: Stream) -> list[str]:
    """A sentence on how unlike the training data the samples are, where they are."""
    value = stream.unusual
    if value is None or value <= 1:
        return []
    known = f"{value:.2f}, and 95 of 100 training windows are below 1"
    return [f"unlike the training data ({known}): labels may be confidently wrong"]


def stream_for(
    source: Source, bundle: Bundle, engine: Engine | None = None, recorder: Recorder | None = None
) -> Stream:
    """A stream for what a source sends: the manifest's clock, and what the source knows of its stamps and its rate.

    Call it when the first batch is there: a source of lines does not know before whether they have times.

    Args:
        source: that was opened.
        bundle: what predicts.
        engine: None: onnxruntime.
        recorder: of this bundle; the stream is a `RecordedStream` then.
    """
    clock = replace(bundle.manifest.clock, unit="s")  # as the times of every batch
    if source.stamps is not None:
        clock = replace(clock, stamps=source.stamps)
    if recorder is not None:
        from runtime.recorder import RecordedStream  # sqlite3, for those who have a store

        return RecordedStream(recorder, engine, clock=clock, source_hz=source.rate_hz)
    return Stream(bundle, engine, clock=clock, source_hz=source.rate_hz)


class Follower:
    """Gives a stream the version in use of its bundle's folder, whenever that is another, also another base.

    What is looked at is when the manifest and `personal/current` were written; nothing is read while that is as it was.
    What does not open, is not trusted as the stream's bundle was, or is of another signal or window, is told once and
    tried again later; the model that the stream has goes on meanwhile.

    Args:
        stream: of an opened bundle.
        say: takes a line for each change, and for each that failed.
        open_with: opens the engine of a new model.
        period_s: between two looks; after a failure longer and longer, up to a minute.
        clock: tells seconds.
    """

    def __init__(
        self,
        stream: Stream,
        say: Callable[[str], object] = lambda text: None,
        *,
        open_with: Callable[[Bundle], Engine] = open_engine,
        period_s: float = 1.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._stream, self._say, self._open, self._period_s, self._clock = stream, say, open_with, period_s, clock
        self._written: object = None  # as it was when the folder was last read
        self._failed = ""
        self._wait_s, self._next_s = period_s, -inf

    def look(self) -> bool:
        """Change the model if there is another one; whether it was."""
        if self._clock() < self._next_s:
            return False
        found = self._read()
        self._wait_s = min(2 * self._wait_s, max(_LONGEST_S, self._period_s)) if self._failed else self._period_s
        self._next_s = self._clock() + self._wait_s
        return found

    def _read(self) -> bool:
        old, written = self._stream.bundle, _written(self._stream.bundle.path)
        if written == self._written:
            return False
        try:
            new = Bundle.open(old.path, trust=old.trust)
            other = (new.version, new.manifest_sha256) != (old.version, old.manifest_sha256)
            if other:
                self._stream.use(new, self._open(new))
        except SensedgeError as error:
            if str(error) != self._failed:
                self._say(f"{old.path.name}: version {old.version} stays in use: {error}")
            self._failed = str(error)
            return False
        self._written, self._failed = written, ""
        if other:
            self._say(f"{old.path.name}: version {new.version} in use")
        return other


def _written(path: Path) -> list[tuple[int, int, int] | None]:
    """When the files that say which model is in use were written, and which files these are."""
    return [_stamp(path / name) for name in ("manifest.json", "personal/current")]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
