"""The doctor listens to a source: its rate, and what its values cannot be."""

from pathlib import Path

import numpy as np
import pytest

import sdk.demo
from runtime import Bundle, Recording
from sdk.doctor.finding import OK, PROBLEM
from sdk.doctor.source import source

DATA = Path(sdk.demo.__path__[0]) / "data"


@pytest.fixture(scope="module")
def bundle():
    return Bundle.open(DATA / "walk.bundle")


def play(tmp_path, bundle, scale):
    recording = Recording.load(DATA / "person_6.npz")
    path = tmp_path / "one.npz"
    t = np.arange(1500) / 50
    np.savez(path, samples=recording.samples[16000:17500] * scale, channels=recording.channels, rate_hz=50.0, t=t)
    return list(source(bundle, f"replay:{path}"))


def test_a_good_source(tmp_path, bundle):
    (finding,) = play(tmp_path, bundle, 1)
    assert (finding.state, finding.topic) == (OK, "source")
    assert finding.text.startswith("1500 samples, 50 Hz by its own times")


def test_another_unit_is_a_problem_with_its_cure(tmp_path, bundle):
    found = play(tmp_path, bundle, 1 / 9.80665)
    assert [finding.state for finding in found[:2]] == [OK, PROBLEM]
    assert found[1].text.startswith("acc looks like g")
    assert found[1].fix == "Say units=g."


def test_a_source_that_is_not_there(bundle):
    (finding,) = source(bundle, "replay:/nowhere.npz")
    assert finding.state == PROBLEM
    assert "/nowhere.npz" in finding.text


def test_a_source_that_sends_nothing(tmp_path, bundle):
    path = tmp_path / "empty.npz"
    np.savez(path, samples=np.zeros((0, 6)), channels=bundle.manifest.signal.channel_names, rate_hz=50.0)
    (finding,) = source(bundle, f"replay:{path}")
    assert finding.state == PROBLEM
