"""What a new version must not forget, and the classes that it has.

classes    those of the version in use, some merged, some dropped, and behind them new ones
kept       answers of which the version in use is sure: on windows of the wearer that nobody labelled, and the shipped
           ones on the golden windows
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError, printable
from sdk.finetune.contradictions import SURE
from sdk.finetune.head import Array, log_softmax

WRONG = 0.1  # share of a class's sure answers that labels may contradict, for the others to be kept
UNSURE = 0.6  # probability below which a window may be none of the activities
FEWEST_NULL = 10  # of such windows, to make a class of them
PER_CLASS = 20  # windows of the wearer, of each class, spread over time
_NEVER = 10.0  # logits by which a class that a version does not have lies below its least probable one

_Head = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Classes:
    """The classes of a new version in terms of those of the version in use."""

    names: tuple[str, ...]
    of: NDArray[np.int64]  # shape (n_old,): what each old class is now; -1: dropped

    @classmethod
    def of_version(
        cls,
        labels: Sequence[str],
        new: Sequence[str] = (),
        merge: Sequence[tuple[str, str]] = (),
        drop: Sequence[str] = (),
    ) -> Classes:
        """The classes after some were merged (pairs of an old and its new name) and dropped, and others added."""
        into = dict(merge)
        now = [None if name in drop else into.get(name, name) for name in labels]
        names = tuple(dict.fromkeys([name for name in (*now, *new) if name is not None]))
        return cls(names, np.array([-1 if name is None else names.index(name) for name in now]))

    @property
    def n_new(self) -> int:
        """How many classes, the last ones, the version in use does not have."""
        return len(self.names) - len(set(self.of.tolist()) - {-1})

    def now(self, names: Sequence[str]) -> NDArray[np.int64]:
        """What the classes of labelled windows are now, shape (len(names),); -1: dropped.

        Args:
            names: the model's labels and behind them new ones.
        """
        new = [self.names.index(name) for name in names[len(self.of) :]]
        return np.concatenate([self.of, np.array(new, np.int64)])

    def head(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> _Head:
        """Where the new head starts from: merged rows are the mean of the old ones, new rows are zeros.

        Args:
            weight: shape (n_old, n_features).
            bias: shape (n_old,).
        """
        n = len(self.names)
        share = np.zeros((n, len(self.of)), np.float32)
        share[self.of[self.of >= 0], np.flatnonzero(self.of >= 0)] = 1
        n_old = share.sum(axis=1)
        share /= np.maximum(n_old, 1)[:, None]
        return share @ weight, share @ bias + np.log(np.maximum(n_old, 1)).astype(np.float32)

    def logits(self, old: Array) -> Array:
        """The answers of the version in use, shape (n, n_old), as logits of the new classes, shape (n, n_new)."""
        log_p = log_softmax(np.asarray(old, np.float64))
        new: Array = np.repeat(log_p.min(axis=1, keepdims=True) - _NEVER, len(self.names), axis=1)
        for i in np.unique(self.of[self.of >= 0]):
            new[:, i] = np.logaddexp.reduce(log_p[:, self.of == i], axis=1)
        return new


class Kept(NamedTuple):
    """Windows with answers that are to stay."""

    features: NDArray[np.float32]  # shape (m, n_features)
    answers: NDArray[np.int64]  # shape (m,), index into the new version's classes
    logits: Array  # shape (m, n_classes), of the version in use
    own: int  # how many of them are the wearer's


def kept_answers(
    classes: Classes,
    features: tuple[NDArray[np.float32], NDArray[np.float32]],
    head: _Head,
    shipped: Sequence[str],
    trusted: NDArray[np.bool_],
) -> Kept:
    """What is to stay.

    Args:
        classes: of the new version.
        features: by the encoder in use: of windows without labels, in the order of time, and of the golden ones; shapes
            (m, n_features) and (k, n_features).
        head: weight and bias of the version in use.
        shipped: what the base calls each golden window.
        trusted: shape (n_classes,), classes of which the answers are to stay.
    """
    rest, golden = features
    own = classes.logits(rest @ head[0].T + head[1])
    answers, sure = own.argmax(axis=1), np.exp(log_softmax(own)).max(axis=1) >= SURE
    rows = [over_time(np.flatnonzero(sure & (answers == label))) for label in np.flatnonzero(trusted)]
    chosen = np.concatenate([np.zeros(0, np.int64), *rows])
    told = np.array([classes.names.index(name) if name in classes.names else -1 for name in shipped], np.int64)
    still = (told >= 0) & trusted[told]
    return Kept(
        np.concatenate([rest[chosen], golden[still]]),
        np.concatenate([answers[chosen], told[still]]),
        np.concatenate([own[chosen], classes.logits(golden[still] @ head[0].T + head[1])]),
        len(chosen),
    )


def none_of_these(logits: Array, name: str) -> NDArray[np.int64]:
    """Rows of windows without labels that stand for no activity of the model: those of which it is least sure.

    Args:
        logits: of the version in use, shape (m, n_classes).
        name: of the class that they are to be, for the message.

    Raises:
        InputError: there are too few.
    """
    top = np.exp(log_softmax(logits)).max(axis=1) if len(logits) else np.zeros(0)
    rows = np.flatnonzero(top < UNSURE)
    if len(rows) < FEWEST_NULL:
        raise InputError(
            f"null {printable(name)}",
            expected=f"at least {FEWEST_NULL} windows without labels of which the model is not sure (p below {UNSURE})",
            got=f"{len(rows)} of {len(logits)}",
            fix="Record more, or mark some.",
        )
    return rows


def trusted_answers(logits: Array, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Of which classes the version in use is right where it is sure, as far as labels tell; shape (n_classes,).

    Args:
        logits: of labelled windows, shape (n, n_classes).
        labels: shape (n,).
    """
    answers, sure = logits.argmax(axis=1), np.exp(log_softmax(logits)).max(axis=1) >= SURE
    wrong = np.bincount(answers[sure & (answers != labels)], minlength=logits.shape[1])
    right = np.bincount(answers[sure & (answers == labels)], minlength=logits.shape[1])
    unlabelled = ~np.isin(np.arange(logits.shape[1]), labels)
    return (wrong <= WRONG * (wrong + right)) & (unlabelled | (right > 0))


def over_time(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most `PER_CLASS` of the rows, shape (k,), evenly from the first to the last."""
    chosen: NDArray[np.int64] = rows[np.linspace(0, len(rows) - 1, min(PER_CLASS, len(rows))).round().astype(int)]
    return chosen
