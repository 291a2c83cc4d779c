"""Who trains, who is watched meanwhile, who is tested: windows of each, parted by person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.recording import Recording
from runtime.window import LabelledWindows
from sdk.datasets import split_by_subject, subject_of
from sdk.datasets._pool import set_of
from sdk.pretrain.few import History, stream_of
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.views import some_of

_TRAIN, _TEST, _WATCH = range(3)


@dataclass(frozen=True)
class Group:
    """Windows of some people, and the numbers of each window's data set and person."""

    windows: LabelledWindows
    sets: NDArray[np.int64]
    people: NDArray[np.int64]


@dataclass(frozen=True)
class Groups:
    """Of one run of a study."""

    train: Group
    test: Group
    watched: Group | None  # None: nobody
    stream: History | None  # whole recordings of those who train, where windows are named by few labels


def groups_of(
    recordings: Sequence[Recording],
    windows: LabelledWindows,
    tested: Sequence[str],
    plan: PretrainPlan,
    task: StudyTask,
) -> Groups:
    """Part windows by person. Who is watched is drawn by the plan's seed among those who would train.

    A label that may mean several classes trains, but is not scored.

    Args:
        recordings: of all people.
        windows: cut from these.
        tested: subjects.
        plan: seed, validate, naming.
        task: signal and classes.

    Raises:
        InputError: people who are not there; nobody to train on, to test on or to watch.
    """
    _, held_out = split_by_subject(list(recordings), list(tested))
    unseen = {id(recording) for recording in held_out}
    others = sorted({subject_of(recording) for recording in recordings if id(recording) not in unseen})
    drawn = set(np.random.default_rng(plan.seed).permutation(others)[: plan.validate].tolist())
    roles = np.array([_TEST if id(r) in unseen else _WATCH if subject_of(r) in drawn else _TRAIN for r in recordings])
    of, scored = roles[windows.source], windows.labels < len(task.labels)
    masks = [of == _TRAIN, (of == _TEST) & scored, of == _WATCH][: 3 if plan.validate else 2]
    if not all(mask.any() for mask in masks):
        raise InputError(
            f"split with {', '.join(tested)} unseen",
            expected="windows to train on and to test on" + (" and to watch" if plan.validate else ""),
            got=" and ".join(str(np.count_nonzero(mask)) for mask in masks),
            fix="Name other people or other labels.",
        )
    sets, people = _numbers([set_of(r) for r in recordings]), _numbers([subject_of(r) for r in recordings])
    groups = [Group(some_of(windows, m), sets[windows.source[m]], people[windows.source[m]]) for m in masks]
    training = [recording for recording, role in zip(recordings, roles, strict=True) if role == _TRAIN]
    stream = stream_of(training, task) if plan.naming else None
    return Groups(groups[_TRAIN], groups[_TEST], groups[_WATCH] if plan.validate else None, stream)


def _numbers(names: Sequence[str]) -> NDArray[np.int64]:
    every = sorted(set(names))
    return np.array([every.index(name) for name in names], np.int64)
