"""Several processes and other precisions: every method takes the steps that it takes alone."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from runtime.errors import InputError
from sdk.pretrain import create_method, fit, list_methods, maskcae, start
from sdk.pretrain.processes import WholeNorm, join_norms, share, whole
from tests.pretrain import together
from tests.pretrain.small import NARROW, SMALL, batch, data, plan_of, task_of, train

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setattr(maskcae, "_DECODER_WIDTHS", NARROW)


def test_two_processes_take_the_steps_of_one(tmp_path):
    """All methods, in batches of 15 or 16, of which each process has its half; norms, queue and weights as well."""
    alone, two = tmp_path / "alone", tmp_path / "two"
    for folder in (alone, two):
        folder.mkdir()
    together.main(alone)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, str(ROOT / "tests/pretrain/together.py"), str(two)],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    one, other = (json.loads((folder / "losses.json").read_text()) for folder in (alone, two))
    assert (one["processes"], other["processes"]) == (1, 2)
    assert sorted(other["losses"]) == sorted(SMALL)
    for name in SMALL:
        assert other["losses"][name] == pytest.approx(one["losses"][name], rel=5e-3), name
        mine, theirs = (load_file(folder / f"{name}.safetensors") for folder in (alone, two))
        assert mine.keys() == theirs.keys()
        for key, tensor in mine.items():
            if tensor.is_floating_point():
                torch.testing.assert_close(theirs[key], tensor, rtol=0.02, atol=0.02, msg=f"{name}: {key}")


@pytest.mark.parametrize("name", SMALL)
def test_in_bfloat16_the_loss_is_about_that_of_float32(name):
    plan = plan_of(name, epochs=2)
    method = create_method(plan, task_of(plan))
    losses = fit(method, batch(data(), plan), plan, fabric=start("cpu", "bfloat16"))
    assert losses == pytest.approx(train(plan)[1], rel=0.1)
    assert losses != train(plan)[1]
    assert all(parameter.dtype == torch.float32 for parameter in method.parameters())


def test_the_battery_has_every_method():
    assert sorted(SMALL) == list_methods()


def test_alone_nothing_is_shared():
    rows, norm = torch.arange(5), nn.Sequential(nn.BatchNorm1d(3))
    assert share((rows, rows))[1] is rows
    assert whole(rows) is rows
    join_norms(norm)
    assert type(norm[0]) is nn.BatchNorm1d


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4), (6, 3, 4, 2)])
def test_a_joint_norm_of_one_process_is_torchs(shape):
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        norms = [nn.BatchNorm2d(3), nn.BatchNorm2d(3)]
        for norm in norms:
            nn.init.uniform_(norm.bias)
            norm._check_input_dim = lambda rows: None
        norms[1].load_state_dict(norms[0].state_dict())
        norms[1].__class__ = WholeNorm
        rows = (3 + 2 * torch.randn(shape)).requires_grad_()
        found = []
        for norm in norms:
            rows.grad = None
            after = norm(rows)
            after.pow(3).sum().backward()
            found.append((after.detach(), rows.grad, norm.weight.grad, norm.bias.grad, *norm.state_dict().values()))
        for theirs, ours in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(("device", "precision"), [("cuda:63", "float32"), ("abacus", "float32"), ("cpu", "float8")])
def test_a_device_or_precision_that_is_not_here_is_one_line(device, precision):
    with pytest.raises(InputError, match=rf"device {device}, {precision}: expected both to be here, got .*\. Name a"):
        start(device, precision)


# --- people who are watched


def test_a_run_ends_when_those_who_are_watched_gain_nothing_more():
    plan = plan_of("supervised", epochs=40, learning_rate=0.05, validate=1, patience=3)
    windows, told = data(), []
    wrong = (batch(windows, plan)[0], 1 - batch(windows, plan)[1])  # people of whom the opposite is true
    losses = fit(create_method(plan, task_of(plan)), batch(windows, plan), plan, watched=wrong, report=told.append)
    watched = [epoch.watched for epoch in told]
    assert len(losses) == len(told) < 40
    best = watched.index(min(watched))
    assert len(watched) == best + 1 + 3
    alone = fit(create_method(plan, task_of(plan)), batch(windows, plan), dataclasses.replace(plan, patience=0))
    assert losses == alone[: len(losses)]  # who watches changes nothing


def test_patience_needs_somebody_to_watch():
    with pytest.raises(InputError, match="patience: expected people who do not train, got nobody to watch"):
        plan_of("supervised", patience=3)
