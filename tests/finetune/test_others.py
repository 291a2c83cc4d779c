"""What a new activity must leave alone, on windows made up here: two activities, and a new one beside the second."""

import numpy as np
import pytest

from sdk.finetune.budget import Budget, Ledger
from sdk.finetune.candidate import Seen, head_candidate
from sdk.finetune.kept import Classes
from sdk.finetune.labels import LabelledSet
from sdk.finetune.plan import FinetunePlan

N = 60  # windows of each


@pytest.fixture(scope="module")
def wearer():
    """Features by what the wearer does: walking, sitting, waving; an unsure model of the first two."""
    rng = np.random.default_rng(0)
    places = np.zeros((3, 24))
    places[[0, 1, 2], [0, 1, 2]] = 3
    done = np.repeat([0, 1, 2, 0, 1, 2], N // 2)
    features = (4 + places[done] + 0.7 * rng.normal(size=(len(done), 24))).astype(np.float32)
    weight = np.zeros((2, 24), np.float32)
    weight[[0, 1], [0, 1]] = 0.3
    return features, done, weight


def learnt(wearer, with_rest):
    features, done, weight = wearer
    marked = np.flatnonzero(done == 2)[:10]
    recorded = np.setdiff1d(np.arange(len(done)), marked)[::2] if with_rest else marked[:0]
    seen = Seen(features[marked], features[recorded], features[:0], (), weight, np.zeros(2, np.float32))
    data = LabelledSet(np.zeros((0, 1), np.float32), np.full(10, 2), np.ones(10), seen.features)
    classes = Classes.of_version(("walking", "sitting"), ("waving",))
    ledger = Ledger(Budget(), None)
    found = head_candidate(data, seen, classes, FinetunePlan(), ledger, lambda *_: None)
    scored = np.setdiff1d(np.arange(len(done)), np.concatenate([marked, recorded]))
    logits = features[scored] @ found.tensors["weight"].T + found.tensors["bias"]
    return found, done[scored], logits.argmax(axis=1), len(recorded)


def test_windows_without_labels_hold_the_others(wearer):
    found, done, told, n = learnt(wearer, with_rest=True)
    assert np.mean(told[done == 2] == 2) > 0.9
    assert np.mean(told[done != 2] == done[done != 2]) > 0.9
    assert found.unlabelled > 0
    called = [note for note in found.verdict.notes if f"of {n} windows without labels would be called waving" in note]
    assert int(called[0].split()[0]) == pytest.approx(N / 2 - 5, abs=4)


def test_without_them_the_new_one_takes_all(wearer):
    _, done, told, _ = learnt(wearer, with_rest=False)
    assert np.mean(told[done != 2] == 2) > 0.5  # so the test above can fail
