"""What training windows were like, against scikit-learn and NumPy, and its way into a bundle."""

import numpy as np
import pytest

from exporters import export_bundle
from exporters.commands import COMMANDS
from exporters.training_data import add_reference, reference_of, shrunken_covariance
from runtime import Bundle, InputError, open_engine
from runtime.bundle.check import REFERENCE
from runtime.bundle.reference import FAR, QUANTILES, open_reference
from runtime.specs import Modality, Signal, WindowSpec
from sdk.cli import main
from tests.bundles_small import export_small, small_manifest, small_parts, small_windows


def classes(n):
    return np.arange(n) % 3


def test_the_covariance_is_scikit_learns():
    covariance = pytest.importorskip("sklearn.covariance")
    points = np.random.default_rng(0).normal(size=(60, 12)) @ np.random.default_rng(1).normal(size=(12, 12))
    points -= points.mean(0)
    expected = covariance.ledoit_wolf(points, assume_centered=True)[0]
    np.testing.assert_allclose(shrunken_covariance(points), expected, rtol=1e-4, atol=1e-4)


def test_levels_are_numpys_and_five_percent_of_a_class_are_beyond_its_scale():
    rng = np.random.default_rng(0)
    windows = rng.normal([0, 0, 9.81], 0.01, (400, 20, 3)).astype(np.float32)
    windows[100:] += rng.normal(0, 3, (300, 20, 3)).astype(np.float32)
    signal, features = Signal((Modality("acc", "m/s^2", ("x", "y", "z"), 10.0),)), rng.normal(size=(400, 8))
    features[:, 0] += 10 * classes(400)
    given = iter([features[:1], *np.split(features, range(64, 400, 64))])
    found = reference_of(signal, WindowSpec(20, 10), windows, classes(400), lambda _: next(given))
    assert found.rest == pytest.approx([9.81], abs=0.01)
    np.testing.assert_allclose(found.quantiles[2], np.quantile(windows[:, :, 2], QUANTILES), rtol=1e-5)
    rms = np.sqrt((windows.astype(float) ** 2).sum(2).mean(1))
    np.testing.assert_allclose(found.rms[0], np.quantile(rms, QUANTILES), rtol=1e-5)
    distances = np.array([found.distance(row.astype(np.float32)) for row in features])
    assert np.mean(distances > 1) == pytest.approx(1 - FAR, abs=0.01)
    assert found.distance(features[0].astype(np.float32) + 50) > 5


def test_features_that_never_change_do_no_harm():
    signal, features = Signal((Modality("acc", "g", ("x",), 10.0),)), np.zeros((90, 300), np.float32)
    features[:, 7] = np.random.default_rng(0).normal(size=90)
    windows = np.ones((90, 20, 1), np.float32)
    given = iter([features[:1], *np.split(features, range(64, 90, 64))])
    found = reference_of(signal, WindowSpec(20, 10), windows, classes(90), lambda _: next(given))
    assert all(np.isfinite(found.distance(row)) for row in features)


def test_the_exporter_and_the_command_say_the_same(tmp_path, capsys):
    windows, labels = small_windows(120), classes(120)
    path = tmp_path / "a.bundle"
    with_it = export_bundle(path, *small_parts("fcn"), small_manifest(), windows[:4], seen=(windows, labels))
    bare = export_small("fcn", tmp_path / "b.bundle")
    assert REFERENCE in with_it.manifest.files
    assert REFERENCE not in bare.manifest.files
    added = add_reference(tmp_path / "b.bundle", windows, labels)
    ours, theirs = open_reference(with_it), open_reference(added)
    features = open_engine(bare).run(windows, "features")
    found = [[reference.distance(row) for row in features] for reference in (ours, theirs)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-2)
    kept = {name: spec for name, spec in added.manifest.files.items() if name != REFERENCE}
    assert kept == dict(bare.manifest.files)
    recording = tmp_path / "one.npz"
    np.savez(recording, samples=windows.reshape(-1, 3), channels=["acc_x", "acc_y", "acc_z"], rate_hz=32.0)
    assert main(["reference", str(tmp_path / "b.bundle"), str(recording)]) == 0
    assert "classes as the model says" in capsys.readouterr().out
    assert "reference" in COMMANDS
    Bundle.open(tmp_path / "b.bundle")


def test_windows_that_do_not_do_are_refused(tmp_path):
    path = tmp_path / "small.bundle"
    export_small("fcn", path)
    before = (path / "manifest.json").read_bytes()
    nothing = np.full((60, 32, 3), np.nan, np.float32)
    for windows in (small_windows(10), small_windows(60)[:, :30], nothing):
        with pytest.raises(InputError, match="training windows"):
            add_reference(path, windows, classes(len(windows)))
    assert (path / "manifest.json").read_bytes() == before
