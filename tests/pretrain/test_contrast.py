"""Losses that compare embeddings: each against its equation in loops, in float64, and its gradient by differences."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from sdk.pretrain.contrast import against_queue, cross_modal, entropy, evenness, many_positives, prototypes, two_views
from sdk.pretrain.cosmo import combinations_of, fused

WEIGHTS = torch.tensor([[0.2, 0.8], [0.6, 0.4]], dtype=torch.float64)
sizes = st.tuples(st.integers(2, 6), st.integers(2, 5), st.integers(0, 10_000))


def rows(n, d, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def unit(x):
    return functional.normalize(x, dim=-1)


def dot(x, y):
    return sum(float(p) * float(q) for p, q in zip(x, y, strict=True))


def cosine(x, y):
    return dot(x, y) / math.sqrt(dot(x, x) * dot(y, y))


def same(found, expected):
    assert float(found) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@settings(max_examples=30, deadline=None)
@given(sizes, st.floats(0.05, 2))
def test_cross_modal_is_equations_2_to_4(size, tau):
    n, d, seed = size
    a, b = unit(rows(n, d, seed)), unit(rows(n, d, seed + 1))

    def one_way(x, y, i):
        total = math.fsum(math.exp(dot(x[i], y[j]) / tau) for j in range(n))
        return -math.log(math.exp(dot(x[i], y[i]) / tau) / total)

    expected = sum(0.3 * one_way(a, b, i) + 0.7 * one_way(b, a, i) for i in range(n)) / n
    same(cross_modal(a, b, tau, (0.3, 0.7)), expected)


@settings(max_examples=30, deadline=None)
@given(sizes, st.floats(0.1, 2))
def test_prototypes_are_equation_6(size, tau):
    n, k, seed = size
    p, q = rows(n, k, seed).softmax(1), rows(n, k, seed + 1).softmax(1)

    def anchor(x, y, i):
        positive = math.exp(cosine(x[:, i], y[:, i]) / tau)
        others = [j for j in range(k) if j != i]
        negatives = math.fsum(math.exp(cosine(x[:, i], z[:, j]) / tau) for z in (x, y) for j in others)
        return -math.log(positive / (positive + negatives))

    same(prototypes(p, q, tau), sum(anchor(p, q, i) + anchor(q, p, i) for i in range(k)) / (2 * k))


@settings(max_examples=20, deadline=None)
@given(st.tuples(st.integers(1, 4), st.integers(2, 4), st.integers(0, 10_000)), st.integers(2, 5), st.floats(0.07, 2))
def test_many_positives_are_equation_4(size, n_views, tau):
    n, d, seed = size
    views = unit(rows(n_views * n, d, seed)).reshape(n_views, n, d)
    flat = [(k, i) for k in range(n_views) for i in range(n)]
    total = 0.0
    for s in flat:
        others = [a for a in flat if a != s]
        below = math.fsum(math.exp(dot(views[s], views[a]) / tau) for a in others)
        positives = [p for p in others if p[1] == s[1]]
        logs = [math.log(math.exp(dot(views[s], views[p]) / tau) / below) for p in positives]
        total += -sum(logs) / len(positives)
    same(many_positives(views, tau), total / len(flat))


@settings(max_examples=30, deadline=None)
@given(sizes, st.integers(1, 7), st.floats(0.05, 2))
def test_against_queue_is_mocos_equation_1(size, n_kept, tau):
    n, d, seed = size
    q, k, queue = unit(rows(n, d, seed)), unit(rows(n, d, seed + 1)), unit(rows(n_kept, d, seed + 2))

    def one(i):
        positive = math.exp(dot(q[i], k[i]) / tau)
        return -math.log(positive / (positive + math.fsum(math.exp(dot(q[i], kept) / tau) for kept in queue)))

    same(against_queue(q, k, queue, tau), sum(map(one, range(n))) / n)


def test_entropy_is_that_of_the_mean_assignment():
    even, one = torch.full((3, 4), 0.25, dtype=torch.float64), torch.eye(4, dtype=torch.float64)[[2, 2, 2]]
    same(entropy(even), math.log(4))
    same(evenness(even), 0)
    same(entropy(one), 0)
    same(evenness(one), math.log(4))
    p = rows(5, 3, 0).softmax(1)
    mean = [float(p[:, i].mean()) for i in range(3)]
    same(entropy(p), -sum(m * math.log(m) for m in mean))


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: cross_modal(unit(a), unit(b), 0.3),
        lambda a, b: prototypes(a.softmax(1), b.softmax(1), 0.5),
        lambda a, b: evenness(a.softmax(1)) + entropy(b.softmax(1)),
        lambda a, b: two_views(a, b, 0.5),
        lambda a, b: against_queue(unit(a), unit(b), unit(rows(5, 3, 4)), 0.3),
        lambda a, b: many_positives(fused(unit(torch.stack([a, b])), WEIGHTS), 0.3),
    ],
    ids=["cross_modal", "prototypes", "entropy", "two_views", "queue", "fusion"],
)
def test_gradients_are_those_of_differences(loss):
    a, b = rows(4, 3, 1).requires_grad_(), rows(4, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(loss, (a, b))


@settings(max_examples=20, deadline=None)
@given(sizes)
def test_the_order_of_windows_and_of_equal_modalities_does_not_matter(size):
    n, d, seed = size
    a, b, order = rows(n, d, seed), rows(n, d, seed + 1), torch.randperm(n)
    for loss in (
        lambda x, y: cross_modal(unit(x), unit(y), 0.2),
        lambda x, y: prototypes(x.softmax(1), y.softmax(1), 0.5),
        lambda x, y: two_views(x, y, 0.5),
    ):
        same(loss(a[order], b[order]), float(loss(a, b)))
        same(loss(b, a), float(loss(a, b)))


def test_pairs_that_agree_cost_less():
    a, b = unit(rows(8, 4, 0)), unit(rows(8, 4, 1))
    assert cross_modal(a, a, 0.1) < cross_modal(a, b, 0.1)
    assert two_views(a, a, 0.1) < two_views(a, b, 0.1)
    p = rows(8, 4, 2).softmax(1)
    assert prototypes(p, p, 0.2) < prototypes(p, p.roll(1, 1), 0.2)


# --- Cosmo's combinations


def test_the_released_grid():
    expected = torch.tensor([[k / 10, 1 - k / 10] for k in range(1, 10)])
    torch.testing.assert_close(combinations_of(2, 9, 0.1, True), expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.integers(1, 9), st.floats(0, 0.19))
def test_drawn_weights_sum_to_one_and_none_is_below_the_least(n_modalities, n_views, low):
    weights = combinations_of(n_modalities, n_views, low, False)
    assert weights.shape == (n_views, n_modalities)
    torch.testing.assert_close(weights.sum(1), torch.ones(n_views))
    assert (weights >= low - 1e-6).all()


def test_fused_rows_are_equation_3_of_length_1():
    r, weights = unit(rows(6, 4, 3)).reshape(2, 3, 4), torch.tensor([[0.25, 0.75], [0.9, 0.1]]).double()
    found = fused(r, weights)
    for k in range(2):
        for i in range(3):
            v = weights[k, 0] * r[0, i] + weights[k, 1] * r[1, i]
            torch.testing.assert_close(found[k, i], v / v.square().sum().sqrt())
