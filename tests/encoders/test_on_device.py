"""Every registered encoder on the device: opened, streamed on its own modalities, its head fine-tuned."""

import shutil

import numpy as np
import pytest

from runtime import Bundle, Stream, open_engine
from sdk.encoders import list_encoders
from sdk.finetune import FinetunePlan, LabelledSet, finetune
from sdk.finetune.head import log_softmax
from tests.bundles_small import needs_openvino
from tests.encoders_small import SMALL, TOLERANCE
from tests.taken import take_all

NAMES = sorted(SMALL)
every = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def base_of(bundle_of, tmp_path_factory):
    """name -> the bundle as it was shipped, in a folder of its own."""

    def copy(name):
        path = tmp_path_factory.mktemp(name) / "base.bundle"
        shutil.copytree(bundle_of(name)[0].path, path, ignore=shutil.ignore_patterns("personal"))
        return Bundle.open(path)

    return copy


def test_the_battery_meets_every_encoder():
    assert list_encoders() == NAMES
    assert len(NAMES) == 21


@needs_openvino
@every
def test_openvino_agrees_with_onnxruntime(name, bundle_of):
    bundle = bundle_of(name)[0]
    engines = [open_engine(bundle, engine) for engine in ("onnxruntime", "openvino")]
    golden = bundle.golden().windows
    windows = np.resize(golden, (5, *golden.shape[1:]))
    for output in ("features", "logits"):
        for n in (1, 5):
            ours, theirs = (engine.run(windows[:n], output) for engine in engines)
            assert np.abs(ours - theirs).max() <= TOLERANCE * np.abs(ours).max()
    for engine in engines:
        engine.close()


@every
def test_a_stream_gives_what_the_engine_gives_of_the_windows(name, base_of):
    """Each modality is pushed by its name, with a clock of its own, in chunks that fit nothing."""
    bundle = base_of(name)
    manifest, windows = bundle.manifest, bundle.golden().windows
    stream, predictions = Stream(bundle), []
    for modality, samples in recordings_of(manifest, windows).items():
        t = np.arange(len(samples)) / manifest_rate(manifest, modality)
        pieces = np.array_split(np.arange(len(samples)), 5)
        for piece in pieces:
            predictions += stream.push(samples[piece], t[piece], modality)
    predictions += stream.flush()
    expected = np.exp(log_softmax(open_engine(bundle).run(windows).astype(np.float64)))
    found = np.array([prediction.probabilities for prediction in predictions])
    n = min(len(windows), 4)  # of a modality that runs ahead, four windows are kept
    np.testing.assert_allclose(found[:n], expected[:n], atol=10 * TOLERANCE)
    assert all(prediction.quality.real == 1 for prediction in predictions)


def recordings_of(manifest, windows):
    """Modality -> its rows of the first windows, one window after the other."""
    windows, signal = windows[:4], manifest.signal
    parts, at = {}, 0
    for modality in signal.modalities:
        n = len(modality.channels)
        if signal.is_even:
            part = windows[:, :, at : at + n]
            at += n
        else:
            length, _ = manifest.window.at(modality.rate_hz, signal.rate_hz)
            part = windows[:, at : at + length * n]
            at += length * n
        parts[modality.name] = part.reshape(-1, n)
    return parts


def manifest_rate(manifest, modality):
    return next(m.rate_hz for m in manifest.signal.modalities if m.name == modality)


@every
def test_the_head_learns_the_wearers_labels(name, base_of, monkeypatch):
    """Labels that follow one feature: the head fits them, says so, and a version is what it says."""
    take_all(monkeypatch)
    bundle = base_of(name)
    shape = bundle.manifest.window_shape
    windows = np.random.default_rng(5).normal(size=(48, *shape)).astype(np.float32)
    windows *= np.exp(np.random.default_rng(6).normal(size=48)).reshape(-1, *[1] * len(shape)).astype(np.float32)
    features = open_engine(bundle).run(windows, "features")
    axis = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)[2][0]
    labels = ((features - features.mean(axis=0)) @ axis > 0).astype(np.int64)
    adapted, report = finetune(bundle, LabelledSet(windows, labels, np.ones(48)), FinetunePlan(sure=True))
    assert report.accepted, report.reason
    assert adapted.version == "0001"
    logits = open_engine(Bundle.open(bundle.path)).run(windows)
    assert (logits.argmax(axis=1) == labels).mean() > 0.75  # golden windows, which are kept in mind, pull elsewhere
