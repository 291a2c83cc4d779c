"""Layer-aware fine-tuning against training from scratch (MESEN's Labeltrain), with one and with five labels per class.

The question of MESEN's figure 19(a) and Cosmo's table 3: the same few labels of a person whom the encoder never saw,
once with the pretrained encoder, once with random weights in the same graph.

    layerwise    last block and head move, the pretrained encoder is the anchor; what lies below is run once and cached
    labeltrain   everything moves, from random weights

Both start with a random head, since one that is trained already would be ahead before the first step, and take the same
steps: AdamW at 0.001, batches of 16, EPOCHS epochs. Accuracies are those of the last epoch, macro-F1 on the person's
windows that share no sample with the labelled ones. The encoders were pretrained with the labels of other people.

Time to the same F1: every seed has a curve for each, mean macro-F1 over its people against the mean seconds since the
start (frozen layers, opening the graph and steps; scoring is not counted). The level is where labeltrain's curve ends;
the ratio is the time at which labeltrain's curve first reaches it, over the time at which layerwise's does, 0 if never.
Seconds of the processor likewise. Memory and energy are those of one whole training each, in a process of its own.

Beside them stand the model as it was shipped (base) and what a wearer gets from it by the default plan of `layers`,
before it is judged (adapted). Labeltrain keeps the graph's statistics of batch normalisation, which come from
pretraining: it has no others. On three people of HAPT a fresh net with statistics of its own, from the windows of all
other people, ended 0.02 (one label per class) and 0.01 (five) higher than this labeltrain.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._bench import ROOT, Options, Result
from benchmarks._curves import Curve, write_svg
from benchmarks._finetune import EPOCHS, PLANS, start
from benchmarks.bench_adapt import LABELS, study
from runtime import Bundle, labelled_windows, open_engine
from runtime.errors import InputError
from runtime.window import LabelledWindows
from sdk.finetune import FinetunePlan, LabelledSet, few_shot, set_apart
from sdk.finetune.layers import LayerRun
from sdk.pretrain import export_run
from sdk.scores import score, score_bundle

GRID = (1, 2, 3, 5, 8, 12, 20, 30, 45, EPOCHS)
PER_CLASS = (1, 5)


@dataclass(frozen=True)
class Trace:
    """One training: at each epoch of GRID."""

    macro_f1: list[float]
    seconds: list[float]  # since the start, without scoring
    cpu_seconds: list[float]


def run(options: Options) -> Result:
    """Both data sets; --quick takes one model that was pretrained for one epoch, and one person of HAPT."""
    if options.data is None:
        raise InputError("--data", expected="a folder with the archives", got="nothing", fix="Name it.")
    torch.set_num_threads(1)
    result = Result("finetune")
    curves: list[Curve] = []
    cells: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("hapt",) if options.quick else LABELS:
            runs = Path(folder) / "runs" if options.quick else options.runs / f"{name}-folds"
            found, data = _measure(name, options, runs, Path(folder) / "b.bundle")
            for per_class in PER_CLASS:
                rows = [row for row in found if row["per_class"] == per_class]
                cells += _summary(f"{name}_{per_class}", rows, result)
                curves += _curves(f"{name}, {per_class} per class", rows)
            whole = _whole(Path(folder) / "b.bundle", data, Path(folder))
            result.figures |= {f"{name}_{key}": value for key, value in whole.items()}
        picture = (Path(folder) if options.quick else options.runs) / "finetune.svg"
        write_svg(picture, curves, "seconds of training", "macro-F1 on held-out windows")
    for key in ("time", "cpu"):
        _ratio(result, f"labeltrain_vs_layerwise_{key}", [cell[key] for cell in cells])
    for key, unit in (("memory", "peak_mb"), ("energy", "joules")):
        pairs = [
            [result.figures[f"{n}_{kind}_{unit}"] for kind in PLANS] for n in LABELS if f"{n}_base" in result.figures
        ]
        ratios = [None if None in pair else pair[0] / pair[1] for pair in pairs]
        known = [value for value in ratios if value is not None]
        result.ratios[f"labeltrain_vs_layerwise_{key}"] = float(np.median(known)) if known else None
    result.figures["picture"] = None if options.quick else str(picture)
    return result


def _measure(name: str, options: Options, runs: Path, path: Path) -> tuple[list[dict[str, Any]], LabelledSet]:
    """Every training of one data set, one person for each model, and the last labelled windows."""
    recordings, task, report = study(name, options, runs)
    rows = []
    for index, trained in enumerate(report["runs"]):
        bundle = export_run(recordings, report, runs, path, name, index)
        people, seed = trained["test_subjects"], trained["seed"]
        person = people[seed % len(people)]  # each seed takes another one of the fold
        own = [recording for recording in recordings if recording.subject == person]
        windows = labelled_windows(own, task.signal, task.window, task.labels)
        for per_class in PER_CLASS:
            drawn = few_shot(windows.labels, per_class, np.random.default_rng((seed, int(person))))
            data, rest = set_apart(windows, drawn, bundle.manifest.window_s)
            traces = {kind: _trace(bundle, data, rest, plan, seed) for kind, plan in PLANS.items()}
            scores = {"base": score_bundle(bundle, rest).macro_f1, "adapted": _adapted(bundle, data, rest, seed)}
            rows.append({"seed": seed, "per_class": per_class, **scores, **traces})
        print(f"{name} {trained['split']} seed {seed}: fine-tuned", file=sys.stderr)
    return rows, data


def _trace(bundle: Bundle, data: LabelledSet, rest: LabelledWindows, plan: FinetunePlan, seed: int) -> Trace:
    """Train once from a random head, or from random weights altogether, and score at every epoch of GRID."""
    trace, scoring = Trace([], [], []), [0.0, 0.0]
    began = perf_counter(), process_time()

    def watch(epochs: float, loss: float, theta: NDArray[np.float32]) -> None:
        if epochs in GRID:
            now = perf_counter(), process_time()
            trace.seconds.append(now[0] - began[0] - scoring[0])
            trace.cpu_seconds.append(now[1] - began[1] - scoring[1])
            trace.macro_f1.append(_score(bundle, started.layout.moved(theta), rest))
            scoring[0] += perf_counter() - now[0]
            scoring[1] += process_time() - now[1]

    started = start(bundle, data, replace(plan, seed=seed))
    started.train(np.arange(len(data.labels)), report=watch)
    return trace


def _adapted(bundle: Bundle, data: LabelledSet, rest: LabelledWindows, seed: int) -> float:
    """What a wearer would get from the default plan of `layers`, which starts from the shipped head."""
    run = LayerRun(bundle, data, FinetunePlan("layers", seed=seed))
    return _score(bundle, run.layout.moved(run.train(np.arange(len(data.labels))).theta), rest)


def _score(bundle: Bundle, tensors: dict[str, NDArray[np.float32]], rest: LabelledWindows) -> float:
    engine = open_engine(replace(bundle, personal_tensors=tensors))
    parts = [engine.run(rest.samples[i : i + 64]).argmax(axis=1) for i in range(0, len(rest.samples), 64)]
    engine.close()
    return score(rest.labels, np.concatenate(parts), len(bundle.manifest.labels)).macro_f1 or 0.0


def _summary(cell: str, rows: list[dict[str, Any]], result: Result) -> list[dict[str, float]]:
    """Accuracies of the last epoch, and the ratios of every seed."""
    name = cell.rsplit("_", 1)[0]
    seeds = sorted({row["seed"] for row in rows})
    result.figures[f"{name}_base"] = float(np.mean([row["base"] for row in rows]))
    result.figures[f"{cell}_adapted"] = float(np.mean([row["adapted"] for row in rows]))
    result.figures[f"{cell}_trainings"] = len(rows)
    for kind in PLANS:
        last = np.array([row[kind].macro_f1[-1] for row in rows])
        per_seed = [float(np.mean([row[kind].macro_f1[-1] for row in rows if row["seed"] == seed])) for seed in seeds]
        result.figures |= {
            f"{cell}_{kind}_macro_f1": float(last.mean()),
            f"{cell}_{kind}_macro_f1_std_over_people": float(last.std(ddof=1)) if len(last) > 1 else None,
            f"{cell}_{kind}_macro_f1_std_over_seeds": float(np.std(per_seed, ddof=1)) if len(seeds) > 1 else None,
            f"{cell}_{kind}_seconds": float(np.mean([row[kind].seconds[-1] for row in rows])),
            f"{cell}_{kind}_cpu_seconds": float(np.mean([row[kind].cpu_seconds[-1] for row in rows])),
        }
    gains = np.array([row["layerwise"].macro_f1[-1] - row["labeltrain"].macro_f1[-1] for row in rows])
    result.figures[f"{cell}_layerwise_better"] = int((gains > 1e-9).sum())
    result.figures[f"{cell}_layerwise_worse"] = int((gains < -1e-9).sum())
    cells = [_seed_ratios([row for row in rows if row["seed"] == seed]) for seed in seeds]
    result.figures[f"{cell}_never_reached"] = sum(not each["time"] for each in cells)
    _ratio(result, f"labeltrain_vs_layerwise_time_{cell}", [each["time"] for each in cells])
    reached = [each for each in cells if each["time"]]
    result.figures[f"{cell}_seconds_to_level"] = {
        kind: float(np.median([each[kind] for each in reached])) if reached else None for kind in PLANS
    }
    return cells


def _seed_ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Labeltrain's cost of reaching the level at which it ends, over layerwise's."""
    curves = {kind: np.mean([row[kind].macro_f1 for row in rows], axis=0) for kind in PLANS}
    level = curves["labeltrain"][-1]
    found: dict[str, float] = {}
    for key, column in (("time", "seconds"), ("cpu", "cpu_seconds")):
        costs = {}
        for kind, curve in curves.items():
            reached = np.flatnonzero(curve >= level)
            spent = np.mean([getattr(row[kind], column) for row in rows], axis=0)
            costs[kind] = float(spent[reached[0]]) if len(reached) else np.inf
        found[key] = costs["labeltrain"] / costs["layerwise"]
        if key == "time":
            found |= costs
    return found


def _ratio(result: Result, name: str, values: list[float]) -> None:
    result.ratios[name] = float(np.median(values))
    result.ratios[f"{name}_spread"] = tuple(float(v) for v in np.percentile(values, (10, 90)))


def _curves(title: str, rows: list[dict[str, Any]]) -> list[Curve]:
    return [
        Curve(
            title,
            kind,
            np.mean([row[kind].seconds for row in rows], axis=0).tolist(),
            np.mean([row[kind].macro_f1 for row in rows], axis=0).tolist(),
        )
        for kind in PLANS
    ]


def _whole(path: Path, data: LabelledSet, folder: Path) -> dict[str, Any]:
    """Peak memory, joules and seconds of one whole training of each kind."""
    np.savez(folder / "data.npz", windows=data.windows, labels=data.labels, weights=data.weights)
    figures: dict[str, Any] = {}
    for kind in PLANS:
        command = [sys.executable, "-m", "benchmarks._finetune", str(path), str(folder / "data.npz"), kind]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        figures |= {f"{kind}_{key}": value for key, value in json.loads(done.stdout).items()}
    return figures
