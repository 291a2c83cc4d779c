"""A head from labels and from days without: labels spread over the wearer's own windows, and the head taught by both.

    prefix      days through the version in use; places in the space, the graph (teach)
    judging     for each held-out block: labels without it spread anew, a head fitted, the block scored
    training    the same with all labels

What the version in use is sure of and labels do not contradict holds the classes that have no label. The candidate is
weighed as every other; it is taken only where it beats the head that was fitted to labels alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engine import open_engine
from runtime.progress import ShowProgress
from runtime.specs import Normalise
from sdk.features import hand_features
from sdk.finetune.budget import Ledger
from sdk.finetune.candidate import Seen, head_of
from sdk.finetune.head import Array, HeadFit, HeadProblem, log_softmax
from sdk.finetune.judge import Adapted, Evidence, Verdict, blocks, kept_weights, weigh
from sdk.finetune.kept import Classes, Kept, kept_answers, trusted_answers
from sdk.finetune.labels import LabelledSet
from sdk.finetune.plan import FinetunePlan
from sdk.finetune.pool import Days
from sdk.finetune.teach import Pool, Taught, choose_taught, seeds_of

SURE = 0.95  # probability of an answer that holds a class without labels
_L2_GRID = (0.003, 0.03, 0.3)
_REPLAY = 0.3  # weight of a kept class against a labelled one
_PROJECTED = 192  # numbers that are left of an encoder's features in the space
_BATCH = 16
_LEAST_ROWS = 8  # of a window with hand-made features


def space_features(
    windows: NDArray[np.float32], normalise: Normalise, encoded: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """What the space is made from: hand-made features of windows, those of an encoder, or both.

    Args:
        windows: shape (n, length_samples, n_channels), in the units of the signal; flat ones of several rates have no
            hand-made features.
        normalise: of the model.
        encoded: shape (n, m), see `projected`.
    """
    parts = [] if encoded is None else [encoded]
    if windows.ndim == 3 and windows.shape[1] >= _LEAST_ROWS:
        mean, std = np.asarray(normalise.mean, np.float32), np.asarray(normalise.std, np.float32)
        parts.append(hand_features((windows - mean) / std))
    return np.concatenate(parts, axis=1) if parts else windows.reshape(len(windows), -1)


def projected(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """An encoder's features, shape (n, n_features), on at most 192 fixed random directions."""
    n = features.shape[1]
    if n <= _PROJECTED:
        return features
    directions = np.random.default_rng(0).standard_normal((n, _PROJECTED), np.float32) / np.sqrt(np.float32(n))
    found: NDArray[np.float32] = features @ directions
    return found


@dataclass(frozen=True)
class _Lesson:
    """All that one fit needs but the labels that it may see."""

    data: LabelledSet
    seen: Seen
    kept: Kept
    pool: Pool
    answers: Array  # shape (n_days, n_classes): 1 where the version in use is sure and believed
    bundle: Bundle
    days: Days
    anchor: tuple[NDArray[np.float32], NDArray[np.float32]]

    def taught(self, visible: NDArray[np.bool_]) -> Taught:
        """Windows of the days with soft labels, from the labels that are visible."""
        labels = np.where(visible, self.data.labels, -1)
        soft = self.pool.soft_labels(seeds_of(labels, self.data.weights, len(self.pool.places), self.answers))
        return choose_taught(soft, len(labels))

    def problem(
        self, taught: Taught, features: NDArray[np.float32], visible: NDArray[np.bool_], kept: Array
    ) -> HeadProblem:
        """The head's problem; `kept` has the weight of each kept window, 0 where it is held out."""
        n_classes = len(self.anchor[1])
        own = np.where(visible, self.data.weights, 0.0)
        weights = [own / max(own.sum(), 1e-12), taught.weights / max(taught.weights.sum(), 1e-12)]
        scale = max(float(self.data.weights.sum()), 1e-12)
        return HeadProblem(
            np.concatenate([self.seen.features, features, self.kept.features]),
            np.concatenate([np.eye(n_classes)[self.data.labels], taught.soft, np.eye(n_classes)[self.kept.answers]]),
            weight=self.anchor[0],
            bias=self.anchor[1],
            sample_weights=np.concatenate([*weights, _REPLAY * kept / scale]),
        )


def days_candidate(
    bundle: Bundle,
    data: LabelledSet,
    seen: Seen,
    classes: Classes,
    days: Days,
    plan: FinetunePlan,
    ledger: Ledger,
    progress: ShowProgress,
) -> Adapted:
    """Spread the labels, fit a head and weigh it.

    Args:
        bundle: in the version in use.
        data: labelled windows, as windows.
        seen: what the version in use makes of them.
        classes: of the new version.
        days: windows without labels.
        plan: anchor, l2, folds, space.
        ledger: measures the phases.
        progress: told how far it is.
    """
    with ledger.phase("prefix"):
        lesson = _lesson(bundle, data, seen, classes, days, plan, progress)
    with ledger.phase("judging"):
        folds = blocks(data.labels, plan.folds)
        kept_folds = blocks(lesson.kept.answers, plan.folds) % (folds.max() + 1)
        grid = _L2_GRID if plan.l2 is None else (plan.l2,)
        held = [np.zeros((len(data.labels) + len(kept_folds), len(classes.names))) for _ in grid]
        share, came_back = kept_weights(data.labels, data.weights, lesson.kept.answers), 0
        for fold in np.unique(folds):
            came_back += _held_out(lesson, folds == fold, kept_folds == fold, share, grid, held)
            progress(int(fold) + 1, int(folds.max()) + 2, "labels spread without a held-out block")
        judged = [_weighed(lesson, classes, logits) for logits in held]
        verdict, l2 = min(zip(judged, grid, strict=True), key=lambda entry: (entry[0].after.log_loss, -entry[1]))
    with ledger.phase("training"):
        everything = np.ones(len(data.labels), bool)
        taught = lesson.taught(everything)
        fit = _fit(lesson, taught, everything, share, l2)
    names = bundle.manifest.head
    sure = float(taught.soft.max(axis=1).mean()) if len(taught.rows) else 0.0
    told = f"labels spread over {len(days.windows)} windows: {came_back} of {len(folds)} that were held back came back"
    return Adapted(
        {names.weight: fit.weight.astype(np.float32), names.bias: fit.bias.astype(np.float32)},
        replace(verdict, notes=(*verdict.notes, f"{told}, mean confidence {sure:.2f}")),
        l2,
        labels=classes.names,
        replay=_REPLAY,
        unlabelled=len(days.windows),
    )


def _lesson(
    bundle: Bundle,
    data: LabelledSet,
    seen: Seen,
    classes: Classes,
    days: Days,
    plan: FinetunePlan,
    progress: ShowProgress,
) -> _Lesson:
    """Days through the version in use, and all places."""
    head = head_of(bundle)
    trusted = trusted_answers(classes.logits(seen.logits), data.labels)
    kept = kept_answers(classes, seen.rest, seen.golden, head, (bundle.base_manifest.labels, bundle.golden()), trusted)
    with_encoder = plan.space != "hand" or days.windows.ndim != 3
    logits, encoded = _run(bundle, days.windows, head, with_encoder, progress)
    p = np.exp(log_softmax(classes.logits(logits)))
    answers = np.where((p >= SURE) & trusted, 1.0, 0.0)
    windows = np.concatenate([data.windows, days.windows])
    if encoded is not None:
        encoded = np.concatenate([projected(seen.features), encoded])
    if encoded is not None and plan.space != "both":
        features = encoded
    else:
        features = space_features(windows, bundle.manifest.normalise, encoded)
    times = np.full(len(data.labels), np.nan) if data.spans_s is None else data.spans_s[:, 0]
    pool = Pool.of(features, np.concatenate([times, days.start_s]))
    start = classes.head(*head)
    anchor = start if plan.anchor == "pretrained" else (np.zeros_like(start[0]), np.zeros_like(start[1]))
    return _Lesson(data, seen, kept, pool, answers, bundle, days, anchor)


def _run(
    bundle: Bundle,
    windows: NDArray[np.float32],
    head: tuple[NDArray[np.float32], NDArray[np.float32]],
    with_encoder: bool,
    progress: ShowProgress,
) -> tuple[Array, NDArray[np.float32] | None]:
    """Logits of windows, and their projected features; the features themselves are not kept."""
    engine = open_engine(bundle)
    logits, encoded = [], []
    for begin in range(0, len(windows), _BATCH):
        features = engine.run(windows[begin : begin + _BATCH], "features")
        logits.append(features @ head[0].T + head[1])
        if with_encoder:
            encoded.append(projected(features))
        progress(min(begin + _BATCH, len(windows)), len(windows), "windows without labels")
    engine.close()
    return np.concatenate(logits).astype(np.float64), np.concatenate(encoded) if encoded else None


def _features_of(lesson: _Lesson, taught: Taught) -> NDArray[np.float32]:
    """What the encoder makes of the windows that a head is taught with."""
    windows = lesson.days.windows[taught.rows - len(lesson.data.labels)]
    engine = open_engine(lesson.bundle)
    parts = [engine.run(windows[at : at + _BATCH], "features") for at in range(0, len(windows), _BATCH)]
    engine.close()
    return np.concatenate(parts) if parts else lesson.seen.features[:0]


def _fit(lesson: _Lesson, taught: Taught, visible: NDArray[np.bool_], kept: Array, l2: float) -> HeadFit:
    return lesson.problem(taught, _features_of(lesson, taught), visible, kept).fit(l2)


def _held_out(
    lesson: _Lesson,
    block: NDArray[np.bool_],
    kept_block: NDArray[np.bool_],
    share: Array,
    grid: tuple[float, ...],
    held: list[Array],
) -> int:
    """Fill in the logits of a block by heads that never saw its labels; how many of these the spreading gave back."""
    visible = ~block
    taught = lesson.taught(visible)
    problem = lesson.problem(taught, _features_of(lesson, taught), visible, np.where(kept_block, 0.0, share))
    rows = np.flatnonzero(np.concatenate([block, kept_block]))
    features = np.concatenate([lesson.seen.features, lesson.kept.features])[rows]
    for l2, logits in zip(grid, held, strict=True):
        fit = problem.fit(l2)
        logits[rows] = features @ fit.weight.T + fit.bias
    labels = np.where(visible, lesson.data.labels, -1)
    soft = lesson.pool.soft_labels(seeds_of(labels, lesson.data.weights, len(lesson.pool.places), lesson.answers))
    return int((soft[: len(labels)].argmax(axis=1) == lesson.data.labels)[block].sum())


def _weighed(lesson: _Lesson, classes: Classes, logits: Array) -> Verdict:
    n, data, kept = len(lesson.data.labels), lesson.data, lesson.kept
    before = classes.logits(lesson.seen.logits)
    evidence = Evidence(data.labels, data.weights, before, logits[:n], kept.answers, kept.logits, logits[n:])
    return weigh(evidence, classes.names)
