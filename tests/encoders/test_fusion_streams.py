"""Fusion models on streams whose modalities have clocks of their own."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch

from exporters import export_bundle
from runtime import Manifest, Modality, Signal, Stream, WindowSpec
from runtime.specs import Normalise
from sdk.encoders import AttentionFusion, Bodied, Classifier, Recurrent
from sdk.encoders.cosmo import imu_maps
from tests.encoders_small import narrow_fusion

IMU_HZ, SKELETON_HZ = 50.0, 50 / 3  # 120 and 40 rows in 2.4 s
LABELS = tuple(f"action {i}" for i in range(27))


@pytest.fixture(scope="module")
def utd(tmp_path_factory):
    """Cosmo's net for UTD-MHAD, narrower, as a bundle, and the module."""
    torch.manual_seed(0)
    module = Classifier(narrow_fusion(((120, 6), (40, 60)), "concatenation", None), len(LABELS)).eval()
    imu = Modality("imu", "1", tuple("abcdef"), IMU_HZ)
    skeleton = Modality("skeleton", "m", tuple(str(i) for i in range(60)), SKELETON_HZ)
    manifest = Manifest(
        "cosmo-utd",
        Signal((imu, skeleton)),
        WindowSpec(120, 60),
        LABELS,
        Normalise((0.0,) * 66, (1.0,) * 66),
    )
    assert manifest.window_shape == (3120,)
    windows = np.random.default_rng(0).normal(size=(2, 3120)).astype(np.float32)
    path = tmp_path_factory.mktemp("utd") / "utd.bundle"
    return export_bundle(path, module.encoder, module.head, manifest, windows), module


@torch.inference_mode()
def probabilities(module, window):
    return torch.softmax(module(torch.from_numpy(window[None].astype(np.float32))).double(), 1)[0].numpy()


def test_two_clocks_of_two_rates(utd):
    """Both sensors drift and begin at their own time; the truth is NumPy's interpolation at the common beat."""
    bundle, module = utd
    rng = np.random.default_rng(1)
    t_imu = 1000.0 + np.cumsum(rng.uniform(0.9, 1.1, 500)) / IMU_HZ * 1.01
    t_skeleton = 1000.31 + np.cumsum(rng.uniform(0.9, 1.1, 160)) / SKELETON_HZ * 0.99
    imu, skeleton = walk(rng, 500, 6), walk(rng, 160, 60)
    stream, predictions = Stream(bundle, source_hz={"imu": IMU_HZ, "skeleton": SKELETON_HZ}), []
    for begin in np.arange(1000.0, 1011.0, 0.25):  # what came in a quarter of a second, from one and then the other
        for name, t, samples in (("imu", t_imu, imu), ("skeleton", t_skeleton, skeleton)):
            came = (t >= begin) & (t < begin + 0.25)
            predictions += stream.push(samples[came], t[came], name)
    origin = t_skeleton[0]
    assert len(predictions) >= 5
    for k, prediction in enumerate(predictions):
        start = origin + k * 1.2
        assert prediction.start_s == pytest.approx(start)
        assert prediction.quality.source_hz == pytest.approx((IMU_HZ / 1.01, SKELETON_HZ / 0.99), rel=0.03)
        window = np.concatenate(
            [
                at_beat(start, IMU_HZ, 120, t_imu, imu).ravel(),
                at_beat(start, SKELETON_HZ, 40, t_skeleton, skeleton).ravel(),
            ]
        )
        np.testing.assert_allclose(prediction.probabilities, probabilities(module, window), atol=1e-3)


def walk(rng, n, channels):
    return np.cumsum(rng.normal(0, 0.1, (n, channels)), axis=0).astype(np.float32)


def at_beat(start, rate_hz, n, t, samples):
    beat = start + np.arange(n) / rate_hz
    return np.stack([np.interp(beat, t, column) for column in samples.T], axis=1)


def test_three_clocks(tmp_path):
    """Accelerometer, gyroscope and a slower magnetometer, added by attention: windows are flat, and all three count."""
    torch.manual_seed(0)
    shapes = ((100, 3), (100, 3), (50, 3))
    encoders = [imu_maps(*shape) for shape in shapes]
    fusion = AttentionFusion(encoders, shapes, join="concatenation", reduced=6, hidden=(8, 5))
    encoder = Bodied(fusion, Recurrent(fusion.sequence_shape, "gru", units=8, n_layers=1))
    module = Classifier(encoder, 3).eval()
    rates_hz = {"acc": 50.0, "gyro": 50.0, "mag": 25.0}
    signal = Signal(tuple(Modality(name, "1", tuple("xyz"), rate_hz) for name, rate_hz in rates_hz.items()))
    manifest = Manifest("three", signal, WindowSpec(100, 50), tuple("abc"), Normalise((0.0,) * 9, (1.0,) * 9))
    windows = np.random.default_rng(0).normal(size=(2, 750)).astype(np.float32)
    bundle = export_bundle(tmp_path / "three.bundle", module.encoder, module.head, manifest, windows)
    rng = np.random.default_rng(2)
    samples = {name: walk(rng, int(8 * rate_hz), 3) for name, rate_hz in rates_hz.items()}
    for order in itertools.permutations(rates_hz):
        stream, predictions = Stream(bundle), []
        for second, name in itertools.product(range(8), order):
            rows = slice(second * int(rates_hz[name]), (second + 1) * int(rates_hz[name]))
            t = np.arange(rows.start, rows.stop) / rates_hz[name]
            predictions += stream.push(samples[name][rows], t, name)
        assert [p.start_s for p in predictions] == list(range(7))
        for k, prediction in enumerate(predictions):
            window = np.concatenate(
                [rows[int(k * rates_hz[name]) :][: int(2 * rates_hz[name])].ravel() for name, rows in samples.items()]
            )
            np.testing.assert_allclose(prediction.probabilities, probabilities(module, window), atol=1e-4)
    silent = Stream(bundle)
    for name in ("acc", "gyro"):
        assert silent.push(samples[name], np.arange(400) / 50, name) == []


@pytest.mark.skipif("SENSEDGE_DATA" not in os.environ, reason="set SENSEDGE_DATA to a folder with UTD-MHAD's archives")
def test_real_clips_of_utd_mhad(utd):
    """IMU and skeleton of real clips, the skeleton at 30 Hz low-passed to the model's rate, as SciPy does it."""
    from sdk.datasets import iter_dataset

    bundle, module = utd
    folder = Path(os.environ["SENSEDGE_DATA"])
    imus = {r.name.partition("/")[2]: r for r in itertools.islice(iter_dataset("utd_mhad", folder), 12)}
    skeletons = {}
    for recording in iter_dataset("utd_mhad_skeleton", folder):
        skeletons[recording.name.partition("/")[2]] = recording
        if imus.keys() <= skeletons.keys():
            break
    seen = 0
    for name, imu in imus.items():
        skeleton = skeletons[name]
        stream = Stream(bundle, source_hz={"imu": 50.0, "skeleton": 30.0})
        t_imu, t_skeleton = np.arange(len(imu.samples)) / 50, np.arange(len(skeleton.samples)) / 30
        predictions = stream.push(imu.samples, t_imu, "imu") + stream.push(skeleton.samples, t_skeleton, "skeleton")
        predictions += stream.flush()
        half = round(5 * 30 / SKELETON_HZ)
        padded = np.pad(skeleton.samples.astype(np.float64), ((half, half), (0, 0)), mode="edge")
        taps = scipy.signal.firwin(2 * half + 1, 0.8 * SKELETON_HZ / 30, window="hamming")
        smooth = scipy.signal.convolve(padded, taps[:, None], mode="valid")
        for k, prediction in enumerate(predictions):
            imu_rows = imu.samples[k * 60 : k * 60 + 120]
            window = np.concatenate([imu_rows.ravel(), at_beat(k * 1.2, SKELETON_HZ, 40, t_skeleton, smooth).ravel()])
            np.testing.assert_allclose(prediction.probabilities, probabilities(module, window), atol=1e-3)
            seen += 1
    assert seen >= 8  # few clips are as long as the window
