"""Views of pictures and of windows: each against its definition in loops, alone, and by what it leaves as it is."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from sdk.pretrain.pictures import (
    hue,
    jitter,
    permute_x,
    rotate,
    rotations,
    translate_x,
    view_of_pictures,
    view_of_windows,
)

NONE = {"translate": 0, "permute": 0, "hue": 0, "rotate": 0, "jitter": 0}


@pytest.fixture
def x():
    torch.manual_seed(3)
    return 0.1 + 0.9 * torch.rand(40, 3, 4, 20, dtype=torch.float64)


def test_translate_moves_each_by_its_own_whole_pixels(x):
    moved, shifts = translate_x(x), set()
    for one, before in zip(moved, x, strict=True):
        found = [s for s in range(-9, 10) if torch.equal(one, moved_by(before, s))]
        assert len(found) == 1
        shifts |= set(found)
    assert len(shifts) > 10
    assert torch.equal(translate_x(x, 0.0), x)


def moved_by(one, shift):
    out = torch.zeros_like(one)
    for to in range(one.shape[-1]):
        if 0 <= to - shift < one.shape[-1]:
            out[..., to] = one[..., to - shift]
    return out


def test_permute_keeps_every_column_and_most_neighbours(x):
    for one, before in zip(permute_x(x, 4), x, strict=True):
        order = [int((before[0, 0] == value).nonzero()) for value in one[0, 0]]
        assert sorted(order) == list(range(20))
        assert torch.equal(one, before[..., order])
        assert sum(b != a + 1 for a, b in pairwise(order)) <= 3
    assert torch.equal(permute_x(x, 1), x)
    assert permute_x(x[..., :2], 5).shape == x[..., :2].shape  # more chunks than columns


def test_hue_mixes_by_shares_that_keep_the_sum_and_rotate_keeps_the_norm(x):
    torch.testing.assert_close(hue(x).sum(1), x.sum(1), rtol=0, atol=1e-5)
    assert hue(x).min() >= x.min() - 1e-6
    assert hue(x).max() <= x.max() + 1e-6
    torch.testing.assert_close(rotate(x).square().sum(1), x.square().sum(1), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(hue(x), x, atol=0.01)


def test_rotations_are_scipys():
    transform = pytest.importorskip("scipy.spatial.transform")
    torch.manual_seed(1)
    found = rotations(50).double()
    torch.manual_seed(1)
    axis = 2 * torch.rand(50, 3).double() - 1
    angle = torch.pi * (2 * torch.rand(50, 1).double() - 1)
    expected = transform.Rotation.from_rotvec((axis / axis.norm(dim=1, keepdim=True) * angle).numpy()).as_matrix()
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_jitter_is_within_its_bounds_and_has_no_mean(x):
    noise = jitter(x, 0.2) - x
    assert 0.19 < noise.abs().max() <= 0.2
    assert noise.mean().abs() < 0.01


@pytest.mark.parametrize("name", ["translate", "permute", "hue", "jitter"])
def test_each_change_can_be_switched_on_alone(x, name):
    before = x.clone()
    assert torch.equal(view_of_pictures(x, NONE), x)
    view = view_of_pictures(x, NONE | {name: 0.5})
    changed = [not torch.equal(one, was) for one, was in zip(view, x, strict=True)]
    assert 8 < sum(changed) < 32  # each for itself
    assert 0 <= view.min() <= view.max() <= 1
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", ["translate", "permute", "rotate", "jitter"])
def test_the_twins_change_windows(name):
    torch.manual_seed(0)
    windows = torch.randn(20, 30, 7)
    before = windows.clone()
    sensors = (slice(0, 3), slice(3, 6), slice(6, 7))
    assert torch.equal(view_of_windows(windows, NONE, sensors), windows)
    view = view_of_windows(windows, NONE | {name: 1}, sensors)
    assert view.shape == windows.shape
    assert not torch.allclose(view, windows, atol=0.01)
    assert torch.equal(windows, before)
    if name == "rotate":  # both sensors of a window by the same rotation, the seventh column not at all
        assert torch.equal(view[..., 6], windows[..., 6])
        by = torch.linalg.lstsq(windows[0, :, :3], view[0, :, :3]).solution
        torch.testing.assert_close(windows[0, :, 3:6] @ by, view[0, :, 3:6], rtol=1e-4, atol=1e-4)
