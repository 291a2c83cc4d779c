"""A new head for the wearer: fitted to labels and to what is to stay, its two strengths chosen on held-out blocks.

    prefix      labelled windows, some without labels and the golden ones once through the frozen encoder
    judging     for each weight of what is kept and each pull: fit without each block, score the block
    training    the best of them on everything

What the version in use is sure of is kept, but for activities of which the labels say that it is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engine import Engine, open_engine
from runtime.progress import ShowProgress
from sdk.finetune.budget import Ledger
from sdk.finetune.head import Array, HeadProblem
from sdk.finetune.judge import Adapted, Evidence, Judgement, blocks, kept_weights, weigh
from sdk.finetune.kept import Classes, Kept, kept_answers, none_of_these, trusted_answers
from sdk.finetune.labels import LabelledSet, worth
from sdk.finetune.others import Others
from sdk.finetune.plan import FinetunePlan
from sdk.scores import require_finite

L2_GRID = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
SINGLE_L2, SINGLE_REPLAY = 0.003, 0.3  # with one window of each class: nothing can be held back to choose them
REPLAY_GRID = (0.3, 1.0)  # weight of a class that is kept, against one that is labelled
_BATCH = 16
_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """What the version in use makes of the wearer's windows."""

    features: _Floats  # shape (n, n_features), of the labelled windows
    rest: _Floats  # shape (m, n_features), of those without labels
    golden: _Floats  # shape (k, n_features)
    shipped: tuple[str, ...]  # what the base calls each golden window
    weight: _Floats  # the head, shape (n_classes, n_features)
    bias: _Floats  # shape (n_classes,)

    @property
    def logits(self) -> Array:
        """Of the labelled windows, shape (n, n_classes)."""
        return self.of(self.features)

    def of(self, features: _Floats) -> Array:
        """Logits of any windows by their features, shape (n, n_features)."""
        logits: Array = features.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias
        return logits


def look(bundle: Bundle, data: LabelledSet, ledger: Ledger, progress: ShowProgress) -> Seen:
    """Run the version in use over everything.

    Raises:
        InputError: for some windows its features are no numbers.
    """
    names, shipped = bundle.manifest.head, bundle.golden()
    with ledger.phase("prefix"):
        engine = open_engine(bundle)
        has_features = data.features is not None
        rest = np.zeros((0, bundle.manifest.features), np.float32) if data.rest is None else data.rest
        features = data.features if data.features is not None else _features(engine, data.windows, progress)
        if data.rest is not None and not has_features:
            rest = _features(engine, data.rest, progress)
        golden = _features(engine, shipped.windows, progress)
        engine.close()
    called = tuple(bundle.base_manifest.labels[label] for label in shipped.logits.argmax(axis=1))
    return Seen(features, rest, golden, called, bundle.tensor(names.weight), bundle.tensor(names.bias))


def with_null(data: LabelledSet, seen: Seen, name: str) -> tuple[LabelledSet, Seen]:
    """Both with one more class, of windows without labels that are none of the model's activities.

    Args:
        data: labelled windows; `names` are set.
        seen: what the version in use makes of them.
        name: of the class.

    Raises:
        InputError: there are too few such windows.
    """
    rows = none_of_these(seen.of(seen.rest), name)
    names = data.names or ()
    names = names if name in names else (*names, name)
    features = np.concatenate([seen.features, seen.rest[rows]])
    labels = np.concatenate([data.labels, np.full(len(rows), names.index(name))])
    weights = np.concatenate([data.weights, np.ones(len(rows))])
    more = LabelledSet(data.windows, labels, weights, features, names, None, data.rest, data.notes)
    return more, replace(seen, features=features, rest=np.delete(seen.rest, rows, axis=0))


def _features(engine: Engine, windows: _Floats, progress: ShowProgress) -> _Floats:
    parts = []
    for begin in range(0, len(windows), _BATCH):
        parts.append(engine.run(windows[begin : begin + _BATCH], "features"))
        progress(min(begin + _BATCH, len(windows)), len(windows), "features")
    return require_finite(np.concatenate(parts))


class _Judged(NamedTuple):
    """One weight of what is kept and one pull, on held-out blocks."""

    log_loss: float
    l2: float
    replay: float
    problem: HeadProblem
    verdict: Judgement


def head_candidate(
    data: LabelledSet,
    seen: Seen,
    classes: Classes,
    plan: FinetunePlan,
    ledger: Ledger,
    progress: ShowProgress,
) -> Adapted:
    """Fit a head and judge it; its tensors are called weight and bias."""
    with ledger.phase("judging"):
        head = seen.weight, seen.bias
        trusted = trusted_answers(classes.logits(seen.logits), data.labels)
        kept = kept_answers(classes, (seen.rest, seen.golden), head, seen.shipped, trusted)
        start = classes.head(*head)
        anchor = start if plan.anchor == "pretrained" else (np.zeros_like(start[0]), np.zeros_like(start[1]))
        is_new = ~np.isin(np.arange(len(classes.names)), classes.of)
        old = classes.logits(seen.of(seen.rest))
        if is_new[data.labels].any() and len(old):
            about = seen.features, data.labels, data.weights, seen.rest, old, classes, anchor, plan.folds
            kept = Others(*about).kept_with(kept)
        single = len(np.unique(data.labels)) == len(data.labels) and not classes.n_new
        grid = ((SINGLE_L2,) if single else L2_GRID) if plan.l2 is None else (plan.l2,)
        replays = ((SINGLE_REPLAY,) if single else REPLAY_GRID) if len(kept.answers) else (0.0,)
        judged: list[_Judged] = []
        for replay in replays:
            problem, folds = _problem(data, seen, kept, anchor, replay, plan.folds)
            for l2 in grid:
                judged.append(_judge(problem, folds, l2, replay, data, seen, kept, classes, single))
                progress(len(judged), len(replays) * len(grid) + 1, f"held-out blocks, l2 {l2:g}")
        best = min(judged, key=lambda one: (one.log_loss, -one.replay, -one.l2))
    with ledger.phase("training"):
        fit = best.problem.fit(best.l2)
        progress(len(judged) + 1, len(judged) + 1, "head fitted to all labels")
    notes = best.verdict.notes
    if is_new[data.labels].any() and len(old):
        told = np.bincount((seen.rest @ fit.weight.T + fit.bias).argmax(axis=1), minlength=len(is_new))
        notes += tuple(
            f"{told[label]} of {len(old)} windows without labels would be called {classes.names[label]}"
            for label in np.flatnonzero(is_new)
        )
    return Adapted(
        {"weight": fit.weight.astype(np.float32), "bias": fit.bias.astype(np.float32)},
        replace(best.verdict, notes=notes),
        best.l2,
        labels=classes.names,
        replay=best.replay,
        unlabelled=kept.own,
    )


def _problem(
    data: LabelledSet, seen: Seen, kept: Kept, anchor: tuple[_Floats, _Floats], replay: float, n_folds: int
) -> tuple[HeadProblem, NDArray[np.int64]]:
    """Labels and kept answers as one problem, and the block of each row."""
    weights = replay * kept_weights(data.labels, data.weights, kept.answers)
    folds = blocks(data.labels, n_folds)
    problem = HeadProblem(
        np.concatenate([seen.features, kept.features]),
        np.concatenate([data.labels, kept.answers]),
        weight=anchor[0],
        bias=anchor[1],
        sample_weights=np.concatenate([data.weights, weights]),
    )
    return problem, np.concatenate([folds, blocks(kept.answers, n_folds) % (folds.max() + 1)])


def _judge(
    problem: HeadProblem,
    folds: NDArray[np.int64],
    l2: float,
    replay: float,
    data: LabelledSet,
    seen: Seen,
    kept: Kept,
    classes: Classes,
    single: bool,
) -> _Judged:
    logits, n = problem.held_out_logits(l2, folds), len(data.labels)
    evidence = Evidence(
        data.labels,
        data.weights,
        classes.logits(seen.logits),
        logits[:n],
        kept.answers,
        kept.logits,
        logits[n:],
        single,
        worth(data),
    )
    verdict = weigh(evidence, classes.names, classes.n_new)
    return _Judged(verdict.after.log_loss, l2, replay, problem, verdict)
