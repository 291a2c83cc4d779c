"""The loop on a small model whose gradient is written out in NumPy."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from runtime import InputError
from runtime.bundle.contents import TensorSpec
from sdk.finetune import FinetunePlan
from sdk.finetune.sample import cached, epoch
from sdk.finetune.theta import Layout, Pull
from sdk.finetune.train import Examples, _check, train
from tests.bundles_small import small_manifest

D, H, C, N = 5, 7, 3, 20
SHAPES = {
    "a.weight": (H, D),
    "a.bias": (H,),
    "b.weight": (H, H),
    "b.bias": (H,),
    "head.weight": (C, H),
    "head.bias": (C,),
}
DEPTH = {"a": 0, "b": 1, "head": 2}
MANIFEST = small_manifest(tensors=tuple(TensorSpec(n, s, DEPTH[n.split(".")[0]], 0) for n, s in SHAPES.items()))


class Net:
    """Three linear layers, tanh between them."""

    def _parts(self, theta):
        parts, at = [], 0
        for shape in SHAPES.values():
            size = math.prod(shape)
            parts.append(theta[at : at + size].reshape(shape).astype(float))
            at += size
        return parts

    def _forward(self, theta, x):
        w1, b1, w2, b2, w3, b3 = self._parts(theta)
        h1 = np.tanh(x @ w1.T + b1)
        h2 = np.tanh(h1 @ w2.T + b2)
        return h1, h2, h2 @ w3.T + b3

    def logits(self, theta, activations):
        return self._forward(theta, activations)[2].astype(np.float32)

    def gradient(self, theta, activations, labels, weights):
        _, _, w2, _, w3, _ = self._parts(theta)
        h1, h2, logits = self._forward(theta, activations)
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        share = weights / weights.sum()
        with np.errstate(divide="ignore"):
            loss = -(share * np.log(p[np.arange(len(labels)), labels])).sum()
        d3 = share[:, None] * (p - np.eye(C)[labels])
        d2 = d3 @ w3 * (1 - h2**2)
        d1 = d2 @ w2 * (1 - h1**2)
        pairs = ((d1, activations), (d2, h1), (d3, h2))
        flat = [part.ravel() for d, x in pairs for part in (d.T @ x, d.sum(0))]
        return float(loss), np.concatenate(flat).astype(np.float32)


def layout(gammas=(1.0, 1.0, 1.0)):
    return Layout.of(MANIFEST, tuple(SHAPES), gammas)


def start(seed=0):
    return (0.4 * np.random.default_rng(seed).normal(size=layout().size)).astype(np.float32)


def examples(rows=N):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(N, D)).astype(np.float32)
    labels = rng.integers(0, C, N)
    return Examples(cached(x), np.arange(rows), labels, rng.uniform(0.5, 2, N)), x


def parts_of(theta):
    return {name: theta[part] for name, part in zip(SHAPES, layout().slices(), strict=True)}


def reference(plan, gammas, steps):
    """The same training by torch's autograd and optimisers, on the same batches."""
    data, x = examples()
    module = {
        n: torch.nn.Parameter(torch.from_numpy(p.reshape(SHAPES[n]).copy())) for n, p in parts_of(start()).items()
    }
    anchor = {name: p.detach().clone() * (plan.anchor == "pretrained") for name, p in module.items()}
    gamma = {name: gammas[DEPTH[name.split(".")[0]]] for name in SHAPES}
    free = [name for name in SHAPES if math.isfinite(gamma[name])]
    groups = [[n for n in free if n.split(".")[0] != "head"], [n for n in free if n.split(".")[0] == "head"]]
    groups = groups if plan.method == "iterative" else [free]
    kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[plan.optimiser]
    extra = {"momentum": plan.momentum} if plan.optimiser == "sgd" else {}
    peers = [
        kind([module[n] for n in g], lr=plan.learning_rate, weight_decay=plan.weight_decay, **extra) for g in groups
    ]
    rng, done, number = np.random.default_rng((plan.seed, 0)), 0, 0
    while done < steps:
        peer = peers[number // plan.turn_epochs % len(peers)]
        number += 1
        for rows in epoch(data.labels, plan.batch, plan.balanced, rng):
            h = torch.from_numpy(x[rows])
            h = torch.tanh(torch.nn.functional.linear(h, module["a.weight"], module["a.bias"]))
            h = torch.tanh(torch.nn.functional.linear(h, module["b.weight"], module["b.bias"]))
            logits = torch.nn.functional.linear(h, module["head.weight"], module["head.bias"])
            w = torch.from_numpy(data.weights[rows].astype(np.float32))
            ce = torch.nn.functional.cross_entropy(logits, torch.from_numpy(data.labels[rows]), reduction="none")
            loss = (w * ce).sum() / w.sum()
            loss = loss + plan.pull * sum(gamma[n] * ((module[n] - anchor[n]) ** 2).sum() for n in free)
            for each in peers:
                each.zero_grad()
            loss.backward()
            peer.step()
            done += 1
            if done == steps:
                break
    return np.concatenate([module[name].detach().numpy().ravel() for name in SHAPES])


@pytest.mark.parametrize("method", ["full", "iterative"])
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("anchor", ["zero", "pretrained"])
@pytest.mark.parametrize("gammas", [(1.0, 3.0, 1.0), (0.5, math.inf, 1.0)], ids=["all", "middle frozen"])
def test_same_weights_as_torch(method, optimiser, anchor, gammas):
    plan = FinetunePlan(
        method, anchor, 0.02, optimiser=optimiser, learning_rate=0.02, batch=6, epochs=13, turn_epochs=2, seed=5
    )
    found = train(Net(), layout(gammas), start(), examples()[0], plan, epochs=50 / 4)
    assert found.steps == 50
    expected = reference(plan, gammas, 50)
    assert np.abs(expected - start()).max() > 0.1
    np.testing.assert_allclose(found.theta, expected, rtol=1e-4, atol=1e-5)


def test_frozen_tensors_keep_their_bits():
    plan = FinetunePlan("full", weight_decay=0.1, epochs=5)
    before = parts_of(start())
    after = parts_of(train(Net(), layout((1.0, math.inf, 1.0)), start(), examples()[0], plan).theta)
    for name in SHAPES:
        assert (before[name] == after[name]).all() == name.startswith("b."), name
    assert set(layout((1.0, math.inf, 1.0)).moved(start())) == {n for n in SHAPES if not n.startswith("b.")}


def test_iterative_turns():
    """Encoder first, then the classifier, each for so many epochs, the other one truly frozen."""
    plan = FinetunePlan("iterative", epochs=6, turn_epochs=2)
    runs = [train(Net(), layout(), start(), examples()[0], plan, epochs=epochs) for epochs in range(1, 7)]
    seen = [parts_of(start()), *(parts_of(run.theta) for run in runs)]
    for number, (before, after) in enumerate(pairwise(seen)):
        for name in SHAPES:
            head_moves = number // 2 % 2 == 1
            assert (before[name] != after[name]).any() == (head_moves == name.startswith("head")), (number, name)


def test_the_same_seed_gives_the_same_bits():
    plan = FinetunePlan("full", epochs=4, seed=3)
    runs = [train(Net(), layout(), start(), examples()[0], plan) for _ in range(2)]
    assert runs[0].theta.tobytes() == runs[1].theta.tobytes()
    assert runs[0].losses == runs[1].losses
    other = train(Net(), layout(), start(), examples()[0], FinetunePlan("full", epochs=4, seed=4))
    fold = train(Net(), layout(), start(), examples()[0], plan, stream=1)
    assert (other.theta != runs[0].theta).any()
    assert (fold.theta != runs[0].theta).any()


def test_start_is_left_alone_and_the_loss_falls():
    theta = start()
    found = train(Net(), layout(), theta, examples()[0], FinetunePlan("full", l2=0, epochs=200, learning_rate=0.02))
    np.testing.assert_array_equal(theta, start())
    assert found.epochs == len(found.losses) == 200
    assert found.losses[-1] < 0.05 < 0.5 < found.losses[0]
    assert found.stopped_by == ""


def test_only_the_rows_that_were_given():
    """Other rows hold what would stop any training."""
    data, x = examples(10)
    x[10:] = np.nan
    found = train(Net(), layout(), start(), data, FinetunePlan("full", epochs=3))
    assert np.isfinite(found.theta).all()


@pytest.mark.parametrize("limit", [1, 7, 11])
def test_a_limit_ends_it_after_that_step(limit):
    calls = []

    def over():
        calls.append(1)
        return "the budget" if len(calls) == limit else ""

    found = train(Net(), layout(), start(), examples()[0], FinetunePlan("full", epochs=9, batch=4), over=over)
    assert found.steps == limit == len(calls)
    assert found.epochs == limit / 5
    assert found.stopped_by == "the budget"
    same = train(Net(), layout(), start(), examples()[0], FinetunePlan("full", epochs=9, batch=4), epochs=found.epochs)
    np.testing.assert_array_equal(found.theta, same.theta)


def test_each_step_is_told_and_each_epoch_has_the_mean_of_its_steps():
    steps = []
    plan = FinetunePlan("full", epochs=2, batch=8)  # three steps an epoch, the last of four windows
    found = train(Net(), layout(), start(), examples()[0], plan, epochs=5 / 3, report=lambda *step: steps.append(step))
    assert [epochs for epochs, _, _ in steps] == [1 / 3, 2 / 3, 3 / 3, 4 / 3, 5 / 3]
    losses = [loss for _, loss, _ in steps]
    assert found.losses == (pytest.approx(np.mean(losses[:3])), pytest.approx(np.mean(losses[3:])))
    assert all(theta is found.theta for _, _, theta in steps)
    assert (found.steps, found.epochs) == (5, 5 / 3)
    assert train(Net(), layout(), start(), examples()[0], plan, epochs=0.01).steps == 1


def test_a_limit_that_is_reached_at_the_last_step_ended_nothing():
    plan, steps = FinetunePlan("full", epochs=2, batch=4), []
    for last, said in ((10, ""), (9, "the budget")):
        steps.clear()
        over = lambda: "the budget" if len(steps) == last else ""  # noqa: B023, E731
        found = train(Net(), layout(), start(), examples()[0], plan, over=over, report=lambda *step: steps.append(step))
        assert (found.steps, found.stopped_by) == (last, said)


@pytest.mark.parametrize(("loss", "theta"), [(math.nan, [1.0, 2.0]), (1.0, [1.0, np.inf]), (1.0, [np.nan, 1.0])])
def test_one_number_that_is_none_stops_it(loss, theta):
    _check(1.0, np.array([1.0, 2.0]), 1, 2)
    with pytest.raises(InputError, match=f"expected a finite loss, got {loss} at step 1 of 2"):
        _check(loss, np.array(theta), 1, 2)


def test_a_loss_that_is_no_number_stops_it():
    steps = []
    plan = FinetunePlan("full", optimiser="sgd", learning_rate=1e30, epochs=50)
    with pytest.raises(InputError, match=r"training: expected a finite loss, got .* at step \d+ of 100\. Nothing was"):
        train(Net(), layout(), start(), examples()[0], plan, report=lambda epochs, loss, theta: steps.append(loss))
    assert len(steps) < 5
    assert np.isfinite(steps).all()


@pytest.mark.parametrize("anchored", [True, False])
def test_pull_is_eq_9(anchored):
    gammas = (0.5, math.inf, 1.0)
    theta, anchor = start(1), start(2) if anchored else None
    a = parts_of(anchor if anchored else 0 * theta)
    t = parts_of(theta)
    weigh = {"a": 0.5, "head": 1.0}
    expected = sum(0.1 * weigh[n.split(".")[0]] * ((t[n] - a[n]) ** 2).sum() for n in SHAPES if n[0] != "b")
    gradient = np.zeros_like(theta)
    pull = Pull(layout(gammas), 0.1, anchor)
    assert pull.add_to(gradient, theta) == pytest.approx(expected, rel=1e-5)
    for name, part in parts_of(gradient).items():
        strength = 0.1 * weigh.get(name.split(".")[0], 0.0)
        np.testing.assert_allclose(part, 2 * strength * (t[name] - a[name]), rtol=1e-5, atol=1e-7)


def test_layout():
    frozen = layout((math.inf, 1.0, 1.0))
    assert frozen.size == sum(map(math.prod, SHAPES.values()))
    assert frozen.moving() == [slice(42, frozen.size)]
    assert frozen.moving([0]) == []
    assert frozen.moving_layers == (1, 2)
    assert layout((1.0, math.inf, 1.0)).moving() == [slice(0, 42), slice(98, frozen.size)]
    tensors = {n: p.reshape(SHAPES[n]) for n, p in parts_of(start()).items()}
    np.testing.assert_array_equal(frozen.flatten(tensors), start())
    np.testing.assert_array_equal(frozen.moved(start())["b.weight"], tensors["b.weight"])
