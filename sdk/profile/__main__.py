"""`python -m sdk.profile BUNDLE`: what a bundle costs on this machine, in time, memory and energy."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command import DONE, REFUSED, Progress, add_trust, guarded, open_bundle, parser
from runtime.errors import InputError, MissingError

if TYPE_CHECKING:
    from runtime import Bundle
    from sdk.profile.report import ProfileReport
    from sdk.profile.run import ProfileOptions

_EXAMPLES = """\
  python -m sdk.profile walk.bundle                             the table
  python -m sdk.profile walk.bundle --realtime --seconds 120    at the pace of the sensor: what a day will be like
  python -m sdk.profile walk.bundle --sweep threads,engines,batch --html report.html
  python -m sdk.profile walk.bundle --finetune head --labels mine.csv --recording today.npz
  python -m sdk.profile walk.bundle --json > before.json        then change something, and again > after.json
  python -m sdk.profile --compare before.json after.json        exit code 3: the second is worse
  python -m sdk.profile --compare a1.json b1.json a2.json b2.json
                                                                several of each, taken in turn: drift cancels out

Let the board idle before, and compare only runs of the same machine and governor. docs/profile.md says what every
number is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    p = _parser()
    arguments = p.parse_args(argv)
    if (arguments.bundle is None) == (arguments.compare is None):
        p.error("name a bundle, or two reports with --compare")
    return guarded(lambda: _compare(arguments) if arguments.compare else _profile(arguments))


def _parser() -> argparse.ArgumentParser:
    p = parser("sdk.profile", "Measure what a bundle costs on this machine, or compare two measurements.", _EXAMPLES)
    p.add_argument("bundle", nargs="?", type=Path, help="folder of the bundle")
    p.add_argument("--windows", metavar="N", type=int, default=10_000, help="predictions, in all (default %(default)s)")
    p.add_argument("--runs", metavar="N", type=int, help="fresh processes that share them (default 10; fewer for few)")
    p.add_argument("--seconds", metavar="S", type=float, default=60.0, help="end the measuring then (default 60)")
    p.add_argument("--realtime", action="store_true", help="at the pace of the stream, not hop after hop; in one run")
    p.add_argument("--deadline-ms", metavar="MS", type=float, help="later is a miss (default: a hop)")
    p.add_argument("--engine", metavar="NAME", default="onnxruntime", help="default %(default)s; auto measures")
    p.add_argument("--precision", metavar="NAME", default="float32", help="a variant of the bundle (default float32)")
    p.add_argument("--threads", metavar="N", type=int, default=1, help="of the engine (default 1)")
    p.add_argument("--sweep", metavar="NAME[,...]", help="threads, engines, batch: the same with other settings")
    p.add_argument("--meter", metavar="NAME", default="auto", help="of energy, as in docs/meters.md (default auto)")
    p.add_argument("--idle-seconds", metavar="S", type=float, default=5.0, help="before and after, with a meter (5)")
    add_trust(p)
    tune = p.add_argument_group("fine-tuning", "What a fine-tuning run costs, on a copy of the bundle.")
    tune.add_argument("--finetune", metavar="PLAN", help="head, layers, full, iterative, or a JSON file of a plan")
    tune.add_argument("--labels", metavar="FILE", type=Path, help="as for python -m sdk.finetune")
    tune.add_argument("--recording", metavar="FILE", type=Path, help="what the spans of --labels refer to")
    out = p.add_argument_group("output")
    out.add_argument("--json", action="store_true", help="print one JSON object (schema 1, docs/profile.md)")
    out.add_argument("--html", metavar="FILE", type=Path, help='write a page with pictures (needs "sensedge[report]")')
    p.add_argument("--compare", metavar="JSON", nargs="+", type=Path, help="two reports, or several in turn: A B A B")
    p.add_argument("--margin", metavar="SHARE", type=float, default=0.01, help="worse by less is alike (default 0.01)")
    return p


def _profile(arguments: argparse.Namespace) -> int:
    from sdk.meters import open_meter
    from sdk.profile.run import TIMELINE, profile

    if arguments.finetune is not None and arguments.labels is None:
        raise InputError("--finetune", expected="--labels beside it", got="none", fix="Name a file of labels.")
    options = _options(arguments)
    render = _render() if arguments.html else None
    meter = open_meter(arguments.meter, timeline=TIMELINE)
    bundle = open_bundle(arguments.bundle, trust=arguments.trust)
    finetune = _finetune(arguments, bundle)
    report = profile(bundle, options, meter=meter, finetune=finetune, progress=Progress().show)
    if render is not None:
        arguments.html.write_text(render(report.to_dict()), encoding="utf-8")
    print(json.dumps(report.to_dict()) if arguments.json else _text(report))
    return DONE


def _text(report: ProfileReport) -> str:
    from sdk.profile.text import describe

    return describe(report)


def _options(arguments: argparse.Namespace) -> ProfileOptions:
    from sdk.profile.run import ProfileOptions

    return ProfileOptions(
        hops=arguments.windows,
        runs=arguments.runs,
        engine=arguments.engine,
        precision=arguments.precision,
        threads=arguments.threads,
        cap_s=arguments.seconds,
        deadline_s=None if arguments.deadline_ms is None else arguments.deadline_ms / 1e3,
        real_time=arguments.realtime,
        idle_s=arguments.idle_seconds,
        sweeps=tuple(arguments.sweep.split(",")) if arguments.sweep else (),
    )


def _finetune(arguments: argparse.Namespace, bundle: Bundle) -> Any:
    """The plan and the labelled windows; None: nobody asked."""
    if arguments.finetune is None:
        return None
    from sdk.finetune import read_labels
    from sdk.profile.finetune import read_plan

    plan = read_plan(arguments.finetune)
    return plan, read_labels(arguments.labels, bundle.manifest, arguments.recording)


def _render() -> Any:
    """What makes a page of a report, before anything is measured for it."""
    try:
        import_module("matplotlib")
        return import_module("sdk.profile.html").render
    except ImportError as error:
        raise MissingError(
            "--html", expected="matplotlib", got=error, fix='Install it: pip install "sensedge[report]"'
        ) from None


def _compare(arguments: argparse.Namespace) -> int:
    from sdk.profile.compare import compare_reports, describe, read_report

    if len(arguments.compare) % 2:
        raise InputError(
            "--compare", expected="pairs of files", got=len(arguments.compare), fix="Name A B, or A B A B."
        )
    render = _render() if arguments.html else None
    reports = [read_report(path) for path in arguments.compare]
    found = compare_reports(reports[0::2], reports[1::2], margin=arguments.margin)
    if render is not None:
        arguments.html.write_text(render(reports[0], reports[1:]), encoding="utf-8")
    print(json.dumps(found.to_dict()) if arguments.json else describe(found))
    return REFUSED if found.worse else DONE


if __name__ == "__main__":
    sys.exit(main())
