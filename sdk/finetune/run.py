"""One fine-tuning run: train, compare with what is in use on held-out labels, and a new version only if it is no worse.

    look       labels that contradict what the model is sure of: nothing is trained, they are listed
    head       windows -> features (frozen encoder) -> l2 and replay by held-out blocks -> fit on everything
    layers ... windows -> activations at the cut -> trained without each block -> trained on everything
                      -> accepted: commit a personal version; not accepted: keep what is in use and say why

From beginning to end the run holds the bundle for itself: a second one is refused before it computes anything.
"""

from __future__ import annotations

import dataclasses
import getpass
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bundle import Bundle
from runtime.errors import BundleError, InputError, OneLine
from runtime.files.atomic import held
from runtime.progress import ShowProgress, silent
from sdk.finetune.budget import Ledger
from sdk.finetune.candidate import Seen, head_candidate, look, with_null
from sdk.finetune.contradictions import Contradiction, contradictions, worth_asking
from sdk.finetune.days import days_candidate
from sdk.finetune.head import Array
from sdk.finetune.judge import Adapted, HeldOut, Judgement, TrainingReport, judge
from sdk.finetune.kept import Classes
from sdk.finetune.labels import LabelledSet, renamed
from sdk.finetune.layers import layers_candidate
from sdk.finetune.plan import FinetunePlan
from sdk.finetune.pool import Days
from sdk.meters import Measurement, Meter


@dataclass(frozen=True, repr=False)
class FinetuneReport(OneLine):
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
    kept: float | None = None  # share of the answers that were to stay and do; None: every activity was labelled
    replay: float = 0.0  # weight of an activity that is kept, against one that is labelled
    unlabelled: int = 0  # windows without labels that were used
    notes: tuple[str, ...] = ()  # what was left out, and what would make the labels better
    contradictions: tuple[str, ...] = ()  # labels that the model is sure are others; with them nothing was trained

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
            "notes": list(self.notes),
            "contradictions": list(self.contradictions),
        }


_NESTED = ("before", "after", "plan", "cost", "phases", "training", "notes", "contradictions")


def finetune(
    bundle: Bundle,
    data: LabelledSet,
    plan: FinetunePlan | None = None,
    *,
    meter: Meter | None = None,
    progress: ShowProgress = silent,
    days: Days | None = None,
) -> tuple[Bundle, FinetuneReport]:
    """Adapt a bundle to labelled windows of its wearer.

    Args:
        bundle: in the version to start from.
        data: labelled windows, at least two.
        plan: None is the default plan.
        meter: of energy; None measures time and memory only.
        progress: called with steps done, all steps and what is being done.
        days: windows of the wearer without labels, over which labels are spread (method head, labels with windows).

    Returns:
        The bundle in the version now in use, and the report, which is also stored with the version.

    Raises:
        InputError: fewer than two windows; layers that the bundle cannot train; a budget that cannot be kept or
            watched; a loss that is no longer finite. Nothing was changed.
        BundleError: another process is writing to the bundle or fine-tuning it, or this one may not write to it.
        TrustError: the bundle was opened with trust in its base only.
    """
    plan = plan or FinetunePlan()
    classes = _classes(bundle, data, plan)
    _check(bundle, data, plan.method, len(classes.names))
    _check_days(data, days, plan.method)
    if plan.merge or plan.drop:
        data = renamed(data, classes.now(data.names or bundle.manifest.labels), classes.names)
    bundle.check_writable()  # not after an hour of training
    with alone(bundle.path):
        import_module("onnxruntime")  # before the first reading: a library is no cost of the run
        ledger = Ledger(plan.budget, meter)
        found, told = _candidate(bundle, data, days, classes, plan, ledger, progress)
        verdict = found.verdict
        report = FinetuneReport(
            accepted=not verdict.doubt,
            reason=f"not accepted, nothing was changed: {verdict.doubt}"
            if verdict.doubt
            else f"accepted: {verdict.grounds}",
            version=bundle.version,
            before=verdict.before,
            after=verdict.after,
            l2=found.l2,
            windows_per_label=_count(classes.names, data),
            data_sha256=data.sha256,
            cost=ledger.total(),
            phases=dict(ledger.phases),
            plan=plan,
            training=found.training,
            exceeded=ledger.exceeded(),
            kept=verdict.kept,
            replay=found.replay,
            unlabelled=found.unlabelled,
            notes=(*data.notes, *verdict.notes),
            contradictions=told,
        )
        if verdict.doubt:
            return bundle, report
        record = {**report.to_dict(), "parent": bundle.version, "made_s": time.time(), "by": _user()}
        del record["version"]
        with ledger.phase("commit"):
            adapted = bundle.commit({**bundle.personal_tensors, **found.tensors}, record, found.labels or classes.names)
    return adapted, dataclasses.replace(
        report, version=adapted.version, cost=ledger.total(), phases=dict(ledger.phases)
    )


def _classes(bundle: Bundle, data: LabelledSet, plan: FinetunePlan) -> Classes:
    """The classes of the new version.

    Raises:
        InputError: another order; activities to merge or to drop that there are not; less than two left; a null class
            that has the name of an activity.
    """
    labels = bundle.manifest.labels
    if plan.null in bundle.base_manifest.labels:
        expected = "a name that is none of the model's activities"
        raise InputError("null", expected=expected, got=plan.null, fix="Use another, such as none.")
    strange = sorted({*(old for old, _ in plan.merge), *plan.drop} - set(labels))
    names = data.names or labels
    new = (*names[len(labels) :], *([plan.null] if plan.null else []))
    classes = Classes.of_version(labels, new, plan.merge, plan.drop) if not strange and _begins(names, labels) else None
    if classes is None or len(classes.names) < 2:
        raise InputError(
            "merge, drop",
            expected=f"activities of the model, of which two are left: {', '.join(labels)}",
            got=", ".join(strange) or "less than two",
            fix="Use the model's names.",
        )
    return classes


def _begins(names: Sequence[str], labels: Sequence[str]) -> bool:
    return tuple(names[: len(labels)]) == tuple(labels)


def _candidate(
    bundle: Bundle,
    data: LabelledSet,
    days: Days | None,
    classes: Classes,
    plan: FinetunePlan,
    ledger: Ledger,
    progress: ShowProgress,
) -> tuple[Adapted, tuple[str, ...]]:
    """A new version that nobody uses yet, or what speaks against training one."""
    told: list[Contradiction] = []

    def ask(logits: Array) -> Adapted | None:
        told.extend(contradictions(logits, data.labels, classes.names, data.spans_s, classes.of))
        asked = worth_asking(told, len(data.labels)) and not plan.sure
        return _unasked(logits, data, plan) if asked else None

    if plan.method != "head":
        found = layers_candidate(bundle, data, plan, ledger, progress, ask)
    else:
        seen = look(bundle, data, ledger, progress)
        found = ask(classes.logits(seen.logits)) or _head(bundle, data, days, seen, classes, plan, ledger, progress)
    if not found.tensors:
        return found, tuple(map(str, told))
    return _noted(found, told), ()


def _head(
    bundle: Bundle,
    data: LabelledSet,
    days: Days | None,
    seen: Seen,
    classes: Classes,
    plan: FinetunePlan,
    ledger: Ledger,
    progress: ShowProgress,
) -> Adapted:
    """The candidate of method head, its tensors as the bundle calls them."""
    if plan.null:
        data, seen = with_null(dataclasses.replace(data, names=classes.names), seen, plan.null)
    found, names = head_candidate(data, seen, classes, plan, ledger, progress), bundle.manifest.head
    if days is not None and len(days.windows):
        other = days_candidate(bundle, data, seen, classes, days, plan, ledger, progress)
        found = min(found, other, key=lambda one: (bool(one.verdict.doubt), one.verdict.after.log_loss))
    tensors = {names.weight: found.tensors["weight"], names.bias: found.tensors["bias"]}
    return dataclasses.replace(found, tensors=tensors)


def _noted(found: Adapted, told: Sequence[Contradiction]) -> Adapted:
    """With what contradicts and was not asked about, or is sure, among the notes."""
    verdict = found.verdict
    notes = (*map(str, told), *verdict.notes)
    return dataclasses.replace(found, verdict=dataclasses.replace(verdict, notes=notes))


def _unasked(logits: Array, data: LabelledSet, plan: FinetunePlan) -> Adapted:
    """Nothing was trained: the wearer is asked first."""
    before = judge(logits, data.labels, data.weights)
    reason = "some labels contradict what the model is sure of; take them away, or say that you are sure (--sure)"
    return Adapted({}, Judgement(before, before, reason), plan.l2 or 0.0)


def _user() -> str:
    """Who runs this, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def _check(bundle: Bundle, data: LabelledSet, method: str, n_classes: int) -> None:
    if len(data.labels) < 2:
        raise InputError("labels", expected="at least 2 labelled windows", got=len(data.labels), fix="Label more.")
    last = len(data.names or bundle.manifest.labels) - 1
    if method != "head" and n_classes != len(bundle.manifest.labels):
        fix = "Use method head; or leave them out."
        raise InputError("labels", expected="activities that the model knows", got="new ones", fix=fix)
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


def _check_days(data: LabelledSet, days: Days | None, method: str) -> None:
    """Labels that flow are soft: a head can learn from them, a training graph takes one class for each window."""
    if days is not None and len(days.windows) and (method != "head" or data.features is not None):
        got = f"method {method}" if method != "head" else "labels with features alone"
        fix = "Leave the days out, or use method head and a store that keeps windows."
        raise InputError("days", expected="method head, labels with windows", got=got, fix=fix)


def alone(path: Path) -> AbstractContextManager[None]:
    """Hold the only right to fine-tune a bundle.

    Raises:
        BundleError: on entering, where somebody else has it.
    """
    fix = "Wait for the other to end."
    return held(path, BundleError(path, expected="one fine-tuning at a time", got="a second one", fix=fix))


def _count(names: Sequence[str], data: LabelledSet) -> dict[str, int]:
    counts = np.bincount(data.labels, minlength=len(names))
    return {name: int(n) for name, n in zip(names, counts, strict=True)}
