"""Rows in other units and axes: a stream that is told so gives what it gives for rows that were turned before."""

from pathlib import Path

import numpy as np
import pytest

import sdk.demo
from runtime import Bundle, InputError, Recording, Stream
from runtime.hub import HubCore
from runtime.window import Windower

DATA = Path(sdk.demo.__path__[0]) / "data"
G, DEGREES = 9.80665, 180 / np.pi
SAID = {"units": "g,deg/s", "axes": "y,-x,z"}


@pytest.fixture(scope="module")
def bundle():
    return Bundle.open(DATA / "walk.bundle")


@pytest.fixture(scope="module")
def given():
    """Rows of a sensor in g and deg/s, which lies turned."""
    walk = np.array(Recording.load(DATA / "person_6.npz").samples[16000:17000], np.float64)
    return walk / ([G] * 3 + [1 / DEGREES] * 3)


def turned(rows):
    """What `SAID` says, by hand."""
    x = np.asarray(rows, np.float64) * ([G] * 3 + [np.pi / 180] * 3)
    return np.stack([x[:, 1], -x[:, 0], x[:, 2], x[:, 4], -x[:, 3], x[:, 5]], 1).astype(np.float32)


def answers(predictions):
    return [(p.probabilities, p.start_s, p.quality) for p in predictions]


@pytest.mark.parametrize("size", [1, 7, 16, 50])
@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_stream_that_is_told_gives_the_same_bit_for_bit(bundle, given, size, timed, dtype):
    rows, t = given.astype(dtype), np.arange(len(given)) / 49.3
    told, plain = Stream(bundle, **SAID), Stream(bundle)
    found, expected = [], []
    for begin in range(0, len(rows), size):
        part, at = rows[begin : begin + size], t[begin : begin + size] if timed else None
        found += told.push(part, at)
        expected += plain.push(turned(part), at)
    assert len(found) >= 13
    assert answers(found) == answers(expected)
    assert (told.counters, told.warnings) == (plain.counters, ())


def test_each_modality_of_its_own_clock_is_turned(bundle, given):
    told, plain, t = Stream(bundle, **SAID), Stream(bundle), np.arange(len(given)) / 50
    right = turned(given)
    found, expected = [], []
    for name, columns in (("acc", slice(0, 3)), ("gyro", slice(3, 6))):
        found += told.push(given[:, columns], t, name)
        expected += plain.push(right[:, columns], t, name)
    assert answers(found) == answers(expected) != []


def test_a_hub_turns_the_samples_of_all_its_streams(bundle, given):
    class Sums:
        def run(self, windows, output="logits"):
            return windows.sum(axis=1)

    told, plain = HubCore(bundle, Sums(), **SAID), HubCore(bundle, Sums())
    for name in ("anna", "ben"):
        told.push(name, given[:300], now_s=0.0)
        plain.push(name, turned(given[:300]), now_s=0.0)
    assert [p.probabilities for _, p in told.step()] == [p.probabilities for _, p in plain.step()] != []


def test_units_by_name_counts_and_a_matrix(bundle, given):
    signal, window = bundle.manifest.signal, bundle.manifest.window
    counts = (given * ([16384] * 3 + [1] * 3)).round().astype(np.int32)
    matrix = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]
    windower = Windower(signal, window, units={"acc": "g/16384", "gyro": "deg/s"}, axes=matrix)
    found = windower.push(counts)
    expected = Windower(signal, window).push(turned(counts / ([16384] * 3 + [1] * 3)))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.samples, b.samples, rtol=1e-6)


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ({"units": "g,furlong"}, "unit of gyro"),
        ({"units": {"baro": "hPa"}}, "units"),
        ({"axes": "y,y,z"}, "axes"),
        ({"axes": np.zeros((3, 3))}, "axes"),
        ({"axes": np.eye(2)}, "axes"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(bundle, said, where):
    with pytest.raises(InputError, match=f"samples: {where}"):
        Stream(bundle, **said)
    with pytest.raises(InputError, match=f"samples: {where}"):
        HubCore(bundle, None, **said)


def test_a_wrong_shape_is_refused_and_changes_nothing(bundle, given):
    told, whole = Stream(bundle, **SAID), Stream(bundle, **SAID)
    found = told.push(given[:200])
    for wrong in (given[:, :5], np.column_stack([given, given]), given.astype(str)):
        with pytest.raises(InputError, match="real numbers of shape"):
            told.push(wrong)
    with pytest.raises(InputError, match="modality"):
        told.push(given, modality="baro")
    assert answers(found + told.push(given[200:])) == answers(whole.push(given))
