"""`python -m sdk.pretrain`: from data sets, public or own, to checkpoints, scores over unseen people, and a bundle."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from runtime.command import DONE, Progress, json_text, note, run_command, table
from runtime.errors import InputError
from runtime.specs import Signal, WindowSpec
from sdk.datasets import Recording, dataset_info, load_dataset
from sdk.datasets._info import is_path
from sdk.datasets._pool import parts_of
from sdk.encoders import register_own
from sdk.pretrain import (
    Split,
    StudyTask,
    export_run,
    method_info,
    run_study,
    subject_folds,
)
from sdk.pretrain.data import chosen, either_of, modalities_at
from sdk.pretrain.loop import Epoch
from sdk.pretrain.options import add_arguments, front_of, photos_of, setting
from sdk.pretrain.processes import start
from sdk.pretrain.study import set_left_out

_GIVEN = ("encoder", "epochs", "batch", "learning_rate", "balance", "optimiser", "clip", "validate", "patience", "few")
_POOLED = 0.5  # of draws of a pool: between windows as they are and all sets and classes alike
HELP = "Pretraining of an encoder, scored on people whom it never saw: on public data sets, or recordings of one's own."
EXAMPLES = """\
  python -m sdk.pretrain motionsense --data DIR --out runs/walk --test 6,12,18,24 --seeds 5
                                     five seeds, scored on four people who are kept out of the training
  python -m sdk.pretrain hapt --data DIR --out runs/hapt --folds 5 \\
      --labels walking,upstairs,downstairs,sitting,standing,laying
                                     every person is a test person once
  python -m sdk.pretrain motionsense --data DIR --out runs/walk --test 6,12,18,24 --bundle walk.bundle
                                     and export the model of seed 0 for the device
  python -m sdk.pretrain motionsense --data DIR --out runs/hidden --test 6,12,18,24 --method maskcae --length 32
                                     without the labels, which only the linear probe sees that is scored
  python -m sdk.pretrain hapt --data DIR --out runs/agree --folds 5 --method mesen --keep gyro --bundle gyro.bundle
                                     both sensors teach each other; the model is left with one
  python -m sdk.pretrain sp_sw_har --data DIR --out runs/phone --folds 5 --position phone --clock arrival
                                     a phone whose time stamps come in bunches; the watch is another device
  python -m sdk.pretrain recordings --out runs/mine --folds 4 --bundle mine.bundle
                                     a folder of one's own with a dataset.toml (python -m sdk.datasets new recordings)
  python -m sdk.pretrain hapt+motionsense+recordings --data DIR --out runs/pool --leave-out recordings
                                     a pool, scored on a data set that it never saw
  python -m sdk.pretrain motionsense --data DIR --out runs/own --folds 5 --encoder mynets.py:make
                                     a torch module of your own; see docs/own_models.md
  python -m sdk.pretrain motionsense --data DIR --out runs/seen --folds 5 --method img2imu --modalities acc \\
      --length 250 --hop 125 --images CIFAR-10-images.tar.xz --bundle seen.bundle
                                     photographs first; the model looks at spectrograms
  torchrun --nproc-per-node 2 -m sdk.pretrain hapt ...
                                     two processes, which take the same steps as one
  python -m sdk.pretrain --list      the methods, what they need, and their papers

A run that was cut off goes on where it stopped when the same command is given again."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    return run_command(argv, "python -m sdk.pretrain", HELP, EXAMPLES, add_arguments, run)


def run(arguments: argparse.Namespace) -> int:
    """Train, score, export; the exit code.

    Raises:
        InputError: a modality that the data set does not have.
    """
    torch.set_num_threads(arguments.threads)
    if arguments.encoder is not None and ":" in arguments.encoder:
        register_own(arguments.encoder)
    plan = method_info(arguments.method).plan
    info = dataset_info(arguments.dataset)
    wanted = arguments.modalities.split(",")
    known = modalities_at(info, arguments.position)
    if unknown := [name for name in wanted if name not in known]:
        raise InputError("--modalities", expected=", ".join(known), got=", ".join(unknown), fix="Choose among these.")
    if arguments.bundle and arguments.norm == "set":
        fix = "Leave out --bundle, or take --norm pool."
        raise InputError("--norm set", expected="no --bundle", got="one: a device has no data set", fix=fix)
    labels = tuple(arguments.labels.split(",")) if arguments.labels else info.labels
    if unknown := [name for name in labels if name not in info.labels]:
        raise InputError("--labels", expected=", ".join(info.labels), got=", ".join(unknown), fix="Choose among these.")
    is_pool = len(parts_of(arguments.dataset)) > 1
    task = StudyTask(
        Signal(tuple(replace(known[name], rate_hz=arguments.hz or known[name].rate_hz) for name in wanted)),
        WindowSpec(arguments.length, arguments.hop),
        labels,
        arguments.clock,
        tuple(arguments.keep.split(",")) if arguments.keep else (),
        either_of(labels) if is_pool else {},
    )
    given = {name: getattr(arguments, name) for name in _GIVEN}
    plan = replace(plan, balance=_POOLED if is_pool else 0.0, by_set=arguments.norm == "set")
    plan = replace(plan, **{name: value for name, value in given.items() if value is not None})
    if arguments.naming is not None:
        plan = replace(plan, naming=arguments.naming.removeprefix("none"))
    plan = replace(plan.with_settings(dict(map(setting, arguments.settings))), **front_of(arguments))
    with _warnings_as_notes():
        recordings = load_dataset(arguments.dataset, arguments.data)
    recordings = chosen(recordings, arguments.position, arguments.rate)
    timed = sum(recording.t is not None for recording in recordings)
    if arguments.rate is not None and timed:
        note(f"--rate: {timed} of {len(recordings)} recordings have times, which tell their rate")
    fabric, bar = start(arguments.device, arguments.precision), Progress()
    first = fabric.is_global_zero
    report = run_study(
        recordings,
        task,
        plan,
        _splits(arguments, recordings),
        arguments.seeds,
        arguments.out,
        say=lambda text: print(text, file=sys.stderr) if first else None,
        progress=lambda run, epoch: bar.show(epoch.number, epoch.of, _epoch(run, epoch)) if first else None,
        photos=photos_of(arguments, plan),
        fabric=fabric,
    )
    if not first:
        return DONE
    if arguments.bundle:
        export_run(recordings, report, arguments.out, arguments.bundle, arguments.dataset)
    print(json_text(report, indent=1) if arguments.json else _text(report))
    if arguments.bundle and not arguments.json:
        print(f"\n{arguments.bundle} is ready. Next: python -m sdk.profile {arguments.bundle}")
    return DONE


def _epoch(run: str, epoch: Epoch) -> str:
    watched = "" if epoch.watched is None else f", watched {epoch.watched:.4f}"
    return f"{run}  loss {epoch.loss:.4f}{watched}, {epoch.rows_per_s:,.0f} rows/s"


@contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """What a reader warns of, as one line each."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: note(str(message))
        yield


def _splits(arguments: argparse.Namespace, recordings: Sequence[Recording]) -> list[Split]:
    if sum(map(bool, (arguments.test, arguments.folds, arguments.leave_out))) != 1:
        raise InputError(
            "--test, --folds, --leave-out", expected="one of them", got="several or none", fix="Say whom to test on."
        )
    if arguments.folds:
        return subject_folds(recordings, arguments.folds)
    if arguments.leave_out:
        return [set_left_out(recordings, _name_of(name)) for name in arguments.leave_out]
    return [Split("test", tuple(arguments.test.split(",")))]


def _name_of(dataset: str) -> str:
    """A data set of a pool may be said by its path or by its name."""
    return dataset_info(dataset).name if is_path(dataset) else dataset


def _text(report: dict[str, Any]) -> str:
    labels = report["task"]["labels"]
    rows = [
        (run["split"], run["seed"], run["n"], f"{run['accuracy']:.4f}", f"{run['macro_f1']:.4f}", _classes(run))
        for run in report["runs"]
    ]
    parts = [table(rows, ("split", "seed", "windows", "accuracy", "macro-F1", f"of {len(labels)} classes")), ""]
    for name, figure in report["summary"].items():
        spread = "" if figure["std_over_seeds"] is None else f" ± {figure['std_over_seeds']:.4f} over seeds"
        over = f" over {_told_classes(report)}" if name == "macro_f1" else ""
        parts.append(f"{name}: {figure['mean']:.4f}{spread}{over}, people never seen")
    confusion = sum(torch.tensor(run["confusion"]) for run in report["runs"])
    counts = confusion.tolist()  # type: ignore[union-attr]
    parts += ["", "all runs together, true label by row:"]
    parts.append(table([(name, *row) for name, row in zip(labels, counts, strict=True)], ("", *labels)))
    return "\n".join(parts)


def _told_classes(report: dict[str, Any]) -> str:
    classes = sorted({_classes(run) for run in report["runs"]})
    return f"{' or '.join(map(str, classes))} of {len(report['task']['labels'])} classes"


def _classes(run: dict[str, Any]) -> int:
    """Over how many classes a run's macro-F1 is the mean."""
    confusion = torch.tensor(run["confusion"])
    return int(torch.count_nonzero(confusion.sum(0) + confusion.sum(1)))


if __name__ == "__main__":
    sys.exit(main())
