r"""Measure candidates in a process of their own: a library that does not suit a processor kills whoever tries it.

    caller                                        child: python -m runtime.engine.auto.trial
      request (JSON, on stdin)              -->
                                            <--     {"trying": 2}       before every use of a candidate
                                            <--     {"measured": [...]} at the end
      no line for too long, or the child is dead: the candidates of the engine it was trying are dropped, and the others
      are measured anew.

Nothing of it stays in the caller's memory but the answer.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import Any

from runtime.bundle import Bundle
from runtime.engine.auto.measure import BUDGET_S, Candidate, Measured, measure_candidates
from runtime.engine.base import ENGINES, EngineKind

LIMIT_S = 120.0  # for one step of a candidate; building for a GPU takes longest


def measure_apart(
    bundle: Bundle,
    candidates: Sequence[Candidate],
    *,
    batch: int = 1,
    budget_s: float = BUDGET_S,
    limit_s: float = LIMIT_S,
    table: Mapping[str, EngineKind] = ENGINES,
) -> tuple[Measured, ...]:
    """`measure_candidates` in a child process.

    Args:
        bundle: as there, and so the others.
        candidates: what to measure.
        batch: windows per call.
        budget_s: for the rounds.
        limit_s: how long one step of one candidate may take.
        table: of the engines.

    Raises:
        OSError: no child process can be started.
    """
    dropped: dict[str, str] = {}  # engine: why
    while True:
        left = [candidate for candidate in candidates if candidate.engine not in dropped]
        request = {
            "bundle": str(bundle.path.absolute()),
            "candidates": [vars(candidate) for candidate in left],
            "options": {"batch": batch, "budget_s": budget_s},
            "table": {name: list(kind) for name, kind in table.items()},
        }
        measured, trying, why = _ask(request, limit_s) if left else ([], 0, "")
        if not why:
            found = iter(Measured.from_dict(one) for one in measured)
            return tuple(
                Measured(candidate, dropped=dropped[candidate.engine]) if candidate.engine in dropped else next(found)
                for candidate in candidates
            )
        dropped[left[trying].engine] = why


def _ask(request: Mapping[str, Any], limit_s: float) -> tuple[list[Any], int, str]:
    """What the child measured, or the number of the candidate that it was trying at its end, and how it ended."""
    command = [sys.executable, "-m", "runtime.engine.auto.trial"]
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )
    trying = 0
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        with child.stdin:
            child.stdin.write(json.dumps(request).encode())
        for line in _lines(child.stdout.fileno(), limit_s):
            if "measured" in line:
                return line["measured"], trying, ""
            trying = line["trying"]
        return [], trying, _ending(child.wait(limit_s))
    except BrokenPipeError:
        return [], trying, _ending(child.wait(limit_s))
    except (TimeoutError, subprocess.TimeoutExpired):
        return [], trying, f"took more than {limit_s:g} s"
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def _lines(handle: int, limit_s: float) -> Iterator[dict[str, Any]]:
    """The child's lines until it closes its end.

    Raises:
        TimeoutError: the next one does not come in time.
    """
    rest, until_s = b"", monotonic() + limit_s
    while True:
        if not select.select([handle], [], [], max(until_s - monotonic(), 0))[0]:
            raise TimeoutError
        block = os.read(handle, 1 << 16)
        if not block:
            return
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield json.loads(line)
            until_s = monotonic() + limit_s


def _ending(code: int) -> str:
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"killed the process that tried it ({how})"


def _child() -> None:
    """Measure as the request says. Whatever a library prints goes to stderr, so that only our lines are on stdout."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    measured = measure_candidates(
        Bundle.open(request["bundle"], "base"),
        [Candidate(**candidate) for candidate in request["candidates"]],
        table={name: EngineKind(*kind) for name, kind in request["table"].items()},
        tell=lambda index: print(json.dumps({"trying": index}), file=answers),
        **request["options"],
    )
    print(json.dumps({"measured": [one.to_dict() for one in measured]}), file=answers)
    answers.close()
    os._exit(0)  # what a library does at the end of its life is of no interest


if __name__ == "__main__":
    _child()
