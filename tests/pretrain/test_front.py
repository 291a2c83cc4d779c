"""The gyroscope's other scale: in torch, in the exported graph, and what it is for."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from runtime import Bundle, open_engine
from runtime.errors import InputError
from sdk.pretrain import PretrainPlan, Split, StudyTask, export_run, run_study
from sdk.pretrain.front import Scale
from sdk.pretrain.views import normalised, statistics
from tests.pretrain.small import TASK, TWO_TASK, data, people


def scaled(windows):
    normalise = statistics(windows)
    seen = normalised(windows, normalise)
    return Scale.of(TWO_TASK, seen, normalise), seen


def test_it_is_arcsinh_of_the_samples_in_z_scores():
    windows = data().samples
    scale, seen = scaled(windows)
    found = scale.front()(seen).numpy()
    gyro = np.arcsinh(windows[:, :, 2].astype(np.float64) / 0.05)
    np.testing.assert_allclose(found[:, :, 2], (gyro - gyro.mean()) / gyro.std(), atol=1e-4)
    np.testing.assert_array_equal(found[:, :, :2], seen[:, :, :2].numpy())
    assert not scale.front([0, 1]).gyroscope.any()
    torch.testing.assert_close(scale.front([2])(seen[:, :, 2:])[:, :, 0], torch.from_numpy(found[:, :, 2]))


def test_sway_is_as_visible_as_a_step():
    rng = np.random.default_rng(0)
    sway, step = rng.normal(0, 0.01, (40, 32, 3)), rng.normal(0, 2.0, (40, 32, 3))
    scale, seen = scaled(np.concatenate([sway, step]).astype(np.float32))
    found = scale.front()(seen)[:, :, 2].std(1)
    before = seen[:, :, 2].std(1)
    assert float(found[:40].mean() / found[40:].mean()) > 5 * float(before[:40].mean() / before[40:].mean())


class Data:
    name = title = licence = citation = placement = "waves"
    positions = worn = ()


@pytest.fixture
def waves(monkeypatch):
    monkeypatch.setattr("sdk.pretrain.export.dataset_info", lambda name: Data)


def test_the_bundle_takes_plain_samples(tmp_path, waves):
    plan = PretrainPlan(epochs=2, batch=16, arcsinh=True)
    recordings = [dataclasses.replace(person, channels=TWO_TASK.signal.channel_names) for person in people(3)]
    report = run_study(recordings, TWO_TASK, plan, [Split("test", ("3",))], 1, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["plan"]["arcsinh"]
    export_run(recordings, report, tmp_path, tmp_path / "scaled.bundle", "waves")
    bundle = Bundle.open(tmp_path / "scaled.bundle")
    assert bundle.manifest.training  # the graphs that fine-tuning runs hold it too
    found = open_engine(bundle).run(data(20).samples).argmax(1)
    assert (found == data(20).labels).mean() > 0.9


FRAMED = PretrainPlan(epochs=8, batch=16, frame="gravity", augment=("yaw", "mirror", "tilt"))


def worn(turn=None):
    """People who move up and down, with a device that lies flat, or as it is turned."""
    found = []
    for person in people(3):
        samples = person.samples * np.array([0, 0, 3], np.float32) + np.array([0, 0, 9.81], np.float32)
        turned = samples if turn is None else turn.apply(samples).astype(np.float32)
        found.append(dataclasses.replace(person, samples=turned))
    return found


def test_a_frame_makes_no_matter_of_how_a_device_is_worn(tmp_path, waves):
    report = run_study(worn(), TASK, FRAMED, [Split("test", ("3",))], 1, tmp_path)
    assert report["plan"]["frame"] == "gravity"
    assert json.loads((tmp_path / "report.json").read_text())["plan"]["augment"] == ["yaw", "mirror", "tilt"]
    bundle = export_run(worn(), report, tmp_path, tmp_path / "framed.bundle", "waves")
    assert bundle.manifest.frame == TASK.frame
    np.testing.assert_allclose(bundle.manifest.normalise.mean[:2], 0, atol=1)  # as it lies upright
    engine = open_engine(bundle)
    for seed in range(5):
        for person in worn(Rotation.random(random_state=seed)):
            windows = person.samples.reshape(-1, 32, 3)
            assert (engine.run(windows).argmax(1) == person.labels[0]).mean() > 0.9


def test_a_study_that_was_cut_off_draws_on_where_it_stopped(tmp_path):
    class CutError(Exception):
        pass

    def cut(run, epoch):
        raise CutError

    whole = run_study(worn(), TASK, FRAMED, [Split("test", ("3",))], 1, tmp_path / "whole")
    with pytest.raises(CutError):
        run_study(worn(), TASK, FRAMED, [Split("test", ("3",))], 1, tmp_path / "cut", progress=cut)
    assert run_study(worn(), TASK, FRAMED, [Split("test", ("3",))], 1, tmp_path / "cut")["runs"] == whole["runs"]


def test_a_signal_that_cannot_be_turned_is_refused():
    two = [dataclasses.replace(TASK.signal.modalities[0], name=name) for name in ("chest_acc", "wrist_acc")]
    task = StudyTask(dataclasses.replace(TASK.signal, modalities=tuple(two)), TASK.window, TASK.labels)
    for strange, got in ((TWO_TASK, "none"), (task, "chest_acc, wrist_acc")):
        with pytest.raises(InputError, match=got):
            assert strange.frame
