"""A study: the same plan over several seeds and splits by person, scored on people whom the model never saw.

out/
  FOLD-SEED.safetensors    checkpoint of one run
  report.json              every run's scores, and their mean and spread
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from runtime.errors import InputError
from runtime.files.atomic import write_atomic
from runtime.recording import Recording
from runtime.specs import Signal, WindowSpec
from runtime.window import LabelledWindows, labelled_windows
from sdk.encoders import Classifier, create_encoder
from sdk.pretrain.loop import PretrainPlan, fit
from sdk.pretrain.supervised import Supervised
from sdk.scores import score


@dataclass(frozen=True)
class Split:
    """People to test on; all others train."""

    name: str
    test_subjects: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """What is to be told apart: the signal, how it is cut, and the classes."""

    signal: Signal
    window: WindowSpec
    labels: tuple[str, ...]


def subject_folds(recordings: Sequence[Recording], n_folds: int) -> list[Split]:
    """Consecutive people in folds whose sizes differ by one at most, as MaskCAE's released code splits them.

    Raises:
        InputError: less than 2 folds, or more than people.
    """
    subjects = sorted({recording.subject for recording in recordings}, key=lambda name: (len(name), name))
    if not 2 <= n_folds <= len(subjects):
        raise InputError(
            "folds",
            expected=f"2 to {len(subjects)} folds, one person at least in each",
            got=n_folds,
            fix="Choose fewer.",
        )
    parts = np.array_split(np.array(subjects), n_folds)
    return [Split(f"fold{i + 1}", tuple(part.tolist())) for i, part in enumerate(parts)]


def make_method(plan: PretrainPlan, task: Task, windows: LabelledWindows) -> Supervised:
    """A fresh supervised method with the statistics of the training windows, weights drawn from the plan's seed."""
    torch.manual_seed(plan.seed)
    encoder = create_encoder(plan.encoder, task.window.length_samples, len(task.signal.channel_names))
    mean = windows.samples.mean((0, 1), dtype=np.float64)
    std = windows.samples.std((0, 1), dtype=np.float64)
    method = Supervised(
        Classifier(encoder, len(task.labels)),
        torch.from_numpy(mean.astype(np.float32)),
        torch.from_numpy(np.maximum(std, 1e-6).astype(np.float32)),
    )
    # The CPU's convolutions of narrow kernels run twice as fast on this layout; results differ by rounding only.
    for layer in method.modules():
        if isinstance(layer, nn.Conv2d):
            layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return method


def run_study(
    recordings: Sequence[Recording],
    task: Task,
    plan: PretrainPlan,
    splits: Sequence[Split],
    n_seeds: int,
    out: Path,
    *,
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[str, int, int, float], None] = lambda run, done, total, loss: None,
) -> dict[str, Any]:
    """Train and score every split with every seed; runs that are already finished in `out` are not trained again.

    Args:
        recordings: of all people.
        task: signal, window, labels.
        plan: its seed is replaced by 0, 1, ... n_seeds - 1.
        splits: which people to test on.
        n_seeds: runs per split.
        out: folder for checkpoints and the report, made if missing.
        device: torch's name of a device.
        say: takes a line of text as each run ends.
        progress: takes the run's name, finished epochs, all epochs and the last loss.

    Returns:
        The report, as it is stored in report.json.

    Raises:
        InputError: a split whose people are not there, or that leaves nobody to train on.
    """
    out.mkdir(parents=True, exist_ok=True)
    runs = []
    for split in splits:
        train, test = (
            labelled_windows(part, task.signal, task.window, task.labels) for part in _parts(recordings, split)
        )
        if not (len(train.labels) and len(test.labels)):
            raise InputError(
                f"split {split.name}",
                expected="windows to train on and to test on",
                got=f"{len(train.labels)} and {len(test.labels)}",
                fix="Name other people or other labels.",
            )
        for seed in range(n_seeds):
            run = f"{split.name}-seed{seed}"
            seeded = replace(plan, seed=seed)
            method = make_method(seeded, task, train).to(device)
            losses = fit(
                method,
                torch.from_numpy(train.samples),
                torch.from_numpy(train.labels),
                seeded,
                checkpoint=out / f"{run}.safetensors",
                report=lambda done, loss, run=run: progress(run, done, plan.epochs, loss),  # type: ignore[misc]
            )
            scores = score(test.labels, method.predict(torch.from_numpy(test.samples)).numpy(), len(task.labels))
            runs.append(
                {
                    "split": split.name,
                    "test_subjects": list(split.test_subjects),
                    "seed": seed,
                    "train_windows": len(train.labels),
                    "loss": losses[-1],
                    **scores.to_dict(),
                }
            )
            say(f"{run}: {scores.n} windows of people never seen, macro-F1 {scores.macro_f1:.4f}")
    report = {"plan": asdict(plan), "task": asdict(task), "runs": runs, "summary": _summary(runs)}
    write_atomic(out / "report.json", (json.dumps(report, indent=1) + "\n").encode())
    return report


def _parts(recordings: Sequence[Recording], split: Split) -> tuple[list[Recording], list[Recording]]:
    from sdk.datasets import split_by_subject

    return split_by_subject(list(recordings), list(split.test_subjects))


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over the splits for each seed, then mean and standard deviation over the seeds."""
    summary: dict[str, Any] = {}
    for figure in ("accuracy", "macro_f1"):
        seeds = sorted({run["seed"] for run in runs})
        means = [float(np.mean([run[figure] for run in runs if run["seed"] == seed])) for seed in seeds]
        spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
        summary[figure] = {"mean": float(np.mean(means)), "std_over_seeds": spread, "per_seed": means}
    return summary
