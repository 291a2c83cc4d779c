"""Every registered method: it learns, it resumes to the bit, and what it leaves runs on a device."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from exporters import export_bundle
from runtime import Bundle, open_engine
from runtime.bundle import Manifest
from runtime.errors import InputError
from sdk.encoders import create_encoder
from sdk.finetune import FinetunePlan, LabelledSet, finetune
from sdk.pretrain import (
    Method,
    Needs,
    PretrainPlan,
    Split,
    Supervised,
    create_method,
    export_run,
    fit,
    list_methods,
    maskcae,
    method_info,
    register_method,
    registry,
    run_study,
)
from sdk.pretrain.__main__ import main
from sdk.pretrain.probe import classifier_of, in_batches, predict, with_probe
from sdk.pretrain.registry import lay_out
from sdk.pretrain.views import SideBySide, batch_of, normalised, statistics
from tests.pretrain.small import (
    NARROW,
    SIGNAL,
    SMALL,
    TASK,
    TWO_TASK,
    batch,
    data,
    people,
    photos,
    plan_of,
    predicted,
    same,
    state,
    task_of,
    train,
)

every = pytest.mark.parametrize("name", SMALL)


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setattr(maskcae, "_DECODER_WIDTHS", NARROW)


def test_all_are_found():
    assert list_methods() == sorted(SMALL)


@every
def test_it_learns(name):
    plan = plan_of(name)
    method, losses = train(plan)
    assert losses[-1] < 0.85 * losses[0]
    unseen = data(50)
    assert (predicted(method, unseen.samples, task_of(plan)) == unseen.labels).mean() > 0.9


@every
def test_the_seed_decides_and_another_differs(name):
    plan = plan_of(name, epochs=1)
    (first, losses), (again, same_losses) = train(plan), train(plan)
    assert same(state(first), state(again))
    assert losses == same_losses
    other, _ = train(dataclasses.replace(plan, seed=6))
    assert not same(state(first), state(other))


class PowerCutError(Exception):
    pass


@every
def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(name, tmp_path):
    """Cut at a step, and after each of its three epochs of three steps, again and again, by one run that goes on."""
    plan = plan_of(name, epochs=3)
    whole, losses = train(plan)
    path, cuts = tmp_path / "a", 0
    for step in (1, 3, 5, 6, 8, 9):
        cuts += cut_at(plan, path, step, n_steps=3)
    resumed, all_losses = train(plan, checkpoint=path)
    assert all_losses == losses
    assert same(state(resumed), state(whole))
    assert cuts == 6


def cut_at(plan, path, step, n_steps):
    """Train until a step of the whole run, from 1; an epoch's last one is after its checkpoint. 1: it was cut."""
    method, calls = create_method(plan, task_of(plan)), [n_steps * ((step - 1) // n_steps)]
    draws = method.view

    def view(*batch):
        calls[0] += 1
        if calls[0] == step and step % n_steps:
            raise PowerCutError
        return draws(*batch)

    def after(epoch):
        if n_steps * epoch.number == step:
            raise PowerCutError

    method.view = view
    if path.exists():
        torch.rand(step)  # the process that goes on has used torch's generator otherwise
    with pytest.raises(PowerCutError):
        fit(method, batch(data(), plan), plan, checkpoint=path, report=after)
    return 1


@every
def test_what_it_keeps_is_its_own(name):
    method = create_method(plan_of(name), task_of(plan_of(name)))
    assert len(method.encoders) == method_info(name).needs.modalities
    own = {id(parameter) for parameter in method.parameters()}
    kept = {id(parameter) for encoder in method.encoders for parameter in encoder.parameters()}
    assert kept
    assert kept <= own
    assert method.classifier is None or method.classifier.encoder is method.encoders[0]
    before, loss = parameters(method), method(*method.view(*(tensor[:16] for tensor in batch(data(), plan_of(name)))))
    assert loss.shape == ()
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for e in method.encoders for p in e.parameters() if p.ndim > 1)
    assert same(before, parameters(method))


def parameters(method):
    return {name: parameter.detach().clone() for name, parameter in method.named_parameters()}


@every
def test_a_study_and_its_bundle(name, tmp_path, monkeypatch):
    monkeypatch.setattr("sdk.pretrain.export.dataset_info", lambda name: Data)
    plan = plan_of(name, epochs=2)
    task = task_of(plan)
    recordings = [dataclasses.replace(person, channels=task.signal.channel_names) for person in people(3)]
    more = {"photos": photos()} if method_info(name).needs.pictures else {}
    report = run_study(recordings, task, plan, [Split("test", ("3",))], 1, tmp_path, **more)
    assert report["plan"]["method"] == name
    assert report["runs"][0]["accuracy"] > 0.9
    path = tmp_path / "small.bundle"
    export_run(recordings, report, tmp_path, path, "waves")
    bundle = Bundle.open(path)
    assert bundle.manifest.provenance["method"] == bundle.manifest.provenance["plan"]["method"] == name
    unseen = data(20)
    engine = open_engine(bundle)
    found = engine.run(unseen.samples).argmax(1)
    engine.close()
    assert (found == unseen.labels).mean() > 0.8
    # a run that is finished is neither trained nor scored otherwise when asked for again
    assert run_study(recordings, task, plan, [Split("test", ("3",))], 1, tmp_path, **more) == report


class Data:
    """What is known of the data set."""

    name = title = licence = citation = placement = "waves"
    positions = worn = ()


# --- the registry


def test_an_unknown_name_gets_the_near_ones():
    with pytest.raises(InputError, match=r"method: expected a registered name, got 'maskcea'. Did you mean maskcae\?"):
        method_info("maskcea")
    near = "cmc or cosmo or graph or img2imu or maskcae or mesen or simclr or supervised"
    with pytest.raises(InputError, match=rf"got 'zzz'. Did you mean {near}\?"):
        create_method(PretrainPlan(method="zzz"), TASK)


def test_a_name_is_taken_once():
    with pytest.raises(InputError, match=r"method 'maskcae': expected a new name, got one that is taken"):
        register_method("maskcae", "", Needs())(lambda plan, task: None)


def test_the_defaults_of_a_method_name_it():
    assert [method_info(name).plan.method for name in list_methods()] == list_methods()
    assert method_info("supervised").plan == PretrainPlan()


@pytest.mark.parametrize(
    ("needs", "text"),
    [
        (Needs(), "no labels"),
        (Needs(labels=True), "labels"),
        (Needs(modalities=2, views=2), "no labels, 2 modalities or more, 2 views"),
        (Needs(views=2, pictures=True), "no labels, 2 views, photographs"),
    ],
)
def test_needs_in_words(needs, text):
    assert str(needs) == text


def test_list_says_what_each_needs(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--list"])
    assert left.value.code == 0
    blocks = capsys.readouterr().out.strip().split("\n\n")
    assert [block.split("\n")[0] for block in blocks] == list_methods()
    for block, info in zip(blocks, map(method_info, list_methods()), strict=True):
        assert f"needs    {info.needs}\n" in block
        assert info.paper in block
        assert f"encoder {info.plan.encoder}, {info.plan.epochs} epochs" in block


def test_the_command_takes_a_method(tmp_path, monkeypatch, capsys):
    asked = {}

    def study(recordings, task, plan, splits, n_seeds, out, **more):
        asked["plan"] = plan
        run = {"split": "test", "seed": 0, "n": 2, "accuracy": 1.0, "macro_f1": 1.0, "confusion": [[1, 0], [0, 1]]}
        return {"runs": [run], "summary": {}, "task": {"labels": ["a", "b"]}}

    monkeypatch.setattr("sdk.pretrain.__main__.run_study", study)
    monkeypatch.setattr("sdk.pretrain.__main__.load_dataset", lambda name, folder: [])
    base = ["motionsense", "--out", str(tmp_path), "--test", "1", "--threads", str(torch.get_num_threads())]
    assert main(base) == 0
    assert asked["plan"] == PretrainPlan()
    assert main([*base, "--method", "maskcae", "--epochs", "3", "--lr", "0.01"]) == 0
    assert asked["plan"] == dataclasses.replace(method_info("maskcae").plan, epochs=3, learning_rate=0.01)
    assert main([*base, "--encoder", "hart", "--batch", "7"]) == 0
    assert asked["plan"] == PretrainPlan("hart", batch=7)
    capsys.readouterr()
    assert main([*base, "--method", "mascae"]) == 2
    assert "Did you mean maskcae?" in capsys.readouterr().err


def test_a_strided_convolution_of_one_place_keeps_its_layout():
    """On the other layout its gradient damages the process's memory."""
    method = create_method(plan_of("img2imu"), TASK)
    assert all(p.is_contiguous() for p in method.parameters())
    narrow = create_method(plan_of("maskcae"), TASK).net.encoder.blocks[1][0].weight
    assert narrow.is_contiguous(memory_format=torch.channels_last)


# --- any number of tensors


class Sum(Method):
    """Its loss asks that the tensors' rows belong together."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen = []

    def forward(self, *batch):
        assert all(torch.equal(tensor.reshape(len(tensor), -1)[:, 0].float(), batch[0].float()) for tensor in batch)
        self.seen.append(len(batch))
        return self.weight.square().sum()


@pytest.mark.parametrize("n_tensors", [1, 2, 5])
def test_any_number_of_tensors(n_tensors):
    method, rows = Sum(), torch.arange(10)
    tensors = [rows, rows[:, None].float(), rows.repeat(3, 2, 1).permute(2, 0, 1), rows, rows.double()]
    losses = fit(method, tensors[:n_tensors], PretrainPlan(epochs=3, batch=4))
    assert len(losses) == 3
    assert method.seen == [n_tensors] * 9


@pytest.mark.parametrize(("lengths", "text"), [((3, 4), r"\[3, 4\]"), ((), r"\[\]")])
def test_tensors_of_several_lengths_are_refused(lengths, text):
    with pytest.raises(InputError, match=rf"tensors: expected one or more of the same length, got {text}. Cut them"):
        fit(Sum(), [torch.zeros(n) for n in lengths], PretrainPlan())


def test_dropout_too_goes_on_where_it_stopped(tmp_path):
    def cut(epoch):
        raise PowerCutError

    plan = PretrainPlan("cnn-transformer", epochs=2, batch=16)
    whole, losses = train(plan)
    with pytest.raises(PowerCutError):
        train(plan, checkpoint=tmp_path / "a", report=cut)
    torch.rand(7)
    resumed, all_losses = train(plan, checkpoint=tmp_path / "a")
    assert all_losses == losses
    assert same(state(resumed), state(whole))


# --- several modalities


class Agreement(Method):
    """Two encoders whose features are to agree."""

    def __init__(self, task):
        super().__init__()
        self.first, self.second = (create_encoder("fcn", *shape) for shape in task.shapes)
        self.match = nn.Linear(self.first.n_features, self.second.n_features)
        self.encoders, self.classifier = (self.first, self.second), None

    def forward(self, first, second):
        return (self.match(self.first(first)) - self.second(second)).square().mean()


@pytest.fixture
def agreement(monkeypatch):
    """A method of two modalities, registered for one test."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    register_method("agreement", "none", Needs(modalities=2))(lambda plan, task: Agreement(task))
    return PretrainPlan(method="agreement", epochs=1, batch=16)


def test_a_method_of_two_modalities_gets_a_tensor_for_each(agreement):
    windows = data()
    first, second = batch(windows, agreement, TWO_TASK)
    samples = normalised(windows.samples, statistics(windows.samples))
    assert torch.equal(torch.cat([first, second], 2), samples)
    assert (first.shape, second.shape) == ((48, 32, 2), (48, 32, 1))
    labels = torch.from_numpy(windows.labels)
    labelled = batch_of(Needs(labels=True, modalities=2), TWO_TASK, samples, labels)
    assert torch.equal(labelled[2], labels)
    assert len(labelled) == 3


def test_its_encoders_are_scored_and_exported_side_by_side(agreement, tmp_path, monkeypatch):
    monkeypatch.setattr("sdk.pretrain.export.dataset_info", lambda name: Data)
    recordings = [dataclasses.replace(person, channels=TWO_TASK.signal.channel_names) for person in people(3)]
    report = run_study(recordings, TWO_TASK, agreement, [Split("test", ("3",))], 1, tmp_path)
    assert report["runs"][0]["accuracy"] > 0.9
    export_run(recordings, report, tmp_path, tmp_path / "two.bundle", "waves")
    found = open_engine(Bundle.open(tmp_path / "two.bundle")).run(data(20).samples).argmax(1)
    assert (found == data(20).labels).mean() > 0.9


def test_side_by_side_is_each_by_itself(agreement):
    method = create_method(agreement, TWO_TASK).eval()
    windows = torch.randn(4, 32, 3)
    joined = SideBySide(method.encoders, TWO_TASK.shapes).eval()
    expected = torch.cat([method.first(windows[:, :, :2]), method.second(windows[:, :, 2:])], 1)
    assert torch.equal(joined(windows), expected)
    assert joined.n_features == expected.shape[1]


def test_a_signal_of_one_modality_is_refused(agreement):
    with pytest.raises(InputError, match=r"method agreement: expected a signal of 2 modalities or more, got 1. Name"):
        create_method(agreement, TASK)


@pytest.mark.parametrize("name", ["mesen", "cosmo", "cmc"])
@pytest.mark.parametrize(("keep", "columns"), [("gyro", ("gyro_z",)), ("acc", ("acc_x", "acc_y"))])
def test_what_is_kept_works_alone(name, keep, columns, tmp_path, monkeypatch):
    monkeypatch.setattr("sdk.pretrain.export.dataset_info", lambda name: Data)
    task = dataclasses.replace(TWO_TASK, keep=(keep,))
    recordings = [dataclasses.replace(person, channels=task.signal.channel_names) for person in people(3)]
    report = run_study(recordings, task, plan_of(name, epochs=2), [Split("test", ("3",))], 1, tmp_path)
    assert report["runs"][0]["accuracy"] > 0.9
    bundle = export_run(recordings, report, tmp_path, tmp_path / "one.bundle", "waves")
    assert bundle.manifest.signal.channel_names == columns
    unseen = data(20)
    places = [task.signal.channel_names.index(column) for column in columns]
    found = open_engine(bundle).run(np.ascontiguousarray(unseen.samples[:, :, places])).argmax(1)
    assert (found == unseen.labels).mean() > 0.9


def test_a_method_of_one_encoder_sees_what_is_kept():
    plan, task = plan_of("maskcae"), dataclasses.replace(TWO_TASK, keep=("gyro",))
    assert create_method(plan, task).net.patches == (2, 1)
    assert batch(data(), plan, task)[0].shape == (48, 32, 1)


def test_a_modality_that_there_is_not_cannot_be_kept():
    with pytest.raises(InputError, match=r"keep: expected acc, gyro, got mag"):
        dataclasses.replace(TWO_TASK, keep=("mag",))


def test_a_setting_that_a_method_does_not_have_is_refused():
    plan = method_info("mesen").plan
    assert plan.with_settings({"tau": 0.5}).settings == {**plan.settings, "tau": 0.5}
    with pytest.raises(InputError, match=r"method mesen: expected tau, tau_classes, width, got taux. Name a setting"):
        plan.with_settings({"taux": 1.0})
    with pytest.raises(InputError, match=r"method supervised: expected no settings, got tau"):
        method_info("supervised").plan.with_settings({"tau": 1.0})


# --- the probe


def test_a_probe_leaves_the_encoder_alone():
    encoder, windows = create_encoder("fcn", 32, 3), data()
    samples = normalised(windows.samples, statistics(windows.samples))
    before = state(encoder)
    probed = with_probe(encoder, samples, windows.labels, 2)
    assert probed.encoder is encoder
    assert same(before, state(encoder))
    assert (predict(probed, samples) == windows.labels).all()


def test_a_probe_is_the_head_that_a_device_finds(tmp_path):
    """The same labels, once through torch, once through a bundle, its engine and `sdk.finetune`."""
    windows = data()
    normalise = statistics(windows.samples)
    samples = normalised(windows.samples, normalise)
    torch.manual_seed(0)
    encoder = create_encoder("fcn", 32, 3).eval()
    probed = with_probe(encoder, samples, windows.labels, 2)
    manifest = Manifest("small", SIGNAL, TASK.window, TASK.labels, normalise, provenance={"method": "random weights"})
    untrained = Supervised(create_method(PretrainPlan("fcn"), TASK).classifier).classifier.head
    bundle = export_bundle(tmp_path / "small.bundle", encoder, untrained, manifest, windows.samples[:4])
    labelled = LabelledSet(windows.samples, windows.labels, np.ones(len(windows.labels)))
    plan = FinetunePlan(anchor="zero", l2=1e-3)
    adapted, report = finetune(bundle, labelled, plan)
    assert report.accepted
    for name, parameter in (("head.weight", probed.head.weight), ("head.bias", probed.head.bias)):
        np.testing.assert_allclose(adapted.tensor(name), parameter.detach().numpy(), rtol=1e-3, atol=1e-5)
    logits = in_batches(probed, samples).numpy()
    np.testing.assert_allclose(open_engine(adapted).run(windows.samples), logits, rtol=1e-3, atol=1e-4)


def test_a_method_with_a_head_is_not_probed():
    method = create_method(PretrainPlan(), TASK)
    windows = data()
    assert classifier_of(method, TASK, torch.from_numpy(windows.samples), windows.labels) is method.classifier


def test_the_report_is_json(tmp_path):
    report = run_study(people(2), TASK, plan_of("maskcae", epochs=1), [Split("test", ("2",))], 1, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(report))


@pytest.mark.parametrize(("taps", "stride", "fast"), [(3, 2, True), (1, 1, True), (1, 2, False)])
def test_kernels_are_laid_out_for_speed_where_torch_can_be_trusted(taps, stride, fast):
    net = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.Conv2d(4, 8, taps, stride=stride))
    lay_out(net)
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last) is fast
    for _ in range(20):  # what torch does in the other layout ends the process
        net(torch.randn(16, 4, 8, 8)).square().mean().backward()
