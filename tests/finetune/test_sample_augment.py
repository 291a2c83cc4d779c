import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import Modality, Signal
from sdk.finetune import few_shot
from sdk.finetune.augment import AUGMENTATIONS, PIECES, TILT_DEG, augment
from sdk.finetune.sample import augmented, cached, epoch

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


def signal(*widths):
    return Signal(tuple(Modality(f"m{i}", "u", tuple("xyzw"[:width]), 50.0) for i, width in enumerate(widths)))


SIGNAL = signal(3, 3, 1)


def windows(n=6, length=40, seed=0):
    return np.random.default_rng(seed).normal(3, 2, (n, length, 7)).astype(np.float32)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation(name):
    given_windows = windows()
    before = given_windows.copy()
    one, again, other = (augment([name], given_windows, SIGNAL, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(given_windows, before)
    assert one.shape == before.shape
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - before).max() > 0.01
    assert np.abs(one - other).max() > 0.01
    shape = augment([name], windows(2, 1), SIGNAL, np.random.default_rng(0)).shape  # a window of one sample
    assert shape == (2, 1, 7)


def test_there_are_five():
    assert list(AUGMENTATIONS) == ["jitter", "scale", "rotate", "time_warp", "permute"]


def test_rotation_keeps_lengths_and_angles_and_other_channels():
    before = windows()
    after = augment(["rotate"], before, SIGNAL, np.random.default_rng(0))
    np.testing.assert_array_equal(after[:, :, 6], before[:, :, 6])
    for a in (slice(0, 3), slice(3, 6)):
        for b in (slice(0, 3), slice(3, 6)):  # between the modalities too: they turn together
            np.testing.assert_allclose(
                np.einsum("ntc,ntc->nt", after[:, :, a], after[:, :, b]),
                np.einsum("ntc,ntc->nt", before[:, :, a], before[:, :, b]),
                rtol=1e-4,
                atol=1e-4,
            )
    cosine = np.einsum("ntc,ntc->nt", after[:, :, :3], before[:, :, :3]) / (before[:, :, :3] ** 2).sum(-1)
    assert np.degrees(np.arccos(np.clip(cosine.min(), -1, 1))) <= TILT_DEG + 0.1
    turn = np.linalg.lstsq(before[0, :, :3], after[0, :, :3], rcond=None)[0]
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-3)  # no mirror


def test_scale_is_one_factor_per_window_and_modality():
    before = windows()
    ratio = augment(["scale"], before, SIGNAL, np.random.default_rng(0)) / before
    for part in (slice(0, 3), slice(3, 6), slice(6, 7)):
        np.testing.assert_allclose(
            ratio[:, :, part], np.broadcast_to(ratio[:, :1, part][:, :, :1], ratio[:, :, part].shape), rtol=1e-5
        )
    assert len(np.unique(ratio[:, 0, [0, 3, 6]].round(5))) == 18


def test_jitter_is_noise_in_proportion_to_each_channel():
    before = windows(200) * np.array([1, 10, 100, 1, 1, 1, 1], np.float32)
    noise = augment(["jitter"], before, SIGNAL, np.random.default_rng(0)) - before
    np.testing.assert_allclose(noise.std((0, 1)) / before.std((0, 1)), 0.05, rtol=0.05)


def test_permute_moves_whole_pieces():
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[None, :, None], (5, 40, 7))
    after = augment(["permute"], ramp, SIGNAL, np.random.default_rng(0))
    for window in after:
        assert sorted(window[:, 0]) == list(range(40))
        assert (window == window[:, :1]).all()
        assert (np.diff(window[:, 0]) != 1).sum() <= PIECES - 1


def test_time_warp_runs_forward_from_start_to_end():
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[None, :, None], (20, 40, 7))
    after = augment(["time_warp"], ramp, SIGNAL, np.random.default_rng(0))[:, :, 0]
    np.testing.assert_allclose(after[:, 0], 0, atol=1e-4)
    np.testing.assert_allclose(after[:, -1], 39, atol=1e-3)
    speed = np.diff(after, axis=1)
    assert 0.6 < speed.min() < 0.97
    assert 1.03 < speed.max() < 1.6


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
