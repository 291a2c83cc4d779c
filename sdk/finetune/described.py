"""A fine-tuning report for people: a line for each thing that one would ask first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdk.scores import over_classes

if TYPE_CHECKING:
    from sdk.finetune.run import FinetuneReport


def describe(report: FinetuneReport) -> str:
    """A fine-tuning report as text.

    Args:
        report: of `finetune`.
    """
    counts = ", ".join(f"{n} {name}" for name, n in report.windows_per_label.items() if n)
    cost, training = report.cost, report.training
    lines = [
        f"labelled windows   {counts}",
        f"held-out labels    macro-F1 {report.before.macro_f1:.3f} -> {report.after.macro_f1:.3f} {_over(report)}, "
        f"log-loss {report.before.log_loss:.3f} -> {report.after.log_loss:.3f} (l2 {report.l2:g})",
    ]
    if report.kept is not None:
        lines.append(
            f"kept               {report.kept:.0%} of what the model is sure of "
            f"({report.unlabelled} windows without labels, weight {report.replay:g})"
        )
    if report.contradictions:
        lines[1:] = report.contradictions
    if training is not None:
        stopped = f", ended by {training.stopped_by}" if training.stopped_by else ""
        lines += [
            f"golden windows     {training.golden_agreement:.0%} keep the class that the base gives them",
            f"trained            layers {', '.join(map(str, training.layers))} ({training.parameters} parameters), "
            f"{training.epochs:g} epochs of batches of {training.batch}, {training.trainings} times{stopped}",
        ]
    lines += [
        f"cost               {cost.seconds:.3f} s, peak memory {cost.memory.peak_bytes / 1e6:.1f} MB "
        f"({cost.memory.above_baseline_bytes / 1e6:.1f} MB above the start"
        + (f", {training.predicted_bytes / 1e6:.1f} MB predicted)" if training is not None else ")"),
        *(f"  {name:<16} {phase.seconds:.3f} s" for name, phase in report.phases.items()),
        f"energy             {cost.energy.describe()}",
        *([f"over budget        {report.exceeded}"] if report.exceeded else []),
        *(f"note               {text}" for text in report.notes),
        f"in use             {report.version} ({report.reason})",
    ]
    return "\n".join(lines)


def _over(report: FinetuneReport) -> str:
    """How many classes macro-F1 is the mean over; before and after, where they differ."""
    before, after = report.before.macro_f1_classes, report.after.macro_f1_classes
    over = over_classes(after or 0, len(report.windows_per_label))
    return over if before == after else f"({before} classes before, then {over})"
