"""`python -m sdk.stream`: play a recording through a bundle and print a prediction per window.

The table and the scoring live here because the demo prints the same.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command import DONE, add_trust, guarded, open_bundle, parser

if TYPE_CHECKING:
    from runtime import Bundle, Counters, Prediction, Replay
    from sdk.scores import Scores

_EXAMPLES = """\
  python -m sdk.stream walk.bundle --replay today.npz              a line per window, scores at the end if it has labels
  python -m sdk.stream walk.bundle --replay today.csv --realtime   as slowly as the sensor was
  python -m sdk.stream walk.bundle --replay today.npz --json       one JSON object per line, the scores last

A .csv needs a header with the channel names of the bundle (acc_x, ...); t (seconds) and label (a name) may be there."""

_LINE = "{:>9}  {:<14} {:>6}  {:<14} {:>7}  {}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    p = parser("sdk.stream", "Play a recording through a bundle as a live stream.", _EXAMPLES)
    p.add_argument("bundle", type=Path, help="folder of the bundle")
    p.add_argument("--replay", metavar="FILE", type=Path, required=True, help=".csv or .npz recording")
    p.add_argument("--realtime", action="store_true", help="wait as long as the sensor would")
    p.add_argument("--chunk", metavar="N", type=int, default=16, help="samples per push (default %(default)s)")
    p.add_argument("--json", action="store_true", help="print JSON lines")
    add_trust(p)
    arguments = p.parse_args(argv)
    return guarded(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    from runtime import InputError, Replay

    if arguments.chunk < 1:
        raise InputError(
            "--chunk", expected="at least 1", got=arguments.chunk, fix="Push some tens of samples at once."
        )
    bundle = open_bundle(arguments.bundle, trust=arguments.trust)
    replay = Replay(
        arguments.replay, bundle.manifest.signal, chunk_samples=arguments.chunk, realtime=arguments.realtime
    )
    if arguments.json:
        scores, counters = play(
            bundle, replay, lambda p, true: print(json.dumps({**p.to_dict(), "true": true}), flush=True)
        )
        summary = {"bundle": bundle.manifest.name, "version": bundle.version, "scores": scores.to_dict()}
        print(json.dumps({**summary, "counters": dataclasses.asdict(counters)}))
        return DONE
    print_header()
    scores, counters = play(bundle, replay, print_prediction)
    print(describe_scores(scores))
    print(describe_counters(counters), end="")
    return DONE


def play(bundle: Bundle, replay: Replay, show: Callable[[Prediction, str | None], None]) -> tuple[Scores, Counters]:
    """Stream a recording, show every prediction, and score those whose true label the bundle knows."""
    from runtime import Stream, label_of
    from sdk.scores import score

    labels, stream = bundle.manifest.labels, Stream(bundle, source_hz=replay.recording.rate_hz)
    pairs = []

    def take(predictions: list[Prediction]) -> None:
        for prediction in predictions:
            true = label_of(replay.recording, prediction.start_s, prediction.end_s)
            show(prediction, true)
            if true in labels:
                pairs.append((labels.index(true), labels.index(prediction.label)))

    for samples, t in replay:
        take(stream.push(samples, t))
    take(stream.flush())
    return score([true for true, _ in pairs], [predicted for _, predicted in pairs], len(labels)), stream.counters


def print_header() -> None:
    """The head of the live table."""
    print(_LINE.format("time", "prediction", "prob.", "true", "compute", "").rstrip())


def print_prediction(prediction: Prediction, true: str | None) -> None:
    """One line of the live table."""
    mark = "" if true in (None, prediction.label) else "<- wrong"
    cells = (
        f"{prediction.end_s:.2f} s",
        prediction.label,
        f"{prediction.probability:.3f}",
        true or "-",
        f"{prediction.compute_s * 1e3:.2f} ms",
        mark,
    )
    print(_LINE.format(*cells).rstrip(), flush=True)


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


if __name__ == "__main__":
    sys.exit(main())
