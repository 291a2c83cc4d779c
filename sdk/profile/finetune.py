"""What a fine-tuning run costs: by phase, and by percentage point that it gained.

The run works on a copy of the bundle in a temporary folder: a profile changes nothing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime import Bundle
from runtime.errors import InputError
from runtime.progress import ShowProgress
from sdk.profile.report import FinetunePhase, FinetuneProfile

if TYPE_CHECKING:
    from sdk.finetune import FinetunePlan, FinetuneReport, LabelledSet
    from sdk.meters import Idle, Measurement, Meter


def read_plan(text: str) -> FinetunePlan:
    """The plan that --finetune names.

    Args:
        text: a method with its defaults (head, layers, full, iterative), or the path of a JSON object whose fields are
            those of `FinetunePlan`, as `FinetunePlan.to_dict` writes them.

    Raises:
        InputError: no such file or method, no JSON object, an unknown field, a value that makes no sense.
    """
    from sdk.finetune.plan import METHODS, Budget, FinetunePlan

    if text in METHODS:
        return FinetunePlan(method=text)  # type: ignore[arg-type]
    fields = _read(Path(text), METHODS)
    unknown = sorted(fields.keys() - FinetunePlan.__dataclass_fields__.keys())
    if unknown:
        known = ", ".join(FinetunePlan.__dataclass_fields__)
        raise InputError(text, expected=f"fields among {known}", got=unknown[0], fix="Correct the plan.")
    if isinstance(fields.get("budget"), dict):
        fields["budget"] = Budget(**fields["budget"])
    if "gamma" in fields:
        gamma = fields["gamma"]
        fields["gamma"] = tuple(map(float, gamma)) if isinstance(gamma, list) else float(gamma)
    for name in ("augment", "drop", "merge"):
        if name in fields:
            fields[name] = tuple(tuple(part) if isinstance(part, list) else part for part in fields[name])
    try:
        return FinetunePlan(**fields)
    except TypeError as error:
        raise InputError(text, expected="values as FinetunePlan takes them", got=error, fix="Correct it.") from None


def _read(path: Path, methods: tuple[str, ...]) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        got = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            path, expected=f"one of {', '.join(methods)}, or a file of JSON", got=got, fix="Correct --finetune."
        ) from None
    if not isinstance(fields, dict):
        raise InputError(path, expected="a JSON object", got=type(fields).__name__, fix="Correct the plan.")
    return fields


def profile_finetune(
    bundle: Bundle,
    data: LabelledSet,
    plan: FinetunePlan,
    *,
    meter: Meter,
    idle: Idle | None,
    progress: ShowProgress,
) -> FinetuneProfile:
    """Fine-tune a copy of the bundle and say what it cost.

    Args:
        bundle: in the version to start from.
        data: labelled windows.
        plan: what is trained and how.
        meter: of energy.
        idle: the power of the idle machine.
        progress: called with steps done, all, and a text.

    Raises:
        InputError: as `sdk.finetune.finetune`.
    """
    from sdk.finetune import finetune

    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(bundle.path, Path(folder) / "bundle")
        _, report = finetune(
            Bundle.open(copy, bundle.version, trust=bundle.trust), data, plan, meter=meter, progress=progress
        )
    return summary(report, idle)


def summary(report: FinetuneReport, idle: Idle | None) -> FinetuneProfile:
    """The cost of a run, by phase and by point: 100 (macro-F1 after - before), of a version that was accepted."""
    cost, energy = report.cost, report.cost.energy.above(idle)
    points = 100 * (report.after.macro_f1 - report.before.macro_f1) if report.accepted else None

    def per_point(value: float | None) -> float | None:
        return value / points if value is not None and points is not None and points > 0 else None

    return FinetuneProfile(
        plan=report.plan.to_dict(),
        accepted=report.accepted,
        reason=report.reason,
        points=points,
        labelled_windows=sum(report.windows_per_label.values()),
        phases=tuple(_phase(name, phase, idle) for name, phase in report.phases.items()),
        seconds=cost.seconds,
        cpu_seconds=cost.cpu_seconds,
        peak_bytes=cost.memory.peak_bytes,
        above_baseline_bytes=cost.memory.above_baseline_bytes,
        energy=energy,
        seconds_per_point=per_point(cost.seconds),
        joules_per_point=per_point(energy.joules),
        net_joules_per_point=per_point(energy.net_joules),
    )


def _phase(name: str, cost: Measurement, idle: Idle | None) -> FinetunePhase:
    memory = cost.memory
    return FinetunePhase(
        name, cost.seconds, cost.cpu_seconds, memory.peak_bytes, memory.above_baseline_bytes, cost.energy.above(idle)
    )
