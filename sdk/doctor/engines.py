"""The engines of this machine: do they give the answers that the exporter stored, and do their threads let go?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sdk.doctor.finding import NOTE, OK, PROBLEM, Finding
from sdk.doctor.host import Host

if TYPE_CHECKING:
    from runtime import Bundle

BUDGET_S = 0.05  # answers are wanted, not times
SPINS = 0.1  # of one core, beyond which a pause is not one
BUILDS = "tensorrt"  # engines that are built for minutes at their first use
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def engines(bundle: Bundle) -> Iterator[Finding]:
    """Every engine of the runtime's table, and the golden windows on each that is here."""
    from runtime.engine import engines_here
    from runtime.engine.auto.choice import Candidate, measure_apart

    here = engines_here()
    tried = [status.name for status in here if status.available and BUILDS not in status.name]
    try:
        answers = measure_apart(bundle, [Candidate(name) for name in tried], budget_s=BUDGET_S)
    except OSError as error:
        yield Finding("engines", PROBLEM, f"no process could be started: {error}", "Look at `ulimit -u` and memory.")
        return
    for answer in answers:
        name, facts = answer.candidate.engine, answer.to_dict()
        if answer.dropped:
            fix = "Do not use it here" + ("." if name != "onnxruntime" else ", and report this: nothing else can run.")
            yield Finding(f"engine {name}", PROBLEM, f"golden windows of {bundle.manifest.name}: {answer.dropped}",
                          fix, facts)  # fmt: skip
        else:
            told = f"golden windows of {bundle.manifest.name}: largest error {answer.relative_error or 0.0:.1e}"
            yield Finding(
                f"engine {name}", OK, f"{told} of the largest value, {_labels(answer.labels_agree)}", "", facts
            )
    for status in here:
        if not status.available:
            yield Finding(f"engine {status.name}", OK, f"not here: {status.reason}")
        elif BUILDS in status.name:
            told = "is here; its answers were not asked for, since it is built for this device first"
            yield Finding(f"engine {status.name}", OK, f"{told}: `python -m sdk.optimize` does")


def _labels(agree: float | None) -> str:
    return "labels not compared" if agree is None else f"{agree:.0%} of the labels alike"


def threads(host: Host, bundle: Bundle) -> Iterator[Finding]:
    """Cores that may be used, and whether threads spin between predictions."""
    told = f"{host.cores} cores may be used"
    asked = {name: host.environ[name] for name in THREAD_VARIABLES if name in host.environ}
    told += "".join(f", {name}={value}" for name, value in asked.items())
    yield Finding("threads", OK, told, facts=dict(asked))
    try:
        found = host.spinning(bundle)
    except OSError as error:
        yield Finding("spinning", NOTE, f"not measured ({error})", "See the engines above.")
        return
    shares = {name: found[f"{name}_cpu_s"] / found["period_s"] for name in ("ours", "default")}
    told = (
        f"{found['ours_cpu_s'] * 1e3:.2g} ms of processor per window with our options, "
        f"{found['default_cpu_s'] * 1e3:.2g} ms with onnxruntime's own (2 threads, 20 windows a second)"
    )
    if shares["ours"] > SPINS and shares["ours"] > shares["default"] / 2:
        fix = "Spinning is on, or the model is large: stream with one thread, and tell us what this report says."
        yield Finding("spinning", PROBLEM, told, fix, dict(found))
    else:
        yield Finding("spinning", OK, f"off: {told}", facts=dict(found))
