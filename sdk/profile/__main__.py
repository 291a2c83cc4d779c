"""`python -m sdk.profile BUNDLE`: what a bundle costs on this machine, in time, memory and energy."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command import DONE, REFUSED, Progress, add_trust, json_text, open_bundle, run_command, say, trust_of
from runtime.errors import InputError, MissingError

if TYPE_CHECKING:
    from runtime import Bundle
    from sdk.profile.options import ProfileOptions
    from sdk.profile.report import ProfileReport

HELP = "Measure what a bundle costs on this machine, or compare two measurements."
EXAMPLES = """\
  python -m sdk.profile walk.bundle                             the table
  python -m sdk.profile walk.bundle --realtime --seconds 120    at the pace of the sensor: what a day will be like
  python -m sdk.profile walk.bundle --sweep threads,engines,batch --html report.html
  python -m sdk.profile walk.bundle --finetune head --labels mine.csv --recording today.npz
  python -m sdk.profile before.bundle --against after.bundle    both in turn, and a verdict: exit code 3 is worse
  python -m sdk.profile walk.bundle --against "--engine openvino --threads 2"
  python -m sdk.profile walk.bundle --json > before.json        then change something, and again > after.json
  python -m sdk.profile --compare before.json after.json        measured at two times: less sure than --against

Let the board idle before, and compare only runs of the same machine and governor. docs/profile.md says what every
number is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return run_command(argv, "python -m sdk.profile", HELP, EXAMPLES, add_arguments, run)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """What is measured, how, and against what."""
    p.set_defaults(parser=p)
    _add_side(p)
    p.add_argument("--windows", metavar="N", type=int, default=10_000, help="predictions, in all (default %(default)s)")
    p.add_argument(
        "--runs",
        metavar="N",
        type=int,
        help="processes (10, fewer for few; --against: 20 each)",
    )
    p.add_argument("--seconds", metavar="S", type=float, default=60.0, help="end the measuring then (default 60)")
    p.add_argument("--realtime", action="store_true", help="at the pace of the stream, not hop after hop; in one run")
    p.add_argument("--deadline-ms", metavar="MS", type=float, help="later is a miss (default: a hop)")
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
    two = p.add_argument_group("two sides", "Is the second worse than the first? Exit code 3: it is.")
    how = two.add_mutually_exclusive_group()
    how.add_argument(
        "--against", metavar="SIDE", help="measure both in turn: another bundle, or what differs, in quotation marks"
    )
    how.add_argument("--compare", metavar="JSON", nargs="+", type=Path, help="two reports, or several in turn: A B A B")
    two.add_argument(
        "--margin", metavar="SHARE", type=float, default=0.01, help="worse by less is alike (default 0.01)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure one side or two, or compare what was measured; the exit code."""
    if (arguments.bundle is None) == (arguments.compare is None):
        arguments.parser.error("name a bundle, or reports with --compare")
    command = _compare if arguments.compare else _profile if arguments.against is None else _measure_both
    return command(arguments)


def _add_side(p: argparse.ArgumentParser, first: argparse.Namespace | None = None) -> None:
    """What the two sides of a comparison may differ in; the second is like the first unless it says otherwise."""
    like = first or argparse.Namespace(bundle=None, engine="onnxruntime", precision="float32", threads=1)
    p.add_argument("bundle", nargs="?", type=Path, default=like.bundle, help="folder of the bundle")
    p.add_argument("--engine", metavar="NAME", default=like.engine, help="default %(default)s; auto measures")
    p.add_argument(
        "--precision", metavar="NAME", default=like.precision, help="a variant of the bundle (default %(default)s)"
    )
    p.add_argument("--threads", metavar="N", type=int, default=like.threads, help="of the engine (default %(default)s)")


def _profile(arguments: argparse.Namespace) -> int:
    from sdk.meters import open_meter
    from sdk.profile.run import TIMELINE, profile

    if arguments.finetune is not None and arguments.labels is None:
        raise InputError("--finetune", expected="--labels beside it", got="none", fix="Name a file of labels.")
    options = _options(arguments)
    render = _render("html.render") if arguments.html else None
    meter = open_meter(arguments.meter, timeline=TIMELINE)
    bundle = open_bundle(arguments.bundle, trust=trust_of(arguments))
    finetune = _finetune(arguments, bundle)
    report = profile(bundle, options, meter=meter, finetune=finetune, progress=Progress().show)
    if render is not None:
        arguments.html.write_text(render(report.to_dict()), encoding="utf-8")
    say(json_text(report.to_dict()) if arguments.json else _text(report))
    return DONE


def _measure_both(arguments: argparse.Namespace) -> int:
    from sdk.meters import open_meter
    from sdk.profile.run import TIMELINE, profile_in_turn

    if arguments.sweep or arguments.finetune:
        raise InputError("--against", expected="neither --sweep nor --finetune", got="one", fix="Measure that alone.")
    second = argparse.Namespace(**vars(arguments) | vars(_second(arguments)))
    render = _render("html_compare.render_comparison") if arguments.html else None
    meter = open_meter(arguments.meter, timeline=TIMELINE)
    bundle = open_bundle(arguments.bundle, trust=trust_of(arguments))
    other = bundle if second.bundle == arguments.bundle else open_bundle(second.bundle, trust=trust_of(second))
    ways = (bundle, _options(arguments)), (other, _options(second))
    with _by_option({"runs": "--runs"}, "--against"):
        both = profile_in_turn(*ways, meter=meter, progress=Progress().show)
    return _judge([report.to_dict() for report in both], arguments, render, keep=True)


def _second(arguments: argparse.Namespace) -> argparse.Namespace:
    """The second side, as --against says."""
    p = argparse.ArgumentParser(f"{arguments.parser.prog} --against", add_help=False)
    _add_side(p, arguments)
    try:
        words = [arguments.against] if Path(arguments.against).exists() else shlex.split(arguments.against)
    except ValueError as error:
        raise InputError(
            "--against", expected="options, as on a command line", got=error, fix='Such as "--threads 2".'
        ) from None
    return p.parse_args(words)


def _text(report: ProfileReport) -> str:
    from sdk.profile.text import describe

    return describe(report)


def _options(arguments: argparse.Namespace) -> ProfileOptions:
    """How to measure, as a command line says it.

    Raises:
        InputError: a value that makes no sense, by the name of its option.
    """
    from sdk.profile.options import ProfileOptions

    with _by_option(_OPTIONS):
        return ProfileOptions(
            windows=arguments.windows,
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


_OPTIONS = {  # by the field of ProfileOptions
    "windows": "--windows",
    "runs": "--runs",
    "threads": "--threads",
    "cap_s": "--seconds",
    "deadline_s": "--deadline-ms",
    "idle_s": "--idle-seconds",
    "sweeps": "--sweep",
}


@contextmanager
def _by_option(names: Mapping[str, str], work: str = "") -> Iterator[None]:
    """Errors about a field name the option that it comes from; `work`: the one that compares what reports say."""
    try:
        yield
    except InputError as error:
        where = names.get(error.where) or (f"{work}: {error.where}" if error.where.startswith(_REPORTED) else None)
        if where is None:
            raise
        fix = "Correct the option." if names is _OPTIONS else error.fix
        raise InputError(where, expected=error.expected, got=error.got, fix=fix) from None


_REPORTED = ("workload.", "machine.")  # fields of reports


def _finetune(arguments: argparse.Namespace, bundle: Bundle) -> Any:
    """The plan and the labelled windows; None: nobody asked."""
    if arguments.finetune is None:
        return None
    from sdk.finetune import read_labels
    from sdk.profile.finetune import read_plan

    plan = read_plan(arguments.finetune)
    return plan, read_labels(arguments.labels, bundle.manifest, arguments.recording)


def _render(name: str) -> Any:
    """What makes a page, before anything is measured for it."""
    part, _, function = name.partition(".")
    try:
        import_module("matplotlib")
        return getattr(import_module(f"sdk.profile.{part}"), function)
    except ImportError as error:
        raise MissingError(
            "--html", expected="matplotlib", got=error, fix='Install it: pip install "sensedge[report]"'
        ) from None


def _compare(arguments: argparse.Namespace) -> int:
    from sdk.profile.compare import read_reports

    reports = [report for path in arguments.compare for report in read_reports(path)]
    if len(reports) % 2:
        raise InputError("--compare", expected="pairs of reports", got=len(reports), fix="Name A B, or A B A B.")
    return _judge(reports, arguments, _render("html_compare.render_comparison") if arguments.html else None)


def _judge(reports: list[dict[str, Any]], arguments: argparse.Namespace, render: Any, *, keep: bool = False) -> int:
    """Compare reports that are given in turn, and show it; `keep`: with the reports in the JSON."""
    from sdk.profile.compare import compare_reports, describe

    sides = reports[0::2], reports[1::2]
    with _by_option({"margin": "--margin", "runs": "--compare"}, "--compare"):
        found = compare_reports(*sides, margin=arguments.margin)
    if render is not None:
        arguments.html.write_text(render(found, *sides), encoding="utf-8")
    kept = {"reports": reports} if keep else {}
    say(json_text(found.to_dict() | kept) if arguments.json else describe(found))
    return REFUSED if found.worse else DONE


if __name__ == "__main__":
    sys.exit(main())
