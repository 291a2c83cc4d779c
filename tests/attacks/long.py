"""`make attack`: races, storms, floods, strange text and endings by signals, for as long as it is told.

    python -m tests.attacks.long --seconds 600 [--seed 1] [--kind swap storm-store] [--json]
    python -m tests.attacks.long --repeat swap:83012       one of them once more, with what it says

    each kind in turn -> a case with a seed of its own -> a fork in a folder of its own -> survived, or what got through

The kinds are those of `tests/attacks/storms.py`. A case that takes longer than `LIMIT_S` got through, and so did one
that left a process behind. One case runs at a time, with at most two processes below it that work; folder and processes
are gone after each. Exit code 1: something got through.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.attacks.storms import KINDS, LackingError

LIMIT_S = 300.0  # a case takes seconds


class Through(NamedTuple):
    """A case that got through."""

    kind: str
    seed: int
    what: str


def attacked(kind: str, seed: int, limit_s: float = LIMIT_S) -> str:
    """What got through of one case; empty: nothing. What is lacking for it begins with "lacks"."""
    with tempfile.TemporaryDirectory(prefix="sensedge-attack-") as base:
        told, work = Path(base) / "told", Path(base) / "work"
        work.mkdir()
        child = os.fork()
        if not child:
            _case(kind, seed, work, told)
        try:
            status = _waited(child, limit_s)
        finally:
            left = _ended(child)
        if status is None:
            return f"it does not end within {limit_s:g} s"
        text = told.read_text() if told.exists() else f"it ended with {os.waitstatus_to_exitcode(status)}"
        return text or (f"left running: {', '.join(left)}" if left else "")


def _case(kind: str, seed: int, work: Path, told: Path) -> None:
    """In the fork; it does not return."""
    os.setsid()
    os.environ |= {"TMPDIR": str(work), "HOME": str(work), "SENSEDGE_CACHE": str(work / "cache")}
    tempfile.tempdir = None
    with (work.parent / "output").open("wb") as log:
        for number in (1, 2):
            os.dup2(log.fileno(), number)
    os.chdir(work)
    try:
        KINDS[kind](random.Random(seed), work)
        text = ""
    except LackingError as error:
        text = f"lacks {error}"
    except BaseException:
        text = traceback.format_exc(limit=-4).strip()
    told.write_text(text)
    os._exit(0)


def _waited(child: int, limit_s: float) -> int | None:
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(0.02)
    return None


def _ended(child: int) -> list[str]:
    """The commands of what the case left running in its session, which is ended now."""
    left = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == child and fields[0] != "Z" and int(stat.parent.name) != child:
                left.append((stat.parent / "cmdline").read_text().replace("\0", " ")[:200])
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(child, 0)
    return left


def attack(kinds: list[str], seconds: float, seed: int) -> tuple[Counter[str], list[Through], dict[str, str]]:
    """Kinds in turn, each at least once: how often each was tried, what got through, and which lack something."""
    rng, tried, through, lacks = random.Random(seed), Counter[str](), [], {}
    end_s = time.monotonic() + seconds
    for turn in range(10**9):
        for kind in kinds:
            case = rng.randrange(10**6)
            if kind in lacks or (turn and time.monotonic() >= end_s):
                continue
            what = attacked(kind, case)
            if what.startswith("lacks "):
                lacks[kind] = what.removeprefix("lacks ")
                continue
            tried[kind] += 1
            if what:
                through.append(Through(kind, case, what))
                print(f"GOT THROUGH  --repeat {kind}:{case}\n{what}", file=sys.stderr, flush=True)
        if time.monotonic() >= end_s:
            break
    return tried, through, lacks


def table_of(tried: Counter[str], through: list[Through], lacks: dict[str, str]) -> str:
    lost = Counter(one.kind for one in through)
    rows = [f"{kind:16} {n - lost[kind]:6} of {n:6}  {_story(kind)}" for kind, n in tried.items()]
    rows += [f"{kind:16}    not tried: {why}" for kind, why in lacks.items()]
    return "\n".join(["survived", *rows, f"{'all':16} {tried.total() - len(through):6} of {tried.total():6}"])


def _story(kind: str) -> str:
    return (KINDS[kind].__doc__ or "").splitlines()[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="begin no case after that (default %(default)s)")
    parser.add_argument("--seed", type=int, help="of all seeds (default: another one each time)")
    parser.add_argument("--kind", nargs="*", default=list(KINDS), choices=list(KINDS), metavar="KIND")
    parser.add_argument("--repeat", metavar="KIND:SEED", help="one case alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the case is ended, its folder goes
    if arguments.repeat:
        kind, _, seed = arguments.repeat.partition(":")
        print(what := attacked(kind, int(seed)) or "survived")
        return int(what != "survived")
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", file=sys.stderr, flush=True)
    began = time.monotonic()
    tried, through, lacks = attack(arguments.kind, arguments.seconds, seed)
    if arguments.json:
        facts = {"seed": seed, "seconds": round(time.monotonic() - began, 1), "tried": tried, "lacks": lacks}
        print(json.dumps({**facts, "through": [one._asdict() for one in through]}, indent=1))
    else:
        print(table_of(tried, through, lacks))
    return int(bool(through))


if __name__ == "__main__":
    sys.exit(main())
