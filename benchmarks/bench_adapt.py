"""Head adaptation: macro-F1 on people never seen, before and after five labelled windows per class of their own.

The shipped recipe, five folds of people and five seeds, on MotionSense and HAPT (six activities). Each model is
exported and adapted as on a device: `sdk.finetune.finetune` on the bundle, its own acceptance rule included. Five
windows per class are drawn at random from a person; the score is over that person's other windows that share no sample
with them. The base without adaptation stands beside it. Needs --data; models are kept in --runs and trained if missing.
`--on` takes other sets in their place, also folders of recordings of one's own (docs/own_data.md).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._bench import Options, Result
from runtime import Bundle, Recording, Signal, WindowSpec, labelled_windows
from runtime.errors import InputError
from sdk.datasets import dataset_info, load_dataset
from sdk.finetune import finetune, set_apart
from sdk.pretrain import PretrainPlan, StudyTask, export_run, run_study, subject_folds
from sdk.scores import Scores, score_bundle

N_FOLDS, N_SEEDS, PER_CLASS = 5, 5, 5
_QUICK_PEOPLE = 10
LABELS = {
    "motionsense": ("downstairs", "upstairs", "walking", "jogging", "sitting", "standing"),
    "hapt": ("walking", "upstairs", "downstairs", "sitting", "standing", "laying"),
}


def run(options: Options) -> Result:
    """Both data sets, or those asked for; --quick takes one fold, one seed and one epoch of ten people, of HAPT."""
    if options.data is None and not options.on:
        raise InputError("--data", expected="a folder with the archives", got="nothing", fix="Name it.")
    result = Result("adapt")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.on or (("hapt",) if options.quick else tuple(LABELS)):
            called = dataset_info(name).name
            runs = Path(folder) / "runs" if options.quick else options.runs / f"{called}-folds"
            _measure(name, options, runs, Path(folder) / f"{called}.bundle", result)
    return result


def study(
    name: str, options: Options, runs: Path, n_seeds: int = N_SEEDS
) -> tuple[list[Recording], StudyTask, dict[str, Any]]:
    """Recordings, task and report of a data set's study: five folds of people, a few seeds; trained where missing."""
    info = dataset_info(name)
    signal = Signal(tuple(m for m in info.signal.modalities if m.name in ("acc", "gyro")))
    task = StudyTask(signal, WindowSpec(128, 64), LABELS.get(name, info.labels))
    recordings = load_dataset(name, options.data)
    people = _people(recordings)
    if options.quick:
        recordings = [recording for recording in recordings if recording.subject in people[:_QUICK_PEOPLE]]
    splits = subject_folds(recordings, min(N_FOLDS, len(people)))
    plan = PretrainPlan(epochs=1) if options.quick else PretrainPlan()
    splits, n_seeds = (splits[:1], 1) if options.quick else (splits, n_seeds)
    report = run_study(recordings, task, plan, splits, n_seeds, runs, say=lambda text: print(text, file=sys.stderr))
    return recordings, task, report


def _people(recordings: list[Recording]) -> list[str]:
    return sorted({recording.subject for recording in recordings}, key=lambda name: (len(name), name))


def _measure(name: str, options: Options, runs: Path, path: Path, result: Result) -> None:
    torch.set_num_threads(1)
    recordings, _, report = study(name, options, runs)
    called, people = dataset_info(name).name, _people(recordings)
    rows = []  # one per run and person: seed, before, after, accepted, person
    for index, trained in enumerate(report["runs"]):
        export_run(recordings, report, runs, path, name, index)
        for person in trained["test_subjects"]:
            own, place = [recording for recording in recordings if recording.subject == person], people.index(person)
            before, after, accepted = _adapt(Bundle.open(path, "base"), own, seed=1000 * trained["seed"] + place + 1)
            rows.append((trained["seed"], before.macro_f1, after.macro_f1, accepted, place))
        print(f"{called} {trained['split']} seed {trained['seed']}: adapted", file=sys.stderr)
    table = np.array(rows, float)
    gains = table[:, 2] - table[:, 1]
    seeds, places = sorted(set(table[:, 0])), sorted(set(table[:, 4]))
    by_person = np.array([gains[table[:, 4] == place].mean() for place in places])
    pooled = report["summary"]["macro_f1"]
    result.figures |= {
        f"{called}_people": len(places),
        f"{called}_seeds": len(seeds),
        f"{called}_pooled_macro_f1": pooled["mean"],
        f"{called}_pooled_macro_f1_std_over_seeds": pooled["std_over_seeds"],
        f"{called}_before": float(table[:, 1].mean()),
        f"{called}_after": float(table[:, 2].mean()),
        f"{called}_gain": float(gains.mean()),
        f"{called}_gain_per_seed": [float(gains[table[:, 0] == seed].mean()) for seed in seeds],
        f"{called}_adaptations": len(gains),
        f"{called}_accepted": int(table[:, 3].sum()),
        f"{called}_better": int((gains > 1e-9).sum()),
        f"{called}_hurt": int((gains < -1e-9).sum()),
        f"{called}_people_hurt_in_the_mean": int((by_person < -1e-9).sum()),
        f"{called}_worst_person_in_the_mean": float(by_person.min()),
        f"{called}_worst_gain": float(gains.min()),
        f"{called}_best_gain": float(gains.max()),
    }
    if not options.quick:
        result.checks[f"{called}_mean_rises"] = bool(gains.mean() > 0)


def _adapt(bundle: Bundle, own: list[Recording], seed: int) -> tuple[Scores, Scores, bool]:
    """One person: draw, adapt, score on the windows that share no sample with the drawn ones."""
    manifest = bundle.manifest
    windows = labelled_windows(own, manifest.signal, manifest.window, manifest.labels, manifest.clock)
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(windows.labels == label) for label in range(len(manifest.labels))]
    drawn = np.sort(np.concatenate([rng.permutation(rows)[:PER_CLASS] for rows in classes]))
    data, rest = set_apart(windows, drawn, manifest.window_s)
    adapted, report = finetune(bundle, data)
    return score_bundle(bundle, rest), score_bundle(adapted, rest), report.accepted
