"""Labels of the first session, scored on the later one, by a model that never saw such a device.

MotionSense and WISDM 2019, phones and watches, train with a frame of gravity (3 epochs, seed 0); HAPT's people, of whom
each has two sessions, wear it at the waist. Five windows per activity of the first session are drawn, the bundle is
adapted as on a device, by `sdk.finetune` and its own acceptance, and scored on the second: macro-F1 of five activities.
Needs --data; the model is kept in --runs and trained if missing.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._bench import Options, Result
from benchmarks.bench_robust import RECIPES
from runtime import Bundle, InputError, Recording, WindowSpec, labelled_windows
from runtime.command import table
from sdk.datasets import dataset_info, load_dataset
from sdk.finetune import finetune, set_apart
from sdk.pretrain import Split, StudyTask, export_run, run_study
from sdk.pretrain.data import chosen, either_of, modalities_at
from sdk.scores import score_bundle

POOL, POSITIONS = "motionsense+wisdm_2019", ("phone", "watch")
LABELS = ("walking", "upstairs", "downstairs", "jogging", "sitting", "standing")
TEST = Split("test", tuple(f"motionsense:{person}" for person in (6, 12, 18, 24)))  # the demo's people
PER_CLASS, DRAWS, LEAST = 5, 3, 0.02


def run(options: Options) -> Result:
    """All people of HAPT with two sessions; --quick: six of them.

    Raises:
        InputError: no folder with archives.
    """
    if options.data is None:
        raise InputError("--data", expected="the folder with the archives", got="none", fix="Name it.")
    people: dict[str, list[Recording]] = {}
    for recording in load_dataset("hapt", options.data):
        people.setdefault(str(recording.subject), []).append(recording)
    twice = {person: own for person, own in people.items() if len(own) > 1}
    with tempfile.TemporaryDirectory() as folder:
        bundle = _bundle(options, Path(folder) / "any.bundle")
        rows = [
            (int(person), *_adapted(bundle, own, seed))
            for person, own in list(twice.items())[: 6 if options.quick else None]
            for seed in range(1 if options.quick else DRAWS)
        ]
    return _told(np.array(rows, float))


def _bundle(options: Options, path: Path) -> Bundle:
    known = modalities_at(dataset_info(POOL), POSITIONS)
    signal = replace(dataset_info(POOL).signal, modalities=(known["acc"], known["gyro"]))
    task = StudyTask(signal, WindowSpec(128, 64), LABELS, either=either_of(LABELS))
    recordings = chosen(load_dataset(POOL, options.data), POSITIONS)
    plan, runs = replace(RECIPES["gravity, all"], epochs=3, balance=0.5), options.runs / "any"
    report = run_study(recordings, task, plan, [TEST], 1, runs)
    return export_run(recordings, report, runs, path, POOL)


def _adapted(bundle: Bundle, own: list[Recording], seed: int) -> tuple[float, float, bool]:
    """Macro-F1 on the later session before and after, and whether the version was taken."""
    manifest = bundle.manifest
    first, later = (
        labelled_windows(part, manifest.signal, manifest.window, manifest.labels, manifest.clock)
        for part in (own[:1], own[1:])
    )
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(first.labels == label) for label in np.unique(first.labels)]
    drawn = np.sort(np.concatenate([rng.permutation(rows)[:PER_CLASS] for rows in classes]))
    data, _ = set_apart(first, drawn, manifest.window_s)
    adapted, report = finetune(Bundle.open(bundle.path, "base"), data)
    return score_bundle(bundle, later).macro_f1, score_bundle(adapted, later).macro_f1, report.accepted


def _told(rows: NDArray[np.float64]) -> Result:
    result = Result("sessions")
    people = np.unique(rows[:, 0])
    before, after = (np.array([rows[rows[:, 0] == p, i].mean() for p in people]) for i in (1, 2))
    gains = rows[:, 2] - rows[:, 1]
    result.figures |= {
        "people": len(people),
        "adaptations": len(rows),
        "accepted": int(rows[:, 3].sum()),
        "before": float(before.mean()),
        "after": float(after.mean()),
        "worst_before": float(before.min()),
        "worst_after": float(after.min()),
        "worst_gain": float(gains.min()),
        "lost_more": int((gains < -LEAST).sum()),
        "people_lost_more": int((after - before < -LEAST).sum()),
    }
    result.text = table([(k, f"{v:.3f}" if isinstance(v, float) else v) for k, v in result.figures.items()], ("", ""))
    return result
