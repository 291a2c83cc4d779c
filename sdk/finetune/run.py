"""One fine-tuning run: features once, a held-out comparison with the base, and a new version only if it is no worse.

    labelled windows -> features (frozen encoder) -> choose l2 by held-out blocks -> compare with the base
                     -> fit on everything -> commit a personal version, or keep what is in use and say why

Held out are blocks of time, not single windows: windows overlap, and a neighbour in the training part would flatter.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engine import open_engine
from runtime.errors import InputError
from sdk.finetune.head import Array, HeadProblem, log_softmax
from sdk.finetune.labels import LabelledSet
from sdk.meters import Measurement, Meter, measure
from sdk.scores import score

L2_GRID = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
GUESSING = 0.05  # a head that guessing would match with a higher probability is not accepted


@dataclass(frozen=True)
class FinetunePlan:
    """What is trained and how."""

    method: Literal["head"] = "head"  # the encoder stays as it is
    anchor: Literal["pretrained", "zero"] = "pretrained"  # what the head is pulled to; zero is MESEN's eq. 9
    l2: float | None = None  # strength of that pull; None: the best of L2_GRID on held-out blocks
    folds: int = 5  # held-out blocks per class; fewer where a class has fewer windows


@dataclass(frozen=True)
class HeldOut:
    """How a head does on labelled windows that it was not fitted to."""

    accuracy: float
    macro_f1: float
    log_loss: float  # mean negative log-probability of the true class, natural logarithm


@dataclass(frozen=True)
class FinetuneReport:
    """What a run did, what it cost and what it gained."""

    accepted: bool
    reason: str  # why or why not, as a sentence
    version: str  # in use after the run
    before: HeldOut  # the version that was in use
    after: HeldOut  # the new head, on held-out blocks
    l2: float
    windows_per_label: dict[str, int]
    data_sha256: str
    cost: Measurement
    plan: FinetunePlan

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in _NESTED
        }
        return plain | {
            "before": dataclasses.asdict(self.before),
            "after": dataclasses.asdict(self.after),
            "plan": dataclasses.asdict(self.plan),
            "cost": self.cost.to_dict(),
        }


_NESTED = ("before", "after", "plan", "cost")


def finetune(
    bundle: Bundle,
    data: LabelledSet,
    plan: FinetunePlan | None = None,
    *,
    meter: Meter | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, text: None,
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
        InputError: fewer than two windows.
        BundleError: another process is writing to the bundle.
    """
    plan = plan or FinetunePlan()
    if len(data.labels) < 2:
        raise InputError("labels", expected="at least 2 labelled windows", got=len(data.labels), fix="Label more.")
    with measure(meter) as measuring:
        features = _features(bundle, data.windows, progress)
        weight, bias = _anchor(bundle, plan)
        problem = HeadProblem(features, data.labels, weight=weight, bias=bias, sample_weights=data.weights)
        folds = _blocks(data.labels, plan.folds)
        grid = L2_GRID if plan.l2 is None else (plan.l2,)
        judged = []
        for i, l2 in enumerate(grid):
            judged.append(_judge(problem.held_out_logits(l2, folds), data))
            progress(i + 1, len(grid) + 1, f"held-out blocks, l2 {l2:g}")
        after, l2 = min(zip(judged, grid, strict=True), key=lambda entry: (entry[0].log_loss, -entry[1]))
        head = problem.fit(l2)
        progress(len(grid) + 1, len(grid) + 1, "head fitted to all labels")
    before = _judge(_logits(features, *_head(bundle)), data)
    doubt = _doubt(before, after, len(data.labels), len(bundle.manifest.labels))
    report = FinetuneReport(
        accepted=not doubt,
        reason=f"not accepted, nothing was changed: {doubt}" if doubt else "accepted: no worse on held-out labels",
        version=bundle.version,
        before=before,
        after=after,
        l2=l2,
        windows_per_label=_count(bundle, data),
        data_sha256=data.sha256,
        cost=measuring.result,
        plan=plan,
    )
    if doubt:
        return bundle, report
    names = bundle.manifest.head
    tensors = {names.weight: head.weight.astype(np.float32), names.bias: head.bias.astype(np.float32)}
    record = {**report.to_dict(), "parent": bundle.version}
    del record["version"]
    adapted = bundle.commit({**bundle.personal_tensors, **tensors}, record)
    return adapted, dataclasses.replace(report, version=adapted.version)


def _features(
    bundle: Bundle, windows: NDArray[np.float32], progress: Callable[[int, int, str], None], batch: int = 16
) -> NDArray[np.float32]:
    engine = open_engine(bundle)
    parts = []
    for begin in range(0, len(windows), batch):
        parts.append(engine.run(windows[begin : begin + batch], "features"))
        progress(min(begin + batch, len(windows)), len(windows), "features")
    engine.close()
    return np.concatenate(parts)


def _head(bundle: Bundle) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return bundle.tensor(bundle.manifest.head.weight), bundle.tensor(bundle.manifest.head.bias)


def _anchor(bundle: Bundle, plan: FinetunePlan) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    weight, bias = _head(bundle)
    return (weight, bias) if plan.anchor == "pretrained" else (np.zeros_like(weight), np.zeros_like(bias))


def _blocks(labels: NDArray[np.int64], n_folds: int) -> NDArray[np.int64]:
    """A fold for each window: every class, in the order of time, is cut into as many blocks as there are folds."""
    folds = np.zeros(len(labels), np.int64)
    n_folds = max(2, min(n_folds, int(np.bincount(labels).max())))
    for offset, label in enumerate(np.unique(labels)):  # classes of one window must not all share a fold
        rows = np.flatnonzero(labels == label)
        folds[rows] = (np.arange(len(rows)) * n_folds // max(len(rows), n_folds) + offset) % n_folds
    return folds


def _logits(features: NDArray[np.float32], weight: NDArray[Any], bias: NDArray[Any]) -> Array:
    logits: Array = features.astype(np.float64) @ weight.T.astype(np.float64) + bias
    return logits


def _judge(logits: Array, data: LabelledSet) -> HeldOut:
    scores = score(data.labels, logits.argmax(axis=1), logits.shape[1])
    true = log_softmax(logits)[np.arange(len(data.labels)), data.labels]
    log_loss = -float(np.average(true, weights=data.weights))
    return HeldOut(scores.accuracy or 0.0, scores.macro_f1 or 0.0, log_loss)


def _doubt(before: HeldOut, after: HeldOut, n: int, n_classes: int) -> str:
    """Why a new head is not to be trusted; empty if nothing speaks against it."""
    if after.macro_f1 < before.macro_f1:
        return f"macro-F1 on held-out labels would fall from {before.macro_f1:.3f} to {after.macro_f1:.3f}"
    if after.log_loss > before.log_loss:
        return f"log-loss on held-out labels would rise from {before.log_loss:.3f} to {after.log_loss:.3f}"
    chance = _chance(round(after.accuracy * n), n, n_classes)
    if chance > GUESSING:
        return (
            f"{after.accuracy:.0%} of {n} held-out labels right is what guessing among {n_classes} gives too "
            f"(probability {chance:.2f}); are the labels right, and enough?"
        )
    return ""


def _chance(right: int, n: int, n_classes: int) -> float:
    """Probability that guessing gets at least so many of n right: the tail of a binomial distribution."""
    p = 1 / n_classes
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(right, n + 1))


def _count(bundle: Bundle, data: LabelledSet) -> dict[str, int]:
    counts = np.bincount(data.labels, minlength=len(bundle.manifest.labels))
    return {name: int(n) for name, n in zip(bundle.manifest.labels, counts, strict=True)}
