"""Rebuild what `python -m sdk.demo` carries, from MotionSense's official archive.

    python examples/rebuild_demo/rebuild.py --data DIR --out sdk/demo/data

trains the shipped recipe on 20 people (seed 0), exports walk.bundle, and cuts a short recording of each of the four
other people: subjects 6, 12, 18 and 24, those that MaskCAE's released code tests on for windows of 2.56 s.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from runtime import Recording, Signal, WindowSpec
from sdk.datasets import dataset_info, load_dataset
from sdk.pretrain import PretrainPlan, Split, StudyTask, export_run, run_study

TEST_PEOPLE = ("6", "12", "18", "24")
SECONDS_PER_ACTIVITY = 80
PAUSE_S = 10  # between two trials, so that no window spans both
DECIMALS = 3  # of m/s^2 and rad/s; finer digits are noise and do not compress


def main() -> None:
    """Train, export, cut."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with A_DeviceMotion_data.zip")
    parser.add_argument("--out", type=Path, required=True, help="where walk.bundle and person_*.npz go")
    parser.add_argument("--runs", type=Path, default=Path("runs/demo"), help="checkpoints (default %(default)s)")
    arguments = parser.parse_args()
    info = dataset_info("motionsense")
    signal = Signal(tuple(m for m in info.signal.modalities if m.name in ("acc", "gyro")))
    task = StudyTask(signal, WindowSpec(length_samples=128, hop_samples=64), info.labels)
    recordings = load_dataset("motionsense", arguments.data)
    report = run_study(
        recordings, task, PretrainPlan(), [Split("test", TEST_PEOPLE)], n_seeds=1, out=arguments.runs, say=print
    )
    bundle = export_run(recordings, report, arguments.runs, arguments.out / "walk.bundle", "motionsense")
    print(f"{bundle.path}: {bundle.manifest.provenance['unseen_people']}")
    for person in TEST_PEOPLE:
        path = arguments.out / f"person_{person}.npz"
        short_recording([r for r in recordings if r.subject == person], signal, info.labels).save(path)
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def short_recording(trials: list[Recording], signal: Signal, labels: tuple[str, ...]) -> Recording:
    """The first seconds of each activity of one person, trial after trial with pauses between."""
    left = {label: round(SECONDS_PER_ACTIVITY * signal.rate_hz) for label in labels}
    samples, times, classes, now_s = [], [], [], 0.0
    for trial in trials:
        label = trial.label_names[int(trial.labels[0])]
        rows = trial.fit(signal).samples[: left[label]]
        if not len(rows):
            continue
        left[label] -= len(rows)
        samples.append(rows.round(DECIMALS))
        times.append(now_s + np.arange(len(rows)) / signal.rate_hz)
        classes.append(np.full(len(rows), labels.index(label), np.int16))
        now_s = times[-1][-1] + PAUSE_S
    return replace(
        trials[0],
        samples=np.concatenate(samples),
        channels=signal.channel_names,
        t=np.concatenate(times),
        labels=np.concatenate(classes),
        label_names=labels,
    )


if __name__ == "__main__":
    main()
