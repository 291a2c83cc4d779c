"""One encoder for all placements: waists, pockets and wrists of people whom it never saw.

MotionSense, HAPT, WISDM 2019 and SP-SW-HAR (--data), phones and watches, by the recipe "gravity, all" of `robust`,
500 steps of 64 windows. A third of the people of each set is left out, each third once, so every person is tested
once per seed; a row is a set and a place, the columns are those of `robust`. "no watches": trained without these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks._bench import Options, Result
from benchmarks.bench_robust import KEYS, LABELS, RECIPES, SEEDS, Answers, Pool, scores, spread, trained
from runtime import InputError
from runtime.command import table
from runtime.specs import ClockSpec, WindowSpec
from runtime.window import LabelledWindows, labelled_windows
from sdk.datasets import dataset_info, load_dataset
from sdk.datasets._pool import label_table, set_of
from sdk.pretrain import StudyTask
from sdk.pretrain.data import chosen, modalities_at, place_of
from sdk.pretrain.options import clock_of

SETS = ("motionsense", "hapt", "wisdm_2019", "sp_sw_har")
POSITIONS, WATCH = ("phone", "watch"), ", watch"
PARTS, STEPS = 3, 500
CLOCKS = {"sp_sw_har": "arrival"}  # its time stamps come in bunches


@dataclass(frozen=True)
class Worn:
    """A pool whose rows know where they were worn."""

    pool: Pool
    cells: tuple[str, ...]  # "hapt", "wisdm_2019, watch"
    cell: NDArray[np.int64]  # shape (n,), places in cells


def run(options: Options) -> Result:
    """Leave a third of the people out, three times.

    Raises:
        InputError: no folder with archives.
    """
    if options.data is None:
        raise InputError("--data", expected="the folder with the archives", got="none", fix="Name it.")
    worn, result = _worn(str(options.data)), Result("worn")
    steps, rows = 60 if options.quick else STEPS, []
    for recipe, seeds in (("no watches", 1), ("all places", 1 if options.quick else SEEDS)):
        runs = [_scored(worn, recipe == "no watches", seed, steps) for seed in range(seeds)]
        found = {cell: {key: [run[cell][key] for run in runs] for key in (*KEYS, "ece")} for cell in worn.cells}
        for cell in worn.cells:
            tested = worn.pool.people[worn.cell == worn.cells.index(cell)]
            rows.append((recipe, cell, len(np.unique(tested)), len(tested), *map(spread, found[cell].values())))
        result.figures[recipe] = found
    result.text = table(rows, ("trained on", "people of", "people", "windows", *KEYS, "ece"))
    return result


def _worn(data: str) -> Worn:
    name = "+".join(SETS)
    known = modalities_at(dataset_info(name), POSITIONS)
    signal = replace(dataset_info(name).signal, modalities=(known["acc"], known["gyro"]))
    task = StudyTask(signal, WindowSpec(128, 64), LABELS, either=dict(label_table().either))
    names = (*LABELS, *task.either)
    parts, cells, people = [], [], []
    everyone = chosen(load_dataset(name, data), POSITIONS)
    for dataset in SETS:
        own = [recording for recording in everyone if set_of(recording) == dataset]
        clock: ClockSpec | None = clock_of(CLOCKS[dataset]) if dataset in CLOCKS else None
        windows = labelled_windows(own, task.signal, task.window, names, clock)
        parts.append(windows)
        placed = [f"{dataset}{', ' if place_of(r) else ''}{place_of(r)}" for r in own]
        cells += [placed[i] for i in windows.source]
        people += [str(own[i].subject) for i in windows.source]
    windows = LabelledWindows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    every, cell = np.unique(cells, return_inverse=True)
    return Worn(Pool(task, windows, cell, np.unique(people, return_inverse=True)[1]), tuple(every.tolist()), cell)


def _scored(worn: Worn, no_watches: bool, seed: int, steps: int) -> dict[str, dict[str, float]]:
    """Every person's windows by the model that did not see the person."""
    pool, part = worn.pool, _parts(worn, seed)
    plan, watches = replace(RECIPES["gravity, all"], seed=seed), np.array([c.endswith(WATCH) for c in worn.cells])
    models: list[Answers] = []
    for left_out in range(PARTS):
        rows = part != left_out
        models.append(trained(pool, rows & ~watches[worn.cell] if no_watches else rows, plan, steps))
    found = {}
    for i, cell in enumerate(worn.cells):
        tests = [(worn.cell == i) & (part == left_out) for left_out in range(PARTS)]
        some = [scores(model, pool, rows, seed) for model, rows in zip(models, tests, strict=True)]
        weights = [rows.sum() for rows in tests]
        found[cell] = {key: float(np.average([s[key] for s in some], weights=weights)) for key in some[0]}
    return found


def _parts(worn: Worn, seed: int) -> NDArray[np.int64]:
    """Which third of its set each row's person is in, shape (n,)."""
    own, part, rng = worn.pool.people, np.zeros(len(worn.cell), np.int64), np.random.default_rng(seed)
    for name in SETS:
        cells = [i for i, cell in enumerate(worn.cells) if cell.startswith(name)]
        for i, person in enumerate(rng.permutation(np.unique(own[np.isin(worn.cell, cells)]))):
            part[own == person] = i % PARTS
    return part
