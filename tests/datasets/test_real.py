"""The real archives against what their authors publish about them."""

import json
import zipfile
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from runtime.recording import UNLABELLED
from runtime.specs import Signal, WindowSpec
from runtime.window import cut_windows
from sdk.datasets import __main__ as command
from sdk.datasets import _registry, at_position, dataset_info, iter_dataset, list_datasets, split_by_subject
from sdk.datasets._info import ARCHIVE, modality
from sdk.datasets.utd_mhad_depth import IMAGE
from tests.datasets.archives import load_unknown, real, real_archive, write_registry, write_zip


def subjects(recordings):
    return {recording.subject for recording in recordings}


ON_ARCHIVE = [name for name in list_datasets() if dataset_info(name).tested_on == ARCHIVE]
WHOLE = [name for name in ON_ARCHIVE if name != "utd_mhad_depth"]  # of which the copy has one person's first trials
PEOPLE_IN_THE_COPY = {"daphnet": 5, "basicmotions": 1, "wisdm_2019": 10}  # parts; series without names


def test_which_readers_were_tested_on_an_archive():
    assert ON_ARCHIVE == [
        "basicmotions",
        "daphnet",
        "hapt",
        "motionsense",
        "seglearn_watch",
        "sp_sw_har",
        "uci_har",
        "utd_mhad",
        "utd_mhad_depth",
        "utd_mhad_skeleton",
        "wisdm_2019",
    ]


@pytest.mark.parametrize("name", WHOLE)
def test_every_recording_is_as_the_info_says(name):
    info, recordings = dataset_info(name), real(name)
    assert len(subjects(recordings)) == PEOPLE_IN_THE_COPY.get(name, info.n_subjects)
    assert len({recording.name for recording in recordings}) == len(recordings)
    used = set()
    for recording in recordings:
        assert recording.channels == info.signal.channel_names
        assert recording.rate_hz == info.signal.rate_hz
        assert recording.label_names == info.labels
        assert recording.samples.dtype == np.float32
        assert recording.samples.flags.c_contiguous
        assert np.isfinite(recording.samples).all()
        assert recording.labels.dtype == np.int16
        used |= set(recording.labels.tolist())
    assert used - {UNLABELLED} == set(range(len(info.labels)))


@pytest.mark.parametrize("name", ["hapt", "motionsense", "seglearn_watch", "uci_har", "utd_mhad"])
def test_gravity_is_9_8_at_rest(name):
    """Where no label is a resting one, where the gyroscope is quiet. UTD-MHAD's sensor reads 3 % too much."""
    info, recordings = dataset_info(name), real(name)
    samples = np.concatenate([recording.samples for recording in recordings])
    labels = np.concatenate([recording.labels for recording in recordings])
    rest = np.isin(labels, [info.labels.index(label) for label in info.resting])
    if not info.resting:
        rest = np.linalg.norm(samples[:, 3:6], axis=1) < 0.2
    assert np.linalg.norm(samples[rest, :3], axis=1).mean() == pytest.approx(
        9.8, abs=0.4 if name == "utd_mhad" else 0.3
    )


def test_uci_har_counts():
    recordings = real("uci_har")
    assert len(recordings) == 10_299
    assert {recording.samples.shape for recording in recordings} == {(128, 9)}
    splits = Counter(recording.name.split("/")[1] for recording in recordings)
    assert splits == {"train": 7_352, "test": 2_947}
    assert len([r for r in recordings if r.subject in {"1", "2", "3", "4", "5", "6"}]) == 1_934
    train, test = split_by_subject(recordings, dataset_info("uci_har").test_subjects)
    assert {r.name.split("/")[1] for r in train} == {"train"}
    assert {r.name.split("/")[1] for r in test} == {"test"}
    per_label = Counter(recordings[0].label_names[recording.labels[0]] for recording in recordings)
    assert per_label == {
        "walking": 1_722,
        "upstairs": 1_544,
        "downstairs": 1_406,
        "sitting": 1_777,
        "standing": 1_906,
        "laying": 1_944,
    }


def test_hapt_counts():
    recordings = real("hapt")
    assert len(recordings) == 61
    assert sum(len(recording.samples) for recording in recordings) == 1_122_772
    assert len(dataset_info("hapt").labels) == 12
    # The first rows of labels.txt: 1 1 5 250 1232, 1 1 7 1233 1392
    first = recordings[0]
    assert first.name == "hapt/exp01_user01"
    assert set(first.labels[:249].tolist()) == {UNLABELLED}
    assert {first.label_names[i] for i in first.labels[249:1232]} == {"standing"}
    assert {first.label_names[i] for i in first.labels[1232:1392]} == {"stand_to_sit"}
    assert first.samples[0, :3] == pytest.approx(np.array([0.9180555898, -0.1124999994, 0.5097222514]) * 9.80665)


def test_uci_har_and_hapt_are_the_same_people():
    """A walking window of UCI-HAR, but for its filter, is found in that person of HAPT and in no other."""
    window = next(r for r in real("uci_har") if r.subject == "2" and r.labels[0] == r.label_names.index("walking"))
    wanted = window.samples[:, 0] - window.samples[:, 0].mean()
    best = {subject: 0.0 for subject in ("2", "4", "9")}
    for recording in (r for r in real("hapt") if r.subject in best):
        views = np.lib.stride_tricks.sliding_window_view(recording.samples[:, 0], 128)
        centred = views - views.mean(axis=1, keepdims=True)
        correlation = centred @ wanted / (np.linalg.norm(centred, axis=1) * np.linalg.norm(wanted) + 1e-9)
        best[recording.subject] = max(best[recording.subject], float(correlation.max()))
    assert best["2"] > 0.95
    assert max(best, key=best.get) == "2"


def test_motionsense_counts():
    recordings = real("motionsense")
    assert len(recordings) == 360
    assert sum(len(recording.samples) for recording in recordings) == 1_412_865
    trials = Counter(recording.name.split("/")[1] for recording in recordings)
    assert len(trials) == 15
    assert set(trials.values()) == {24}
    # The first row of dws_1/sub_1.csv
    first = next(recording for recording in recordings if recording.name == "motionsense/dws_1/sub_1")
    gravity, user = np.array([0.741895, 0.669768, -0.031672]), np.array([0.294894, -0.184493, 0.377542])
    rotation, attitude = [0.316738, 0.77818, 1.082764], [1.528132, -0.733896, 0.696372]
    expected = np.concatenate(((gravity + user) * 9.80665, rotation, attitude, gravity * 9.80665, user * 9.80665))
    assert first.samples[0] == pytest.approx(expected, abs=1e-5)
    assert first.label_names[first.labels[0]] == "downstairs"


def test_motionsense_gives_the_twelve_original_channels():
    signal = dataset_info("motionsense").signal
    original = Signal(tuple(m for m in signal.modalities if m.name != "acc"))
    assert real("motionsense")[0].fit(original).samples.shape[1] == 12


def test_seglearn_counts():
    recordings = real("seglearn_watch")
    assert len(recordings) == 140
    assert sum(len(recording.samples) for recording in recordings) == 244_102
    assert {len(r.samples) for r in recordings} >= {947, 2_618}
    per_person = Counter(recording.subject for recording in recordings)
    assert set(per_person.values()) == {14}
    samples = np.concatenate([recording.samples for recording in recordings])
    assert samples[:, :3].min() == pytest.approx(-5.8 * 9.80665, rel=0.02)
    assert samples[:, 3:].min() == pytest.approx(-29.0, rel=0.02)


def test_uci_har_at_30_hz_gives_the_windows_of_maskcae():
    """Every 5/3rd sample of all published windows in a row, then 30 of them every 15: 41,196 windows.

    The people of its first fold have 7,736 of them.
    """
    recordings = real("uci_har")
    picked = np.unique((np.arange(len(recordings) * 128 * 3 // 5 + 1) * 5) // 3)
    bounds = np.searchsorted(picked, np.arange(len(recordings) + 1) * 128)
    counts = Counter()
    for i, recording in enumerate(recordings):
        mine = picked[bounds[i] : bounds[i + 1]] - 128 * i
        slower = replace(recording, samples=recording.samples[mine], labels=recording.labels[mine], rate_hz=30.0)
        counts[recording.subject] += len(cut_windows(slower, AT_30_HZ, WindowSpec(30, 15)))
    assert sum(counts.values()) == 41_196
    assert sum(counts[str(subject)] for subject in range(1, 7)) == 7_736


AT_30_HZ = Signal((modality("acc", "m/s^2", rate_hz=30.0),))


def test_motionsense_at_20_hz_gives_the_windows_of_limu_bert():
    """6 s without overlap of every file, at 20 Hz by averages of 2 and 3 samples in turn: 300 samples each."""
    assert sum(len(recording.samples) // 300 for recording in real("motionsense")) == 4_534


def test_hapt_at_20_hz_gives_the_windows_of_limu_bert():
    """6 s without overlap of every labelled stretch of the six activities, 300 samples each.

    Whole stretches give 2,094. The published 2,088 come out where two samples at the end of each are not used, as a
    loop does that begins no average there.
    """
    lengths = []
    for recording in real("hapt"):
        edges = [0, *(np.flatnonzero(np.diff(recording.labels)) + 1), len(recording.labels)]
        lengths += [end - start for start, end in pairwise(edges) if 0 <= recording.labels[start] < 6]
    assert sum(length // 300 for length in lengths) == 2_094
    assert sum((length - 2) // 300 for length in lengths) == 2_088


def test_basicmotions_counts():
    recordings = real("basicmotions")
    assert {recording.samples.shape for recording in recordings} == {(100, 6)}
    assert Counter(recording.name.split("/")[1] for recording in recordings) == {"train": 40, "test": 40}
    per_class = Counter((r.name.split("/")[1], r.label_names[r.labels[0]]) for r in recordings)
    assert set(per_class.values()) == {10}
    assert len(per_class) == 8
    train = np.concatenate([recording.samples for recording in recordings[:40]])
    assert train.min() == pytest.approx(-27.8, abs=0.05)
    assert train.max() == pytest.approx(34.9, abs=0.05)


def test_basicmotions_has_no_gravity():
    standing = [r.samples for r in real("basicmotions") if r.label_names[r.labels[0]] == "standing"]
    assert np.linalg.norm(np.concatenate(standing)[:, :3], axis=1).mean() < 2


def test_basicmotions_is_the_same_in_both_forms(tmp_path, monkeypatch):
    """The training series out of the .arff, with the .ts taken away."""
    with zipfile.ZipFile(real_archive("basicmotions")) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if not name.endswith("TRAIN.ts")}
    assert any(name.endswith("TRAIN.arff") for name in members)
    write_zip(tmp_path / "b.zip", members)
    monkeypatch.setattr(_registry, "REGISTRY", write_registry(tmp_path / "r.txt", "basicmotions b.zip - -"))
    for one, other in zip(load_unknown("basicmotions", tmp_path), real("basicmotions"), strict=True):
        assert np.array_equal(one.samples, other.samples)
        assert one.labels.tolist() == other.labels.tolist()


def test_daphnet_counts():
    recordings = real("daphnet")
    assert [r.name.split("/")[1] for r in recordings] == [
        "S01R02",
        "S02R01",
        "S02R02",
        "S03R02",
        "S03R03",
        "S06R02",
        "S07R02",
    ]
    assert sum(len(recording.samples) for recording in recordings) == 417_906
    steps_s = np.concatenate([np.diff(recording.t) for recording in recordings])
    assert 1 / steps_s.mean() == pytest.approx(64, abs=0.05)
    freezes = [r.name.split("/")[1] for r in recordings if (r.labels == r.label_names.index("freeze")).any()]
    assert freezes == ["S01R02", "S02R01", "S02R02", "S03R02", "S07R02"]
    # The first row of S01R02.txt: 15 40 29 -960 0 0 0 0 0 0 0
    assert recordings[0].samples[0] == pytest.approx(np.array([40, 29, -960, 0, 0, 0, 0, 0, 0]) * 9.80665e-3)
    (ankle, *_) = at_position(recordings, "ankle")
    assert ankle.fit(Signal((modality("acc", "m/s^2", rate_hz=64.0),))).samples.shape == (52_095, 3)


def test_daphnet_shows_gravity_where_nothing_moves(capsys):
    """There is no label of rest and no gyroscope; the command finds quiet seconds, and that the copy lacks people."""
    assert command.main(["check", "daphnet", "--data", str(real_archive("daphnet").parent), "--json"]) == 1
    (summary,) = json.loads(capsys.readouterr().out)
    assert summary["rest_acc_m_s2"] == pytest.approx(9.8, abs=0.2)
    assert summary["problems"] == ["expected 10 people, got 5"]


def test_utd_mhad_counts():
    """861 clips: 27 actions of 8 people, four times, without the three that were never published."""
    clips = {recording.name.split("/")[1]: recording for recording in real("utd_mhad")}
    assert len(clips) == 861
    every = {f"a{a}_s{s}_t{t}" for a in range(1, 28) for s in range(1, 9) for t in range(1, 5)}
    assert every - clips.keys() == {"a8_s1_t4", "a23_s6_t4", "a27_s8_t4"}
    assert clips["a4_s7_t2"].label_names[clips["a4_s7_t2"].labels[0]] == "clap"
    lengths = [len(recording.samples) for recording in clips.values()]
    assert (min(lengths), max(lengths)) == (107, 326)
    samples = np.concatenate([recording.samples for recording in clips.values()]).astype(np.float64)
    assert np.abs(samples[:, :3]).max() / 9.80665 == pytest.approx(8, abs=0.01)
    assert np.degrees(samples[:, 3:]).min() == pytest.approx(-1000.6, abs=0.1)
    assert np.degrees(samples[:, 3:]).max() == pytest.approx(1000.5, abs=0.1)


def test_utd_mhad_has_the_statistics_of_cosmo():
    """Its code standardises with constants of its own: g, degrees/s and metres; ours must be about the same in SI."""
    inertial = np.concatenate([r.samples for r in real("utd_mhad")]).astype(np.float64)
    assert inertial[:, :3].mean() / 9.80665 == pytest.approx(-0.3263, abs=0.005)
    assert inertial[:, :3].std() / 9.80665 == pytest.approx(0.6761, rel=0.03)
    assert np.degrees(inertial[:, 3:].std()) == pytest.approx(113.5537, rel=0.03)
    joints = np.concatenate([r.samples.reshape(-1, 3) for r in real("utd_mhad_skeleton")]).astype(np.float64)
    assert joints.mean(axis=0) == pytest.approx([-0.0839, -0.2914, 2.8711], abs=0.01)
    assert joints.std(axis=0) == pytest.approx([0.1421, 0.4723, 0.1621], rel=0.05)


def test_the_clips_of_utd_mhad_belong_together():
    inertial, skeleton = (
        {recording.name.split("/")[1]: recording for recording in real(name)}
        for name in ("utd_mhad", "utd_mhad_skeleton")
    )
    assert inertial.keys() == skeleton.keys()
    for clip, recording in inertial.items():
        assert (recording.subject, recording.labels[0]) == (skeleton[clip].subject, skeleton[clip].labels[0])
    seconds = [sum(r.duration_s for r in found.values()) for found in (inertial, skeleton)]
    assert seconds[0] / seconds[1] == pytest.approx(1.6, abs=0.1)  # the inertial sensor ran on


def test_utd_mhad_depth_frames_are_those_of_the_skeleton():
    skeleton = {recording.name.split("/")[1]: recording for recording in real("utd_mhad_skeleton")}
    clips = set()
    for recording in iter_dataset("utd_mhad_depth", real_archive("utd_mhad_depth").parent):
        clip = recording.name.split("/")[1]
        clips.add(clip)
        assert len(recording.samples) == len(skeleton[clip].samples)
        images = recording.samples.reshape(-1, *IMAGE)
        assert images.min() == 0
        assert np.median(images[images > 0]) == pytest.approx(2.87, abs=0.6)  # the person is about there
    assert clips == {f"a{action}_s1_t1" for action in range(1, 28)}


def test_check_command_on_a_real_archive(capsys):
    code = command.main(["check", "seglearn_watch", "--data", str(real_archive("seglearn_watch").parent)])
    out = capsys.readouterr().out
    assert code == 0
    assert "244,102" in out
    assert "problem" not in out
