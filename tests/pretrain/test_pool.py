"""What a pool changes in a study: draws, labels that mean two, statistics by set, a set left out; own sets."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from runtime import Bundle
from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import WindowSpec
from sdk.encoders import Classifier
from sdk.pretrain import PretrainPlan, StudyTask, Supervised, export_run, run_study
from sdk.pretrain.__main__ import main
from sdk.pretrain.data import chosen, cut, either_of
from sdk.pretrain.study import Split, set_left_out
from sdk.pretrain.views import draws, normalised_by_set
from tests.datasets.own_files import TOML, write_set
from tests.pretrain.small import SIGNAL, people, waves

PEOPLE = '[people]\npattern = "{subject}_{session}"\n'
FEW = ["--epochs", "1", "--threads", "1", "--length", "64", "--hop", "32", "--encoder", "fcn-stride4"]


class Rows(torch.nn.Module):
    n_features = 3

    def forward(self, windows):
        return windows[:, 0]


def classifier(n=3):
    torch.manual_seed(0)
    return Classifier(Rows(), n)


def test_without_labels_that_mean_two_it_is_the_cross_entropy():
    windows, labels = torch.randn(8, 4, 3), torch.arange(8) % 3
    model = classifier()
    assert torch.equal(Supervised(model)(windows, labels), functional.cross_entropy(model(windows), labels))
    assert torch.allclose(
        Supervised(model, [[0, 1]])(windows, labels), functional.cross_entropy(model(windows), labels)
    )


def test_a_label_that_means_two_trains_by_the_sum_of_their_probabilities():
    windows, labels = torch.randn(6, 4, 3, dtype=torch.float64), torch.tensor([0, 3, 2, 4, 3, 1])
    model = classifier().double()
    loss = Supervised(model, [[0, 1], [1, 2]])(windows, labels)
    p = model(windows).softmax(1).detach().numpy()
    sums = [[0], [1], [2], [0, 1], [1, 2]]
    expected = -np.mean([np.log(p[i, sums[int(label)]].sum()) for i, label in enumerate(labels)])
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("balance", "share"), [(1.0, 1 / 3), (0.5, 1 / (1 + 2 + 3))])
def test_draws_are_balanced_by_set_and_class(balance, share):
    sets, labels = np.repeat([0, 0, 1], [100, 400, 900]), np.repeat([0, 1, 1], [100, 400, 900])
    weights = draws(sets, labels, balance)
    assert float(weights[:100].sum() / weights.sum()) == pytest.approx(share)
    assert draws(sets, labels, 0.0) is None


def test_each_set_by_its_own_statistics():
    rng = np.random.default_rng(0)
    train = rng.normal(5, 3, (20, 16, 3)).astype(np.float32)
    train[10:] = train[10:] * 4 + 7
    test = rng.normal(-2, 2, (8, 16, 3)).astype(np.float32)
    task = StudyTask(SIGNAL, WindowSpec(16, 16), ("a", "b"))
    sets = np.repeat([0, 1], 10), np.repeat([2], 8)
    seen, unseen = normalised_by_set((train, test), sets, task)
    for part in (seen[:10], seen[10:], unseen):
        assert abs(float(part.mean())) < 1e-4
        assert float(part.std()) == pytest.approx(1, abs=1e-2)
    assert train[0, 0, 0] != seen[0, 0, 0]
    # people of a set that trains are standardised by those who train
    _, held_out = normalised_by_set((train, test), (sets[0], np.zeros(8, np.int64)), task)
    assert float(held_out.mean()) == pytest.approx((test.mean() - train[:10].mean()) / train[:10].std(), abs=1e-4)


def pool():
    """Two sets of two people; those of `b` have a label that means either."""
    rng = np.random.default_rng(3)
    found = []
    for name in ("a", "b"):
        for person in ("1", "2"):
            for label in (0, 1, 2):
                samples = waves(label % 2, 320, rng)
                codes = np.full(320, label if name == "b" else label % 2, np.int16)
                names = ("slow", "fast", "either")
                found.append(
                    Recording(
                        samples,
                        SIGNAL.channel_names,
                        20.0,
                        labels=codes,
                        label_names=names,
                        subject=person,
                        name=f"own/{name}/{person}_{label}",
                    )
                )
    return found


def test_a_set_is_left_out_and_labels_that_mean_two_are_not_scored(tmp_path):
    task = StudyTask(SIGNAL, WindowSpec(32, 32), ("slow", "fast"), either={"either": ("slow", "fast")})
    recordings = pool()
    split = set_left_out(recordings, "b")
    assert split == Split("without-b", ("b:1", "b:2"))
    report = run_study(recordings, task, PretrainPlan(epochs=1, batch=16, balance=0.5), [split], 1, tmp_path)
    [run] = report["runs"]
    assert (run["train_windows"], run["n"]) == (60, 40)
    report = run_study(recordings, task, PretrainPlan(epochs=1), [set_left_out(recordings, "a")], 1, tmp_path / "other")
    assert (report["runs"][0]["train_windows"], report["runs"][0]["n"]) == (60, 60)
    assert set(report["data"]) == {"a", "b"}
    bundle = export_run(recordings, report, tmp_path / "other", tmp_path / "m.bundle", "mine")
    assert bundle.manifest.provenance["data"] == {"name": "mine"}
    assert bundle.manifest.labels == ("slow", "fast")


@pytest.mark.parametrize("name", ["c", "a"])
def test_a_set_that_is_not_there(name):
    recordings = [recording for recording in pool() if name == "c" or recording.name.startswith("own/a/")]
    with pytest.raises(InputError, match=r"--leave-out: expected .* got"):
        set_left_out(recordings, name)


def test_names_that_mean_two_count_where_both_are_asked_for():
    assert either_of(("upstairs", "downstairs", "walking")) == {"stairs": ("upstairs", "downstairs")}
    assert either_of(("upstairs", "walking")) == {}


def test_places_are_chosen_in_the_sets_that_have_several():
    def of(name):
        return Recording(np.zeros((1, 1), np.float32), ("x",), 1.0, name=name)

    found = chosen([of("hapt/e1"), of("wisdm_2019/1_A/phone"), of("wisdm_2019/1_A/watch"), of("own/w/a")], ("phone",))
    assert [r.name for r in found] == ["hapt/e1", "own/w/a", "wisdm_2019/1_A/phone"]


def test_windows_are_counted_by_set():
    task = StudyTask(SIGNAL, WindowSpec(32, 32), ("slow", "fast"))
    _, account = cut(pool(), task)
    assert {name: of["windows"] for name, of in account.items()} == {"a": 60, "b": 40}
    _, account = cut(people(2), task)
    assert set(account) == {""}


def test_an_older_checkpoint_is_still_of_the_same_plan(tmp_path):
    from sdk.pretrain import fit, load_checkpoint, save_checkpoint
    from tests.pretrain.small import PLAN, batch, create_method, data
    from tests.pretrain.small import TASK as WAVES

    path = tmp_path / "a.safetensors"
    losses = fit(create_method(PLAN, WAVES), batch(data()), PLAN, checkpoint=path)
    method = create_method(PLAN, WAVES)
    optimiser = torch.optim.AdamW(method.parameters())
    facts = load_checkpoint(path, method, optimiser)
    old = {name: value for name, value in facts["plan"].items() if name not in ("balance", "by_set")}
    save_checkpoint(path, method, optimiser, facts | {"plan": old})
    assert fit(create_method(PLAN, WAVES), batch(data()), PLAN, checkpoint=path) == losses


# ---- the command


def test_ones_own_recordings_by_command(tmp_path, capsys):
    folder = write_set(tmp_path / "ward", people=("anna", "ben", "cleo"))
    bundle, words = tmp_path / "m.bundle", [str(folder), "--out", str(tmp_path / "runs"), *FEW]
    assert main([*words, "--test", "cleo", "--bundle", str(bundle), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["runs"][0]["test_subjects"] == ["cleo"]
    manifest = Bundle.open(bundle).manifest
    assert manifest.labels == ("sitting", "walking")
    assert manifest.signal.units == ("m/s^2",) * 3 + ("rad/s",) * 3
    assert manifest.provenance["data"]["name"] == "ward"
    assert main([*words, "--hz", "25", "--out", str(tmp_path / "slow"), "--test", "cleo", "--json"]) == 0
    slow = json.loads(capsys.readouterr().out)
    assert slow["runs"][0]["n"] < report["runs"][0]["n"]
    assert slow["task"]["signal"]["modalities"][0]["rate_hz"] == 25


def test_a_pool_by_command(tmp_path, capsys):
    write_set(tmp_path / "ward")
    write_set(tmp_path / "home", TOML.replace("ward", "home") + PEOPLE)
    name = f"{tmp_path / 'ward'}+{tmp_path / 'home'}"
    words = [name, "--out", str(tmp_path / "runs"), *FEW, "--json"]
    both = f"{tmp_path / 'ward'},home"
    assert main([*words, "--leave-out", both]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert [run["split"] for run in report["runs"]] == ["without-ward", "without-home"]
    assert report["runs"][1]["test_subjects"] == ["home:anna", "home:ben"]
    assert report["plan"]["balance"] == 0.5
    assert "home: 44 windows from 2 recordings" in printed.err
    assert main([*words, "--leave-out", "nobody"]) == 2
    assert main([*words, "--folds", "2", "--test", "1"]) == 2
    assert main([*words, "--folds", "2", "--norm", "set", "--bundle", str(tmp_path / "b")]) == 2
    assert "--norm set: expected no --bundle, got one: a device has no data set" in capsys.readouterr().err
