"""What a bundle says of its training data: read strictly, not needed, and right against NumPy in float64."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sdk.demo
from runtime import Bundle, BundleError, Hub, Recording, Stream, open_engine
from runtime.bundle.check import REFERENCE
from runtime.bundle.reference import open_reference, parse_reference
from runtime.bundle.tensors import load_tensors

SHIPPED = Path(sdk.demo.__path__[0]) / "data" / "walk.bundle"


@pytest.fixture(scope="module")
def reference():
    return open_reference(Bundle.open(SHIPPED))


@pytest.fixture
def old(tmp_path):
    """The shipped bundle as it was before bundles said anything of their training data."""
    path = tmp_path / "old.bundle"
    shutil.copytree(SHIPPED, path)
    (path / REFERENCE).unlink()
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["files"][REFERENCE]
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def walking():
    return Recording.load(SHIPPED.parent / "person_12.npz").samples[16000:]


def test_the_shipped_bundle_knows_gravity_and_its_people(reference):
    assert reference.rest == pytest.approx([9.81, 0], abs=0.06)
    assert (np.diff(reference.quantiles, axis=1) >= 0).all()
    assert (np.diff(reference.rms, axis=1) >= 0).all()
    assert reference.means.shape == (6, 24)


def test_a_distance_is_that_of_mahalanobis(reference):
    bundle = Bundle.open(SHIPPED)
    features = open_engine(bundle).run(bundle.golden().windows, "features")
    arrays = {name: array.astype(np.float64) for name, array in load_tensors(SHIPPED / REFERENCE).items()}
    for row in features:
        point = row[arrays["index"].astype(int)] @ arrays["projection"] - arrays["centre"]
        lengths = np.linalg.norm(arrays["means"] - point, axis=1)
        nearest = lengths.argmin()
        assert reference.distance(row) == pytest.approx(lengths[nearest] / arrays["scale"][nearest], rel=1e-3)


def test_an_old_bundle_opens_and_says_nothing(old):
    bundle = Bundle.open(old)
    assert open_reference(bundle) is None
    stream, today = Stream(bundle), Stream(SHIPPED)
    predictions, expected = stream.push(walking()), today.push(walking())
    assert stream.unusual is None
    assert {p.unusual for p in predictions} == {None}
    assert [p.probabilities for p in predictions] == [p.probabilities for p in expected]
    assert expected[-1].unusual is not None
    in_g = Stream(bundle)
    in_g.push(walking() / 9.80665)
    assert any("units=g" in text for text in in_g.warnings)  # this needs no training data


def test_unusual_is_a_median_from_the_twentieth_moving_window_on():
    bundle = Bundle.open(SHIPPED)
    told = [p.unusual for p in Stream(bundle).push(walking())]
    assert told[:19] == [None] * 19
    engine, found = open_engine(bundle), []
    for i in range(20):
        window = np.float32(walking()[i * 64 : i * 64 + 128])
        found.append(open_reference(bundle).distance(engine.run(window[None], "features")[0]))
    assert told[19] == pytest.approx(np.median(found), rel=1e-4)


def test_people_at_home_are_nearer_than_strangers():
    home = Stream(SHIPPED)
    home.push(walking())
    flipped = Stream(SHIPPED)
    flipped.push(walking() * np.float32([-1, -1, 1, -1, -1, 1]))
    assert home.unusual < 1
    assert flipped.unusual > 1.2 * home.unusual


def test_an_engine_that_keeps_no_features_is_asked_for_them():
    class Other:
        def __init__(self, engine):
            self.logits, self.run = engine.logits, engine.run

    bundle = Bundle.open(SHIPPED)
    other = Stream(bundle, Other(open_engine(bundle))).push(walking())
    assert [p.unusual for p in other] == [p.unusual for p in Stream(bundle).push(walking())]


def test_a_version_with_another_encoder_is_not_compared(tmp_path):
    path = tmp_path / "walk.bundle"
    shutil.copytree(SHIPPED, path)
    bundle = Bundle.open(path)
    head = bundle.commit({"head.bias": bundle.tensor("head.bias") + 1}, {})
    body = bundle.commit({"encoder.blocks.0.0.bias": bundle.tensor("encoder.blocks.0.0.bias") + 1}, {})
    for version, known in ((head, True), (body, False)):
        stream = Stream(version)
        stream.push(walking())
        assert (stream.unusual is not None) == known


@pytest.mark.parametrize("name", ["quantiles", "rest", "rms", "index", "projection", "centre", "means", "scale"])
def test_arrays_that_do_not_fit_are_refused(reference, name):
    manifest = Bundle.open(SHIPPED).manifest
    for wrong in (getattr(reference, name)[:0], getattr(reference, name)[..., None]):
        with pytest.raises(BundleError, match="exporters reference"):
            parse_reference(replace(reference, **{name: wrong}).dump(), manifest, Path(REFERENCE))


def test_places_and_scales_that_cannot_be_are_refused(reference):
    manifest = Bundle.open(SHIPPED).manifest
    for name, wrong in (
        ("index", reference.index + 3072),
        ("index", reference.index - 3072),
        ("scale", reference.scale * 0),
    ):
        with pytest.raises(BundleError, match=name):
            parse_reference(replace(reference, **{name: wrong}).dump(), manifest, Path(REFERENCE))


def test_a_bundle_with_an_altered_reference_does_not_open(tmp_path):
    path = tmp_path / "walk.bundle"
    shutil.copytree(SHIPPED, path)
    data = bytearray((path / REFERENCE).read_bytes())
    data[-1] ^= 1
    (path / REFERENCE).write_bytes(data)
    with pytest.raises(BundleError, match=REFERENCE):
        Bundle.open(path)


def test_a_hub_watches_each_of_its_streams():
    done = []
    with Hub(SHIPPED, lambda name, p: done.append((name, p.quality.frozen)), max_queue=100) as hub:
        hub.push("still", np.zeros((640, 6), np.float32))
        hub.push("anna", np.float32(walking()[:640]))
        told = hub.warnings("still"), hub.warnings("anna"), hub.sample_counters("still").windows_frozen
    assert told[0][0].startswith("acc gives nothing but 0")
    assert (told[1], told[2]) == ((), 9)
    assert {frozen for name, frozen in done if name == "still"} == {("acc", "gyro")}
    assert {frozen for name, frozen in done if name == "anna"} == {()}
