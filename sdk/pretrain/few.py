"""Few labels: which windows of the training people have one, and the names that the others get from these.

    few=0                 all labels
    few=k                 k windows of each class, drawn by the plan's seed
    few=k, naming=hand    the others are named by the graph of hand-made features of all sensors
    ..., naming=encoder   of the features of the pretrained encoders
    ..., naming=both      of these side by side

The space of the graph is whitened by time: by what changes within seconds in whole recordings, labelled or not
(`sdk.finetune.space`, `sdk.finetune.crowd`). No true label but those few is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.recording import Recording
from runtime.window import cut_windows
from sdk.features import hand_features
from sdk.finetune.crowd import name_crowd
from sdk.finetune.space import fit_space
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.probe import in_batches
from sdk.pretrain.registry import Method
from sdk.pretrain.views import Front, SideBySide

_APART_S = 1e6  # between recordings


class Known(NamedTuple):
    """What is taken for true of the training windows."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]  # of these rows


class History(NamedTuple):
    """Windows of whole recordings, in the order of time."""

    samples: NDArray[np.float32]  # shape (n, length_samples, n_channels), in the units of the signal
    start_s: NDArray[np.float64]  # shape (n,); recordings lie far apart


def stream_of(recordings: Sequence[Recording], task: StudyTask) -> History:
    """All windows of recordings, whatever was done."""
    samples, starts = [], []
    for number, recording in enumerate(recordings):
        for window in cut_windows(recording, task.signal, task.window, task.clock):
            samples.append(window.samples)
            starts.append(number * _APART_S + window.start_s % _APART_S)
    return History(np.stack(samples), np.array(starts))


def known_rows(plan: PretrainPlan, labels: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Rows whose label is known, shape (k,), of labels (n,): of each class as many as the plan says."""
    if not plan.few:
        return np.flatnonzero(labels < n_classes)
    rng = np.random.default_rng(plan.seed)
    drawn = [rng.permutation(np.flatnonzero(labels == label))[: plan.few] for label in range(n_classes)]
    return np.sort(np.concatenate(drawn))


def known(
    plan: PretrainPlan,
    task: StudyTask,
    front: Front,
    method: Method,
    windows: NDArray[np.float32],
    labels: NDArray[np.int64],
    people: NDArray[np.int64],
    stream: History | None,
) -> Known:
    """What a plan takes for true.

    Args:
        plan: few, naming, seed.
        task: signal and classes.
        front: fitted to the training people.
        method: whose features are taken, if the naming says so.
        windows: of the training people, shape (n, length_samples, n_channels), in the units of the signal.
        labels: shape (n,); but for the drawn rows these are not looked at.
        people: shape (n,), whose each window is.
        stream: what the space is made of; None: nothing is named.
    """
    n_classes = len(task.labels)
    rows = known_rows(plan, labels, n_classes)
    if not plan.naming or stream is None:
        return Known(rows, labels[rows])
    space = fit_space(features_of(plan, task, front, method, stream.samples), stream.start_s)
    seeds = np.zeros((len(windows), n_classes))
    seeds[rows, labels[rows]] = 1
    named = name_crowd(space(features_of(plan, task, front, method, windows)), people, seeds)
    named[rows] = labels[rows]
    return Known(np.arange(len(windows)), named)


def features_of(
    plan: PretrainPlan, task: StudyTask, front: Front, method: Method, windows: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Features of all sensors, shape (n, n_features), of windows (n, length_samples, n_channels) in their units."""
    parts = []
    if plan.naming in ("hand", "both"):
        parts.append(hand_features(front.plain(windows).numpy()))
    if plan.naming in ("encoder", "both"):
        encoders = method.encoders
        encoder = encoders[0] if len(encoders) == 1 else SideBySide(encoders, task.shapes)
        seen = front(windows) if len(encoders) > 1 else front(windows)[:, :, task.kept_columns]
        parts.append(in_batches(encoder, seen).numpy())
    return np.concatenate(parts, axis=1).astype(np.float32)
