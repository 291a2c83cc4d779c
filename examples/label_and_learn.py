"""Label and learn: record a stream, say later what it was, adapt the model, and see what it gained.

    python examples/label_and_learn.py                in a few seconds, on what the package carries
    python examples/label_and_learn.py --store me.db  keep the store, to look at it with python -m sdk.label

A recording of the demo stands for today's sensor; it is worn upside down, as the model has never seen it. It goes
through the shipped model beside a recorder. The wearer then marks half a minute of each activity by its clock times,
and one call trains the head from the store. The windows that touch no mark tell what it gained.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

import sdk.demo
from runtime import Bundle, RecordedStream, Recorder, Recording, Store, Stream, label_of
from sdk.finetune import FinetunePlan, finetune, read_store
from sdk.scores import Scores, score

DATA = Path(sdk.demo.__file__).parent / "data"
MARK_S = 30.0  # of each activity
UPSIDE_DOWN = np.array([1, -1, -1, 1, -1, -1], np.float32)  # half a turn about x, of accelerometer and gyroscope


def main() -> None:
    """Read the command line and run in a folder of its own."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--store", type=Path, help="where the recorder writes (default: a temporary folder)")
    p.add_argument("--person", default="18", help="6, 12, 18 or 24")
    arguments = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = Bundle.open(shutil.copytree(DATA / "walk.bundle", Path(folder) / "walk.bundle"))
        day = Recording.load(DATA / f"person_{arguments.person}.npz").fit(bundle.manifest.signal)
        day = replace(day, samples=day.samples * UPSIDE_DOWN)
        learn(bundle, day, arguments.store or Path(folder) / "me.db")


def learn(bundle: Bundle, day: Recording, store_path: Path) -> tuple[Scores, Scores]:
    """Record, mark, train; the scores before and after, on windows that share no sample with the marked ones."""
    began_s = time.time() - day.duration_s  # Unix time at which the recording began
    with Recorder(store_path, bundle, max_mb=50, epoch=began_s - float(day.t[0])) as recorder:
        stream = RecordedStream(recorder)
        for begin in range(0, len(day.samples), 50):
            stream.push(day.samples[begin : begin + 50], day.t[begin : begin + 50])
            if begin % 5000 == 0:
                recorder.flush()  # a sensor gives it time enough; a replay does not wait
    print(f"recorded  {recorder.counters.written} windows, {store_path.stat().st_size / 1e6:.1f} MB")

    marks = first_of_each(day)
    with Store(store_path) as store:
        for start_s, end_s, label in marks:
            offset_s = began_s - float(day.t[0])
            found = store.mark(start_s + offset_s, end_s + offset_s, label, time.time())
            print(f"marked    {time.strftime('%H:%M:%S', time.localtime(start_s + offset_s))}  {label}: {found.inside}")

    before = score_outside(bundle, day, marks)
    labelled = read_store(store_path, bundle)
    adapted, report = finetune(bundle, labelled)
    if (
        report.contradictions
    ):  # the model is sure of something else, as the sensor hangs upside down: the wearer is asked
        print("asked    ", *report.contradictions[:1], f"({len(report.contradictions)} such marks): yes, sure")
        adapted, report = finetune(bundle, labelled, FinetunePlan(sure=True))
    after = score_outside(adapted, day, marks)
    print(f"trained   in {report.cost.seconds:.2f} s: {report.reason}")
    print(f"the rest  {before.n} windows: macro-F1 {before.macro_f1:.3f} -> {after.macro_f1:.3f} {after.over}")
    return before, after


def first_of_each(day: Recording) -> list[tuple[float, float, str]]:
    """The first stretch of each activity that lasts long enough, as a wearer would remember it."""
    edges = [0, *(np.flatnonzero(np.diff(day.labels)) + 1).tolist(), len(day.labels)]
    marks: dict[str, tuple[float, float, str]] = {}
    for begin, end in pairwise(edges):
        label, start_s = day.label_names[day.labels[begin]], float(day.t[begin])
        if day.t[end - 1] - start_s >= MARK_S:
            marks.setdefault(label, (start_s, start_s + MARK_S, label))
    return list(marks.values())


def score_outside(bundle: Bundle, day: Recording, marks: list[tuple[float, float, str]]) -> Scores:
    """Score the windows that touch no mark."""
    labels, true, predicted = bundle.manifest.labels, [], []
    for prediction in Stream(bundle).push(day.samples, day.t):
        label = label_of(day, prediction.start_s, prediction.end_s)
        touched = any(prediction.start_s < end_s and start_s < prediction.end_s for start_s, end_s, _ in marks)
        if label in labels and not touched:
            true.append(labels.index(label))
            predicted.append(labels.index(prediction.label))
    return score(true, predicted, len(labels))


if __name__ == "__main__":
    main()
