"""One run of a study: train on some people, watch others if asked to, score those who were never seen.

windows of each part -> front, fitted to those who train -> fit -> a head where the method has none -> scores
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sdk.pretrain.data import fingerprint
from sdk.pretrain.few import known, known_rows
from sdk.pretrain.groups import Groups
from sdk.pretrain.loop import Epoch, fit
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.probe import classifier_of, predict
from sdk.pretrain.registry import create_method, method_info
from sdk.pretrain.views import Front, batch_of, draws, normalised_by_set
from sdk.scores import score

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def run(
    plan: PretrainPlan,
    task: StudyTask,
    parts: Groups,
    checkpoint: Path,
    report: Callable[[Epoch], None],
    photos: Tensor | None = None,
    fabric: Fabric | None = None,
) -> dict[str, Any]:
    """Train a method, give it a head where it has none, and score it.

    Args:
        plan: with its seed.
        task: signal, window, labels.
        parts: who trains, is watched, is tested.
        checkpoint: of an unfinished run, or where to keep one.
        report: told of every epoch.
        photos: for a method of photographs.
        fabric: device, precision, processes; None: this process alone, on the CPU.

    Returns:
        Number of windows, losses and scores, for JSON.
    """
    train, test, needs = parts.train.windows, parts.test.windows, method_info(plan.method).needs
    front, method = Front.of(plan, task, train.samples), create_method(plan, task)
    every = [part for part in (parts.train, parts.test, parts.watched) if part is not None]
    raw = [front.raw(part.windows.samples) for part in every]
    sets = [part.sets for part in every]
    seen, unseen, *other = normalised_by_set(raw, sets, task) if plan.by_set else map(front.finished, raw)
    sure = partial(known, plan, task, front, method, train.samples, train.labels, parts.train.people, parts.stream)
    found = sure() if needs.labels else None
    rows, taught = found if found is not None and plan.few else (np.arange(len(train.labels)), train.labels)
    labels, weights = torch.from_numpy(taught), draws(parts.train.sets[rows], taught, plan.balance)
    watched = [batch_of(needs, task, own, torch.from_numpy(every[2].windows.labels)) for own in other]
    batch: tuple[Tensor, ...]
    if photos is not None:
        batch, view, weights = (photos,), None, None
        seen, unseen = map(torch.from_numpy, raw[:2])
    elif front.augment:
        batch, view = (torch.from_numpy(raw[0][rows]), labels), partial(front.drawn, needs)
    else:
        batch, view = batch_of(needs, task, seen[rows], labels), None
    losses = fit(
        method,
        batch,
        plan,
        view=view,
        watched=watched[0] if watched else (),
        checkpoint=checkpoint,
        data=fingerprint(train.samples, taught) if photos is None else fingerprint(photos.numpy()),
        weights=weights,
        report=report,
        fabric=fabric,
    )
    found = found or sure()
    classifier = classifier_of(method, task, seen[found.rows], found.labels)
    scores = score(test.labels, predict(classifier, unseen[:, :, task.kept_columns]), len(task.labels))
    told: dict[str, Any] = {"train_windows": len(train.labels), "epochs": len(losses), "loss": losses[-1]}
    if plan.few:
        told["known"] = len(known_rows(plan, train.labels, len(task.labels)))
    if plan.naming:
        told["named_right"] = float(np.mean(found.labels == train.labels[found.rows]))
    return told | scores.to_dict()
