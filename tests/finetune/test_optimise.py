"""Optimisers and schedules against torch's own."""

import numpy as np
import pytest
import torch

from sdk.finetune import FinetunePlan
from sdk.finetune.optimise import learning_rate, make_optimiser

N, STEPS = 300, 60


def gradients(seed=0):
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.uniform(-6, 2, N)
    return (rng.normal(size=(STEPS, N)) * sizes).astype(np.float32)


def torch_run(plan, start, rates):
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    if plan.optimiser == "sgd":
        peer = torch.optim.SGD([parameter], lr=1.0, momentum=plan.momentum, weight_decay=plan.weight_decay)
    else:
        peer = torch.optim.AdamW([parameter], lr=1.0, weight_decay=plan.weight_decay)
    for gradient, rate in zip(gradients(), rates, strict=True):
        peer.param_groups[0]["lr"] = rate
        parameter.grad = torch.from_numpy(gradient.copy())
        peer.step()
    return parameter.detach().numpy()


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.03])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_same_steps_as_torch(optimiser, weight_decay, schedule):
    plan = FinetunePlan(
        "full", optimiser=optimiser, weight_decay=weight_decay, schedule=schedule, warmup=0.2, learning_rate=0.01
    )
    start = np.random.default_rng(1).normal(size=N).astype(np.float32)
    rates = [learning_rate(plan, step, STEPS) for step in range(STEPS)]
    ours = start.copy()
    peer = make_optimiser(plan, ours[:])
    for gradient, rate in zip(gradients(), rates, strict=True):
        peer.step(gradient.copy(), rate)
    expected = torch_run(plan, start, rates)
    moved = np.abs(expected - start)
    assert np.median(moved) > 1e-4
    assert (np.abs(ours - expected) <= 1e-5 * np.maximum(moved, np.abs(expected))).all()


def test_momentum_of_zero_is_plain_descent():
    plan = FinetunePlan("full", optimiser="sgd", momentum=0.0)
    parameters = np.array([1.0, 2.0], np.float32)
    optimiser = make_optimiser(plan, parameters)
    for _ in range(2):
        optimiser.step(np.array([1.0, -1.0], np.float32), 0.25)
    assert parameters.tolist() == [0.5, 2.5]


def test_rates_are_those_of_torchs_schedulers():
    plan = FinetunePlan("full", schedule="cosine", warmup=0.25, learning_rate=0.4)
    parameter = torch.nn.Parameter(torch.zeros(1))
    peer = torch.optim.SGD([parameter], lr=0.4)
    warm = torch.optim.lr_scheduler.LinearLR(peer, start_factor=0.1, end_factor=1.0, total_iters=9)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(peer, T_max=30)
    expected = []
    for step in range(40):
        expected.append(peer.param_groups[0]["lr"])
        peer.step()
        if step < 9:
            warm.step()
        elif step > 9:
            cosine.step()
    np.testing.assert_allclose([learning_rate(plan, step, 40) for step in range(40)], expected, rtol=1e-9)


def test_constant_without_warm_up():
    assert {learning_rate(FinetunePlan("full", learning_rate=0.1), step, 7) for step in range(7)} == {0.1}


def test_parts_of_a_buffer_move_by_themselves():
    """A view that is never stepped stays; one that starts late is corrected as a first step."""
    plan = FinetunePlan("full")
    buffer = np.zeros(4, np.float32)
    late = make_optimiser(plan, buffer[2:])
    early = make_optimiser(plan, buffer[:2])
    for _ in range(5):
        early.step(np.ones(2, np.float32), 0.1)
    assert buffer[2:].tolist() == [0, 0]
    late.step(np.ones(2, np.float32), 0.1)
    np.testing.assert_allclose(buffer, [-0.5, -0.5, -0.1, -0.1], rtol=1e-6)
