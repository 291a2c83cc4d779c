"""From a finished run to a bundle: the same windows, statistics and labels, handed to the exporter."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from runtime.bundle import Bundle, Manifest
from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import ClockSpec, Modality, Normalise, Signal, WindowSpec
from runtime.window import labelled_windows
from sdk.datasets import DatasetInfo, dataset_info
from sdk.pretrain.checkpoint import load_checkpoint
from sdk.pretrain.data import place_of, placement_of
from sdk.pretrain.drawn import Drawn
from sdk.pretrain.few import known
from sdk.pretrain.front import Fronted
from sdk.pretrain.groups import groups_of
from sdk.pretrain.plan import PretrainPlan, StudyTask
from sdk.pretrain.probe import classifier_of
from sdk.pretrain.registry import create_method
from sdk.pretrain.study import checkpoint_of
from sdk.pretrain.views import Front, some_of

_GOLDEN_PER_CLASS = 2
_log = logging.getLogger("sensedge.export")
_FIGURES = ("test_subjects", "n", "accuracy", "macro_f1", "macro_f1_classes")


def export_run(
    recordings: Sequence[Recording],
    report: dict[str, Any],
    runs: Path,
    path: Path,
    dataset: str | DatasetInfo,
    index: int = 0,
) -> Bundle:
    """Export one run of a study.

    Args:
        recordings: those that the study was run on.
        report: what `run_study` returned.
        runs: the study's folder.
        path: the bundle to write.
        dataset: for provenance its name or path, what is known of it, or any name for recordings of one's own.
        index: which of the report's runs.

    Raises:
        InputError: the run's checkpoint is not there, or is another model's; one that was normalised by data set.
        ParityError: the exported graph does not answer as the model does.
    """
    from exporters import export_bundle
    from exporters.training_data import are_enough

    run = report["runs"][index]
    task = _task(report["task"])
    plan = PretrainPlan.from_dict({**report["plan"], "seed": run["seed"]})
    if plan.by_set:
        fix = "Train with by_set=False."
        raise InputError("plan.by_set", expected="one normalisation", got="one for each data set", fix=fix)
    every = labelled_windows(list(recordings), task.signal, task.window, (*task.labels, *task.either), task.clock)
    groups = groups_of(recordings, every, run["test_subjects"], plan, task)
    every = groups.train.windows
    method = create_method(plan, task)
    load_checkpoint(checkpoint_of(runs, plan, run["split"], run["seed"]), method)
    front = Front.of(plan, task, every.samples)
    windows = some_of(every, every.labels < len(task.labels))
    drawn = method.encoders[0] if isinstance(method.encoders[0], Drawn) else None
    found = known(plan, task, front, method, every.samples, every.labels, groups.train.people, groups.stream)
    inputs = every.samples[found.rows]
    classifier = classifier_of(method, task, front(inputs) if drawn is None else torch.from_numpy(inputs), found.labels)
    info, columns, scale, normalise = _known(dataset), task.kept_columns, front.scale, front.normalise
    encoder = classifier.encoder if drawn is None else drawn.net
    encoder = encoder if scale is None else Fronted(scale.front(columns), encoder)
    rows = [np.flatnonzero(windows.labels == label)[:_GOLDEN_PER_CLASS] for label in range(len(task.labels))]
    manifest = Manifest(
        name=path.name.removesuffix(".bundle"),
        signal=task.kept_task.signal,
        window=task.window,
        labels=task.labels,
        normalise=Normalise(*(tuple(part[i] for i in columns) for part in (normalise.mean, normalise.std))),
        clock=task.clock or ClockSpec(),
        frame=None if front.frame is None else task.kept_task.frame,
        spectrogram=None if drawn is None else drawn.spec,
        provenance={
            "method": plan.method,
            "plan": report["plan"] | {"seed": run["seed"]},
            **_origin(dataset, info, recordings, task),
            "windows": {place or "all": of["windows"] for place, of in report.get("data", {}).items()},
            "unseen_people": {key: run[key] for key in _FIGURES if key in run},
        },
    )
    golden = windows.samples[np.concatenate(rows)][:, :, columns]
    enough = are_enough(windows.labels)
    if not enough:
        _log.warning("%d training windows: too few to tell a device what they were like", len(windows.labels))
    return export_bundle(
        path,
        encoder,
        classifier.head,
        manifest,
        golden,
        training=True,
        seen=(windows.samples[:, :, columns], windows.labels) if enough else None,
    )


def _known(dataset: str | DatasetInfo) -> DatasetInfo | None:
    """What is known of a data set; None: recordings of which only a name was said."""
    if not isinstance(dataset, str):
        return dataset
    try:
        return dataset_info(dataset)
    except InputError as error:
        _log.warning("%s: the bundle says nothing more of its data than this name (%s)", dataset, error)
        return None


def _origin(
    dataset: str | DatasetInfo, info: DatasetInfo | None, recordings: Sequence[Recording], task: StudyTask
) -> dict[str, Any]:
    """Provenance: what the data was, and where the sensors were worn."""
    if info is None:
        return {"data": {"name": dataset}, "placement": "not said"}
    known = {"name": info.name, "title": info.title, "licence": info.licence, "citation": info.citation}
    return {"data": known, "placement": placement_of(info, _positions(recordings, task, info))}


def _positions(recordings: Sequence[Recording], task: StudyTask, info: DatasetInfo) -> list[str]:
    """The places that were used, by the names of the recordings or, where all columns were, of the modalities."""
    used = {place_of(recording) for recording in recordings} - {""}
    if not used:
        names = [modality.name for modality in task.signal.modalities]
        used = {place for place in info.positions if any(name.startswith(f"{place}_") for name in names)}
    return [place for place in info.positions if place in used]


def _task(raw: dict[str, Any]) -> StudyTask:
    """The task as a report holds it."""
    modalities = (Modality(**{**m, "channels": tuple(m["channels"])}) for m in raw["signal"]["modalities"])
    clock = ClockSpec(**raw["clock"]) if raw.get("clock") else None
    window, labels, keep = WindowSpec(**raw["window"]), tuple(raw["labels"]), tuple(raw.get("keep", ()))
    either = {name: tuple(some) for name, some in raw.get("either", {}).items()}
    return StudyTask(Signal(tuple(modalities)), window, labels, clock, keep, either)
