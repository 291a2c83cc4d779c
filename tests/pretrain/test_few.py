"""Few labels: which are known, how a crowd is named, and that nothing else of the truth is looked at."""

import dataclasses

import numpy as np
import pytest

from runtime.errors import InputError
from sdk.finetune.crowd import name_crowd
from sdk.pretrain import PretrainPlan, Split, create_method, run_study
from sdk.pretrain.few import known, known_rows, stream_of
from sdk.pretrain.views import Front
from tests.pretrain.small import TASK, TWO_TASK, data, people, plan_of


def crowd(n_people=6, per_class=15, n_classes=3, shift=2.0):
    """People whose classes lie apart by 3, and who lie beside one another; one of them did not do the last class."""
    rng = np.random.default_rng(3)
    places, owners, truth = [], [], []
    for person in range(n_people):
        offset = rng.normal(size=4) * shift / 4
        for label in range(n_classes - (person == 0)):
            places.append(3 * np.eye(4)[label] + offset + 0.4 * rng.normal(size=(per_class, 4)))
            owners += [person] * per_class
            truth += [label] * per_class
    return np.concatenate(places).astype(np.float32), np.array(owners), np.array(truth)


def test_a_crowd_is_named_by_one_label_of_each_class():
    places, owners, truth = crowd()
    right = []
    for draw in range(10):
        rng = np.random.default_rng(draw)
        rows = [rng.choice(np.flatnonzero(truth == label)) for label in range(3)]
        seeds = np.zeros((len(truth), 3))
        seeds[rows, np.arange(3)] = 1
        right.append(np.mean(name_crowd(places, owners, seeds) == truth))
    assert np.mean(right) > 0.95


def test_offsets_are_taken_off_by_class():
    """Two people who lie so far apart that one's class is where the other's other class is."""
    rng = np.random.default_rng(1)
    base = np.array([[0.0, 0], [4, 0]])
    places, owners, truth = [], [], []
    for person, offset in enumerate(((0, 0), (1.6, 0), (0.8, 0), (0.4, 0), (1.2, 0))):
        for label in range(2):
            places.append(base[label] + offset + 0.25 * rng.normal(size=(30, 2)))
            owners += [person] * 30
            truth += [label] * 30
    places, owners, truth = np.concatenate(places).astype(np.float32), np.array(owners), np.array(truth)
    seeds = np.zeros((len(truth), 2))
    seeds[[0, 30], [0, 1]] = 1
    assert np.mean(name_crowd(places, owners, seeds) == truth) > 0.98


def test_as_many_of_each_class_as_asked_for_and_the_seed_decides():
    labels = np.array([0] * 5 + [1] * 2 + [2] * 9 + [3])  # 3: means several
    rows = known_rows(PretrainPlan(few=3), labels, 3)
    assert np.bincount(labels[rows]).tolist() == [3, 2, 3]
    assert np.array_equal(rows, known_rows(PretrainPlan(few=3), labels, 3))
    assert not np.array_equal(rows, known_rows(PretrainPlan(few=3, seed=1), labels, 3))
    assert known_rows(PretrainPlan(), labels, 3).tolist() == list(range(16))


@pytest.mark.parametrize("name", ["graph", "mesen", "simclr"])
@pytest.mark.parametrize("naming", ["hand", "encoder", "both"])
def test_only_the_drawn_labels_are_looked_at(name, naming):
    if name == "graph" and naming != "hand":
        return
    plan = plan_of(name, few=2, naming=naming)
    task = TWO_TASK if name == "mesen" else TASK
    windows = data()
    front, method = Front.of(plan, task, windows.samples), create_method(plan, task)
    stream = stream_of([dataclasses.replace(p, channels=task.signal.channel_names) for p in people(3)], task)
    who = np.arange(len(windows.labels)) % 3
    found = known(plan, task, front, method, windows.samples, windows.labels, who, stream)
    rows = known_rows(plan, windows.labels, 2)
    assert np.array_equal(found.rows, np.arange(len(windows.labels)))
    assert np.array_equal(found.labels[rows], windows.labels[rows])
    assert np.mean(found.labels == windows.labels) > 0.9
    # with the others' labels gone, and the same ones known, the names are the same
    hidden = np.where(np.isin(np.arange(len(windows.labels)), rows), windows.labels, 2)
    every = dataclasses.replace(plan, few=len(rows))
    again = known(every, task, front, method, windows.samples, hidden, who, stream)
    assert np.array_equal(again.labels, found.labels)


def test_a_study_by_one_label_of_each_class_says_how_many_names_are_right(tmp_path):
    plan = plan_of("graph", epochs=6)
    task = dataclasses.replace(TWO_TASK, keep=("gyro",))
    recordings = [dataclasses.replace(person, channels=task.signal.channel_names) for person in people(4)]
    (run,) = run_study(recordings, task, plan, [Split("test", ("3",))], 1, tmp_path)["runs"]
    assert (run["known"], run["train_windows"]) == (2, 60)
    assert run["named_right"] > 0.9
    assert run["accuracy"] > 0.9
    plain, splits = dataclasses.replace(plan, naming=""), [Split("test", ("3",))]
    (alone,) = run_study(recordings, task, plain, splits, 1, tmp_path / "b")["runs"]
    assert alone["known"] == 2
    assert "named_right" not in alone


@pytest.mark.parametrize("change", [{"few": 1, "naming": "feet"}, {"naming": "hand", "few": 0}])
def test_a_naming_that_cannot_be_is_refused(change):
    with pytest.raises(InputError, match="naming: expected hand, encoder, both, and few labels"):
        PretrainPlan(**change)


def test_names_by_an_encoder_that_learns_from_them_are_refused():
    with pytest.raises(InputError, match="method supervised: expected naming by hand"):
        create_method(plan_of("supervised", few=1, naming="encoder"), TASK)
