"""`python -m sdk.profile BUNDLE`: what a bundle costs on this machine, in time, memory and energy.

    open          read and verify the bundle            |
    engine        make the session                      |  cold start, once
    first         the first prediction                  |
    ----------------------------------------------------
    warm-up       predictions that are not counted
    measured      hop-sized pushes of the golden windows: every stage of every prediction is kept

Percentiles are NumPy's (linear) over all measured predictions. A deadline is missed when one prediction takes longer
than a hop lasts. Memory is what this process gained over its state with the libraries imported. What has no meter is
printed as "not measured" with the reason.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from runtime.command import DONE, Progress, guarded, parser, table
from runtime.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime import Bundle, Stream
    from sdk.meters import Fingerprint, Latency, Measurement, Meter

_EXAMPLES = """\
  python -m sdk.profile walk.bundle                    the table
  python -m sdk.profile walk.bundle --windows 10000    more predictions, steadier tails
  python -m sdk.profile walk.bundle --json             for a program

Let the board idle before, and compare only runs of the same machine and governor: the first line says which."""

_WARM_UP_WINDOWS = 50
_PROGRESS_WINDOWS = 500  # from one sign of life to the next
_STAGES = ("window", "engine", "decide", "compute")


@dataclass(frozen=True)
class ProfileReport:
    """What was measured, on what."""

    bundle: str
    version: str
    model_sha256: str
    model_bytes: int
    machine: Fingerprint
    open_s: float
    engine_s: float
    first_prediction_s: float
    n_windows: int
    latency: dict[str, Latency]  # by stage; "compute" is the whole way from push to prediction
    hop_s: float
    deadline_misses: int
    cost: Measurement  # of the cold start, the warm-up and all measured predictions

    @property
    def joules_per_window(self) -> float | None:
        """Gross energy over all predictions of the run; None where there is no meter."""
        joules = self.cost.energy.joules
        return None if joules is None else joules / (self.n_windows + _WARM_UP_WINDOWS + 1)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return plain | {
            "machine": self.machine.to_dict(),
            "latency": {stage: dataclasses.asdict(latency) for stage, latency in self.latency.items()},
            "cost": self.cost.to_dict(),
            "joules_per_window": self.joules_per_window,
        }


def profile(
    path: str | Path,
    n_windows: int = 2000,
    *,
    meter: Meter | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> ProfileReport:
    """Measure a bundle.

    Args:
        path: folder of the bundle.
        n_windows: predictions to measure, at least 1.
        meter: of energy; None finds the one of this machine.
        progress: called with predictions done, all, and a text.

    Raises:
        BundleError: the bundle does not open.
        InputError: no windows to measure.
    """
    if n_windows < 1:
        raise InputError(
            "--windows", expected="at least 1", got=n_windows, fix="Measure some hundred for steady tails."
        )
    import numpy as np
    import onnxruntime  # noqa: F401  # part of the baseline, not of the engine's cost

    from runtime import Bundle, Stream, open_engine
    from sdk.meters import fingerprint, latency_summary, measure, open_meter

    machine = fingerprint()
    with measure(meter or open_meter()) as measuring:
        began = perf_counter()
        bundle = Bundle.open(path)
        opened = perf_counter()
        engine = open_engine(bundle)
        ready = perf_counter()
        stream, hops = Stream(bundle, engine), cycle(_hops(bundle))
        stages = np.zeros((_WARM_UP_WINDOWS + n_windows, len(_STAGES)))
        first_prediction_s = _first_prediction_s(stream, hops)
        predictions = (prediction for hop in hops for prediction in stream.push(hop))
        for i, prediction in zip(range(len(stages)), predictions, strict=False):
            stages[i] = [getattr(prediction, f"{stage}_s") for stage in _STAGES]
            if i % _PROGRESS_WINDOWS == 0:
                progress(i, len(stages), "predictions")
    progress(len(stages), len(stages), "predictions")
    stages = stages[_WARM_UP_WINDOWS:]
    spec = bundle.manifest.files["model.onnx"]
    return ProfileReport(
        bundle=bundle.manifest.name,
        version=bundle.version,
        model_sha256=spec.sha256,
        model_bytes=spec.bytes,
        machine=machine,
        open_s=opened - began,
        engine_s=ready - opened,
        first_prediction_s=first_prediction_s,
        n_windows=n_windows,
        latency={stage: latency_summary(stages[:, i]) for i, stage in enumerate(_STAGES)},
        hop_s=bundle.manifest.hop_s,
        deadline_misses=int((stages[:, -1] > bundle.manifest.hop_s).sum()),
        cost=measuring.result,
    )


def _hops(bundle: Bundle) -> list[NDArray[np.float32]]:
    """The rows of the golden windows, one window after the other, in pieces of a hop."""
    import numpy as np

    rows, hop = np.concatenate(bundle.golden().windows), bundle.manifest.window.hop_samples
    return [rows.take(range(begin, begin + hop), axis=0, mode="wrap") for begin in range(0, len(rows), hop)]


def _first_prediction_s(stream: Stream, hops: Iterator[NDArray[np.float32]]) -> float:
    """Seconds of the push that completes the first window."""
    while True:
        hop = next(hops)
        began = perf_counter()
        if stream.push(hop):
            return perf_counter() - began


def describe(report: ProfileReport) -> str:
    """The report as text."""
    machine, memory = report.machine, report.cost.memory
    where = [machine.board or machine.cpu or machine.machine, f"{machine.cores} cores"]
    where.append(f"governor {machine.governor or 'unknown'}")
    where += [f"{name} {version}" for name, version in machine.versions.items() if version]
    rows = [(stage, *(f"{getattr(report.latency[stage], key) * 1e3:.3f}" for key in _COLUMNS)) for stage in _STAGES]
    rows[-1] = ("push to prediction", *rows[-1][1:])
    energy = report.cost.energy.describe()
    if report.joules_per_window is not None:
        energy = f"{report.joules_per_window * 1e3:.3f} mJ per window, gross ({energy} in all)"
    return "\n".join(
        (
            f"{report.bundle}, version {report.version}, model {report.model_bytes / 1e3:.0f} kB",
            ", ".join(where),
            "",
            f"cold start   open {report.open_s * 1e3:.1f} ms, engine {report.engine_s * 1e3:.1f} ms, "
            f"first prediction {report.first_prediction_s * 1e3:.2f} ms",
            "",
            table(rows, (f"{report.n_windows} windows, ms", *_COLUMNS.values())),
            "",
            f"deadline     {report.deadline_misses} of {report.n_windows} predictions took longer than a hop "
            f"({report.hop_s:g} s)",
            f"memory       {memory.peak_bytes / 1e6:.1f} MB peak, {memory.above_baseline_bytes / 1e6:.1f} MB above the "
            f"imported libraries ({memory.method})",
            f"energy       {energy}",
        )
    )


_COLUMNS = {"p50_s": "p50", "p90_s": "p90", "p95_s": "p95", "p99_s": "p99", "p99_9_s": "p99.9", "max_s": "max"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    p = parser("sdk.profile", "Measure what a bundle costs on this machine.", _EXAMPLES)
    p.add_argument("bundle", type=Path, help="folder of the bundle")
    p.add_argument("--windows", metavar="N", type=int, default=2000, help="predictions (default %(default)s)")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = p.parse_args(argv)
    return guarded(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    report = profile(arguments.bundle, arguments.windows, progress=Progress().show)
    print(json.dumps(report.to_dict()) if arguments.json else describe(report))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
