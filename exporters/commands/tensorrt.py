"""`python -m exporters tensorrt BUNDLE`: build the engine of this device, or check that TensorRT accepts the graph."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command import DONE, FAILED, Progress, add_trust, json_text, open_bundle, say, table, trust_of

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from runtime.engine.tensorrt.child import Limits

HELP = "build and check TensorRT engines"
EXAMPLES = """\
  python -m exporters tensorrt walk.bundle --check     on a workstation: parse and build, no GPU needed
  python -m exporters tensorrt walk.bundle             on the device: build into its cache, before an app starts"""


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    p.add_argument("bundle", type=Path, help="the folder of the bundle")
    p.add_argument(
        "--check", action="store_true", help="ask TensorRT for RTX on this machine; its engines are not kept"
    )
    p.add_argument("--python", help="with --check: the interpreter that has tensorrt_rtx and numpy")
    p.add_argument("--precision", action="append", help="one that the bundle holds; several times; all by default")
    p.add_argument("--max-batch", type=int, default=64, help="the largest batch of the engine (%(default)s)")
    p.add_argument("--seconds", type=float, help="end a build after so long (120 with --check, else 900)")
    p.add_argument("--memory-mb", type=int, default=4096, help="end a build that takes more (%(default)s)")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Check or build each precision; the exit code."""
    from runtime.engine.tensorrt.child import Limits

    bundle = open_bundle(arguments.bundle, trust=trust_of(arguments))
    seconds = arguments.seconds or (120.0 if arguments.check else 900.0)
    limits = Limits(seconds, arguments.memory_mb << 20)
    wanted = arguments.precision or bundle.precisions
    work = _check if arguments.check else _build
    bar, results = Progress(), {}
    for i, precision in enumerate(wanted):
        bar.show(i, len(wanted), precision)
        results[precision] = work(bundle, precision, arguments, limits)
    bar.show(len(wanted), len(wanted))
    say(json_text({"bundle": str(bundle.path), "precisions": results}) if arguments.json else _told(results))
    return DONE if all(result["ok"] for result in results.values()) else FAILED


def _check(bundle: Bundle, precision: str, arguments: argparse.Namespace, limits: Limits) -> dict[str, Any]:
    from exporters.tensorrt.gate import check_model

    model = bundle.model(precision)
    return check_model(model, python=arguments.python, max_batch=arguments.max_batch, limits=limits).to_dict()


def _build(bundle: Bundle, precision: str, arguments: argparse.Namespace, limits: Limits) -> dict[str, Any]:
    from runtime.engine.tensorrt.engine import BuildOptions, TensorrtEngine

    options = BuildOptions(max_batch=arguments.max_batch, limits=limits)
    engine = TensorrtEngine(bundle, precision=precision, options=options, background=False)
    try:
        names = ("version", "layers", "recurrent", "build_s", "plan_bytes", "peak_bytes", "seconds")
        facts = {name: engine.report.get(name) for name in names}
        ok = engine.serving == engine.name
        precisions = Counter(str(layer.get("Precision", "not told")) for layer in engine.layers())
        return {"ok": ok, "reason": engine.reason, "refused": [], **facts, "layer_precisions": dict(precisions)}
    finally:
        engine.close()


def _told(results: dict[str, dict[str, Any]]) -> str:
    header = ("precision", "accepted", "layers", "build s", "peak MB", "engine MB")
    rows = [
        (
            name,
            "yes" if told["ok"] else "no",
            _number(told["layers"]),
            _number(told["build_s"], 1, 2) if not told["recurrent"] else "parsed only",
            _number(told["peak_bytes"], 1 << 20),
            _number(told["plan_bytes"], 1 << 20, 1),
        )
        for name, told in results.items()
    ]
    reasons = [f"{name}: {told['reason']}" for name, told in results.items() if told["reason"]]
    return "\n".join([table(rows, header), *reasons])


def _number(value: float | None, unit: int = 1, digits: int = 0) -> str:
    return "-" if value is None else f"{value / unit:.{digits}f}"
