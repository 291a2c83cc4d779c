"""Augmentations: what each keeps, and that what is rigid stays rigid."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from runtime import Modality, Signal
from sdk.augment import ASKEW_DEG, AUGMENTATIONS, PIECES, SPEED, TILT_DEG, augment

UNITS = ("m/s^2", "rad/s", "hPa")


def signal(*widths):
    parts = enumerate(zip(widths, UNITS, strict=True))
    return Signal(tuple(Modality(f"m{i}", unit, tuple("xyzw"[:width]), 50.0) for i, (width, unit) in parts))


SIGNAL = signal(3, 3, 1)


def windows(n=6, length=40, seed=0):
    return np.random.default_rng(seed).normal(3, 2, (n, length, 7)).astype(np.float32)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation(name):
    given_windows = windows(40)
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
    assert np.degrees(np.arccos(np.clip(cosine.min(), -1, 1))) <= ASKEW_DEG + 0.1
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


def motion(times_s, mirror=False, speed=1.0):
    """What a body of accelerometer, gyroscope, magnetometer measures that turns and shakes: all from its path alone."""
    sign = np.diag([1.0, -1.0, 1.0]) if mirror else np.eye(3)
    field, up, step = np.array([20.0, 0.0, -40.0]), np.array([0.0, 0.0, 9.81]), 1e-4

    def pose(t):
        t = speed * np.asarray(t)[:, None]
        turn = Rotation.from_euler("zyx", np.concatenate([1.1 * t, 0.6 * np.sin(3 * t), 0.4 * np.cos(2 * t)], 1))
        path = np.concatenate([0.1 * np.sin(4 * t), 0.07 * np.cos(5 * t), 0.05 * np.sin(6 * t + 1)], 1)
        return Rotation.from_matrix(sign @ turn.as_matrix() @ sign), path @ sign

    (before, _), (now, place), (after, _) = (pose(times_s + d) for d in (-step, 0, step))
    wide = 1e-3
    pushed = (pose(times_s + wide)[1] - 2 * place + pose(times_s - wide)[1]) / wide**2
    rate = (before.inv() * after).as_rotvec() / (2 * step)
    rows = np.concatenate([now.inv().apply(pushed + up), rate, now.inv().apply(np.tile(field, (len(place), 1)))], 1)
    return rows[None].astype(np.float32)


BODY = Signal(
    tuple(Modality(name, unit, tuple("xyz"), 50.0) for name, unit in (("a", "m/s^2"), ("w", "rad/s"), ("m", "uT")))
)


def test_a_mirrored_motion_is_a_motion(monkeypatch):
    monkeypatch.setattr("sdk.augment.MIRRORED", 1.0)
    times_s = np.arange(64) / 50
    found = augment(["mirror"], motion(times_s), BODY, np.random.default_rng(0))
    np.testing.assert_allclose(found, motion(times_s, mirror=True), atol=2e-3)
    assert np.abs(found - motion(times_s)).max() > 1


def test_a_faster_motion_is_a_motion():
    """Of a body that does not turn; of gravity it is known then, which else is taken to be the mean."""
    times_s = np.arange(101) / 50
    shake = 3 * np.sin(2 * np.pi * (times_s - 1))
    before = np.zeros((30, 101, 7), np.float32)
    before[:, :, 0], before[:, :, 2], before[:, :, 4] = shake, 9.81, 0.5 * shake
    after = augment(["speed"], before, SIGNAL, np.random.default_rng(0))
    factors = np.random.default_rng(0).uniform(1 - SPEED, 1 + SPEED, (30, 1))
    inside = np.abs(times_s - 1) < 0.8
    warped = 3 * np.sin(2 * np.pi * factors * (times_s[inside] - 1))
    np.testing.assert_allclose(after[:, inside, 0], factors**2 * warped, atol=0.02)
    np.testing.assert_allclose(after[:, inside, 4], factors * 0.5 * warped, atol=0.02)
    np.testing.assert_allclose(after[:, :, 2], 9.81, rtol=1e-6)


@pytest.mark.parametrize(("name", "most"), [("yaw", 180.1), ("tilt", TILT_DEG + 0.1), ("anyhow", 180.1)])
def test_turns_are_rotations_of_the_whole_body(name, most):
    before = motion(np.arange(64) / 50).repeat(40, axis=0)
    after = augment([name], before, BODY, np.random.default_rng(0))
    angles = []
    for one, other in zip(before, after, strict=True):
        turn, distance = Rotation.align_vectors(other.reshape(-1, 3), one.reshape(-1, 3))
        assert distance < 1e-2
        angles.append(np.degrees(turn.magnitude()))
        if name != "anyhow":
            assert (np.abs(turn.as_rotvec()[:2]).max() < 1e-3) if name == "yaw" else abs(turn.as_rotvec()[2]) < 1e-3
    assert most / 3 < max(angles) <= most


def test_drop_silences_gyroscopes_alone_and_lowpass_keeps_the_mean():
    before = windows(400)
    after = augment(["drop"], before, SIGNAL, np.random.default_rng(0))
    np.testing.assert_array_equal(after[:, :, [0, 1, 2, 6]], before[:, :, [0, 1, 2, 6]])
    silent = ~after[:, :, 3:6].any((1, 2))
    assert 0.1 < silent.mean() < 0.3
    np.testing.assert_array_equal(after[~silent], before[~silent])
    smooth = augment(["lowpass"], before, SIGNAL, np.random.default_rng(0))
    changed = (smooth != before).any((1, 2))
    assert 0.4 < changed.mean() < 0.6
    kernel = np.convolve(np.ones(3) / 3, np.ones(3) / 3)
    truth = np.convolve(before[changed][0, :, 0], kernel, "valid")
    np.testing.assert_allclose(smooth[changed][0, 2:-2, 0], truth, rtol=1e-5)
