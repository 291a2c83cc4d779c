r"""`engine="auto"`: the fastest engine of this device whose answers are right, measured once.

    open_auto(bundle)
      recall    the cache has a choice for this device, these libraries and this model?
      choose    no: measure the candidates that are here (runtime.engine.auto.trial), keep the best; if the machine
                was too busy to tell, take the default and measure again next time
      open      and say why: engine.reason

The cache is a file per device and model in `cache_folder()`/engines. It holds names and times, no code; a file that is
damaged or speaks of something else is measured anew and written over. `forget` removes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.bundle import Bundle
from runtime.engine.auto.device import device
from runtime.engine.auto.measure import (
    BUDGET_S,
    DEFAULT,
    Candidate,
    Measured,
    best,
    candidates_here,
    measure_candidates,
    open_questions,
)
from runtime.engine.auto.trial import measure_apart
from runtime.engine.base import ENGINES, Engine, EngineKind, open_of
from runtime.errors import InputError, SensedgeError
from runtime.files.atomic import write_atomic
from runtime.files.cache import cache_folder

_SCHEMA, _LARGEST_BYTES = 2, 1 << 18


@dataclass(frozen=True)
class Choice:
    """An engine with the reason for it."""

    candidate: Candidate
    reason: str  # a sentence
    measured: tuple[Measured, ...] = ()  # what it was chosen from
    kept: str = ""  # the file it came from or went to, or why there is none


def open_auto(bundle: Bundle, *, batch: int = 1, table: Mapping[str, EngineKind] = ENGINES) -> Engine:
    """Open the chosen engine, which is measured if it never was on this device; its `reason` says why it is this one.

    Args:
        bundle: a verified bundle.
        batch: windows per call; more than 1 for a `Hub`.
        table: of the engines.

    Raises:
        BundleError: no engine can read the graph.
    """
    choice = recall(bundle, batch=batch, table=table)
    if choice is not None:
        with suppress(SensedgeError):  # it could be opened when it was chosen: measure anew
            return _open(bundle, choice, table)
    return _open(bundle, choose(bundle, batch=batch, table=table), table)


def _open(bundle: Bundle, choice: Choice, table: Mapping[str, EngineKind]) -> Engine:
    candidate = choice.candidate
    engine = open_of(table, bundle, candidate.engine, threads=candidate.threads, precision=candidate.precision)
    engine.reason = choice.reason
    return engine


def choose(
    bundle: Bundle,
    candidates: Sequence[Candidate] | None = None,
    *,
    batch: int = 1,
    budget_s: float = BUDGET_S,
    table: Mapping[str, EngineKind] = ENGINES,
) -> Choice:
    """Measure, keep the choice in the cache, and return it; one that is not certain is not kept.

    Args:
        bundle: a verified bundle.
        candidates: None: `candidates_here`.
        batch: windows per call.
        budget_s: for the measuring; opening the engines comes on top.
        table: of the engines.
    """
    if candidates is None:
        candidates = candidates_here(table=table)
    try:
        measured = measure_apart(bundle, candidates, batch=batch, budget_s=budget_s, table=table)
    except OSError:  # no second process here: at least the engine that the runtime needs anyway
        own = [candidate for candidate in candidates if candidate.engine == DEFAULT.engine]
        measured = measure_candidates(bundle, own, batch=batch, budget_s=budget_s, table=table)
    winner = best(measured)
    choice = Choice(DEFAULT if winner is None else winner.candidate, explain(measured), measured)
    if open_questions(measured):
        return replace(choice, kept="not kept: the measurement was not clear")
    return remember(bundle, choice, batch=batch)


def explain(measured: Sequence[Measured]) -> str:
    """What was chosen from these, and why, as one line."""
    winner = best(measured)
    if winner is None:
        said = f"{DEFAULT}, because no candidate could be measured"
    else:
        said = f"{winner.candidate}: {_milliseconds(winner)} a call{_range(winner)}, measured on this device"
    if undecided := open_questions(measured):
        said += "; this machine was too busy to tell whether another is faster, so it is measured again next time: "
        said += ", ".join(f"{one.candidate} {_milliseconds(one)}{_range(one)}" for one in undecided)
    left = [one for one in measured if one is not winner and one not in undecided and not one.dropped]
    others = [f"{one.candidate} {_milliseconds(one)}{_range(one)}" for one in left if one.latency_s]
    said += f"; slower or alike: {', '.join(others)}" if others else ""
    dropped: dict[str, str] = {one.dropped: str(one.candidate) for one in reversed(measured) if one.dropped}
    return said + "".join(f"; dropped: {candidate} ({why})" for why, candidate in reversed(dropped.items()))


def _milliseconds(measured: Measured) -> str:
    return f"{(measured.latency_s or 0) * 1e3:.3g} ms"


def _range(measured: Measured) -> str:
    """Between what and what its time lies, as a share of the default's."""
    interval = None if measured.ratio is None else measured.ratio.interval
    return "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f} of {DEFAULT.engine}'s)"


def remember(bundle: Bundle, choice: Choice, *, batch: int = 1) -> Choice:
    """Keep a choice in the cache; where that cannot be, `kept` of what is returned says why."""
    key = _key(bundle, batch)
    plain = {
        "schema": _SCHEMA,
        "key": key,
        "chosen": vars(choice.candidate),
        "reason": choice.reason,
        "measured": [one.to_dict() for one in choice.measured],
    }
    try:
        path = _path(key)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomic(path, (json.dumps(plain, indent=1) + "\n").encode())
    except (OSError, InputError) as error:
        return replace(choice, kept=f"not kept: {error}")
    return replace(choice, kept=str(path))


def recall(bundle: Bundle, *, batch: int = 1, table: Mapping[str, EngineKind] = ENGINES) -> Choice | None:
    """The choice that was kept for this device and model; None: there is none, or none that can be used."""
    key = _key(bundle, batch)
    try:
        path = _path(key)
        if path.stat().st_size > _LARGEST_BYTES:
            return None
        choice = _choice(json.loads(path.read_bytes()), key, path)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):  # not there, damaged, foreign
        return None
    candidate = choice.candidate
    usable = candidate.engine in table and candidate.precision in bundle.precisions and candidate.threads >= 1
    return choice if usable else None


def _choice(plain: Any, key: Mapping[str, Any], path: Path) -> Choice:
    """Raises ValueError, KeyError, TypeError or AttributeError where it is not what `remember` writes."""
    chosen = plain["chosen"]
    types = {"engine": str, "precision": str, "threads": int}
    if plain["schema"] != _SCHEMA or plain["key"] != key or {name: type(chosen[name]) for name in chosen} != types:
        raise ValueError
    measured = tuple(Measured.from_dict(one) for one in plain["measured"])
    return Choice(Candidate(**chosen), str(plain["reason"]), measured, str(path))


def forget(bundle: Bundle) -> bool:
    """Remove what was kept for this device and model, for any batch; whether there was anything."""
    there = False
    model = bundle.manifest.files["model.onnx"].sha256
    for path in (cache_folder() / "engines").glob(f"{model[:16]}-*.json"):
        path.unlink(missing_ok=True)
        there = True
    return there


def _key(bundle: Bundle, batch: int) -> dict[str, Any]:
    """All that a choice depends on, as JSON gives it back."""
    files = bundle.manifest.files
    key = {
        "device": device(),
        "model_sha256": files["model.onnx"].sha256,
        "variants": {name: spec.sha256 for name, spec in sorted(files.items()) if name.startswith("variants/")},
        "batch": batch,
    }
    plain: dict[str, Any] = json.loads(json.dumps(key))
    return plain


def _path(key: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "engines" / f"{key['model_sha256'][:16]}-{digest[:32]}.json"


__all__ = [
    "DEFAULT",
    "Candidate",
    "Choice",
    "Measured",
    "best",
    "candidates_here",
    "choose",
    "explain",
    "forget",
    "measure_apart",
    "measure_candidates",
    "open_auto",
    "open_questions",
    "recall",
    "remember",
]
