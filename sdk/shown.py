"""Predictions, scores and counters as a person reads them in a terminal: what `sdk.stream` and `sdk.demo` print."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from runtime.errors import printable

if TYPE_CHECKING:
    from runtime import Counters, Prediction, Recorder
    from runtime.bundle import Bundle
    from runtime.sinks import Sink
    from runtime.sources import SourceCounters
    from sdk.scores import Scores

YEAR_2001_S = 1e9  # no recording that counts from its own start is that long
_UNEVEN = 0.1  # share of samples whose stamps come twice or leave a gap: more is no clock of measurement
_LINE = "{:>9}  {:<14} {:>6}  {:<14} {:>7}  {}"


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
    print(printable(_LINE.format(*cells).rstrip()), flush=True)


def _time(at_s: float) -> str:
    """Seconds; the time of day, where they count from 1970."""
    if at_s < YEAR_2001_S:
        return f"{at_s:.2f} s"
    return time.strftime("%H:%M:%S", time.localtime(at_s))


def describe_scores(scores: Scores) -> str:
    """The last line of the live table: accuracy and macro-F1, or why there are none."""
    if scores.accuracy is None or scores.macro_f1 is None:
        return "accuracy, macro-F1: not measured (no window with a true label that the bundle knows)"
    return (
        f"{scores.n} windows with a true label: accuracy {scores.accuracy:.3f}, "
        f"macro-F1 {scores.macro_f1:.3f} {scores.over}"
    )


def describe_counters(counters: Counters) -> str:
    """A line on what was wrong with the samples; empty if nothing was."""
    wrong = {name: n for name, n in dataclasses.asdict(counters).items() if n and name not in ("samples", "windows")}
    told = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in wrong.items())
    uneven = counters.duplicates + counters.gaps > _UNEVEN * counters.samples
    cure = "; where these are times of arrival, say stamps=arrival behind the ? of the source" if uneven else ""
    return f"of {counters.samples} samples: {told}{cure}" if told else ""


def describe_unusual(unusual: float | None) -> str:
    """A line on `Stream.unusual`; empty where it is not known."""
    return "" if unusual is None else f"distance from the training data: {unusual:.2f} (5 % of its own are beyond 1)"


def describe_source(counters: SourceCounters) -> str:
    """A line on what the source gave, and on what went wrong at it."""
    wrong = {name: n for name, n in dataclasses.asdict(counters).items() if n and isinstance(n, int)}
    told = "".join(f", {n} {name}" for name, n in wrong.items() if name != "samples")
    shown = f" (the first malformed: {counters.first_malformed})" if counters.first_malformed else ""
    return f"source: {counters.samples} rows read{told}{shown}"


def why_nothing(source: SourceCounters, counters: Counters, bundle: Bundle) -> str:
    """The likely reason why a source ended without one window.

    Args:
        source: what became of its lines.
        counters: what became of its samples.
        bundle: of the model.
    """
    manifest = bundle.manifest
    n, needed = counters.samples, manifest.window.length_samples
    span = f"{manifest.window_s:g} s, the length of a window"
    if not n:
        if source.malformed:
            return f"not one of {source.malformed} lines is a row; the first: {source.first_malformed}"
        return "nothing came"
    if counters.not_finite * 2 > n:
        return f"{counters.not_finite} of {n} rows lack a value or a time (empty, no number, or beyond what is one)"
    if (counters.late + counters.duplicates) * 2 > n:
        wrong = counters.late + counters.duplicates
        return f"the times of {wrong} of {n} rows do not rise: another column may be the time"
    if counters.gaps * 2 > n:
        return f"{counters.gaps} of {n} rows come after a gap: the unit of the times, or the rate, is not what was said"
    if n < needed:
        return f"{n} rows are less than {span}"
    return f"no {span}, without a gap in {n} rows ({describe_counters(counters) or 'no other fault'})"


def describe_sink(sink: Sink | Recorder) -> str:
    """A line on what became of the predictions that a sink or a recorder was given."""
    told = ", ".join(f"{n} {name}" for name, n in dataclasses.asdict(sink.counters).items() if n or name == "written")
    return f"{type(sink).__name__}: {told}"
