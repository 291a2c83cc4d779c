"""The one loop: what a source sends goes through a stream, and what the stream says to a recorder, to sinks, to you.

    source -> batch -> Stream.push -> prediction -> Recorder      where one was handed in
                                                 -> Sink, Sink    in turn
                                                 -> on_prediction(prediction, true label or None)

    with open_source("iio:mpu6050", bundle.manifest.signal) as source:
        play(source, bundle, lambda prediction, true: print(prediction.label))

It ends when the source ends or is stopped; what is then held back is predicted too, unless a signal interrupts the
engine in the middle of a window (`runtime.process.signals`): then that is the end. A true label is known where the
source plays a recording that has labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from runtime.bundle import Bundle
from runtime.engine import Engine, open_engine
from runtime.engine.base import Interrupted
from runtime.sources import Source
from runtime.stream import Prediction, Stream
from runtime.window import Counters

if TYPE_CHECKING:
    from runtime.recorder import Recorder
    from runtime.sinks import Sink

OnPrediction = Callable[[Prediction, str | None], object]
_REPLAYED_WINDOWS = 64  # from one commit of a recorder to the next


def play(
    source: Source,
    bundle: Bundle,
    on_prediction: OnPrediction | None = None,
    *,
    engine: Engine | None = None,
    recorder: Recorder | None = None,
    sinks: Sequence[Sink] = (),
    on_warning: Callable[[str], object] | None = None,
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

    Returns:
        What became of the samples.
    """
    engine, stream, kept, n_told = engine or open_engine(bundle), None, 0, 0
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
            stream = stream or stream_for(source, bundle, engine, recorder)
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
