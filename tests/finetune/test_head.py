import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

import sdk
from sdk.finetune import fit_head
from sdk.finetune.head import HeadProblem


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):
        yield


def problem(n=20, d=6, c=4, seed=0, spread=3.0):
    rng = np.random.default_rng(seed)
    features = (spread * rng.normal(size=(n, d)) + 0.5).astype(np.float32)
    labels = rng.integers(0, c, n)
    weight = rng.normal(size=(c, d)).astype(np.float32)
    bias = rng.normal(size=c).astype(np.float32)
    return features, labels, weight, bias


def objective(weight, bias, features, labels, anchor_weight, anchor_bias, l2, sample_weights=None):
    """The formula of the module's docstring, written out on its own."""
    share = np.ones(len(labels)) if sample_weights is None else np.asarray(sample_weights, float)
    share = share / share.sum()
    features = features.astype(float)
    square = float((share * (features**2).sum(1)).sum())
    log_p = log_softmax(features @ weight.T + bias, axis=1)
    distance = square * ((weight - anchor_weight) ** 2).sum() + ((bias - anchor_bias) ** 2).sum()
    return -(share * log_p[np.arange(len(labels)), labels]).sum() + 0.5 * l2 * distance


def slopes(fit, features, labels, weight, bias, l2, sample_weights=None, n=40):
    """Central differences of the objective at a fit, along random directions of length 1."""
    rng, found = np.random.default_rng(5), []
    for _ in range(n):
        step_w, step_b = rng.normal(size=weight.shape), rng.normal(size=bias.shape)
        h = 1e-4 / np.sqrt((step_w**2).sum() + (step_b**2).sum())
        up, down = (
            objective(
                fit.weight + sign * h * step_w,
                fit.bias + sign * h * step_b,
                features,
                labels,
                weight,
                bias,
                l2,
                sample_weights,
            )
            for sign in (1, -1)
        )
        found.append((up - down) / 2e-4)
    return np.array(found)


@pytest.mark.parametrize("l2", [1e-3, 0.1, 10.0])
def test_same_optimum_as_scipy(l2):
    features, labels, weight, bias = problem()
    shares = np.random.default_rng(1).uniform(0.1, 3, len(labels))
    fit = fit_head(features, labels, weight=weight, bias=bias, l2=l2, sample_weights=shares)

    def flat(x):
        both = x.reshape(len(bias), -1)
        return objective(both[:, :-1], both[:, -1], features, labels, weight, bias, l2, shares)

    start = np.concatenate([weight, bias[:, None]], axis=1).astype(float).ravel()
    found = minimize(flat, start, method="BFGS", options={"gtol": 1e-9, "maxiter": 2000})
    assert fit.loss == pytest.approx(flat(np.concatenate([fit.weight, fit.bias[:, None]], axis=1).ravel()), abs=1e-12)
    assert fit.loss == pytest.approx(found.fun, abs=1e-6)
    assert fit.loss <= found.fun + 1e-10
    both = found.x.reshape(len(bias), -1)
    np.testing.assert_allclose(fit.weight, both[:, :-1], atol=2e-4 if l2 < 0.01 else 2e-5)
    np.testing.assert_allclose(fit.bias, both[:, -1], atol=2e-4 if l2 < 0.01 else 2e-5)


@pytest.mark.parametrize("l2", [0.001, 0.03, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_same_optimum_as_sklearn(l2, weighted):
    """With anchor zero: sklearn's problem on the columns [features / s, 1], C = 1 / l2 and weights of sum 1."""
    features, labels, weight, bias = problem(n=40, c=3)
    shares = np.random.default_rng(2).uniform(0.2, 2, len(labels)) if weighted else np.ones(len(labels))
    shares /= shares.sum()
    fit = fit_head(
        features, labels, weight=0 * weight, bias=0 * bias, l2=l2, sample_weights=shares if weighted else None
    )
    scale = np.sqrt((shares * (features.astype(float) ** 2).sum(1)).sum())
    columns = np.concatenate([features / scale, np.ones((len(features), 1))], axis=1)
    peer = LogisticRegression(C=1 / l2, fit_intercept=False, solver="newton-cg", tol=1e-10, max_iter=1000)
    peer.fit(columns, labels, sample_weight=shares)
    np.testing.assert_allclose(fit.weight * scale, peer.coef_[:, :-1], atol=1e-6 * max(1, np.abs(peer.coef_).max()))
    np.testing.assert_allclose(fit.bias, peer.coef_[:, -1], atol=1e-6 * max(1, np.abs(peer.coef_).max()))
    proba = softmax(features @ fit.weight.T + fit.bias, axis=1)
    np.testing.assert_allclose(proba, peer.predict_proba(columns), atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 8, 3), (30, 4, 5), (9, 8, 2)], ids=["wide", "tall", "square"])
def test_gradient_is_zero_at_the_solution(shape):
    n, d, c = shape
    features, labels, weight, bias = problem(n, d, c, seed=n)
    shares = np.random.default_rng(3).uniform(0.5, 2, n)
    fit = fit_head(features, labels, weight=weight, bias=bias, l2=0.02, sample_weights=shares)
    assert np.abs(slopes(fit, features, labels, weight, bias, 0.02, shares)).max() < 1e-7
    assert fit.gradient_norm < 1e-9
    unmoved = fit.__class__(weight.astype(float), bias.astype(float), 0.0, 0.0)
    assert np.abs(slopes(unmoved, features, labels, weight, bias, 0.02, shares)).max() > 1e-4  # the check can fail


_DIGEST = """
import hashlib
import numpy as np
from sdk.finetune import fit_head
rng = np.random.default_rng(0)
features, labels = rng.normal(size=(40, 300)).astype(np.float32), rng.integers(0, 6, 40)
weight, bias = rng.normal(size=(6, 300)).astype(np.float32), np.zeros(6, np.float32)
fit = fit_head(features, labels, weight=weight, bias=bias, l2=0.003)
print(hashlib.sha256(fit.weight.tobytes() + fit.bias.tobytes()).hexdigest())
"""


def test_two_processes_give_the_same_bits():
    root = str(Path(sdk.__file__).parents[1])
    digests = [
        subprocess.run(
            [sys.executable, "-c", _DIGEST],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": root, "PYTHONHASHSEED": seed, "OPENBLAS_NUM_THREADS": "1"},
        ).stdout
        for seed in ("1", "2")
    ]
    assert len(digests[0].strip()) == 64
    assert digests[0] == digests[1]


def test_a_weight_is_a_repetition():
    features, labels, weight, bias = problem(n=12)
    times = np.array([1, 2, 3] * 4)
    weighted = fit_head(features, labels, weight=weight, bias=bias, l2=0.01, sample_weights=times.astype(float))
    repeated = fit_head(np.repeat(features, times, axis=0), np.repeat(labels, times), weight=weight, bias=bias, l2=0.01)
    equal = fit_head(features, labels, weight=weight, bias=bias, l2=0.01)
    np.testing.assert_allclose(weighted.weight, repeated.weight, atol=1e-8)
    np.testing.assert_allclose(weighted.bias, repeated.bias, atol=1e-8)
    assert np.abs(equal.weight - repeated.weight).max() > 1e-4


def test_only_the_ratio_of_weights_matters():
    features, labels, weight, bias = problem(n=12)
    shares = np.linspace(1, 2, 12)
    one, other = (
        fit_head(features, labels, weight=weight, bias=bias, l2=0.01, sample_weights=factor * shares)
        for factor in (1.0, 1e6)
    )
    np.testing.assert_allclose(one.weight, other.weight, atol=1e-8)


def test_a_class_without_labels_moves_only_as_the_objective_demands():
    features, labels, weight, bias = problem(n=30, c=4)
    labels = labels % 3  # nothing of class 3
    fit = fit_head(features, labels, weight=weight, bias=bias, l2=0.05)
    p = softmax(features @ fit.weight.T + fit.bias, axis=1)[:, 3] / len(labels)
    square = (features.astype(float) ** 2).sum(1).mean()
    np.testing.assert_allclose(fit.weight[3] - weight[3], -(p @ features) / (0.05 * square), atol=1e-8)
    np.testing.assert_allclose(fit.bias[3] - bias[3], -p.sum() / 0.05, atol=1e-8)
    assert fit.bias[3] < bias[3]


def test_a_class_that_nobody_confuses_stays_at_the_anchor():
    features, labels, weight, bias = problem(n=30, c=4, spread=0.5)
    labels, bias[3] = labels % 3, -500.0
    fit = fit_head(features, labels, weight=weight, bias=bias, l2=0.05)
    np.testing.assert_array_equal(fit.weight[3], weight[3].astype(float))
    assert fit.bias[3] == -500
    assert np.abs(fit.weight[:3] - weight[:3]).max() > 1e-3


def test_strong_pull_keeps_the_anchor_and_weak_pull_fits_the_labels():
    features, labels, weight, bias = problem(n=10, d=40)
    strong = fit_head(features, labels, weight=weight, bias=bias, l2=1e9)
    np.testing.assert_allclose(strong.weight, weight, atol=1e-6)
    weak = fit_head(features, labels, weight=weight, bias=bias, l2=1e-5)
    assert ((features @ weak.weight.T + weak.bias).argmax(1) == labels).all()
    assert weak.loss < 0.05 < strong.loss


def test_the_size_of_a_real_encoder():
    features, labels, weight, bias = problem(100, 3072, 6, seed=7, spread=1.0)
    fit = fit_head(features, labels, weight=0.01 * weight, bias=bias, l2=0.001)
    assert fit.gradient_norm < 1e-9
    p = softmax(features @ fit.weight.T + fit.bias, axis=1) - np.eye(6)[labels]
    square = (features.astype(float) ** 2).sum(1).mean()
    gradient = p.T @ features / 100 + 0.001 * square * (fit.weight - 0.01 * weight)
    assert np.abs(gradient).max() < 1e-7
    assert ((features @ fit.weight.T + fit.bias).argmax(1) == labels).all()


def test_one_window():
    features, labels, weight, bias = problem(n=1)
    fit = fit_head(features, labels, weight=weight, bias=bias, l2=0.01)
    assert np.abs(slopes(fit, features, labels, weight, bias, 0.01)).max() < 1e-7
    assert (features @ fit.weight.T + fit.bias).argmax() == labels[0]


def test_identical_rows_count_together():
    features, _, weight, bias = problem(n=1)
    labels = np.array([0] * 6 + [1] * 2)
    fit = fit_head(np.repeat(features, 8, axis=0), labels, weight=weight, bias=bias, l2=1e-4)
    p = softmax(features @ fit.weight.T + fit.bias, axis=1)[0]
    np.testing.assert_allclose(p, [0.75, 0.25, 0, 0], atol=0.01)
    pair = fit_head(
        np.repeat(features, 2, axis=0),
        np.array([0, 1]),
        weight=weight,
        bias=bias,
        l2=1e-4,
        sample_weights=np.array([6.0, 2.0]),
    )
    np.testing.assert_allclose(fit.weight, pair.weight, atol=1e-7)


def test_features_of_zero_move_the_bias_alone():
    features, labels, weight, bias = problem(n=8)
    fit = fit_head(0 * features, labels, weight=weight, bias=bias, l2=1e-4)
    np.testing.assert_allclose(fit.weight, weight, atol=1e-9)
    p = softmax(fit.bias)
    np.testing.assert_allclose(p, np.bincount(labels, minlength=4) / 8, atol=0.01)


def test_the_scale_of_the_features_does_not_matter():
    features, labels, weight, bias = problem()
    factor = np.float32(2.0**60)
    small = fit_head(features, labels, weight=weight, bias=bias, l2=0.01)
    large = fit_head(features * factor, labels, weight=weight / factor, bias=bias, l2=0.01)
    np.testing.assert_allclose(large.weight * float(factor), small.weight, atol=1e-8)
    np.testing.assert_allclose(large.bias, small.bias, atol=1e-8)


def test_huge_features_that_saturate_the_anchor_stay_finite():
    features, labels, weight, bias = problem(spread=1e15)
    fit = fit_head(features, labels, weight=weight, bias=bias, l2=0.01)
    before = objective(weight, bias, features, labels, weight, bias, 0.01)
    assert np.isfinite(fit.weight).all()
    assert np.isfinite(fit.bias).all()
    assert np.isfinite(fit.loss)
    assert fit.loss < before


def test_labels_of_one_class_only():
    features, labels, weight, bias = problem()
    labels = np.full_like(labels, 2)
    fit = fit_head(features, labels, weight=weight, bias=bias, l2=0.001)
    assert np.abs(slopes(fit, features, labels, weight, bias, 0.001)).max() < 1e-7
    assert ((features @ fit.weight.T + fit.bias).argmax(1) == 2).all()


def test_inputs_stay_untouched():
    arrays = problem()
    shares = np.ones(len(arrays[1]))
    copies = [array.copy() for array in (*arrays, shares)]
    features, labels, weight, bias = arrays
    fit_head(features, labels, weight=weight, bias=bias, l2=0.01, sample_weights=shares)
    for array, copy in zip((*arrays, shares), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_held_out_logits_are_those_of_a_fit_to_the_other_folds():
    """All features have one length, so that the scale of a part is that of all."""
    features, labels, weight, bias = problem(n=24)
    features *= (3 / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    shares, folds = np.random.default_rng(4).uniform(0.5, 2, 24), np.arange(24) % 5 % 3
    held = HeadProblem(features, labels, weight=weight, bias=bias, sample_weights=shares).held_out_logits(0.01, folds)
    for fold in range(3):
        own, others = folds == fold, folds != fold
        fit = fit_head(
            features[others], labels[others], weight=weight, bias=bias, l2=0.01, sample_weights=shares[others]
        )
        np.testing.assert_allclose(held[own], features[own] @ fit.weight.T + fit.bias, atol=1e-6)
        assert np.abs(held[own] - (features[own] @ weight.T + bias)).max() > 0.1


def test_where_all_is_one_fold_the_anchor_answers():
    features, labels, weight, bias = problem()
    held = HeadProblem(features, labels, weight=weight, bias=bias).held_out_logits(0.01, np.zeros(20, int))
    np.testing.assert_allclose(held, features.astype(float) @ weight.T + bias, rtol=1e-6)


def test_shares_of_classes_are_labels_that_are_repeated():
    features, _, weight, bias = problem(n=6, c=3)
    shares = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0.25, 0.75]] * 2)
    soft = fit_head(features, shares, weight=weight, bias=bias, l2=0.01)
    rows, labels = (index.repeat(4) for index in np.indices(shares.shape).reshape(2, -1))
    times = shares.ravel().repeat(4) / 4
    hard = fit_head(features[rows], labels, weight=weight, bias=bias, l2=0.01, sample_weights=times)
    np.testing.assert_allclose(soft.weight, hard.weight, atol=1e-8)
    np.testing.assert_allclose(soft.bias, hard.bias, atol=1e-8)


def test_an_anchor_that_is_sure_of_the_wrong_class_is_left_behind():
    """Its curvature is nearly nothing, so that whole steps of Newton's method lead a million times too far."""
    features, _, weight, _ = problem(n=8, d=3, c=2, spread=0.1)
    labels, bias = np.array([0] * 6 + [1] * 2), np.array([0.0, 30.0], np.float32)
    fit = fit_head(features, labels, weight=0 * weight, bias=bias, l2=1e-6)
    assert fit.gradient_norm < 1e-9
    assert np.abs(slopes(fit, features, labels, 0 * weight, bias, 1e-6)).max() < 1e-7
    assert softmax(features @ fit.weight.T + fit.bias, axis=1)[:, 0].mean() == pytest.approx(0.75, abs=1e-3)
