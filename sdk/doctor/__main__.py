"""`python -m sdk.doctor`: what this machine is, what it lacks, and how to mend it."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command import DONE, FAILED, add_trust, json_text, open_bundle, run_command, say, trust_of
from runtime.errors import InputError

if TYPE_CHECKING:
    from sdk.doctor.finding import Finding
    from sdk.doctor.run import Diagnosis

HELP = "Look at this machine: what works, what does not, and how to mend it."
EXAMPLES = """\
  python -m sdk.doctor                          this machine, with the bundle that the package carries
  python -m sdk.doctor walk.bundle              with the golden windows of yours
  python -m sdk.doctor --source iio:mpu6050     and listen to a sensor for 20 s: its rate, units, axes
  python -m sdk.doctor --report doctor.json     all of it, and the raw files of its sensors, for a bug report

A problem keeps something from working, or makes figures wrong; then the exit code is 1. A note is worth knowing.
The report has no serial number, host name or recording in it; nothing is sent anywhere. docs/doctor.md says more."""
_WIDTH = 118


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return run_command(argv, "python -m sdk.doctor", HELP, EXAMPLES, add_arguments, run)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """A bundle, if it is not that of the package, and what becomes of the findings."""
    p.add_argument("bundle", nargs="?", type=Path, help="folder of a bundle (default: the one of the package)")
    p.add_argument("--source", metavar="URL", help="listen to a source too (see sdk.stream --help)")
    p.add_argument("--json", action="store_true", help="print one JSON object (schema 1, docs/doctor.md)")
    p.add_argument("--report", metavar="FILE", type=Path, help="write it with raw files and answers, for a bug report")
    add_trust(p)


def run(arguments: argparse.Namespace) -> int:
    """Look, tell, report; the exit code.

    Raises:
        InputError: `--trust` without a bundle.
    """
    from sdk.doctor.host import Host
    from sdk.doctor.raw import raw
    from sdk.doctor.run import examine

    if arguments.trust is not None and arguments.bundle is None:
        raise InputError("--trust", expected="a bundle with it", got="none", fix="Name the folder of the bundle.")
    host, trust = Host(), trust_of(arguments)
    tell = (lambda finding: None) if arguments.json else _show
    found = examine(
        host, arguments.bundle, tell, opener=lambda path: open_bundle(path, trust=trust), source=arguments.source
    )
    if arguments.json:
        print(json_text(found.to_dict()))
    else:
        say(_verdict(found))
    if arguments.report:
        arguments.report.write_text(json_text(found.to_dict() | {"raw": raw(host)}, indent=1) + "\n", "utf-8")
    return FAILED if found.problems else DONE


def _show(finding: Finding) -> None:
    """At once, since some take seconds."""
    say(describe(finding))
    sys.stdout.flush()


def describe(finding: Finding) -> str:
    """State, topic and text, the fix below."""
    topic, *more = textwrap.wrap(finding.text, _WIDTH - 38, break_long_words=False, break_on_hyphens=False) or [""]
    lines = [f"{finding.state:<8} {finding.topic:<28} {topic}", *(f"{'':<37} {line}" for line in more)]
    if finding.fix:
        fix = textwrap.wrap(finding.fix, _WIDTH - 41, break_long_words=False, break_on_hyphens=False)
        lines += [f"{'':<37} {'-> ' if i == 0 else '   '}{line}" for i, line in enumerate(fix)]
    return "\n".join(lines)


def _verdict(found: Diagnosis) -> str:
    problems, notes = (
        f"{n} {name}{'' if n == 1 else 's'}" for n, name in ((found.problems, "problem"), (found.notes, "note"))
    )
    return f"\n{problems}, {notes}"


if __name__ == "__main__":
    sys.exit(main())
