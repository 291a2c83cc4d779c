import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sdk.augment import augment
from sdk.finetune import few_shot
from sdk.finetune.sample import augmented, cached, epoch
from tests.test_augment import SIGNAL, windows

label_lists = st.lists(st.integers(0, 4), min_size=1, max_size=40).map(lambda v: np.array(v, np.int64))


@given(labels=label_lists, per_class=st.integers(1, 6), seed=st.integers(0, 99))
def test_few_shot_takes_so_many_of_each_class(labels, per_class, seed):
    rows = few_shot(labels, per_class, np.random.default_rng(seed))
    assert (np.diff(rows) > 0).all()
    there = np.bincount(labels, minlength=5)
    np.testing.assert_array_equal(np.bincount(labels[rows], minlength=5), np.minimum(there, per_class))


@given(labels=label_lists, batch=st.integers(1, 17), seed=st.integers(0, 99))
def test_an_epoch_without_balance_has_every_row_once(labels, batch, seed):
    parts = list(epoch(labels, batch, False, np.random.default_rng(seed)))
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    assert all(len(part) == batch for part in parts[:-1])
    assert 0 < len(parts[-1]) <= batch


@given(labels=label_lists, batch=st.integers(1, 17), seed=st.integers(0, 99))
def test_a_balanced_epoch_deals_out_the_classes(labels, batch, seed):
    rows = np.concatenate(list(epoch(labels, batch, True, np.random.default_rng(seed))))
    again = np.concatenate(list(epoch(labels, batch, True, np.random.default_rng(seed))))
    np.testing.assert_array_equal(rows, again)
    assert len(rows) == len(labels)
    classes = np.unique(labels)
    for begin in range(0, len(rows) - len(classes) + 1, len(classes)):
        assert sorted(labels[rows[begin : begin + len(classes)]]) == classes.tolist()
    for label in classes:  # a pile is used up before it is shuffled again
        drawn = np.bincount(rows[labels[rows] == label], minlength=len(labels))[labels == label]
        assert drawn.max() - drawn.min() <= 1


def test_sources():
    kept = cached(windows())
    np.testing.assert_array_equal(kept(np.array([4, 1]), np.random.default_rng(0)), windows()[[4, 1]])
    calls = []

    def prefix(batch):
        calls.append(len(batch))
        return 2 * batch

    source = augmented(windows(), ["scale"], SIGNAL, prefix)
    one, two = (source(np.array([4, 1, 1]), np.random.default_rng(seed)) for seed in (0, 1))
    np.testing.assert_array_equal(one, 2 * augment(["scale"], windows()[[4, 1, 1]], SIGNAL, np.random.default_rng(0)))
    assert np.abs(one - two).max() > 0.01
    assert calls == [3, 3]
