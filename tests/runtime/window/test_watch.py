"""The watch over a sensor that lies: each kind is told at its delay, a good sensor never, whatever the chunks."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sdk.demo
from runtime import Bundle, Recording, Stream
from runtime.specs import Modality, Signal, WindowSpec
from runtime.window.pieces import PERFECT, Counters, Window
from runtime.window.sensor import Expected
from runtime.window.watch import CLOSER, FIRST, GLANCE, LOOK, Watch

DATA = Path(sdk.demo.__path__[0]) / "data"
G, HOP = 9.80665, 64


@pytest.fixture(scope="module")
def bundle():
    return Bundle.open(DATA / "walk.bundle")


@pytest.fixture(scope="module")
def walk():
    """Upstairs and walking, of a person whom the model never saw, as one stretch of 160 s, float32."""
    return np.array(Recording.load(DATA / "person_6.npz").samples[16000:], np.float32)


def scaled(acc=1.0, gyro=1.0):
    return lambda x: x * np.float32([acc] * 3 + [gyro] * 3)


def without_gravity(x):
    x = x.copy()
    for i in range(3):
        x[:, i] -= np.convolve(x[:, i], np.ones(100) / 100, "same")
    return x


def at(columns, value):
    def change(x):
        x = x.copy()
        x[:, columns] = value
        return x

    return change


def clipped(x):
    x = x.copy()
    x[:, :3] = np.clip(x[:, :3] * 2, -19.6133, 19.6133)
    return x


LIES = {  # what is done: the word, the sentence, windows until the first that is marked, counted from 1
    "acc in g": (scaled(1 / G), "acc unit", "acc looks like g, not m/s^2", "units=g", 5),
    "acc in mg": (scaled(1000 / G), "acc unit", "acc looks like mg", "units=mg", 5),
    "acc in mm/s^2": (scaled(1000), "acc unit", "acc looks like mm/s^2", "divide it by 1000", 5),
    "acc in counts": (scaled(16384 / G), "acc unit", "acc looks like counts of 16384 per g", "units=g/16384", 5),
    "gyro in deg/s": (scaled(1, 180 / np.pi), "gyro unit", "gyro looks like deg/s", "units=deg/s", 3),
    "gyro beyond its range": (scaled(1, 180 / np.pi), "gyro range", "beyond the 36.6 of a plausible sensor", "unit", 1),
    "no gravity": (without_gravity, "acc gravity", "no gravity in it", "push the raw acceleration", 5),
    "a dead axis": (at([1], 0.25), "acc_y dead", "acc_y never moves", "wire", 8),
    "at the rail": (clipped, "acc rail", "the end of its range", "larger range", 3),
}


@pytest.mark.parametrize("kind", LIES)
def test_each_lie_is_told_at_its_delay(bundle, walk, kind):
    change, word, sentence, cure, delay = LIES[kind]
    stream = Stream(bundle)
    predictions = stream.push(change(walk))
    marked = [word in p.quality.implausible for p in predictions]
    assert marked.index(True) + 1 <= delay + 3  # a window without motion in between tells nothing
    assert marked.index(True) + 1 >= delay
    told = [text for text in stream.warnings if sentence in text]
    assert len(told) == 1
    assert cure in told[0]
    assert stream.counters.windows_implausible >= sum(marked) > len(marked) / 2


def test_a_good_sensor_is_never_called_a_liar(bundle):
    for path in sorted(DATA.glob("person_*.npz")):
        recording = Recording.load(path)
        for t in (None, recording.t):
            stream = Stream(bundle)
            predictions = stream.push(recording.samples, t) + stream.flush()
            assert stream.warnings == ()
            assert not any(p.quality.frozen or p.quality.implausible for p in predictions)
            assert (stream.counters.windows_frozen, stream.counters.windows_implausible) == (0, 0)


@pytest.mark.parametrize("row", [[0] * 6, [-4.3, 6.3, 1.4, -1.3, -0.7, 0.2], [15.999] * 6])
@pytest.mark.parametrize("source_hz", [50, 100])
def test_a_source_that_stands_still_is_frozen_from_its_first_whole_window(bundle, walk, row, source_hz):
    still = np.tile(np.float32(row), (source_hz * 10, 1))
    samples = np.concatenate([np.repeat(walk[:500], source_hz // 50, 0), still])
    stream = Stream(bundle, source_hz=source_hz)
    predictions = stream.push(samples) + stream.flush()
    stands = [p.quality.frozen == ("acc", "gyro") for p in predictions]
    whole = [p.start_s > 10.2 for p in predictions]  # a low-pass rings for 0.1 s
    assert [s for s, w in zip(stands, whole, strict=True) if w] == [True] * sum(whole)
    assert not any(s for s, p in zip(stands, predictions, strict=True) if p.start_s < 9.5)
    assert stream.counters.windows_frozen == sum(stands)
    assert any("acc gives" in text for text in stream.warnings)


def test_one_modality_may_stand_still_alone(bundle, walk):
    stream = Stream(bundle)
    predictions = stream.push(at([3, 4, 5], 0)(walk))
    assert {p.quality.frozen for p in predictions} == {("gyro",)}
    assert stream.warnings == ("gyro gives nothing but 0: the sensor or its driver has stopped",)


def test_who_lies_still_is_not_frozen(bundle):
    noise = np.random.default_rng(0).normal(0, 0.004, (3000, 6))
    still = (noise + np.array([0, 0, G, 0, 0, 0])).astype(np.float32)
    for step in (0.0, 0.0012):  # 16 bits over 4 g
        stream = Stream(bundle)
        predictions = stream.push(still if not step else (still / step).round() * step)
        assert not any(p.quality.frozen or p.quality.implausible for p in predictions)


def test_a_rate_far_from_the_models_is_told(bundle, walk):
    for source_hz, told in ((5, True), (20, False), (400, False)):
        stream = Stream(bundle)
        stream.push(walk[:1500], np.arange(1500) / source_hz)
        assert any("far from the 50 Hz" in text for text in stream.warnings) == told


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_chunking_gives_the_same_marks(bundle, walk, data):
    kinds = [lambda x: x, *(LIES[k][0] for k in ("acc in g", "gyro in deg/s", "a dead axis")), at([0, 1, 2], 1.0)]
    chosen = [data.draw(st.sampled_from(kinds)) for _ in range(2)]
    samples = np.concatenate([change(walk[i * 3000 : (i + 1) * 3000]) for i, change in enumerate(chosen)])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=8)))
    whole, parts = Stream(bundle), Stream(bundle)
    expected = whole.push(samples)
    found = [p for piece in np.split(samples, cuts) for p in parts.push(piece)]
    assert [(p.quality, p.unusual) for p in found] == [(p.quality, p.unusual) for p in expected]
    assert (parts.warnings, parts.counters) == (whole.warnings, whole.counters)


def test_reset_forgets_what_was_said(bundle, walk):
    stream = Stream(bundle)
    stream.push(scaled(1 / G)(walk))
    assert stream.warnings
    stream.reset()
    assert (stream.warnings, stream.unusual) == ((), None)
    assert not any(p.quality.implausible for p in stream.push(walk))


def test_windows_of_several_rates_are_watched_too():
    sensors = Modality("acc", "m/s^2", ("x", "y", "z"), 50.0), Modality("gyro", "rad/s", ("x", "y", "z"), 25.0)
    watch, counters = Watch(Signal(sensors), WindowSpec(100, 50)), Counters()
    rng = np.random.default_rng(0)
    for i in range(12):
        acc, gyro = rng.normal([0, 0, 1], 0.1, (100, 3)), np.full((50, 3), 0.5)
        flat = np.concatenate([acc.ravel(), gyro.ravel()]).astype(np.float32)
        window = watch.look(Window(flat, i, i + 2, 50 * i, PERFECT), counters)
    assert window.quality.frozen == ("gyro",)
    assert window.quality.implausible == ("acc unit",)
    assert (counters.windows_frozen, counters.windows_implausible) == (12, 8)


def test_a_model_without_gravity_is_told_of_gravity():
    signal = Signal((Modality("acc", "m/s^2", ("x", "y", "z"), 50.0),))
    watch = Watch(signal, WindowSpec(100, 50), Expected((0.02,), (2.0,), (20.0,), (50.0,) * 3))
    rng = np.random.default_rng(0)
    for i in range(12):
        samples = rng.normal([0, 0, G], 1, (100, 3)).astype(np.float32)
        watch.look(Window(samples, i, i + 2, 50 * i, PERFECT), Counters())
    assert watch.implausible == ("acc gravity",)
    assert "the model wants none" in watch.warnings[0]


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("acc in g", GLANCE + 8),
        ("acc in mg", GLANCE + 8),
        ("acc in counts", GLANCE + 8),
        ("no gravity", GLANCE + 8),
        ("gyro in deg/s", GLANCE + 8),
        ("at the rail", LOOK + CLOSER),
    ],
)
def test_a_lie_that_begins_late_is_told_too(bundle, walk, kind, most):
    good = np.concatenate([walk] * 3)[: FIRST * HOP + 6400]
    stream = Stream(bundle)
    before = len(stream.push(good))
    assert stream.warnings == ()
    predictions = stream.push(LIES[kind][0](np.concatenate([walk] * 3)))
    marked = [bool(p.quality.implausible) for p in predictions]
    assert before > FIRST
    assert marked.index(True) < most
    assert all(marked[marked.index(True) :])
