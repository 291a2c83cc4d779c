"""`python -m sdk.stream`: samples from a source through a bundle; a prediction per window to the screen or to sinks.

    source -> Stream (windows, engine) -> predictions -> table | JSON lines | sinks
       ^                                                   summary at the end
       Ctrl-C or SIGTERM ends it

With --record, windows and predictions also go into a store (runtime.recorder).

The table and the scoring live here because the demo prints the same.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command import DONE, add_trust, open_bundle, run_command

if TYPE_CHECKING:
    from runtime import Bundle, Counters, Prediction, Recorder, Recording
    from runtime.engine import Engine
    from runtime.sinks import Sink
    from runtime.sources import Source, SourceCounters
    from sdk.scores import Scores

HELP = "Stream samples through a bundle: from a recording, a sensor or a network."
EXAMPLES = """\
  python -m sdk.stream walk.bundle --replay today.npz              a line per window, scores at the end if it has labels
  python -m sdk.stream walk.bundle --replay today.csv --realtime   as slowly as the sensor was
  python -m sdk.stream walk.bundle --replay today.npz --json       one JSON object per line, the scores last
  python -m sdk.stream walk.bundle --source iio:mpu6050            a sensor that Linux drives, with the kernel's times
  python -m sdk.stream walk.bundle --source 'serial:/dev/ttyUSB0?baud=115200&t=ms'     a microcontroller that prints CSV
  my_sensor | python -m sdk.stream walk.bundle --source stdin --sink jsonl:out.jsonl   another program's lines
  python -m sdk.stream walk.bundle --source mqtt://broker/sensors/imu --sink mqtt://broker/activity
  python -m sdk.stream walk.bundle --source iio:mpu6050 --record me.db      keep what it sees, for python -m sdk.label

sources (options follow a ?, joined by &; quote them for the shell):
  replay:FILE     realtime, chunk=16                        .csv or .npz; --replay is short for it
  synthetic       rate, seconds, seed, drift (ppm), jitter (s), gap_every (s), gap (s), chunk, fast
  stdin           t=auto|s|ms|us|ns|none, rate              JSON lines or CSV
  iio:DEVICE      rate, poll, trigger, watermark            by name (mpu6050) or iio:device0; several: A,B
  serial:PORT     baud=115200, t, rate                      JSON lines or CSV; needs "sensedge[serial]"
  mqtt://[user@]host[:port]/topic, mqtts://...              JSON or CSV messages; needs "sensedge[mqtt]"
                  t, rate, client_id, clean, password_file, ca, cert, key
sinks:
  jsonl:FILE, jsonl:-                                       a line per prediction; - is stdout
  mqtt://[user@]host[:port]/topic, mqtts://...              queue=1024, and as above

A .csv needs a header with the channel names of the bundle (acc_x, ...); t (seconds) and label (a name) may be there.
A line is {"t": 1.5, "acc_x": 0.1, ...}, {"t": [...], "samples": [[...], ...]}, or CSV with the time first or not there.
Ctrl-C or SIGTERM ends the stream: what is held back is predicted, the summary is printed, and the exit code is 0."""

_YEAR_2001_S = 1e9  # no recording that counts from its own start is that long
_REPLAYED_WINDOWS = 64  # from one commit of a recorder to the next
_LINE = "{:>9}  {:<14} {:>6}  {:<14} {:>7}  {}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return run_command(argv, "python -m sdk.stream", HELP, EXAMPLES, add_arguments, run)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """The bundle, where samples come from and where predictions go."""
    p.add_argument("bundle", type=Path, help="folder of the bundle")
    given = p.add_mutually_exclusive_group(required=True)
    given.add_argument("--source", metavar="URL", help="where samples come from; see below")
    given.add_argument("--replay", metavar="FILE", type=Path, help=".csv or .npz recording")
    p.add_argument("--sink", metavar="URL", action="append", default=[], help="where predictions go instead of a table")
    p.add_argument("--realtime", action="store_true", help="with --replay: wait as long as the sensor would")
    p.add_argument("--chunk", metavar="N", type=int, help="with --replay: samples per push (default 16)")
    p.add_argument("--record", metavar="STORE", type=Path, help="keep windows and predictions in this file")
    p.add_argument("--max-mb", metavar="MB", type=float, help="with --record: then the oldest go (default 500)")
    p.add_argument(
        "--engine",
        metavar="NAME",
        default="onnxruntime",
        help="what runs the model (default %(default)s; auto measures)",
    )
    p.add_argument("--json", action="store_true", help="print JSON lines")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Stream until the source ends; the exit code."""
    from runtime import InputError, open_engine
    from runtime.sinks import open_sink

    bundle = open_bundle(arguments.bundle, trust=arguments.trust)
    if arguments.max_mb is not None and arguments.record is None:
        raise InputError("--max-mb", expected="a --record with it", got="none", fix="Name a store: --record me.db.")
    source, sinks = _source(arguments, bundle), [open_sink(url) for url in arguments.sink]
    engine = open_engine(bundle, arguments.engine)
    if engine.reason:
        print(f"engine: {engine.reason}", file=sys.stderr)
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(sink)
        stack.enter_context(source)
        stack.enter_context(_stopped_by_signals(source))
        recorder = None if arguments.record is None else stack.enter_context(_recorder(arguments, bundle, source))
        if not sinks and not arguments.json:
            print_header()
        scores, counters = play(bundle, source, _show(arguments, sinks), engine, recorder)
    if arguments.json:
        summary: dict[str, Any] = {"bundle": bundle.manifest.name, "version": bundle.version}
        summary |= {"scores": scores.to_dict(), "counters": dataclasses.asdict(counters)}
        summary |= {"source": dataclasses.asdict(source.counters)}
        summary |= {"sinks": [dataclasses.asdict(sink.counters) for sink in sinks]}
        summary |= {} if recorder is None else {"recorder": dataclasses.asdict(recorder.counters)}
        print(json.dumps(summary), file=sys.stderr if sinks else sys.stdout)
    else:
        told = describe_scores(scores) if _recording(source) else f"{counters.windows} predictions"
        print(told, file=sys.stderr if sinks else sys.stdout)
        for text in (
            describe_counters(counters),
            describe_source(source.counters),
            *map(_describe_sink, (*sinks, *([recorder] if recorder else ()))),
        ):
            print(text, end="", file=sys.stderr if sinks else sys.stdout)
    return DONE


def _source(arguments: argparse.Namespace, bundle: Bundle) -> Source:
    from runtime import InputError, Replay
    from runtime.sources import open_source

    signal = bundle.manifest.signal
    if arguments.replay is None:
        if arguments.realtime or arguments.chunk is not None:
            raise InputError(
                "--realtime, --chunk",
                expected="a --replay with them",
                got=f"--source {arguments.source}",
                fix="Write options of a source behind its ?, as in replay:today.csv?realtime.",
            )
        return open_source(arguments.source, signal)
    chunk = 16 if arguments.chunk is None else arguments.chunk
    if chunk < 1:
        raise InputError("--chunk", expected="at least 1", got=chunk, fix="Push some tens of samples at once.")
    return Replay(arguments.replay, signal, chunk_samples=chunk, realtime=arguments.realtime)


def _recorder(arguments: argparse.Namespace, bundle: Bundle, source: Source) -> Recorder:
    """A replay that is not live is kept under its Unix times, and one without these as if it had just ended."""
    from runtime import Recorder, Replay

    epoch = None
    if isinstance(source, Replay) and len(source.recording.samples):
        began_s = 0.0 if source.recording.t is None else float(source.recording.t[0])
        if began_s > _YEAR_2001_S:
            epoch = 0.0
        elif not source.realtime:
            epoch = time.time() - source.recording.duration_s - began_s
    max_mb = 500.0 if arguments.max_mb is None else arguments.max_mb
    return Recorder(arguments.record, bundle, max_mb=max_mb, epoch=epoch)


def _show(arguments: argparse.Namespace, sinks: Sequence[Sink]) -> Callable[[Prediction, str | None], None]:
    """What is done with each prediction and its true label."""
    if sinks:

        def write(prediction: Prediction, true: str | None) -> None:
            for sink in sinks:
                sink.write(prediction)

        return write
    if arguments.json:
        return lambda p, true: print(json.dumps({**p.to_dict(), "true": true}), flush=True)
    return print_prediction


@contextmanager
def _stopped_by_signals(source: Source) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the source, the second the program."""
    came: list[int] = []

    def handle(number: int, frame: object) -> None:
        source.stop()
        came.append(number)
        if len(came) > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def play(
    bundle: Bundle,
    source: Source,
    show: Callable[[Prediction, str | None], None],
    engine: Engine | None = None,
    recorder: Recorder | None = None,
) -> tuple[Scores, Counters]:
    """Stream what an opened source sends, show every prediction, and score those whose true label the bundle knows."""
    from runtime import Counters, label_of, open_engine
    from runtime.sources import stream_for
    from sdk.scores import score

    labels, recording = bundle.manifest.labels, _recording(source)
    engine, stream = engine or open_engine(bundle), None
    pairs, kept = [], 0

    def take(predictions: list[Prediction]) -> None:
        for prediction in predictions:
            true = None if recording is None else label_of(recording, prediction.start_s, prediction.end_s)
            show(prediction, true)
            if true in labels:
                pairs.append((labels.index(true), labels.index(prediction.label)))

    for batch in source:
        stream = stream or stream_for(source, bundle, engine, recorder)
        take(stream.push(*batch))
        if recorder is not None and recording is not None and stream.counters.windows - kept >= _REPLAYED_WINDOWS:
            recorder.flush()  # a sensor gives it time enough; a replay does not wait
            kept = stream.counters.windows
    if stream is not None:
        take(stream.flush())
    if recorder is not None:
        recorder.flush()
    counters = Counters() if stream is None else stream.counters
    return score([true for true, _ in pairs], [predicted for _, predicted in pairs], len(labels)), counters


def _recording(source: Source) -> Recording | None:
    """What a replay plays; None of other sources."""
    return getattr(source, "recording", None)


def print_header() -> None:
    """The head of the live table."""
    print(_LINE.format("time", "prediction", "prob.", "true", "compute", "").rstrip(), flush=True)


def print_prediction(prediction: Prediction, true: str | None) -> None:
    """One line of the live table."""
    mark = "" if true in (None, prediction.label) else "<- wrong"
    cells = (
        _time(prediction.end_s),
        prediction.label,
        f"{prediction.probability:.3f}",
        true or "-",
        f"{prediction.compute_s * 1e3:.2f} ms",
        mark,
    )
    print(_LINE.format(*cells).rstrip(), flush=True)


def _time(at_s: float) -> str:
    """Seconds; the time of day, where they count from 1970."""
    if at_s < _YEAR_2001_S:
        return f"{at_s:.2f} s"
    return time.strftime("%H:%M:%S", time.localtime(at_s))


def describe_scores(scores: Scores) -> str:
    """The last line of the live table: accuracy and macro-F1, or why there are none."""
    if scores.accuracy is None or scores.macro_f1 is None:
        return "accuracy, macro-F1: not measured (no window with a true label that the bundle knows)"
    return f"{scores.n} windows with a true label: accuracy {scores.accuracy:.3f}, macro-F1 {scores.macro_f1:.3f}"


def describe_counters(counters: Counters) -> str:
    """A line on what was wrong with the samples; empty if nothing was."""
    wrong = {name: n for name, n in dataclasses.asdict(counters).items() if n and name not in ("samples", "windows")}
    told = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in wrong.items())
    return f"of {counters.samples} samples: {told}\n" if told else ""


def describe_source(counters: SourceCounters) -> str:
    """A line on what went wrong at the source; empty if nothing did."""
    wrong = {name: n for name, n in dataclasses.asdict(counters).items() if n and isinstance(n, int)}
    told = ", ".join(f"{n} {name}" for name, n in wrong.items() if name != "samples")
    shown = f" (the first malformed: {counters.first_malformed})" if counters.first_malformed else ""
    return f"source: {told}{shown}\n" if told else ""


def _describe_sink(sink: Sink | Recorder) -> str:
    told = ", ".join(f"{n} {name}" for name, n in dataclasses.asdict(sink.counters).items() if n or name == "written")
    return f"{type(sink).__name__}: {told}\n"


if __name__ == "__main__":
    sys.exit(main())
