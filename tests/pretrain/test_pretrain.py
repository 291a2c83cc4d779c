"""Pretraining on a problem of seconds: it learns, it resumes to the bit, and it never tests on whom it trained."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from runtime.errors import InputError
from runtime.recording import Recording
from sdk.pretrain import (
    PretrainPlan,
    Split,
    create_method,
    fit,
    load_checkpoint,
    run_study,
    save_checkpoint,
    subject_folds,
)
from sdk.pretrain.loop import learning_rate
from sdk.pretrain.views import normalised, statistics
from sdk.scores import score
from tests.pretrain.small import PLAN, TASK, batch, data, people, predicted, same, state, train


def test_a_separable_problem_is_learnt():
    method, losses = train()
    assert len(losses) == 4
    assert losses[-1] < losses[0] / 3
    unseen = data(50)
    assert (predicted(method, unseen.samples) == unseen.labels).all()
    assert not method.training


def test_labels_without_meaning_are_not():
    windows = data()
    labels = np.random.default_rng(0).integers(0, 2, len(windows.labels))
    method = create_method(PLAN, TASK)
    fit(method, batch(windows._replace(labels=labels)), PLAN)
    unseen = data(50)
    assert (predicted(method, unseen.samples) == unseen.labels).mean() < 0.95


def test_the_seed_decides_and_another_differs():
    (first, losses), (again, same_losses) = train(), train()
    assert same(state(first), state(again))
    assert losses == same_losses
    other, _ = train(dataclasses.replace(PLAN, seed=6))
    assert not same(state(first), state(other))


def test_statistics_are_those_of_the_training_windows():
    windows = data()
    found = statistics(windows.samples)
    flat = windows.samples.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(found.mean, flat.mean(0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.std, flat.std(0), rtol=1e-6)
    assert np.float32(found.mean).tolist() == list(found.mean)  # exact in float32, as the graph has them
    still = statistics(np.ones_like(windows.samples))
    assert torch.isfinite(normalised(np.ones((2, 32, 3), np.float32), still)).all()


class PowerCutError(Exception):
    pass


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(tmp_path, done):
    def cut(epoch):
        if epoch.number == done:
            raise PowerCutError

    whole, losses = train()
    with pytest.raises(PowerCutError):
        train(checkpoint=tmp_path / "a.safetensors", report=cut)
    torch.rand(7)  # the process that goes on has used torch's generator otherwise
    seen = []
    resumed, all_losses = train(checkpoint=tmp_path / "a.safetensors", report=seen.append)
    assert [epoch.number for epoch in seen] == list(range(done + 1, 5))
    assert all_losses == losses
    assert same(state(resumed), state(whole))
    # a finished run is not trained again
    finished, again = train(checkpoint=tmp_path / "a.safetensors", report=cut)
    assert again == losses
    assert same(state(finished), state(whole))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("change", [{"epochs": 5}, {"batch": 8}, {"learning_rate": 1e-3}, {"seed": 1}])
def test_a_checkpoint_of_another_plan_is_refused(tmp_path, change):
    train(checkpoint=tmp_path / "a.safetensors")
    before = (tmp_path / "a.safetensors").read_bytes()
    (key, value), *_ = change.items()
    with pytest.raises(
        InputError,
        match=rf"a.safetensors: expected the plan .*'{key}': {value}.*, got {{'encoder.*\. Remove the file\.",
    ):
        train(dataclasses.replace(PLAN, **change), checkpoint=tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == before


def test_a_checkpoint_of_another_encoder_is_refused(tmp_path):
    train(checkpoint=tmp_path / "a.safetensors")
    with pytest.raises(
        InputError, match=r"a.safetensors: expected a checkpoint of this model, got .*Train again, or name"
    ):
        train(dataclasses.replace(PLAN, encoder="fcn"), checkpoint=tmp_path / "a.safetensors")


def with_facts(path, facts):
    """The checkpoint's tensors with other facts."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, facts)


def test_a_damaged_checkpoint_is_an_input_error(tmp_path):
    path = tmp_path / "a.safetensors"
    train(checkpoint=path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:7], whole[:200], whole[:-1], b"\xff" * 100, whole[:8] + b"[" + whole[9:], whole + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"a.safetensors: expected a checkpoint of this model, got .*Train again"):
            train(checkpoint=path)
        with pytest.raises(InputError, match=r"expected a checkpoint of this model"):
            load_checkpoint(path, create_method(PLAN, TASK))
    for facts in (None, {}, {"facts": "{"}, {"facts": "[]"}, {"facts": "{}"}, {"facts": "3"}):
        path.write_bytes(whole)
        with_facts(path, facts)
        with pytest.raises(InputError, match=r"a.safetensors: expected"):
            train(checkpoint=path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r"expected a checkpoint of this model"):
        train(checkpoint=path)


def test_a_checkpoint_keeps_weights_and_optimiser(tmp_path):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimiser = torch.optim.AdamW(module.parameters())
    module(torch.rand(4, 3)).square().sum().backward()
    optimiser.step()
    save_checkpoint(tmp_path / "a", module, optimiser, {"plan": 1, "losses": [0.1, 1 / 3]})
    torch.manual_seed(1)
    other = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    other_optimiser = torch.optim.AdamW(other.parameters())
    assert load_checkpoint(tmp_path / "a", other, other_optimiser) == {"plan": 1, "losses": [0.1, 1 / 3]}
    assert same(state(other), state(module))
    kept, found = optimiser.state_dict()["state"], other_optimiser.state_dict()["state"]
    assert kept.keys() == found.keys() == {0, 1, 2, 3}
    assert all(same(kept[i], found[i]) for i in kept)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    with pytest.raises(InputError, match=r"epoch 1: expected a finite loss, got nan. Lower the learning rate."):
        train(dataclasses.replace(PLAN, learning_rate=1e20), checkpoint=tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


def test_learning_rate_by_hand():
    plan = PretrainPlan(learning_rate=1.0)
    rates = [learning_rate(plan, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert rates[10] == 1.0
    assert rates[40] == pytest.approx(0.75)  # a third of the way down: (1 + cos 60°) / 2
    assert rates[55] == pytest.approx(0.5)
    assert rates[70] == pytest.approx(0.25)
    assert rates[99] == pytest.approx(0.5 * (1 - math.cos(math.pi / 90)))
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert [learning_rate(plan, step, 2) for step in range(2)] == [1.0, 1.0]
    assert learning_rate(plan, 0, 1) == 1.0


def test_each_step_has_the_schedules_rate(monkeypatch):
    rates = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a: (rates.append(self.param_groups[0]["lr"]), step(self, *a))[1]
    )
    train()
    assert rates == [learning_rate(PLAN, i, 12) for i in range(12)]  # 48 windows in batches of 16, four times


def named(*subjects):
    return [Recording(np.zeros((1, 1), np.float32), ("x",), 1.0, subject=str(subject)) for subject in subjects]


def test_folds_are_those_of_maskcae():
    folds = subject_folds(named(*range(24, 0, -1), *range(1, 25)), 5)  # MotionSense
    expected = [range(1, 6), range(6, 11), range(11, 16), range(16, 21), range(21, 25)]
    assert [fold.test_subjects for fold in folds] == [tuple(map(str, part)) for part in expected]
    assert [fold.name for fold in folds] == ["fold1", "fold2", "fold3", "fold4", "fold5"]
    folds = subject_folds(named(*range(1, 31)), 5)  # UCI-HAR
    assert [fold.test_subjects for fold in folds] == [tuple(map(str, range(i, i + 6))) for i in range(1, 31, 6)]


@given(st.integers(2, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(2, n))))
def test_there_are_as_many_folds_as_asked_for_and_everybody_is_in_one(sizes):
    n, n_folds = sizes
    folds = subject_folds(named(*range(n)), n_folds)
    assert len(folds) == n_folds
    assert [subject for fold in folds for subject in fold.test_subjects] == [str(i) for i in range(n)]
    counts = [len(fold.test_subjects) for fold in folds]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("n_folds", [-1, 0, 1, 4])
def test_too_many_or_too_few_folds(n_folds):
    with pytest.raises(
        InputError, match=rf"folds: expected 2 to 3 folds, one person at least in each, got {n_folds}\. C"
    ):
        subject_folds(named(1, 2, 3), n_folds)


def test_a_study_never_tests_on_whom_it_trained(tmp_path):
    recordings = people(4)
    folds = subject_folds(recordings, 2)
    plan, said = dataclasses.replace(PLAN, epochs=2), []
    report = run_study(recordings, TASK, plan, folds, 2, tmp_path, say=said.append)
    assert [(run["split"], run["seed"]) for run in report["runs"]] == [
        (f, s) for f in ("fold1", "fold2") for s in (0, 1)
    ]
    for run in report["runs"]:
        assert run["train_windows"] == run["n"] == 2 * 2 * 10  # people, labels, windows of 32 in 320 samples
        assert run["accuracy"] == np.trace(run["confusion"]) / 40
        assert run["accuracy"] > 0.9
    assert [run["test_subjects"] for run in report["runs"][::2]] == [["1", "2"], ["3", "4"]]
    for figure in ("accuracy", "macro_f1"):
        means = [np.mean([run[figure] for run in report["runs"] if run["seed"] == seed]) for seed in (0, 1)]
        assert report["summary"][figure]["per_seed"] == pytest.approx(means)
        assert report["summary"][figure]["mean"] == pytest.approx(np.mean(means))
        assert report["summary"][figure]["std_over_seeds"] == pytest.approx(abs(means[0] - means[1]) / math.sqrt(2))
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(report))
    assert len(said) == 4
    # the statistics and the weights know nothing of the people who are tested on
    changed = [
        dataclasses.replace(r, samples=r.samples * 7) if r.subject in folds[0].test_subjects else r for r in recordings
    ]
    run_study(changed, TASK, plan, folds[:1], 1, tmp_path / "changed")
    name = "fold1-seed0.safetensors"
    assert (tmp_path / name).read_bytes() == (tmp_path / "changed" / name).read_bytes()


def test_a_study_of_people_who_are_not_there(tmp_path):
    with pytest.raises(InputError, match=r"test: expected subjects among 1, 2, got 9. Name people who were recorded."):
        run_study(people(2), TASK, PLAN, [Split("test", ("9",))], 1, tmp_path)


def test_a_study_that_leaves_nobody(tmp_path):
    with pytest.raises(
        InputError, match=r"split with 1, 2 unseen: expected windows to train on and to test on, got 0 and 40. Name"
    ):
        run_study(people(2), TASK, PLAN, [Split("test", ("1", "2"))], 1, tmp_path)
    other = dataclasses.replace(TASK, labels=("run", "jump"))
    with pytest.raises(InputError, match=r"split with 1 unseen: expected windows to train .* got 0 and 0"):
        run_study(people(2), other, PLAN, [Split("test", ("1",))], 1, tmp_path)


@settings(max_examples=100, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40), more=st.integers(0, 2))
def test_scores_are_scikit_learns(pairs, more):
    true, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    scores = score(true, predicted, 5 + more)
    assert scores.n == len(pairs)
    assert scores.accuracy == pytest.approx(accuracy_score(true, predicted))
    assert scores.macro_f1 == pytest.approx(f1_score(true, predicted, average="macro", zero_division=0))
    assert np.array_equal(scores.confusion, confusion_matrix(true, predicted, labels=range(5 + more)))
    assert json.loads(json.dumps(scores.to_dict()))["macro_f1"] == scores.macro_f1


@pytest.mark.parametrize(
    ("true", "predicted", "macro_f1", "over"),
    [
        ([0, 1, 1], [0, 1, 1], 1.0, "over 2 of 3 classes"),  # the third has no window and was never predicted
        ([0, 1, 1], [0, 1, 2], (1 + 2 / 3 + 0) / 3, "over 3 of 3 classes, 1 of them never true"),
        ([0, 1, 2], [0, 1, 1], (1 + 2 / 3 + 0) / 3, "over 3 of 3 classes"),
        ([1], [1], 1.0, "over 1 of 3 classes"),
        ([], [], None, "over 0 of 3 classes"),
    ],
)
def test_macro_f1_says_over_how_many_classes_it_is(true, predicted, macro_f1, over):
    scores = score(true, predicted, 3)
    assert (scores.macro_f1, scores.over) == (None if macro_f1 is None else pytest.approx(macro_f1), over)
    assert scores.to_dict()["macro_f1_classes"] == int(over.split()[1])


def test_scores_of_nothing_are_missing():
    scores = score([], [], 3)
    assert (scores.n, scores.accuracy, scores.macro_f1) == (0, None, None)
    assert scores.confusion.tolist() == [[0] * 3] * 3
