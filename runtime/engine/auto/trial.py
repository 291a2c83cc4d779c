r"""Measure candidates in a process of their own: a library that does not suit a processor kills whoever tries it.

    caller                                        child: python -m runtime.engine.auto.trial REQUEST (JSON)
                                            <--     {"trying": 2}       before every use of a candidate
                                            <--     {"measured": [...]} at the end, or {"refused": what was raised}
      no line for too long, or the child is dead: the candidates of the engine it was trying are dropped, and the others
      are measured anew.

Nothing of it stays in the caller's memory but the answer. The child opens exactly the bundle that the caller opened:
it is told whose signature to ask for, and the hash of the manifest.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.bundle import Bundle
from runtime.engine.auto.measure import BUDGET_S, Candidate, Measured, measure_candidates
from runtime.engine.base import ENGINES, EngineKind
from runtime.errors import SensedgeError
from runtime.process.child import Child
from runtime.process.parent import Parent
from runtime.specs import BASE

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
        BundleError: the bundle is no longer the one that was opened.
        OSError: no child process can be started.
    """
    dropped: dict[str, str] = {}  # engine: why
    while True:
        left = [candidate for candidate in candidates if candidate.engine not in dropped]
        request = {
            "bundle": {**bundle.request(), "version": BASE},
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
    trying = 0
    with Child(["-m", __name__], path=sys.path) as child:
        child.start(json.dumps(request))
        try:
            while (message := child.receive(limit_s)) is not None:
                if "refused" in message:
                    raise SensedgeError.from_plain(message["refused"])
                if "measured" in message:
                    return message["measured"], trying, ""
                trying = message["trying"]
            child.wait(limit_s)
        except TimeoutError:
            return [], trying, f"took more than {limit_s:g} s"
        return [], trying, f"killed the process that tried it ({child.ending()})"


def _child() -> None:
    """Measure as the request says."""
    parent, request = Parent(), json.loads(sys.argv[1])
    try:
        bundle = Bundle.of_request(request["bundle"])
    except SensedgeError as error:
        parent.tell({"refused": error.to_plain()})
        return
    measured = measure_candidates(
        bundle,
        [Candidate(**candidate) for candidate in request["candidates"]],
        table={name: EngineKind(*kind) for name, kind in request["table"].items()},
        tell=lambda index: parent.tell({"trying": index}),
        **request["options"],
    )
    parent.tell({"measured": [one.to_dict() for one in measured]})
    os._exit(0)  # what a library does at the end of its life is of no interest


if __name__ == "__main__":
    _child()
