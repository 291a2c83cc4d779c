"""A class for what is none of the activities, out of windows that nobody labelled."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sdk.demo
from runtime import Bundle, open_engine
from runtime.errors import InputError
from sdk.finetune import FinetunePlan, LabelledSet, finetune
from sdk.finetune.candidate import Seen, with_null
from sdk.finetune.kept import FEWEST_NULL, UNSURE, none_of_these

DATA = Path(sdk.demo.__file__).parent / "data"
NAME = "none of these"


def of_top(*probabilities):
    """Logits of two classes, the first of which has such probabilities."""
    p = np.array(probabilities)
    return np.log(np.stack([p, 1 - p], axis=1))


def test_those_of_which_the_model_is_least_sure_stand_for_nothing():
    sure = [0.99, 0.61, 0.39, 0.01]
    unsure = [0.59, 0.41, *[0.5] * (FEWEST_NULL - 2)]
    assert UNSURE == 0.6
    assert none_of_these(of_top(*sure, *unsure), NAME).tolist() == list(range(4, 4 + FEWEST_NULL))


@pytest.mark.parametrize(("logits", "got"), [(of_top(*[0.5] * 9, *[0.9] * 6), "9 of 15"), (np.zeros((0, 2)), "0 of 0")])
def test_too_few_of_them_are_said(logits, got):
    with pytest.raises(InputError) as caught:
        none_of_these(logits, NAME)
    assert caught.value.where == f"null {NAME}"
    assert caught.value.got == got
    assert "at least 10 windows without labels of which the model is not sure (p below 0.6)" in str(caught.value)


def test_they_become_labelled_and_are_no_longer_without_a_label():
    weight, bias = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    rest = np.array([[0.0, 9.0], *[[0.1, 0.0]] * FEWEST_NULL, [9.0, 0.0]], np.float32)
    own = np.array([[5.0, 0.0], [0.0, 5.0]], np.float32)
    seen = Seen(own, rest, own[:0], (), weight, bias)
    data = LabelledSet(np.zeros((2, 4, 1), np.float32), np.array([0, 1]), np.full(2, 2.0), own, ("a", "b"), rest=rest)
    more, left = with_null(data, seen, NAME)
    assert more.names == ("a", "b", NAME)
    assert more.labels.tolist() == [0, 1, *[2] * FEWEST_NULL]
    assert left.rest.tolist() == rest[[0, -1]].tolist()
    assert left.features.tolist() == more.features.tolist() == [*own.tolist(), *rest[1:-1].tolist()]
    again, _ = with_null(replace(data, names=("a", "b", NAME)), seen, NAME)
    assert again.names == ("a", "b", NAME)


@pytest.fixture(scope="module")
def strange(windows):
    """Windows with other axes of which the shipped model is not sure: half to learn from, half to be told."""
    engine = open_engine(Bundle.open(DATA / "walk.bundle"))
    turned = np.concatenate([windows.samples[:, :, axes] for axes in ([1, 2, 0, 4, 5, 3], [2, 0, 1, 5, 3, 4])])
    logits = engine.run(turned)
    engine.close()
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    unsure = turned[(p / p.sum(axis=1, keepdims=True)).max(axis=1) < UNSURE]
    return unsure[::2], unsure[1::2]


def labelled(windows, rest):
    rows = np.arange(0, len(windows.labels), 6)
    return LabelledSet(windows.samples[rows], windows.labels[rows], np.ones(len(rows)), rest=rest)


def test_what_is_none_of_them_is_told_and_the_activities_stay(bundle, windows, strange):
    known = bundle.manifest.labels
    data = labelled(windows, np.concatenate([windows.samples[3::6], strange[0]]))
    adapted, report = finetune(bundle, data, FinetunePlan(null=NAME, sure=True))
    assert report.accepted, report.reason
    assert adapted.manifest.labels == (*known, NAME)
    was, now = (open_engine(one) for one in (bundle, adapted))
    assert np.mean(now.run(strange[1]).argmax(axis=1) == len(known)) >= 0.9
    before, after = (
        np.mean(one.run(windows.samples[1::2]).argmax(axis=1) == windows.labels[1::2]) for one in (was, now)
    )
    assert after >= before - 0.02
    assert bundle.rollback().manifest.labels == known


def test_where_nothing_is_strange_nothing_is_made(bundle, windows):
    data = labelled(windows, windows.samples[3::6])
    with pytest.raises(InputError, match=r"null none of these: expected at least 10 windows .* got \d of \d+"):
        finetune(bundle, data, FinetunePlan(null=NAME, sure=True))
    with pytest.raises(InputError, match="got 0 of 0"):
        finetune(bundle, replace(data, rest=None), FinetunePlan(null=NAME, sure=True))
    assert Bundle.open(bundle.path).version == "base"


def test_an_activity_of_the_model_is_not_none_of_them(bundle, windows, strange):
    data = labelled(windows, strange[0])
    with pytest.raises(InputError, match="null: expected a name that is none of the model's activities, got walking"):
        finetune(bundle, data, FinetunePlan(null="walking", sure=True))
