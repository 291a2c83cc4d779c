"""A stream without one of its bundle's sensors: as if that sensor gave zeros, said in every window's quality."""

import numpy as np
import pytest
import torch

from exporters import export_bundle
from runtime.errors import InputError
from runtime.specs import FrameSpec, Modality, Normalise, Signal, WindowSpec
from runtime.stream import Stream
from tests.bundles_small import LABELS, small_manifest

LENGTH, HOP, RATE_HZ = 32, 12, 32.0
SIGNAL = Signal(
    (Modality("acc", "m/s^2", ("x", "y", "z"), RATE_HZ), Modality("gyro", "rad/s", ("x", "y", "z"), RATE_HZ))
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(LENGTH * 6, 8), torch.nn.Tanh())
    manifest = small_manifest(
        signal=SIGNAL,
        window=WindowSpec(LENGTH, HOP),
        normalise=Normalise((0.0,) * 6, (5.0,) * 6),
        frame=FrameSpec("acc", ("acc", "gyro")),
    )
    path = tmp_path_factory.mktemp("bundle") / "two.bundle"
    head, windows = torch.nn.Linear(8, len(LABELS)), moved(4 * LENGTH, seed=1).reshape(4, LENGTH, 6)
    return export_bundle(path, encoder, head, manifest, windows)


def moved(n, seed=0):
    return np.random.default_rng(seed).normal((0, 0, 9.8, 0, 0, 0), 1.0, (n, 6)).astype(np.float32)


def answers(predictions):
    return [(p.label, p.probabilities, p.start_s, p.quality.frozen) for p in predictions]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_as_if_the_sensor_gave_zeros(bundle, dtype):
    samples = moved(400)
    zeros = samples * np.array([1, 1, 1, 0, 0, 0], np.float32)
    wide, without = Stream(bundle), Stream(bundle, without="gyro")
    expected = answers(wide.push(zeros))
    pieces = np.array_split(samples[:, :3].astype(dtype), [1, 5, 6, 100, 333])
    found = answers([p for piece in pieces for p in without.push(piece)])
    assert found == expected
    assert len(found) == 1 + (400 - LENGTH) // HOP
    assert found != answers(Stream(bundle).push(samples))


def test_quality_says_it_and_no_sentence_wonders(bundle):
    samples = moved(400)
    without, wide = Stream(bundle, without=("gyro",)), Stream(bundle)
    predictions = without.push(samples[:, :3])
    wide.push(samples * np.array([1, 1, 1, 0, 0, 0], np.float32))
    assert {p.quality.frozen for p in predictions} == {("gyro",)}
    assert without.counters.windows_frozen == len(predictions)
    assert without.warnings == ()
    assert any("gyro" in text for text in wide.warnings)  # nobody said so here


def test_units_and_axes_are_those_of_what_comes(bundle):
    samples = moved(200)
    turned = samples[:, [1, 0, 2]] * np.array([1, -1, 1], np.float32) / np.float32(9.80665)
    found = Stream(bundle, without="gyro", units="g,rad/s", axes="-y,x,z").push(turned.astype(np.float64))
    truth = Stream(bundle, without="gyro").push(samples[:, :3])
    assert [p.label for p in found] == [p.label for p in truth]
    assert np.allclose([p.probabilities for p in found], [p.probabilities for p in truth], atol=1e-5)


def test_times_go_through(bundle):
    samples, t = moved(200), 5 + np.arange(200) / RATE_HZ
    found = Stream(bundle, without="gyro").push(samples[:, :3], t)
    assert found[0].start_s == pytest.approx(5.0)


@pytest.mark.parametrize("silent", ["radar", "acc,gyro", "acc"])
def test_what_cannot_be_missing_is_refused(bundle, silent):
    with pytest.raises(InputError, match="gyro"):
        Stream(bundle, without=silent)


def test_a_push_of_another_shape_is_refused_and_changes_nothing(bundle):
    stream, samples = Stream(bundle, without="gyro"), moved(100)
    with pytest.raises(InputError, match=r"\(n, 3\)"):
        stream.push(samples)
    with pytest.raises(InputError, match="together"):
        stream.push(samples[:, :3], modality="acc")
    assert answers(stream.push(samples[:, :3])) == answers(Stream(bundle, without="gyro").push(samples[:, :3]))
