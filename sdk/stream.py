"""`python -m sdk.stream`: samples from a source through a bundle; a prediction per window to the screen or to sinks.

    source -> Stream (windows, engine) -> predictions -> table | JSON lines | sinks
       ^                                                   summary at the end
       Ctrl-C, SIGTERM or SIGHUP ends it

With --record, windows and predictions also go into a store (runtime.recorder). The loop is `runtime.play`.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.command import DONE, FAILED, add_trust, json_text, open_bundle, run_command, say, trust_of
from runtime.recording.reading import HELP as COLUMNS
from sdk.shown import (
    YEAR_2001_S,
    describe_counters,
    describe_scores,
    describe_sink,
    describe_source,
    describe_unusual,
    print_header,
    print_prediction,
    why_nothing,
)

if TYPE_CHECKING:
    from runtime import Bundle, Counters, Prediction, Recorder, Stream
    from runtime.play import Follower, OnPrediction
    from runtime.sinks import Sink
    from runtime.sources import Source
    from sdk.scores import Tally

HELP = "Stream samples through a bundle: from a recording, a sensor or a network."
EXAMPLES = (
    """\
  python -m sdk.stream walk.bundle --replay today.npz              a line per window, scores at the end if it has labels
  python -m sdk.stream walk.bundle --replay today.csv --realtime   as slowly as the sensor was
  python -m sdk.stream walk.bundle --replay today.npz --json       one JSON object per line, the scores last
  python -m sdk.stream walk.bundle --source iio:mpu6050            a sensor that Linux drives, with the kernel's times
  python -m sdk.stream walk.bundle --source 'serial:/dev/ttyUSB0?baud=115200&t=ms'     a microcontroller that prints CSV
  my_sensor | python -m sdk.stream walk.bundle --source stdin --sink jsonl:out.jsonl   another program's lines
  python -m sdk.stream walk.bundle --source mqtt://broker/sensors/imu --sink mqtt://broker/activity
  python -m sdk.stream walk.bundle --source iio:mpu6050 --record me.db      keep what it sees, for python -m sdk.label
  python -m sdk.stream walk.bundle --source iio:mpu6050 --follow            take up what sdk.finetune learns meanwhile

sources (options follow a ?, joined by &; quote them for the shell):
  replay:FILE     realtime, chunk=16, columns               .csv or .npz, or a folder with a file for each sensor
  synthetic       rate, seconds, seed, drift (ppm), jitter (s), gap_every (s), gap (s), chunk, fast
  stdin           rate, columns                             JSON lines or CSV
  iio:DEVICE      rate, axes, stamps, poll, trigger, watermark; by name (mpu6050) or iio:device0; several: A,B
  serial:PORT     baud=115200, rate, columns                JSON lines or CSV; needs "sensedge[serial]"
  mqtt://[user@]host[:port]/topic, mqtts://...              JSON or CSV messages; needs "sensedge[mqtt]"
                  rate, columns, client_id, clean, password_file, ca, cert, key
sinks:
  jsonl:FILE, jsonl:-                                       a line per prediction; - is stdout
  mqtt://[user@]host[:port]/topic, mqtts://...              queue=1024, retain, discovery (Home Assistant), as above

columns (behind the ? of a source, or of --replay FILE: --replay 'today.csv?t=timestamp:ms&units=g,deg/s'):
"""
    + COLUMNS
    + """

A .csv needs a header with names of channels (acc_x, ax, accelerometer_x, ...); a time and label (a name) may be there.
What is recognised is said in one line; what cannot be known is asked for.
A line is {"t": 1.5, "acc_x": 0.1, ...}, {"t": [...], "samples": [[...], ...]}, or CSV with the time first or not there.
Ctrl-C, SIGTERM or SIGHUP ends it: what is held back is predicted, the summary is printed, and the exit code is 0."""
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return run_command(argv, "python -m sdk.stream", HELP, EXAMPLES, add_arguments, run)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """The bundle, where samples come from and where predictions go."""
    p.add_argument("bundle", type=Path, help="folder of the bundle")
    given = p.add_mutually_exclusive_group(required=True)
    given.add_argument("--source", metavar="URL", help="where samples come from; see below")
    given.add_argument(
        "--replay",
        metavar="FILE",
        type=Path,
        help=".csv or .npz recording, or a folder with a file for each sensor; ?options as below",
    )
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
    p.add_argument("--follow", action="store_true", help="change to the version in use when that is another")
    p.add_argument("--json", action="store_true", help="print JSON lines")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Stream until the source ends; the exit code.

    Raises:
        InputError: `--max-mb` without `--record`.
    """
    from runtime import InputError, Replay, open_engine
    from runtime.play import play
    from runtime.process.signals import last_words
    from runtime.sinks import open_sink
    from sdk.scores import Tally

    bundle = open_bundle(arguments.bundle, trust=trust_of(arguments))
    if arguments.max_mb is not None and arguments.record is None:
        raise InputError("--max-mb", expected="a --record with it", got="none", fix="Name a store: --record me.db.")
    source, sinks = _source(arguments, bundle), [open_sink(url) for url in arguments.sink]
    engine = open_engine(bundle, arguments.engine)
    if engine.reason:
        say(f"engine: {engine.reason}", err=True)
    tally = Tally(bundle.manifest.labels)
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(sink)
        stack.enter_context(source)
        signals = stack.enter_context(_stopped_by_signals(source))
        recorder = None if arguments.record is None else stack.enter_context(_recorder(arguments, bundle, source))
        if recorder is not None:
            last_words.append(recorder.close)
        if not sinks and not arguments.json:
            print_header()
        told, show = Told(), _show(arguments, tally)
        hear = partial(_hear, told, live=not isinstance(source, Replay))
        look = partial(_look, told, show)
        streams: list[Stream] = []
        follow = _follow(arguments, streams) if arguments.follow else None
        counters = play(
            source, bundle, look, engine=engine, recorder=recorder, sinks=sinks, on_warning=hear, follow=follow
        )
    bundle = streams[0].bundle if streams else bundle  # another one may have come into use
    report = _summary if arguments.json else _text
    say(report(_Played(bundle, source, tally, counters, sinks, recorder, told)), err=bool(sinks))
    if counters.windows or signals:
        return DONE
    say(f"error: nothing was predicted: {why_nothing(source.counters, counters, bundle)}", err=True)
    return FAILED


@dataclasses.dataclass
class Told:
    """What a stream said of its samples on the way."""

    warnings: list[str] = dataclasses.field(default_factory=list)
    unusual: float | None = None


class _Played(NamedTuple):
    """What there is to report of."""

    bundle: Bundle
    source: Source
    tally: Tally
    counters: Counters
    sinks: Sequence[Sink]
    recorder: Recorder | None
    told: Told


def _hear(told: Told, text: str, *, live: bool) -> None:
    """At once where somebody may be able to mend it; the summary has it in any case."""
    told.warnings.append(text)
    if live:
        say(f"warning: {text}", err=True)


def _follow(arguments: argparse.Namespace, streams: list[Stream]) -> Callable[[Stream], Follower]:
    """What makes a follower of the stream, which is then kept among `streams`."""
    from runtime import open_engine
    from runtime.play import Follower

    def follow(stream: Stream) -> Follower:
        streams.append(stream)
        return Follower(stream, partial(say, err=True), open_with=partial(open_engine, engine=arguments.engine))

    return follow


def _look(told: Told, show: OnPrediction, prediction: Prediction, true: str | None) -> None:
    told.unusual = prediction.unusual
    show(prediction, true)


def _summary(played: _Played) -> str:
    bundle, source, tally, counters, sinks, recorder, told = played
    summary: dict[str, Any] = {"bundle": bundle.manifest.name, "version": bundle.version}
    summary |= {"scores": tally.scores().to_dict(), "counters": dataclasses.asdict(counters)}
    summary |= dataclasses.asdict(told)
    summary |= {"notes": counters.notes}
    summary |= {"source": dataclasses.asdict(source.counters)}
    summary |= {"sinks": [dataclasses.asdict(sink.counters) for sink in sinks]}
    summary |= {} if recorder is None else {"recorder": dataclasses.asdict(recorder.counters)}
    return json_text(summary)


def _text(played: _Played) -> str:
    from runtime import Replay

    _, source, tally, counters, sinks, recorder, told = played

    lines = [
        f"{counters.windows - counters.windows_not_finite} predictions"
        if not isinstance(source, Replay)
        else describe_scores(tally.scores()),
        describe_counters(counters),
        *(f"warning: {text}" for text in told.warnings),
        describe_unusual(told.unusual),
        *counters.notes,
        describe_source(source.counters),
        *map(describe_sink, (*sinks, *([recorder] if recorder else ()))),
    ]
    return "\n".join(line for line in lines if line)


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
    if isinstance(source, Replay):
        if source.began_s > YEAR_2001_S:
            epoch = 0.0
        elif not source.realtime:
            epoch = time.time() - source.duration_s - source.began_s
    max_mb = 500.0 if arguments.max_mb is None else arguments.max_mb
    return Recorder(arguments.record, bundle, max_mb=max_mb, epoch=epoch)


def _show(arguments: argparse.Namespace, tally: Tally) -> OnPrediction:
    """What is done with each prediction and its true label, beside the sinks."""

    def show(prediction: Prediction, true: str | None) -> None:
        tally.add(prediction.label, true)
        if arguments.sink:
            return
        if arguments.json:
            print(json_text({**prediction.to_dict(), "true": true}), flush=True)
        else:
            print_prediction(prediction, true)

    return show


@contextmanager
def _stopped_by_signals(source: Source) -> Iterator[list[int]]:
    """Those that came. The first of INT, TERM and HUP ends the source, the second the program.

    What was told is kept in any case.
    """
    from runtime.process.signals import Stopped, caught, last_words

    came: list[int] = []

    def act(number: int) -> None:
        source.stop()
        came.append(number)
        if len(came) > 1:
            raise Stopped

    with caught(act):
        try:
            yield came
        finally:
            last_words.clear()


if __name__ == "__main__":
    sys.exit(main())
