"""LAMB against its algorithm in loops, and what of a net is decayed."""

import math

import torch
from torch import nn

from sdk.pretrain import create_method
from sdk.pretrain.lamb import LAMB, decayed_apart
from sdk.pretrain.loop import learning_rate, optimiser_of, weight_decay
from tests.pretrain.small import TASK, plan_of


def test_its_steps_are_algorithm_2():
    torch.manual_seed(1)
    x = nn.Parameter(torch.randn(3, 4, dtype=torch.float64))
    optimiser, rate, decay = LAMB([x], lr=0.1, weight_decay=0.2), 0.1, 0.2
    own, m, v = x.detach().flatten().tolist(), [0.0] * 12, [0.0] * 12
    for t in range(1, 6):
        gradient = torch.randn(3, 4, dtype=torch.float64)
        x.grad = gradient.clone()
        optimiser.step()
        moves = []
        for i, g in enumerate(gradient.flatten().tolist()):
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.999 * v[i] + 0.001 * g * g
            r = m[i] / (1 - 0.9**t) / (math.sqrt(v[i] / (1 - 0.999**t)) + 1e-6)
            moves.append(r + decay * own[i])
        ratio = math.hypot(*own) / math.hypot(*moves)
        own = [a - rate * ratio * b for a, b in zip(own, moves, strict=True)]
        torch.testing.assert_close(x.detach().flatten(), torch.tensor(own, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_without_decay_it_is_adam():
    one, other = (nn.Parameter(torch.ones(5, dtype=torch.float64)) for _ in range(2))
    lamb, adam = LAMB([one], lr=0.01), torch.optim.Adam([other], lr=0.01, eps=1e-6)
    for step in range(4):
        one.grad = other.grad = torch.arange(5.0, dtype=torch.float64) * (step - 1.5)
        lamb.step()
        adam.step()
    torch.testing.assert_close(one, other)


def test_a_layer_of_length_zero_moves():
    x = nn.Parameter(torch.zeros(2, 2))
    optimiser = LAMB([x], lr=0.1, weight_decay=0.1)
    x.grad = torch.ones(2, 2)
    optimiser.step()
    torch.testing.assert_close(x.detach(), torch.full((2, 2), -0.1), rtol=1e-4, atol=1e-4)


def test_biases_norms_and_tokens_are_not_decayed():
    method = create_method(plan_of("maskcae"), TASK)
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    decayed, others = ([names[id(p)] for p in group["params"]] for group in decayed_apart(method))
    assert sorted(decayed + others) == sorted(names.values())
    assert all(name.endswith("weight") for name in decayed)
    assert {"net.fillers.0.token", "net.encoder.blocks.0.0.bias", "net.encoder.blocks.0.1.weight"} <= set(others)
    assert "net.encoder.blocks.0.0.weight" in decayed


def test_maskcaes_schedules():
    plan = plan_of("maskcae", epochs=60)
    optimiser = optimiser_of(plan, create_method(plan, TASK))
    assert isinstance(optimiser, LAMB)
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.04, 0.0]
    decays = [weight_decay(plan, step, 1000) for step in (0, 500, 1000)]
    assert all(map(math.isclose, decays, (0.04, 0.12, 0.2)))
    rates = [learning_rate(plan, step, 1000) for step in range(1000)]
    assert rates.index(max(rates)) in (39, 40)
    assert plan.clip == 5.0
