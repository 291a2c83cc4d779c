"""`python -m exporters parity BUNDLE`: engines against the golden answers and the reference evaluator."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command import DONE, FAILED, Progress, add_trust, add_version, json_text, open_bundle, say, trust_of

if TYPE_CHECKING:
    from exporters.parity import ParityReport
    from runtime.bundle import Bundle

HELP = (
    "Compare the engines of this machine with the golden answers (the torch module's) and, on random windows, with "
    "onnx's reference evaluator in float64. Exit code 1 where one is beyond the tolerance."
)
EXAMPLES = """\
  python -m exporters parity walk.bundle                       every engine that is here
  python -m exporters parity walk.bundle --engine openvino --bisect
                                                               and the first node that it gets wrong
  python -m exporters parity walk.bundle --precision fp16      a variant, with its own tolerance"""
_NODE_TOLERANCE = 0.1  # of a node's values, in a precision whose outputs have none


def add_arguments(p: argparse.ArgumentParser) -> None:
    """The bundle and what is compared."""
    p.add_argument("bundle", type=Path, help="folder of the bundle")
    add_version(p)
    p.add_argument("--engine", metavar="NAME", action="append", help="may be repeated (default: all that are here)")
    p.add_argument(
        "--precision", metavar="P", default="float32", help="float32 (default), or a variant's, such as fp16"
    )
    p.add_argument(
        "--tolerance",
        metavar="T",
        type=float,
        help="share of an output's largest value (default 1e-4; fp16 0.02; others are judged by labels only)",
    )
    p.add_argument("--bisect", action="store_true", help="look for the first node that an engine gets wrong")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Compare, print, and fail where something is off."""
    _need_onnx()
    from exporters.parity import parity_of_engines

    bundle = open_bundle(arguments.bundle, arguments.version, trust=trust_of(arguments))
    report = parity_of_engines(
        bundle,
        arguments.engine,
        precision=arguments.precision,
        tolerance=arguments.tolerance,
        progress=Progress().show,
    )
    blamed = _blamed(bundle, report, arguments) if arguments.bisect else {}
    if arguments.json:
        print(json_text(report.to_dict() | ({"first_difference": blamed} if arguments.bisect else {}), indent=1))
    else:
        say("\n".join([report.text(), *_sentences(report, blamed)]))
    return FAILED if report.off else DONE


def _need_onnx() -> None:
    from runtime.errors import MissingError

    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingError(
            "parity", expected="the package onnx", got="none", fix='Install it: pip install "sensedge[graphs]"'
        ) from error


def _blamed(bundle: Bundle, report: ParityReport, arguments: argparse.Namespace) -> dict[str, Any]:
    """For each engine the first node that it gets wrong, None, or why nobody knows."""
    from exporters.blame import first_difference
    from runtime.errors import InputError

    blamed: dict[str, Any] = {}
    for name in dict.fromkeys(row.engine for row in report.rows):
        try:
            found = first_difference(
                bundle,
                name,
                precision=report.precision,
                tolerance=report.tolerance or _NODE_TOLERANCE,
                progress=Progress().show,
            )
            blamed[name] = found and asdict(found)
        except InputError as error:  # noqa: PERF203
            blamed[name] = str(error)
    return blamed


def _sentences(report: ParityReport, blamed: dict[str, Any]) -> list[str]:
    lines = [""] if blamed or report.off else []
    for name, found in blamed.items():
        if isinstance(found, dict):
            how = "given the right inputs" if found["by_itself"] else "with what came before it"
            lines.append(
                f"{name}: first off is node {found['place']}, {found['op']} -> {found['output']}, "
                f"by {found['relative']:.1e} {how}"
            )
        else:
            lines.append(f"{name}: {found or 'no node is off by itself'}")
    if report.off and all(row.windows == "golden" for row in report.off):
        lines.append(
            "All engines agree with the graph; the graph does not give the module's golden answers: export it again."
        )
    return lines
