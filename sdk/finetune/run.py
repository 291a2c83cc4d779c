"""One fine-tuning run: train, compare with what is in use on held-out labels, and a new version only if it is no worse.

    head       windows -> features (frozen encoder) -> l2 by held-out blocks -> fit on everything
    layers ... windows -> activations at the cut -> trained without each block -> trained on everything
                      -> accepted: commit a personal version; not accepted: keep what is in use and say why

From beginning to end the run holds the bundle for itself: a second one is refused before it computes anything.
"""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engine import open_engine
from runtime.errors import BundleError, InputError
from runtime.files.atomic import held
from runtime.progress import ShowProgress, silent
from sdk.finetune.budget import Ledger
from sdk.finetune.head import Array, HeadProblem
from sdk.finetune.judge import Adapted, HeldOut, TrainingReport, blocks, doubt, judge
from sdk.finetune.labels import LabelledSet
from sdk.finetune.layers import layers_candidate
from sdk.finetune.plan import FinetunePlan
from sdk.meters import Measurement, Meter
from sdk.scores import require_finite

L2_GRID = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class FinetuneReport:
    """What a run did, what it cost and what it gained."""

    accepted: bool
    reason: str  # why or why not, as a sentence
    version: str  # in use after the run
    before: HeldOut  # the version that was in use
    after: HeldOut  # the new one, on held-out blocks
    l2: float
    windows_per_label: dict[str, int]
    data_sha256: str
    cost: Measurement  # of all phases
    phases: dict[str, Measurement]  # prefix, judging, training; and commit, which the stored record cannot have
    plan: FinetunePlan
    training: TrainingReport | None = None  # None: there were no gradient steps
    exceeded: str = ""  # budgets that were not kept, since every training makes one step at least; empty: all were

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in _NESTED
        }
        return plain | {
            "before": dataclasses.asdict(self.before),
            "after": dataclasses.asdict(self.after),
            "plan": self.plan.to_dict(),
            "cost": self.cost.to_dict(),
            "phases": {name: phase.to_dict() for name, phase in self.phases.items()},
            "training": self.training.to_dict() if self.training else None,
        }


_NESTED = ("before", "after", "plan", "cost", "phases", "training")


def finetune(
    bundle: Bundle,
    data: LabelledSet,
    plan: FinetunePlan | None = None,
    *,
    meter: Meter | None = None,
    progress: ShowProgress = silent,
) -> tuple[Bundle, FinetuneReport]:
    """Adapt a bundle to labelled windows of its wearer.

    Args:
        bundle: in the version to start from.
        data: labelled windows, at least two.
        plan: None is the default plan.
        meter: of energy; None measures time and memory only.
        progress: called with steps done, all steps and what is being done.

    Returns:
        The bundle in the version now in use, and the report, which is also stored with the version.

    Raises:
        InputError: fewer than two windows; layers that the bundle cannot train; a budget that cannot be kept or
            watched; a loss that is no longer finite. Nothing was changed.
        BundleError: another process is writing to the bundle or fine-tuning it, or this one may not write to it.
        TrustError: the bundle was opened with trust in its base only.
    """
    plan = plan or FinetunePlan()
    _check(bundle, data, plan.method)
    bundle.check_writable()  # not after an hour of training
    with alone(bundle.path):
        import_module("onnxruntime")  # before the first reading: a library is no cost of the run
        ledger = Ledger(plan.budget, meter)
        make = _head_candidate if plan.method == "head" else layers_candidate
        found = make(bundle, data, plan, ledger, progress)
        reason = found.doubt
        report = FinetuneReport(
            accepted=not reason,
            reason=f"not accepted, nothing was changed: {reason}"
            if reason
            else "accepted: no worse on held-out labels",
            version=bundle.version,
            before=found.before,
            after=found.after,
            l2=found.l2,
            windows_per_label=_count(bundle, data),
            data_sha256=data.sha256,
            cost=ledger.total(),
            phases=dict(ledger.phases),
            plan=plan,
            training=found.training,
            exceeded=ledger.exceeded(),
        )
        if reason:
            return bundle, report
        record = {**report.to_dict(), "parent": bundle.version}
        del record["version"]
        with ledger.phase("commit"):
            adapted = bundle.commit({**bundle.personal_tensors, **found.tensors}, record)
    return adapted, dataclasses.replace(
        report, version=adapted.version, cost=ledger.total(), phases=dict(ledger.phases)
    )


def _check(bundle: Bundle, data: LabelledSet, method: str) -> None:
    if len(data.labels) < 2:
        raise InputError("labels", expected="at least 2 labelled windows", got=len(data.labels), fix="Label more.")
    last = len(bundle.manifest.labels) - 1
    if data.labels.min() < 0 or data.labels.max() > last:
        raise InputError(
            "labels",
            expected=f"classes 0 to {last}",
            got=f"{data.labels.min()} to {data.labels.max()}",
            fix="Use the model's classes.",
        )
    if data.features is not None and (method != "head" or data.features.shape[1:] != (bundle.manifest.features,)):
        raise InputError(
            "features",
            expected=f"windows, or method head and {bundle.manifest.features} features for each",
            got=f"method {method}, features of shape {data.features.shape}",
            fix="Record windows (keep='windows') to train more than the head.",
        )
    if data.windows.shape[1:] != bundle.manifest.window_shape:
        raise InputError(
            "windows",
            expected=f"shape (n, {', '.join(map(str, bundle.manifest.window_shape))})",
            got=data.windows.shape,
            fix="Cut the samples with the bundle's own window.",
        )


def alone(path: Path) -> AbstractContextManager[None]:
    """Hold the only right to fine-tune a bundle.

    Raises:
        BundleError: on entering, where somebody else has it.
    """
    fix = "Wait for the other to end."
    return held(path, BundleError(path, expected="one fine-tuning at a time", got="a second one", fix=fix))


def _head_candidate(
    bundle: Bundle, data: LabelledSet, plan: FinetunePlan, ledger: Ledger, progress: ShowProgress
) -> Adapted:
    """Fit the head to cached features; the strength of the pull is chosen on held-out blocks."""
    with ledger.phase("prefix"):
        features = _features(bundle, data.windows, progress) if data.features is None else data.features
    with ledger.phase("judging"):
        weight, bias = _anchor(bundle, plan)
        problem = HeadProblem(features, data.labels, weight=weight, bias=bias, sample_weights=data.weights)
        folds = blocks(data.labels, plan.folds)
        grid = L2_GRID if plan.l2 is None else (plan.l2,)
        judged = []
        for i, l2 in enumerate(grid):
            judged.append(judge(problem.held_out_logits(l2, folds), data.labels, data.weights))
            progress(i + 1, len(grid) + 1, f"held-out blocks, l2 {l2:g}")
        after, l2 = min(zip(judged, grid, strict=True), key=lambda entry: (entry[0].log_loss, -entry[1]))
        before = judge(_logits(features, *_head(bundle)), data.labels, data.weights)
    with ledger.phase("training"):
        head = problem.fit(l2)
        progress(len(grid) + 1, len(grid) + 1, "head fitted to all labels")
    names = bundle.manifest.head
    return Adapted(
        {names.weight: head.weight.astype(np.float32), names.bias: head.bias.astype(np.float32)},
        before,
        after,
        l2,
        doubt(before, after, len(data.labels), len(bundle.manifest.labels)),
    )


def _features(
    bundle: Bundle, windows: NDArray[np.float32], progress: ShowProgress, batch: int = 16
) -> NDArray[np.float32]:
    engine = open_engine(bundle)
    parts = []
    for begin in range(0, len(windows), batch):
        parts.append(engine.run(windows[begin : begin + batch], "features"))
        progress(min(begin + batch, len(windows)), len(windows), "features")
    engine.close()
    return require_finite(np.concatenate(parts))


def _head(bundle: Bundle) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return bundle.tensor(bundle.manifest.head.weight), bundle.tensor(bundle.manifest.head.bias)


def _anchor(bundle: Bundle, plan: FinetunePlan) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    weight, bias = _head(bundle)
    return (weight, bias) if plan.anchor == "pretrained" else (np.zeros_like(weight), np.zeros_like(bias))


def _logits(features: NDArray[np.float32], weight: NDArray[Any], bias: NDArray[Any]) -> Array:
    logits: Array = features.astype(np.float64) @ weight.T.astype(np.float64) + bias
    return logits


def _count(bundle: Bundle, data: LabelledSet) -> dict[str, int]:
    counts = np.bincount(data.labels, minlength=len(bundle.manifest.labels))
    return {name: int(n) for name, n in zip(bundle.manifest.labels, counts, strict=True)}
