"""One encoder for a device that it was never trained on: data sets left out, with and without a frame of gravity.

For each of MotionSense, HAPT and WISDM 2019's phones (--data; --only NAME,NAME): train on the other two, 500 steps of
64 windows drawn n^-0.5 by data set and class, and test on all people of the third, without a label of it.

    d5      F1 over walking, upstairs, downstairs, jogging and still (sitting, standing, laying), those that the set has
    d4      the same with upstairs and downstairs as one, so that WISDM's stairs count
    turned  d5 with each person's device turned at random
    no gyro d5 with a gyroscope that gives zeros
    ece     expected calibration error, ten bins, on the windows of d5: sums of probabilities, as the classes are
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from sklearn.metrics import f1_score

from benchmarks._bench import Options, Result
from runtime import InputError
from runtime.command import table
from runtime.specs import WindowSpec
from runtime.window import LabelledWindows, labelled_windows
from sdk.datasets import dataset_info, load_dataset
from sdk.datasets._pool import label_table, set_of
from sdk.pretrain import PretrainPlan, StudyTask, create_method, fit, method_info
from sdk.pretrain.data import chosen, modalities_at
from sdk.pretrain.probe import in_batches
from sdk.pretrain.views import Front, draws

SETS = ("motionsense", "hapt", "wisdm_2019")
LABELS = ("walking", "upstairs", "downstairs", "jogging", "sitting", "standing", "laying")
D5 = (0, 1, 2, 3, 4, 4, 4)  # walking, upstairs, downstairs, jogging, still
D4 = (0, 1, 1, 2, 3, 3, 3)
STAIRS = {7: 1}  # the label that means either, as a class of d4
SEEDS, STEPS, BATCH = 3, 500, 64
KEYS = ("d5", "d4", "turned", "no gyro")
Answers = Callable[[NDArray[np.float32]], NDArray[np.float64]]
RECIPES = {
    "plain": PretrainPlan(),
    "gravity, yaw": PretrainPlan(frame="gravity", augment=("yaw",)),
    "gravity, all": PretrainPlan(frame="gravity", augment=("yaw", "mirror", "tilt", "scale", "drop", "lowpass")),
}


@dataclass(frozen=True)
class Pool:
    """All windows, and whose they are."""

    task: StudyTask
    windows: LabelledWindows
    sets: NDArray[np.int64]  # shape (n,), places in SETS
    people: NDArray[np.int64]  # shape (n,)


def run(options: Options) -> Result:
    """Leave each set out.

    Raises:
        InputError: no folder with archives.
    """
    if options.data is None:
        raise InputError("--data", expected="the folder with the archives", got="none", fix="Name it.")
    pool, result = _pool(str(options.data)), Result("robust")
    seeds, recipes = (1, ("gravity, all",)) if options.quick else (SEEDS, tuple(RECIPES))
    steps = 60 if options.quick else STEPS
    rows = []
    for recipe in recipes:
        found = {}
        for left_out in [name for name in SETS if not options.only or name in options.only]:
            runs = [
                _left_out(pool, SETS.index(left_out), replace(RECIPES[recipe], seed=s), steps) for s in range(seeds)
            ]
            found[left_out] = {key: [run[key] for run in runs] for key in runs[0]}
            rows.append((recipe, left_out, *(spread(values) for values in found[left_out].values())))
        means = {key: np.mean([found[name][key] for name in found], axis=0).tolist() for key in KEYS}
        rows.append((recipe, "mean", *(spread(values) for values in means.values()), ""))
        result.figures[recipe] = found | {"mean": means}
    result.text = table(rows, ("recipe", "left out", *KEYS, "ece"))
    return result


def _pool(data: str) -> Pool:
    name = "+".join(SETS)
    known = modalities_at(dataset_info(name), ("phone",))
    signal = replace(dataset_info(name).signal, modalities=(known["acc"], known["gyro"]))
    task = StudyTask(signal, WindowSpec(128, 64), LABELS, either=dict(label_table().either))
    recordings = chosen(load_dataset(name, data), ("phone",))
    windows = labelled_windows(recordings, task.signal, task.window, (*LABELS, *task.either), task.clock)
    sets = np.array([SETS.index(set_of(recording)) for recording in recordings])
    subjects = sorted({str(recording.subject) for recording in recordings})
    people = np.array([subjects.index(str(recording.subject)) for recording in recordings])
    return Pool(task, windows, sets[windows.source], people[windows.source])


def _left_out(pool: Pool, left_out: int, plan: PretrainPlan, steps: int) -> dict[str, float]:
    rows = pool.sets != left_out
    return scores(trained(pool, rows, plan, steps), pool, ~rows, plan.seed)


def trained(pool: Pool, rows: NDArray[np.bool_], plan: PretrainPlan, steps: int) -> Answers:
    """A model of some windows of a pool: windows, shape (n, length_samples, n_channels), to probabilities.

    Args:
        pool: all windows.
        rows: those that train, shape (n,).
        plan: frame, augmentations, seed.
        steps: of BATCH windows.
    """
    samples, labels = pool.windows.samples[rows], pool.windows.labels[rows]
    plan = replace(plan, epochs=1, batch=BATCH)
    front, needs = Front.of(plan, pool.task, samples), method_info(plan.method).needs
    method = create_method(plan, pool.task)
    weights = draws(pool.sets[rows], labels, 0.5)
    assert weights is not None
    drawn = torch.multinomial(
        weights, steps * BATCH, replacement=True, generator=torch.Generator().manual_seed(plan.seed)
    )
    raw = torch.from_numpy(front.raw(samples[drawn.numpy()]))
    fit(method, (raw, torch.from_numpy(labels)[drawn]), plan, view=partial(front.drawn, needs))
    assert method.classifier is not None
    return partial(_probabilities, method.classifier, front)


def scores(answers: Answers, pool: Pool, rows: NDArray[np.bool_], seed: int) -> dict[str, float]:
    """The figures of a model on some windows of a pool.

    Args:
        answers: of `trained`.
        pool: all windows.
        rows: those that are tested, shape (n,).
        seed: of how devices are turned.
    """
    test, truth = pool.windows.samples[rows], pool.windows.labels[rows]
    plain, turned = answers(test), answers(_turned(test, pool.people[rows], seed))
    silent = answers(test * np.array([1, 1, 1, 0, 0, 0], np.float32))
    sure = truth < len(LABELS)
    five = np.array(D5)[truth[sure]]
    four = np.array([*D4, *STAIRS.values()])[truth]
    return {
        "d5": _f1(_merged(plain[sure], D5).argmax(1), five),
        "d4": _f1(_merged(plain, D4).argmax(1), four),
        "turned": _f1(_merged(turned[sure], D5).argmax(1), five),
        "no gyro": _f1(_merged(silent[sure], D5).argmax(1), five),
        "ece": _ece(_merged(plain[sure], D5), five),
    }


def _probabilities(classifier: torch.nn.Module, front: Front, windows: NDArray[np.float32]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = in_batches(classifier, front(windows)).double().softmax(1).numpy()
    return found


def _turned(windows: NDArray[np.float32], people: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    turns = Rotation.random(int(people.max()) + 1, random_state=seed).as_matrix()[people].astype(np.float32)
    return np.concatenate([windows[:, :, part] @ turns for part in (slice(0, 3), slice(3, 6))], axis=2)


def _merged(probabilities: NDArray[np.float64], classes: Sequence[int]) -> NDArray[np.float64]:
    return np.stack([probabilities[:, np.array(classes) == i].sum(1) for i in range(max(classes) + 1)], axis=1)


def _f1(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that are there."""
    return float(f1_score(truth, found, labels=np.unique(truth), average="macro"))


def _ece(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    sure, right = probabilities.max(1), probabilities.argmax(1) == truth
    bins = np.minimum((sure * 10).astype(int), 9)
    return float(sum(abs(sure[bins == b].sum() - right[bins == b].sum()) for b in range(10)) / len(truth))


def spread(values: Sequence[float]) -> str:
    """Mean and deviation in words."""
    std = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{std}"
