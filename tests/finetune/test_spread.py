"""Labels that are spread, against a dense solve and a k-d tree; the space and the questions on days made up here."""

import numpy as np
import pytest
import scipy.spatial

from sdk.finetune.clusters import clusters
from sdk.finetune.questions import calm, doubt_of, next_questions, rounds
from sdk.finetune.space import fit_space
from sdk.finetune.spread import make_graph, nearest, spread
from sdk.finetune.teach import Pool, evenly

N, PER = 3, 60  # activities, windows of each
HOP_S = 1.28


@pytest.fixture(scope="module")
def day():
    """Features of three activities, twice each, with noise in directions of its own; their classes and times."""
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2, 1, 0, 2], PER // 2)
    posture = np.eye(N)[classes] + 0.02 * rng.normal(size=(len(classes), N))
    features = np.concatenate([posture, rng.normal(size=(len(classes), 12))], axis=1)  # most of it jitters
    return features.astype(np.float32), classes, np.arange(len(classes)) * HOP_S


def test_neighbours_are_those_of_a_tree():
    places = np.random.default_rng(1).normal(size=(700, 5)).astype(np.float32)
    rows, square = nearest(places, 6)
    distances, truth = scipy.spatial.cKDTree(places.astype(np.float64)).query(places.astype(np.float64), 7)
    assert np.mean(rows == truth[:, 1:]) > 0.999
    np.testing.assert_allclose(np.sqrt(square), distances[:, 1:], atol=1e-3)


def test_labels_flow_as_a_dense_solve_says(day):
    features, classes, start_s = day
    graph = make_graph(fit_space(features, start_s)(features))
    dense = np.zeros((len(classes), len(classes)))
    dense[graph.first, graph.second] = graph.weight
    np.testing.assert_allclose(dense, dense.T, atol=1e-12)
    seeds = np.zeros((len(classes), N))
    seeds[[3, 50, 80], [0, 1, 2]] = 1
    truth = np.linalg.solve(np.eye(len(dense)) - 0.9 * dense, 0.1 * seeds)
    np.testing.assert_allclose(spread(graph, seeds, 0.9), truth, atol=2e-4 * truth.max())


def test_one_label_each_names_a_day_that_jitters(day):
    features, classes, start_s = day
    pool = Pool.of(features, start_s)
    seeds = np.zeros((len(classes), N))
    for label in range(N):
        seeds[np.flatnonzero(classes == label)[10], label] = 1
    soft = pool.soft_labels(seeds)
    np.testing.assert_allclose(soft.sum(axis=1), 1)
    assert np.mean(soft.argmax(axis=1) == classes) > 0.97
    blind = fit_space(features, 1e6 * np.arange(len(classes)))  # nothing is near in time: no whitening
    nearest_rows = [nearest(space(features), 5)[0] for space in (fit_space(features, start_s), blind)]
    with_time, without = (np.mean(classes[rows] == classes[:, None]) for rows in nearest_rows)
    assert with_time > 0.99 > without
    weights = evenly(soft)
    assert [weights[soft.argmax(axis=1) == k].sum() for k in range(N)] == pytest.approx([1 / N] * N)


def test_a_class_without_seeds_gets_nothing(day):
    features, classes, start_s = day
    seeds = np.zeros((len(classes), N))
    seeds[0, 0] = seeds[40, 1] = 1
    soft = Pool.of(features, start_s).soft_labels(seeds)
    assert not soft[:, 2].any()


def test_the_same_day_gives_the_same_bits(day):
    features, _, start_s = day
    first, second = (Pool.of(features, start_s) for _ in range(2))
    assert first.places.tobytes() == second.places.tobytes()
    assert first.cover(5, 40).tolist() == second.cover(5, 40).tolist()
    assert len(first.cover(5, 40)) <= 40
    assert first.cover(5, 40).min() >= 5


def test_clusters_find_what_is_there():
    rng = np.random.default_rng(2)
    truth = np.repeat(np.arange(4), 50)
    places = 10 * rng.normal(size=(4, 3))[truth] + rng.normal(size=(200, 3))
    own, centres = clusters(places.astype(np.float32), 4, np.ones(200))
    assert centres.shape == (4, 3)
    assert sorted(len(set(own[truth == k].tolist())) for k in range(4)) == [1, 1, 1, 1]


def test_questions_are_in_the_middle_of_things_and_apart(day):
    features, classes, start_s = day
    pool = Pool.of(features, start_s)
    labels, asked = np.full(len(classes), -1), np.zeros(len(classes), bool)
    rows = next_questions(pool, start_s, 2 * HOP_S, labels, asked, 6)
    assert set(classes[rows].tolist()) == {0, 1, 2}
    assert calm(pool.places, start_s)[rows].all()
    labels[rows], asked[rows] = classes[rows], True
    more = next_questions(pool, start_s, 2 * HOP_S, labels, asked, 4)
    assert len(more) == 4
    assert np.abs(start_s[more][:, None] - start_s[rows]).min() > 2 * HOP_S


def test_doubt_is_where_an_answer_disagrees(day):
    features, classes, start_s = day
    pool = Pool.of(features, start_s)
    labels = np.full(len(classes), -1)
    for label in range(N):
        labels[np.flatnonzero(classes == label)[::10]] = label
    wrong = int(np.flatnonzero(labels == 0)[2])
    labels[wrong] = 1
    doubt = doubt_of(pool, labels)
    assert doubt[wrong] == 1
    assert doubt.min() >= 0
    assert np.median(doubt) < 0.9


@pytest.mark.parametrize("budget", range(1, 45))
def test_rounds_spend_the_budget(budget):
    assert sum(rounds(budget)) == budget
    assert min(rounds(budget)) > 0
