"""The real archives against what their authors publish about them."""

from collections import Counter

import numpy as np
import pytest
from datasets_small import real, real_archive

from runtime.manifest import Signal
from runtime.recording import UNLABELLED
from sdk.datasets import __main__ as command
from sdk.datasets import dataset_info, list_datasets, split_by_subject


def subjects(recordings):
    return {recording.subject for recording in recordings}


@pytest.mark.parametrize("name", list_datasets())
def test_every_recording_is_as_the_info_says(name):
    info, recordings = dataset_info(name), real(name)
    assert len(subjects(recordings)) == info.n_subjects
    assert len({recording.name for recording in recordings}) == len(recordings)
    used = set()
    for recording in recordings:
        assert recording.channels == info.signal.channel_names
        assert recording.rate_hz == 50
        assert recording.label_names == info.labels
        assert recording.samples.dtype == np.float32
        assert recording.samples.flags.c_contiguous
        assert np.isfinite(recording.samples).all()
        assert recording.labels.dtype == np.int16
        used |= set(recording.labels.tolist())
    assert used - {UNLABELLED} == set(range(len(info.labels)))


@pytest.mark.parametrize("name", list_datasets())
def test_gravity_is_9_8_at_rest(name):
    info, recordings = dataset_info(name), real(name)
    samples = np.concatenate([recording.samples for recording in recordings])
    labels = np.concatenate([recording.labels for recording in recordings])
    rest = np.isin(labels, [info.labels.index(label) for label in info.resting])
    if not info.resting:
        rest = np.linalg.norm(samples[:, 3:6], axis=1) < 0.2
    assert np.linalg.norm(samples[rest, :3], axis=1).mean() == pytest.approx(9.8, abs=0.3)


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


def test_check_command_on_a_real_archive(capsys):
    code = command.main(["check", "seglearn_watch", "--data", str(real_archive("seglearn_watch").parent)])
    out = capsys.readouterr().out
    assert code == 0
    assert "244,102" in out
    assert "problem" not in out
