"""Whether a new version may replace the one in use: the one place that decides, for every method.

    held-out labels    of the classes that were labelled
    kept answers       of those that were not: what the version in use is sure of, on windows of the wearer that nobody
                       labelled, and on the golden ones
    both together      macro-F1 no lower and log-loss no higher than before, every kept class still known, and better
                       than one answer for everything
    golden windows     `golden_agreement` with the base not below the plan's `keep` (methods that move layers)

Held out are blocks of time, not single windows: windows overlap, and a neighbour in the training part would flatter.
The new version that is judged on a block was trained without it; the one that is kept is trained on everything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdk.finetune.head import Array, log_softmax
from sdk.scores import require_finite, score

GUESSING = 0.05  # a head that guessing would match with a higher probability is not accepted
COVERED = 0.6  # share of the known activities that need labels, if one of them has some
GAINED = 2.0  # stretches of labelled time that must be right more than now; or, if that is less,
SHARE = 0.25  # of all that have labels
KEPT = 0.9  # of the kept answers of a class, that have to stay
HALF = 0.5  # of one label for each activity, that a version has right at most to be replaced
_EDGE = 1e-9  # of rounding


@dataclass(frozen=True)
class HeldOut:
    """How a version does on labelled windows that it was not fitted to."""

    accuracy: float
    macro_f1: float
    log_loss: float  # mean negative log-probability of the true class, natural logarithm
    macro_f1_classes: int | None = None  # macro-F1 is the mean over so many; None: not known, as in old records


@dataclass(frozen=True)
class TrainingReport:
    """How the gradient steps went."""

    layers: tuple[int, ...]  # those that moved
    parameters: int  # in them
    batch: int  # smaller than the plan's where the budget of megabytes asked for it
    steps: int  # of the training that gave the new version
    epochs: float
    trainings: int  # that one, and those on held-out blocks
    losses: tuple[float, ...]  # mean of each epoch, pull included
    predicted_bytes: int  # of memory above the start, before the start
    golden_agreement: float  # of the new version with the base
    stopped_by: str  # the limit that ended the training early; empty: none

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"layers": list(self.layers), "losses": list(self.losses)}


@dataclass(frozen=True)
class Evidence:
    """What a candidate is judged by; logits are those of the version in use, or of a fit that never saw the window."""

    labels: NDArray[np.int64]  # shape (n,), what the wearer says
    weights: Array  # shape (n,)
    before: Array  # shape (n, n_classes), logits of the version in use
    after: Array  # shape (n, n_classes), of the candidate, each window by a fit without its block
    kept: NDArray[np.int64]  # shape (m,), answers that are to stay; m may be 0
    kept_before: Array  # shape (m, n_classes)
    kept_after: Array  # shape (m, n_classes)
    single: bool = False  # one window of each class: `after` is by fits that never saw the class, and tells nothing
    worth: Array | None = None  # shape (n,), of each labelled window as evidence, in stretches of time; None: one each
    scored: NDArray[np.bool_] | None = None  # shape (n,), labelled windows on which both are scored; None: all


@dataclass(frozen=True)
class Judgement:
    """What the evidence comes to."""

    before: HeldOut
    after: HeldOut
    doubt: str  # what speaks against the candidate; empty: nothing
    kept: float | None = None  # share of the kept answers that stay, averaged over classes; None: there were none
    fixed: int = 0  # windows, labelled or kept, that the version in use has wrong and the candidate right
    broken: int = 0  # and the other way round
    notes: tuple[str, ...] = ()  # what would make the labels better
    grounds: str = "no worse on held-out labels"  # on which it may be accepted


@dataclass(frozen=True)
class Adapted:
    """A new version that nobody uses yet."""

    tensors: dict[str, NDArray[np.float32]]
    verdict: Judgement
    l2: float
    training: TrainingReport | None = None  # None: there were no gradient steps
    labels: tuple[str, ...] | None = None  # of the version; None: those of the version in use
    replay: float = 0.0  # weight of a kept class against a labelled one
    unlabelled: int = 0  # windows without labels that were used


def judge(logits: Array, labels: NDArray[np.int64], weights: NDArray[np.float64]) -> HeldOut:
    """Score logits of shape (n, n_classes); the weights count for the log-loss alone.

    Raises:
        InputError: logits that are no numbers.
    """
    require_finite(logits)
    scores = score(labels, logits.argmax(axis=1), logits.shape[1])
    true = log_softmax(logits)[np.arange(len(labels)), labels]
    log_loss = -float(np.average(true, weights=weights))
    return HeldOut(scores.accuracy or 0.0, scores.macro_f1 or 0.0, log_loss, scores.macro_f1_classes)


def blocks(labels: NDArray[np.int64], n_folds: int) -> NDArray[np.int64]:
    """A fold for each window: every class, in the order of time, is cut into as many blocks as there are folds.

    Args:
        labels: shape (n,), class indices.
        n_folds: at most, from 2; fewer where no class has as many windows.

    Returns:
        Shape (n,), the fold of each window, from 0.
    """
    folds = np.zeros(len(labels), np.int64)
    n_folds = min(n_folds, int(np.bincount(labels).max(initial=2)))
    for offset, label in enumerate(np.unique(labels)):  # classes of one window must not all share a fold
        rows = np.flatnonzero(labels == label)
        folds[rows] = (np.arange(len(rows)) * n_folds // max(len(rows), n_folds) + offset) % n_folds
    return folds


def kept_weights(labels: NDArray[np.int64], weights: Array, kept: NDArray[np.int64]) -> Array:
    """Weights of kept windows, shape (m,): a class of them has what a labelled class has in the mean.

    Args:
        labels: shape (n,), of the labelled windows.
        weights: shape (n,), theirs.
        kept: shape (m,), classes of the kept windows.
    """
    share = float(weights.sum()) / max(len(np.unique(labels)), 1)
    found: Array = share / np.bincount(kept)[kept] if len(kept) else np.zeros(0)
    return found


def weigh(evidence: Evidence, names: Sequence[str], n_new: int = 0) -> Judgement:
    """Decide about a candidate.

    Args:
        evidence: what is known of it.
        names: of the classes, in the order of the logits.
        n_new: how many of them, the last ones, the version in use does not have.

    Raises:
        InputError: logits that are no numbers.
    """
    rows = np.ones(len(evidence.labels), bool) if evidence.scored is None else evidence.scored
    labels = np.concatenate([evidence.labels[rows], evidence.kept])
    weights = kept_weights(evidence.labels, evidence.weights, evidence.kept)
    weights = np.concatenate([evidence.weights[rows], weights])
    pairs = (evidence.before[rows], evidence.kept_before), (evidence.after[rows], evidence.kept_after)
    before, after = (judge(np.concatenate(pair), labels, weights) for pair in pairs)
    own = evidence.labels[rows]
    told = int((evidence.after[rows].argmax(axis=1) == own).sum()), own
    stay = _stay(evidence.kept, evidence.kept_after, len(names) - n_new)
    was, is_now = (np.concatenate(pair).argmax(axis=1) == labels for pair in pairs)
    fixed, broken = int((is_now & ~was).sum()), int((was & ~is_now).sum())
    few, lost = _too_few(evidence.labels, len(names) - n_new), _lost(stay, names)
    if evidence.single:
        reason, grounds = (
            few or _half_right(evidence) or lost,
            "the version in use has at most half of the labels right",
        )
    else:
        reason, grounds = (
            few or doubt(before, after, labels, told) or lost or _no_gain(evidence, rows),
            Judgement.grounds,
        )
    missing = _missing(evidence, names)
    reason += f"; {missing[0]}" if reason and missing else ""
    kept = float(np.mean(list(stay.values()))) if stay else None
    return Judgement(before, after, reason, kept, fixed, broken, missing, grounds)


def doubt(
    before: HeldOut, after: HeldOut, labels: NDArray[np.int64], told: tuple[int, NDArray[np.int64]] | None = None
) -> str:
    """Why a new version is not to be trusted; empty if nothing speaks against it.

    Args:
        before: of the version in use.
        after: of the new one.
        labels: shape (n,), of the windows that both were scored on.
        told: of those among them that the wearer named: how many are right, and their labels; where kept answers of one
            class outnumber them, they alone can show that nobody guesses.
    """
    if after.macro_f1 < before.macro_f1:
        return f"macro-F1 on held-out labels would fall from {before.macro_f1:.3f} to {after.macro_f1:.3f}"
    if after.log_loss > before.log_loss:
        return f"log-loss on held-out labels would rise from {before.log_loss:.3f} to {after.log_loss:.3f}"
    n, most = len(labels), float(np.bincount(labels).max() / len(labels))
    chance = _chance(round(after.accuracy * n), n, most)
    if chance > GUESSING and (told is None or not len(told[1]) or _chance_of(*told) > GUESSING):
        return (
            f"{after.accuracy:.0%} of {n} held-out windows right is what one answer for all of them gives too "
            f"({most:.0%}; probability {chance:.2f}); are the labels right, and enough?"
        )
    return ""


def _too_few(labels: NDArray[np.int64], n_known: int) -> str:
    """Labels of some activities say nothing about the others; those of new ones alone move none of the known ones."""
    given = np.unique(labels)
    known, needed = int((given < n_known).sum()), math.ceil(COVERED * n_known)
    if known and len(given) < needed:
        return f"{len(given)} of {n_known} activities have labels, {needed} must"
    return ""


def _no_gain(evidence: Evidence, rows: NDArray[np.bool_]) -> str:
    """A model that is right already is left alone; and one stretch of time tells little of the others."""
    whole = np.ones(len(evidence.labels)) if evidence.worth is None else evidence.worth
    worth = rows * whole
    was, is_now = (logits.argmax(axis=1) == evidence.labels for logits in (evidence.before, evidence.after))
    net, needed = float(worth @ (is_now.astype(float) - was)), min(GAINED, SHARE * float(whole.sum()))
    if net >= needed - _EDGE:
        return ""
    return (
        f"too little is gained: of {worth.sum():.1f} stretches of time that have labels, {net:.1f} more would be "
        f"right, {needed:.1f} must; mark more, at other times"
    )


def _half_right(evidence: Evidence) -> str:
    """One window of each activity cannot be held back; a version that has most of them wrong has little to lose."""
    n, right = len(evidence.labels), int((evidence.before.argmax(axis=1) == evidence.labels).sum())
    if right <= HALF * n:
        return ""
    return f"{right} of {n} labels are right already, and with one of each activity none can be held back: mark more"


def _stay(kept: NDArray[np.int64], after: Array, n_known: int) -> dict[int, float]:
    """Of the kept answers of each class, the share that stays; with new classes, that none of these takes."""
    found = after.argmax(axis=1) if len(kept) else kept
    stays = (found == kept) if n_known == after.shape[1] else (found < n_known)
    return {int(label): float(np.mean(stays[kept == label])) for label in np.unique(kept)}


def _lost(stay: dict[int, float], names: Sequence[str]) -> str:
    lost = [f"{names[label]} ({share:.0%} would be left)" for label, share in stay.items() if share < KEPT]
    return f"it would forget {', '.join(lost)}; mark that too" if lost else ""


def _missing(evidence: Evidence, names: Sequence[str]) -> tuple[str, ...]:
    """A sentence about activities that have no label, those first that the model sees most."""
    given = np.unique(evidence.labels)
    if len(given) == len(names):
        return ()
    seen = np.bincount(evidence.kept, minlength=len(names))
    left = sorted(set(range(len(names))) - set(given.tolist()), key=lambda label: (-seen[label], label))
    wanted = " and ".join(names[label] for label in left[:2])
    return (f"labels of {len(given)} of {len(names)} activities: mark {wanted} too",)


def golden_agreement(base: NDArray[Any], new: NDArray[Any]) -> float:
    """The share of golden windows that keep their class, averaged over the classes that the base gives.

    1 means that all golden windows have the class that they had when the bundle was made; 1 / n_classes is left when
    a version calls everything by one name. Averaged over classes, so that no class is forgotten for another.

    Args:
        base: the shipped logits, shape (n, n_classes).
        new: those of the new version.
    """
    truth, found = base.argmax(axis=1), new.argmax(axis=1)
    return float(np.mean([np.mean(found[truth == label] == label) for label in np.unique(truth)]))


def _chance_of(right: int, labels: NDArray[np.int64]) -> float:
    """The chance of one answer for all of these labels, the most frequent, to be right as often."""
    return _chance(right, len(labels), float(np.bincount(labels).max() / len(labels)))


def _chance(right: int, n: int, p: float) -> float:
    """Probability that an answer which is right with p is so for as many of n: the tail of a binomial distribution."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(right, n + 1))
