"""Windows turned so that up is +z, against SciPy's rotations."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from runtime.errors import BundleError, InputError
from runtime.specs import FrameSpec, Modality, Signal
from runtime.window.frame import columns_of, turned

ACC = Modality("acc", "m/s^2", ("x", "y", "z"), 50.0)
GYRO = Modality("gyro", "rad/s", ("x", "y", "z"), 50.0)
BARO = Modality("baro", "hPa", ("p",), 50.0)
BOTH = FrameSpec("acc", ("acc", "gyro"))
_ANGLES = st.floats(-np.pi, np.pi)


def windows_of(mean, n_channels=6, length=32):
    rows = np.random.default_rng(0).normal(size=(1, length, n_channels))
    rows[:, :, :3] += np.asarray(mean) - rows[:, :, :3].mean(1)
    return rows.astype(np.float32)


def shortest(mean):
    """The rotation from a direction to +z by the shortest way, as SciPy has it."""
    g = np.asarray(mean, float) / np.linalg.norm(mean)
    way = np.cross(g, [0, 0, 1])
    angle = np.arctan2(np.linalg.norm(way), g[2])
    return Rotation.from_rotvec(way / max(np.linalg.norm(way), 1e-300) * angle)


@given(st.tuples(_ANGLES, st.floats(-1.57, 1.57)))
@example((0.0, 0.0))
@example((1.0, -1.57))
@settings(max_examples=60, deadline=None)
def test_the_shortest_rotation_of_all_sensors(direction):
    around, above = direction
    mean = 9.81 * np.array([np.cos(around) * np.cos(above), np.sin(around) * np.cos(above), np.sin(above)])
    windows = windows_of(mean)
    found = turned(windows, Signal((ACC, GYRO)), BOTH)
    truth = shortest(windows[0, :, :3].mean(0, dtype=np.float64))
    for columns in (slice(0, 3), slice(3, 6)):
        np.testing.assert_allclose(found[0, :, columns], truth.apply(windows[0, :, columns]), rtol=0, atol=2e-6)
    np.testing.assert_allclose(found[0, :, :3].mean(0), [0, 0, 9.81], rtol=0, atol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 1e-20])
def test_straight_down_is_turned_by_half_a_turn_about_y(scale):
    windows = np.zeros((1, 4, 6), np.float32)
    windows[:] = np.float32(scale) * np.array([0, 0, -9.81, 1, 2, 3], np.float32)
    found = turned(windows, Signal((ACC, GYRO)), BOTH) / np.float32(scale)
    np.testing.assert_allclose(found[0, 0], [0, 0, 9.81, -1, 2, -3], rtol=1e-6, atol=1e-6)


def test_free_fall_keeps_lengths_and_zeros_stay_zeros():
    windows = np.zeros((2, 4, 6), np.float32)
    windows[1, :, 3:] = [1, 2, 3]
    found = turned(windows, Signal((ACC, GYRO)), BOTH)
    assert not found[0].any()
    np.testing.assert_allclose(np.linalg.norm(found[1, :, 3:], axis=1), np.sqrt(14), rtol=1e-6)


def test_what_is_not_named_stays_and_the_order_does_not_matter():
    signal = Signal((BARO, GYRO, ACC))
    windows = np.random.default_rng(1).normal(size=(3, 16, 7)).astype(np.float32)
    found = turned(windows, signal, BOTH)
    sorted_ = turned(windows[:, :, [4, 5, 6, 1, 2, 3]], Signal((ACC, GYRO)), BOTH)
    assert np.array_equal(found[:, :, 0], windows[:, :, 0])
    assert np.array_equal(found[:, :, [4, 5, 6, 1, 2, 3]], sorted_)
    alone = turned(windows, signal, FrameSpec())
    assert np.array_equal(alone[:, :, :4], windows[:, :, :4])
    assert not np.array_equal(alone[:, :, 4:], windows[:, :, 4:])


def test_sensors_that_cannot_be_turned_are_refused():
    slow = Modality("gyro", "rad/s", ("x", "y", "z"), 25.0)
    for signal, frame in (
        (Signal((ACC, BARO)), FrameSpec("acc", ("acc", "baro"))),
        (Signal((ACC,)), BOTH),
        (Signal((ACC, slow)), BOTH),
    ):
        with pytest.raises(InputError, match="three channels each, at one rate"):
            columns_of(frame, signal)
    for words in ({"up": "acc", "turned": ("gyro",)}, {"turned": ("acc", "acc")}, {"kind": "north"}):
        with pytest.raises(BundleError, match="frame"):
            FrameSpec(**words)
