"""A bundle whose graph turns windows so that up is +z: against NumPy, in every engine and precision, trained on."""

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.spatial.transform import Rotation

from exporters import export_bundle
from exporters.fp16 import to_fp16
from exporters.int8 import Int8Options, to_int8
from runtime import Stream
from runtime.bundle import Manifest
from runtime.engine import open_engine, open_prefix
from runtime.errors import BundleError
from runtime.specs import FrameSpec, Modality, Normalise, Signal, SpectrogramSpec, WindowSpec
from runtime.window.frame import turned
from sdk.encoders import create_encoder
from tests.bundles_small import needs_openvino
from tests.exporters.training.reference import graph_gradients, labelled, worst

ANY = Int8Options(tolerance=1, agreement=0)
LENGTH, LABELS = 64, ("sitting", "walking", "running")
ACC = Modality("acc", "m/s^2", ("x", "y", "z"), 32.0)
GYRO = Modality("gyro", "rad/s", ("x", "y", "z"), 32.0)
BOTH = FrameSpec("acc", ("acc", "gyro"))


def windows_of(n, seed=0):
    """Windows of a device that lies in any way."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, LENGTH, 6)) * np.repeat([2.0, 0.7], 3)
    rows[:, :, :3] += 9.81 * Rotation.random(n, random_state=seed).apply([0, 0, 1])[:, None]
    return rows.astype(np.float32)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """The same net with and without a frame."""
    torch.manual_seed(0)
    encoder = create_encoder("fcn-stride4", LENGTH, 6).eval()
    head = torch.nn.Linear(encoder.n_features, len(LABELS))
    found = []
    for name, frame in (("with", BOTH), ("without", None)):
        normalise = Normalise((0.0, 0.0, 9.0, 0.0, 0.0, 0.0), (2.0, 2.0, 3.0, 1.0, 1.0, 1.0))
        manifest = Manifest(name, Signal((ACC, GYRO)), WindowSpec(LENGTH, 16), LABELS, normalise, frame=frame)
        path = tmp_path_factory.mktemp("frame") / f"{name}.bundle"
        found.append(export_bundle(path, encoder, head, manifest, windows_of(6), training=True))
    return found


def test_the_graph_turns_as_numpy_does(bundles):
    framed, plain = bundles
    windows = windows_of(64, seed=2)
    engine, reference = open_engine(framed), open_engine(plain)
    mine, truth = engine.run(windows), reference.run(turned(windows, plain.manifest.signal, BOTH))
    np.testing.assert_allclose(mine, truth, rtol=0, atol=2e-6 * np.abs(truth).max())


def test_however_the_device_lies_only_the_angle_about_up_is_left(bundles):
    """A device that is turned about its own vertical axis, and then in any way, gives the same as by the axis alone."""
    framed, _ = bundles
    windows = windows_of(8, seed=3)
    upright = turned(windows, framed.manifest.signal, BOTH)
    engine = open_engine(framed)
    again = engine.run(upright)
    np.testing.assert_allclose(engine.run(windows), again, rtol=0, atol=1e-5)


def test_zeros_free_fall_and_straight_down_are_numbers(bundles):
    framed, _ = bundles
    windows = np.zeros((3, LENGTH, 6), np.float32)
    windows[1, :, 3:] = 1.0
    windows[2, :, 2] = -9.81
    truth = open_engine(bundles[1]).run(turned(windows, framed.manifest.signal, BOTH))
    np.testing.assert_allclose(open_engine(framed).run(windows), truth, rtol=0, atol=1e-5)


def test_a_stream_gives_what_the_engine_gives_to_the_bit(bundles):
    framed, _ = bundles
    rows = windows_of(6, seed=4).reshape(-1, 6)
    stream, predictions = Stream(framed), []
    for at in range(0, len(rows), 23):
        predictions += stream.push(rows[at : at + 23])
    starts = range(0, len(rows) - LENGTH + 1, 16)
    engine = open_engine(framed)
    truth = np.concatenate([engine.run(rows[None, at : at + LENGTH]) for at in starts])
    together = engine.run(np.stack([rows[at : at + LENGTH] for at in starts]))
    assert np.array_equal(truth, together)
    exact = np.exp(truth - truth.max(1, keepdims=True))
    np.testing.assert_allclose(
        [p.probability for p in predictions], (exact / exact.sum(1, keepdims=True)).max(1), rtol=1e-6
    )
    assert [p.label for p in predictions] == [LABELS[i] for i in truth.argmax(1)]


@needs_openvino
def test_openvino_turns_as_onnxruntime_does(bundles):
    framed, _ = bundles
    windows = np.concatenate([windows_of(8, seed=5), np.zeros((1, LENGTH, 6), np.float32)])
    truth = open_engine(framed).run(windows)
    np.testing.assert_allclose(open_engine(framed, "openvino").run(windows), truth, rtol=0, atol=1e-4)


def test_int8_and_fp16_turn_too(bundles):
    framed, _ = bundles
    windows = windows_of(64, seed=6)
    upright = turned(windows, framed.manifest.signal, BOTH)
    for variant in (to_fp16(framed.model(), framed.manifest), to_int8(framed.model(), framed.manifest, windows, ANY)):
        session = onnxruntime.InferenceSession(variant.model)
        mine, truth = (session.run(["logits"], {"windows": part})[0] for part in (windows, upright))
        assert np.abs(mine - truth).max() < 0.05 * np.ptp(truth)


def test_layers_are_trained_behind_it(bundles):
    """The gradient of all layers is that of the bundle without a frame on windows that NumPy turned."""
    framed, plain = bundles
    windows, labels, weights = windows_of(5, seed=7), *labelled(5, len(LABELS))
    specs = [bundle.manifest.training[0] for bundle in bundles]
    assert [spec.layer for spec in specs] == [0, 0]
    activations = open_prefix(framed, specs[0].cut)(windows)
    upright = turned(windows, plain.manifest.signal, BOTH)
    mine = graph_gradients(framed.training_model(specs[0]), specs[0], framed, activations, labels, weights)
    truth = graph_gradients(plain.training_model(specs[1]), specs[1], plain, upright, labels, weights)
    assert mine[0] == pytest.approx(truth[0], rel=1e-5)
    assert worst(mine[2], truth[2]) < 1e-4


def test_the_manifest_says_it_and_refuses_what_no_graph_can_turn(bundles):
    framed, plain = bundles
    assert framed.manifest.frame == BOTH
    assert "frame" not in json.loads(plain.manifest.to_json())
    assert Manifest.from_json(framed.manifest.to_json()) == framed.manifest
    image = SpectrogramSpec(16, 8, ("acc_x", "acc_y", "acc_z"))
    for changes in (
        {"frame": FrameSpec("acc", ("acc", "baro"))},
        {"signal": Signal((ACC, replace(GYRO, channels=("x", "y")))), "normalise": Normalise((0.0,) * 5, (1.0,) * 5)},
        {"spectrogram": image},
    ):
        with pytest.raises(BundleError, match="frame"):
            replace(framed.manifest, **changes)
    replace(framed.manifest, spectrogram=replace(image, in_graph=True))
