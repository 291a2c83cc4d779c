"""A study: the same plan over several seeds and splits by person, scored on people whom the model never saw.

out/
  FOLD-SEED.safetensors    checkpoint of one run; of photographs, which no fold changes, photos-SEED.safetensors
  report.json              every run's scores, and their mean and spread
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.command import json_text
from runtime.errors import InputError
from runtime.files.atomic import write_atomic
from runtime.recording import Recording
from runtime.window import LabelledWindows
from sdk.datasets import split_by_subject, subject_of
from sdk.datasets._people import subjects_of
from sdk.datasets._pool import set_of
from sdk.pretrain.data import cut, fingerprint, told
from sdk.pretrain.loop import fit
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.probe import classifier_of, predict
from sdk.pretrain.registry import create_method, method_info
from sdk.pretrain.views import Front, batch_of, draws, normalised_by_set, some_of
from sdk.scores import over_classes, score


@dataclass(frozen=True)
class Split:
    """People to test on; all others train."""

    name: str
    test_subjects: tuple[str, ...]


def subject_folds(recordings: Sequence[Recording], n_folds: int) -> list[Split]:
    """Consecutive people in folds whose sizes differ by one at most, as MaskCAE's released code splits them.

    Raises:
        InputError: less than 2 folds, or more than people.
    """
    subjects = sorted(subjects_of(recordings), key=lambda name: (len(name), name))
    if not 2 <= n_folds <= len(subjects):
        raise InputError(
            "folds",
            expected=f"2 to {len(subjects)} folds, one person at least in each",
            got=n_folds,
            fix="Choose fewer.",
        )
    parts = np.array_split(np.array(subjects), n_folds)
    return [Split(f"fold{i + 1}", tuple(part.tolist())) for i, part in enumerate(parts)]


def set_left_out(recordings: Sequence[Recording], name: str) -> Split:
    """All people of one data set of a pool, to test on.

    Raises:
        InputError: no such set among the recordings, or no other.
    """
    sets = sorted({set_of(recording) for recording in recordings})
    if name not in sets or len(sets) < 2:
        expected = f"one of a pool of {', '.join(sets)}" if len(sets) > 1 else "a pool of data sets, such as hapt+wisdm"
        raise InputError("--leave-out", expected=expected, got=name, fix="Name one of them.")
    people = sorted({subject_of(recording) for recording in recordings if set_of(recording) == name})
    return Split(f"without-{name}", tuple(people))


def run_study(
    recordings: Sequence[Recording],
    task: StudyTask,
    plan: PretrainPlan,
    splits: Sequence[Split],
    n_seeds: int,
    out: Path,
    *,
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[str, int, int, float], None] = lambda run, done, total, loss: None,
    photos: Tensor | None = None,
) -> dict[str, Any]:
    """Train and score every split with every seed; runs that are already finished in `out` are not trained again.

    Args:
        recordings: of all people.
        task: signal, window, labels.
        plan: method and numbers; its seed is replaced by 0, 1, ... n_seeds - 1.
        splits: which people to test on.
        n_seeds: runs per split.
        out: folder for checkpoints and the report, made if missing.
        device: torch's name of a device.
        say: takes a line of text as each run ends.
        progress: takes the run's name, finished epochs, all epochs and the last loss.
        photos: for a method of photographs, as `read_photos` gives them.

    Returns:
        The report, as it is stored in report.json.

    Raises:
        InputError: a place without any window; a split whose people are not there, or that leaves nobody to train on; a
            method that needs another signal, or photographs; a loss that is no number; a checkpoint in `out` of another
            plan or of other data.
    """
    _check_photos(plan, photos)
    out.mkdir(parents=True, exist_ok=True)
    windows, account = cut(recordings, task)
    for line in told(account):
        say(line)
    runs, names = [], sorted({set_of(recording) for recording in recordings})
    for split in splits:
        train, test = _windows(recordings, windows, split, len(task.labels))
        sets = (_sets(recordings, train, names), _sets(recordings, test, names))
        for seed in range(n_seeds):
            checkpoint, name = checkpoint_of(out, plan, split.name, seed), f"{split.name}-seed{seed}"
            seeded = replace(plan, seed=seed)
            scores = _run(seeded, task, train, test, sets, checkpoint, device, partial(progress, name), photos)
            runs.append({"split": split.name, "test_subjects": list(split.test_subjects), "seed": seed} | scores)
            over = over_classes(scores["macro_f1_classes"], len(task.labels))
            say(f"{name}: {scores['n']} windows of people never seen, macro-F1 {scores['macro_f1']:.4f} {over}")
    report = {"plan": plan.to_dict(), "task": asdict(task), "data": account, "runs": runs, "summary": _summary(runs)}
    write_atomic(out / "report.json", (json_text(report, indent=1) + "\n").encode())
    return report


def _check_photos(plan: PretrainPlan, photos: Tensor | None) -> None:
    wanted = method_info(plan.method).needs.pictures
    if wanted != (photos is not None):
        expected, got = ("photographs", "none") if wanted else ("no photographs", "some")
        fix = "Name a folder or a tar of them: --images." if wanted else "Leave out --images."
        raise InputError(f"method {plan.method}", expected=expected, got=got, fix=fix)


def checkpoint_of(out: Path, plan: PretrainPlan, split: str, seed: int) -> Path:
    """Where a study keeps the state of one run; photographs know no people, so all splits share theirs."""
    name = "photos" if method_info(plan.method).needs.pictures else split
    return out / f"{name}-seed{seed}.safetensors"


def _windows(
    recordings: Sequence[Recording], windows: LabelledWindows, split: Split, n_classes: int
) -> tuple[LabelledWindows, LabelledWindows]:
    """Those to train on and those to test on; a label that may mean several classes trains, but is not scored."""
    _, held_out = split_by_subject(recordings, list(split.test_subjects))
    tested = {id(recording) for recording in held_out}
    is_test = np.array([id(recording) in tested for recording in recordings], bool)[windows.source]
    parts = (~is_test, is_test & (windows.labels < n_classes))
    train, test = (some_of(windows, rows) for rows in parts)
    if not (len(train.labels) and len(test.labels)):
        raise InputError(
            f"split {split.name}",
            expected="windows to train on and to test on",
            got=f"{len(train.labels)} and {len(test.labels)}",
            fix="Name other people or other labels.",
        )
    return train, test


def _sets(recordings: Sequence[Recording], windows: LabelledWindows, names: list[str]) -> NDArray[np.int64]:
    """The number of each window's data set."""
    return np.array([names.index(set_of(recording)) for recording in recordings], np.int64)[windows.source]


def _run(
    plan: PretrainPlan,
    task: StudyTask,
    train: LabelledWindows,
    test: LabelledWindows,
    sets: tuple[NDArray[np.int64], NDArray[np.int64]],
    checkpoint: Path,
    device: str,
    progress: Callable[[int, int, float], None],
    photos: Tensor | None,
) -> dict[str, Any]:
    """Train a method, give it a head where it has none, and score it."""
    front, needs = Front.of(plan, task, train.samples), method_info(plan.method).needs
    raw = [front.raw(part.samples) for part in (train, test)]
    method = create_method(plan, task).to(device)
    seen, unseen = normalised_by_set(raw, sets, task) if plan.by_set else map(front.finished, raw)
    labels, weights = torch.from_numpy(train.labels), draws(sets[0], train.labels, plan.balance)
    batch: tuple[Tensor, ...]
    if photos is not None:
        batch, view, weights = (photos,), None, None
        seen, unseen = map(torch.from_numpy, raw)
    elif front.augment:
        batch, view = (torch.from_numpy(raw[0]), labels), partial(front.drawn, needs)
    else:
        batch, view = batch_of(needs, task, seen, labels), None
    losses = fit(
        method,
        batch,
        plan,
        view=view,
        checkpoint=checkpoint,
        data=fingerprint(train.samples, train.labels) if photos is None else fingerprint(photos.numpy()),
        weights=weights,
        report=lambda n, loss: progress(n, plan.epochs, loss),
    )
    sure = train.labels < len(task.labels)
    classifier = classifier_of(method, task, seen[sure], train.labels[sure])
    scores = score(test.labels, predict(classifier, unseen[:, :, task.kept_columns]), len(task.labels))
    return {"train_windows": len(train.labels), "loss": losses[-1], **scores.to_dict()}


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over the splits for each seed, then mean and standard deviation over the seeds."""
    summary: dict[str, Any] = {}
    for figure in ("accuracy", "macro_f1"):
        seeds = sorted({run["seed"] for run in runs})
        means = [float(np.mean([run[figure] for run in runs if run["seed"] == seed])) for seed in seeds]
        spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
        summary[figure] = {"mean": float(np.mean(means)), "std_over_seeds": spread, "per_seed": means}
    return summary
