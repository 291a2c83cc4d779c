"""The gyroscope's other scale: in torch, in the exported graph, and what it is for."""

import dataclasses
import json

import numpy as np
import torch

from runtime import Bundle, open_engine
from sdk.pretrain import PretrainPlan, Split, export_run, run_study
from sdk.pretrain.front import Scale
from sdk.pretrain.views import normalised, statistics
from tests.pretrain.small import TWO_TASK, data, people


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


def test_the_bundle_takes_plain_samples(tmp_path, monkeypatch):
    class Data:
        name = title = licence = citation = placement = "waves"
        positions = worn = ()

    monkeypatch.setattr("sdk.pretrain.export.dataset_info", lambda name: Data)
    plan = PretrainPlan(epochs=2, batch=16, arcsinh=True)
    recordings = [dataclasses.replace(person, channels=TWO_TASK.signal.channel_names) for person in people(3)]
    report = run_study(recordings, TWO_TASK, plan, [Split("test", ("3",))], 1, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["plan"]["arcsinh"]
    export_run(recordings, report, tmp_path, tmp_path / "scaled.bundle", "waves")
    bundle = Bundle.open(tmp_path / "scaled.bundle")
    assert bundle.manifest.training  # the graphs that fine-tuning runs hold it too
    found = open_engine(bundle).run(data(20).samples).argmax(1)
    assert (found == data(20).labels).mean() > 0.9
