"""A study: the same plan over several seeds and splits by person, scored on people whom the model never saw.

out/
  FOLD-SEED.safetensors    checkpoint of one run; of photographs, which no fold changes, photos-SEED.safetensors
  metrics.jsonl            a line for each epoch of each run: loss, loss of those who are watched, seconds
  report.json              every run's scores, and their mean and spread
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from runtime.command import json_text
from runtime.errors import InputError
from runtime.files.atomic import write_atomic
from runtime.recording import Recording
from sdk.datasets import subject_of
from sdk.datasets._people import subjects_of
from sdk.datasets._pool import set_of
from sdk.pretrain.data import cut, told
from sdk.pretrain.groups import groups_of
from sdk.pretrain.loop import Epoch
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.registry import method_info
from sdk.pretrain.run import run
from sdk.scores import over_classes

if TYPE_CHECKING:
    from lightning_fabric import Fabric


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
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[str, Epoch], None] = lambda run, epoch: None,
    photos: Tensor | None = None,
    fabric: Fabric | None = None,
) -> dict[str, Any]:
    """Train and score every split with every seed; runs that are already finished in `out` are not trained again.

    Args:
        recordings: of all people.
        task: signal, window, labels.
        plan: method and numbers; its seed is replaced by 0, 1, ... n_seeds - 1.
        splits: which people to test on.
        n_seeds: runs per split.
        out: folder for checkpoints and the report, made if missing.
        say: takes a line of text as each run ends.
        progress: takes the run's name and its last epoch.
        photos: for a method of photographs, as `read_photos` gives them.
        fabric: device, precision and processes, by `sdk.pretrain.processes.start`; None: this process, on the CPU.

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
    writes = fabric is None or fabric.is_global_zero
    runs: list[dict[str, Any]] = []
    for split in splits:
        for seed in range(n_seeds):
            groups = groups_of(recordings, windows, split.test_subjects, replace(plan, seed=seed), task)
            checkpoint, name = checkpoint_of(out, plan, split.name, seed), f"{split.name}-seed{seed}"

            def told_of(epoch: Epoch, name: str = name) -> None:
                progress(name, epoch)
                if writes:
                    with (out / "metrics.jsonl").open("a") as file:
                        file.write(json_text({"run": name} | asdict(epoch)) + "\n")

            scores = run(replace(plan, seed=seed), task, groups, checkpoint, told_of, photos, fabric)
            runs.append({"split": split.name, "test_subjects": list(split.test_subjects), "seed": seed} | scores)
            over = over_classes(scores["macro_f1_classes"], len(task.labels))
            say(f"{name}: {scores['n']} windows of people never seen, macro-F1 {scores['macro_f1']:.4f} {over}")
    report = {"plan": plan.to_dict(), "task": asdict(task), "data": account, "runs": runs, "summary": _summary(runs)}
    if writes:
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


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over the splits for each seed, then mean and standard deviation over the seeds."""
    summary: dict[str, Any] = {}
    for figure in ("accuracy", "macro_f1"):
        seeds = sorted({run["seed"] for run in runs})
        means = [float(np.mean([run[figure] for run in runs if run["seed"] == seed])) for seed in seeds]
        spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
        summary[figure] = {"mean": float(np.mean(means)), "std_over_seeds": spread, "per_seed": means}
    return summary
