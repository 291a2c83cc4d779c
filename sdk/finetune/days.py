"""A head from labels and from days without: labels spread over the wearer's own windows, and the head taught by both.

    prefix      days through the version in use; places in the space, the graph (teach)
    judging     for each stretch of time with labels, or block of many: labels without it spread anew, a head fitted, it
                scored; the only one of its class counts for nobody, as without it there is nothing to find
    training    the same with all labels

What the version in use is sure of and labels do not contradict holds the classes that have no label. The candidate is
weighed as every other; it is taken only where it beats the head that was fitted to labels alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engine import open_engine
from runtime.progress import ShowProgress, silent
from runtime.specs import Normalise
from sdk.features import hand_features
from sdk.finetune.budget import Ledger
from sdk.finetune.candidate import Seen
from sdk.finetune.head import Array, HeadFit, HeadProblem, log_softmax
from sdk.finetune.judge import Adapted, Evidence, Judgement, blocks, kept_weights, weigh
from sdk.finetune.kept import Classes, Kept, kept_answers, trusted_answers
from sdk.finetune.labels import LabelledSet, stretches, worth
from sdk.finetune.plan import FinetunePlan
from sdk.finetune.pool import Days
from sdk.finetune.spread import spread
from sdk.finetune.teach import MOST_SPANNED, MOST_TAUGHT, Pool, evenly, named, shared
from sdk.scores import require_finite

SURE = 0.95  # probability of an answer that holds a class without labels
_L2_GRID = (0.01, 0.1)
_DIRECTIONS = 128  # of the windows of a lesson, in which a head may differ from its anchor
_REPLAY = 0.3  # weight of a kept class against a labelled one
_PROJECTED = 192  # numbers that are left of an encoder's features in the space
_BATCH = 16
_AT_ONCE = 256  # windows
_LEAST_ROWS = 8  # of a window with hand-made features
_MOST_STRETCHES = 24  # of time with labels that are held out one by one; a head is fitted for each


def space_features(
    windows: NDArray[np.float32], normalise: Normalise, encoded: NDArray[np.float32] | None, space: str
) -> NDArray[np.float32]:
    """What the space is made from.

    Args:
        windows: shape (n, length_samples, n_channels), in the units of the signal; flat ones, of several rates, have no
            hand-made features.
        normalise: of the model.
        encoded: an encoder's features, shape (n, m), see `projected`; None: there are none.
        space: hand, encoder or both.
    """
    by_hand = windows.ndim == 3 and windows.shape[1] >= _LEAST_ROWS and (encoded is None or space != "encoder")
    if not by_hand:
        return windows.reshape(len(windows), -1) if encoded is None else encoded
    mean, std = np.asarray(normalise.mean, np.float32), np.asarray(normalise.std, np.float32)
    pieces = (windows[at : at + _AT_ONCE] for at in range(0, max(len(windows), 1), _AT_ONCE))  # a bound on memory
    found = np.concatenate([hand_features((piece - mean) / std) for piece in pieces])
    return found if encoded is None or space == "hand" else np.concatenate([found, encoded], axis=1)


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
    """Labelled windows, those that are taught, those that are kept: one after the other, as features and as flows."""

    labels: NDArray[np.int64]  # shape (n,)
    weights: Array  # shape (n,), of the labels
    answers: NDArray[np.int64]  # shape (k,), classes of the kept windows
    kept: Array  # shape (k,), their weights
    reduced: NDArray[np.float32]  # shape (n + m + k, r), features in the directions in which they differ
    lift: Array  # shape (r, n_features), from these directions to features
    anchor: tuple[Array, Array]  # weight (n_classes, n_features) and bias
    flows: Array  # shape (n + m, n_folds + 1, n_classes): from the labels of each block; last, from sure answers
    folds: NDArray[np.int64]  # shape (n,)
    kept_folds: NDArray[np.int64]  # shape (k,)

    @property
    def alone(self) -> NDArray[np.bool_]:
        """Labelled windows whose class has no other label than those that are held out with them, shape (n,)."""
        pairs = np.unique(np.stack([self.labels, self.folds]), axis=1)[0]
        return np.bincount(pairs, minlength=len(self.anchor[1]))[self.labels] < 2

    def fit(self, held: int | None, l2: float) -> tuple[HeadFit, Array]:
        """A head without the labels of a block, and the soft labels of labelled and taught windows."""
        n, n_classes = len(self.labels), len(self.anchor[1])
        blocks_in = [i for i in range(self.flows.shape[1]) if i != held]
        soft = shared(self.flows[:, blocks_in].sum(axis=1))
        own = np.where(self.folds == held, 0.0, self.weights)
        kept = np.where(self.kept_folds == held, 0.0, self.kept)
        weights = [own / max(own.sum(), 1e-12), evenly(soft[n:]), _REPLAY * kept]
        targets = [np.eye(n_classes)[self.labels], named(soft[n:]), np.eye(n_classes)[self.answers]]
        problem = HeadProblem(
            self.reduced,
            np.concatenate(targets),
            weight=(self.anchor[0] @ self.lift.T).astype(np.float32),
            bias=self.anchor[1].astype(np.float32),
            sample_weights=np.concatenate(weights),
        )
        return problem.fit(l2), soft

    def lifted(self, fit: HeadFit) -> tuple[Array, Array]:
        """Weight and bias for the features themselves."""
        return self.anchor[0] + (fit.weight - self.anchor[0] @ self.lift.T) @ self.lift, fit.bias


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
        trusted = trusted_answers(classes.logits(seen.logits), data.labels)
        kept = kept_answers(classes, (seen.rest, seen.golden), (seen.weight, seen.bias), seen.shipped, trusted)
        lesson = _lesson(bundle, data, seen, kept, classes, trusted, days, plan, progress)
    with ledger.phase("judging"):
        grid = _L2_GRID if plan.l2 is None else (plan.l2,)
        judged = []
        for i, l2 in enumerate(grid):
            logits, came_back = _held_out(lesson, l2)
            judged.append((_weighed(data, seen, kept, classes, logits, lesson.alone), l2))
            progress(i + 1, len(grid) + 1, f"labels spread without a held-out block, l2 {l2:g}")
        verdict, l2 = min(judged, key=lambda entry: (entry[0].after.log_loss, -entry[1]))
    with ledger.phase("training"):
        fit, soft = lesson.fit(None, l2)
        weight, bias = lesson.lifted(fit)
    n = len(data.labels)
    told = (
        f"labels spread over {len(days.windows)} windows without: mean confidence {soft[n:].max(axis=1).mean():.2f}, "
        f"{came_back} of {n} labels that were held back came back"
    )
    return Adapted(
        {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)},
        replace(verdict, notes=(*verdict.notes, told)),
        l2,
        labels=classes.names,
        replay=_REPLAY,
        unlabelled=len(days.windows),
    )


def _lesson(
    bundle: Bundle,
    data: LabelledSet,
    seen: Seen,
    kept: Kept,
    classes: Classes,
    trusted: NDArray[np.bool_],
    days: Days,
    plan: FinetunePlan,
    progress: ShowProgress,
) -> _Lesson:
    """Places of all windows; those that are taught through the version in use; where each block's labels flow."""
    n = len(data.labels)
    encoded: tuple[NDArray[np.float32] | None, ...] = None, None
    if plan.space != "hand" or days.windows.ndim != 3:
        encoded = projected(seen.features), run_over(bundle, days.windows, True, progress)[1]
    parts = zip((data.windows, days.windows), encoded, strict=True)
    features = np.concatenate([space_features(own, bundle.manifest.normalise, net, plan.space) for own, net in parts])
    times = np.full(n, np.nan) if data.spans_s is None else data.spans_s[:, 0]
    pool = Pool.of(features, np.concatenate([times, days.start_s]))
    taught = pool.cover(n, MOST_TAUGHT)
    spanned = run_features(bundle, days.windows[pool.cover(n, MOST_SPANNED) - n])
    lift = _directions(np.concatenate([seen.features, spanned, kept.features]))
    logits, reduced_taught = _reduced_over(bundle, days.windows[taught - n], seen, lift)
    p = np.exp(log_softmax(classes.logits(logits)))
    folds = _folds(data, plan.folds)
    seeds = np.zeros((len(features), int(folds.max()) + 2, len(classes.names)))
    seeds[np.arange(n), folds, data.labels] = data.weights / data.weights.mean()
    sure = np.where((p >= SURE) & trusted, 1.0, 0.0)
    seeds[taught, -1] = sure / np.maximum(sure.sum(axis=0), 1)  # all of a class weigh as much as one label
    flows = spread(pool.graph, seeds.reshape(len(features), -1)).reshape(seeds.shape)
    reduced = np.concatenate([(seen.features @ lift.T).astype(np.float32), reduced_taught, kept.features @ lift.T])
    start = classes.head(seen.weight, seen.bias)
    zero = plan.anchor == "zero"
    anchor = (np.zeros_like(start[0]), np.zeros_like(start[1])) if zero else start
    share = kept_weights(data.labels, data.weights, kept.answers) / float(data.weights.sum())
    kept_folds = blocks(kept.answers, plan.folds) % (folds.max() + 1)
    rows = np.concatenate([np.arange(n), taught])
    wide = anchor[0].astype(np.float64), anchor[1].astype(np.float64)
    return _Lesson(data.labels, data.weights, kept.answers, share, reduced, lift, wide, flows[rows], folds, kept_folds)


def _directions(features: NDArray[np.float32]) -> Array:
    """The directions in which the rows differ most, orthonormal, shape (r, n_features)."""
    gram = (features @ features.T).astype(np.float64)
    values, vectors = np.linalg.eigh(gram)
    chosen = np.flatnonzero(values > 1e-6 * values[-1])[::-1][:_DIRECTIONS]
    directions: Array = (vectors[:, chosen] / np.sqrt(values[chosen])).T @ features
    return directions


def _reduced_over(
    bundle: Bundle, windows: NDArray[np.float32], seen: Seen, lift: Array
) -> tuple[Array, NDArray[np.float32]]:
    """Logits of windows, shape (n, n_classes), and their features in some directions, shape (n, r).

    Raises:
        InputError: some are no numbers.
    """
    parts = [(seen.of(features), features @ lift.T) for features in _batches(bundle, windows)]
    logits, reduced = (np.concatenate(part) for part in zip(*parts, strict=True))
    return require_finite(logits), reduced.astype(np.float32)


def _folds(data: LabelledSet, n_blocks: int) -> NDArray[np.int64]:
    """What is held out together, shape (n,): a stretch of time; where there are many of these, a block."""
    own = stretches(data)
    return own if own.max() < _MOST_STRETCHES else blocks(data.labels, n_blocks)


def _held_out(lesson: _Lesson, l2: float) -> tuple[Array, int]:
    """Logits of labelled and kept windows by heads that never saw their block; how many labels came back."""
    n, k = len(lesson.labels), len(lesson.answers)
    logits, came_back = np.zeros((n + k, len(lesson.anchor[1]))), 0
    rows = np.concatenate([lesson.reduced[:n], lesson.reduced[len(lesson.reduced) - k :]])
    for fold in np.unique(lesson.folds).tolist():
        fit, soft = lesson.fit(fold, l2)
        own = lesson.folds == fold
        block = np.concatenate([own, lesson.kept_folds == fold])
        logits[block] = rows[block] @ fit.weight.T + fit.bias
        came_back += int((soft[:n].argmax(axis=1) == lesson.labels)[own].sum())
    return logits, came_back


def _weighed(
    data: LabelledSet, seen: Seen, kept: Kept, classes: Classes, logits: Array, alone: NDArray[np.bool_]
) -> Judgement:
    n, before = len(data.labels), classes.logits(seen.logits)
    known = data.labels, data.weights, before, logits[:n]
    evidence = Evidence(
        *known, kept.answers, kept.logits, logits[n:], worth=worth(data), scored=None if alone.all() else ~alone
    )
    return weigh(evidence, classes.names, classes.n_new)


def _batches(bundle: Bundle, windows: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """What the encoder in use makes of windows, a batch at a time: of all of them it is too much to keep."""
    engine = open_engine(bundle)
    try:
        for at in range(0, len(windows), _BATCH):
            yield engine.run(windows[at : at + _BATCH], "features")
    finally:
        engine.close()


def run_features(bundle: Bundle, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the encoder in use makes of windows, shape (n, *window_shape); shape (n, n_features).

    Raises:
        InputError: some are no numbers.
    """
    none = np.zeros((0, bundle.manifest.features), np.float32)
    return require_finite(np.concatenate([none, *_batches(bundle, windows)]))


def run_over(
    bundle: Bundle, windows: NDArray[np.float32], with_encoder: bool, progress: ShowProgress = silent
) -> tuple[Array, NDArray[np.float32] | None]:
    """Logits of windows, shape (n, n_classes), and their projected features; the features themselves are not kept.

    Args:
        bundle: in the version in use.
        windows: shape (n, *window_shape).
        with_encoder: False: no features.
        progress: told how far it is.
    """
    names = bundle.manifest.head
    head = bundle.tensor(names.weight), bundle.tensor(names.bias)
    logits, encoded = [], []
    for at, features in enumerate(_batches(bundle, windows)):
        logits.append(features @ head[0].T + head[1])
        if with_encoder:
            encoded.append(projected(features))
        progress(min((at + 1) * _BATCH, len(windows)), len(windows), "windows without labels")
    return np.concatenate(logits).astype(np.float64), np.concatenate(encoded) if encoded else None
