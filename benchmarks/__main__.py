"""`python -m benchmarks [NAME] [--quick] [--json]`."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks._bench import Options, Result, commit, use_one_core
from runtime.command import guarded, table
from sdk.meters import fingerprint


def names() -> dict[str, str]:
    """Every benchmark with the first line of its docstring."""
    files = sorted(Path(__file__).parent.glob("bench_*.py"))
    return {f.stem.removeprefix("bench_"): f.read_text().split('"""')[1].splitlines()[0] for f in files}


def main(argv: list[str] | None = None) -> int:
    """Run one benchmark, or list them; 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=names(), help="leave it out to list them")
    parser.add_argument("--quick", action="store_true", help="a rougher answer within 45 s")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--data", metavar="DIR", type=Path, help="folder with the archives of public data sets")
    parser.add_argument("--runs", metavar="DIR", type=Path, default=Path("runs"), help="checkpoints (default runs)")
    parser.add_argument("--peers", action="store_true", help="install peers that need an environment of their own")
    parser.add_argument("--only", metavar="NAME[,NAME...]", default="", help="of the encoders (export)")
    parser.add_argument("--on", metavar="SET[,SET...]", default="", help="data sets, or folders of your own (adapt)")
    arguments = parser.parse_args(argv)
    if arguments.name is None:
        print("\n".join(f"{name:<11} {text}" for name, text in names().items()))
        return 0
    return guarded(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    use_one_core()
    module = import_module(f"benchmarks.bench_{arguments.name}")
    only, on = (tuple(filter(None, names.split(","))) for names in (arguments.only, arguments.on))
    result: Result = module.run(Options(arguments.quick, arguments.data, arguments.runs, arguments.peers, only, on))
    machine = fingerprint()
    if arguments.json:
        facts = {"name": result.name, "machine": machine.to_dict(), "versions": machine.versions, "commit": commit()}
        print(json.dumps({**facts, "figures": result.figures, "ratios": result.ratios, "checks": result.checks}))
    else:
        print(f"{result.name}  on one core of {machine.board or machine.cpu or machine.machine}, commit {commit()}\n")
        if result.text:
            print(result.text, end="\n\n")
        figures = {} if result.text else result.figures
        for title, part in (("figure", figures), ("ratio", result.ratios), ("check", result.checks)):
            if part:
                print(table([(name, _cell(value)) for name, value in part.items()], (title, "")), end="\n\n")
    return 0 if all(result.checks.values()) else 1


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple | list):
        return " to ".join(_cell(item) for item in value)
    return "not measured" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
