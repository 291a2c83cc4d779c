"""Engines against torch; streams against SciPy, and against themselves in other pieces."""

import json
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundle import Bundle
from runtime.engine import open_engine
from runtime.errors import BundleError, InputError
from runtime.recording import Recording
from runtime.sources import Replay, replay
from runtime.stream import Stream
from runtime.window import Windower
from runtime.window.watch import Watch
from tests.bundles_small import FCNS, LABELS, small_manifest, small_windows

RATE_HZ, LENGTH, HOP = 32.0, 32, 12  # as in bundles_small


@pytest.fixture(scope="module")
def bundle(exported):
    return Bundle.open(exported("fcn").path)


@pytest.fixture(scope="module")
def engine(bundle):
    return open_engine(bundle)


@pytest.mark.parametrize("name", FCNS)
def test_any_batch_agrees_with_torch(exported, name):
    path, module, _ = exported(name)
    engine = open_engine(Bundle.open(path))
    for n in (1, 2, 3, 16):
        windows = small_windows(n, seed=n)
        for output, truth in zip(("features", "logits"), module(windows), strict=True):
            found = engine.run(windows, output)
            assert found.shape == truth.shape
            assert found.dtype == np.float32
            assert np.abs(found - truth).max() <= 1e-5 * np.abs(truth).max()


@pytest.mark.parametrize("name", FCNS)
def test_golden_windows(exported, name):
    bundle = Bundle.open(exported(name).path)
    golden, engine = bundle.golden(), open_engine(bundle)
    assert len(golden.windows) == 4
    for output, truth in (("features", golden.features), ("logits", golden.logits)):
        assert np.abs(engine.run(golden.windows, output) - truth).max() <= 1e-5 * np.abs(truth).max()


def test_an_answer_stays_when_the_next_one_comes(engine):
    first, second = small_windows(2)[:, None]
    kept = engine.run(first)
    copy = kept.copy()
    assert not np.array_equal(engine.run(second), copy)
    assert np.array_equal(kept, copy)


def test_the_windows_stay_as_they_were(engine):
    for n in (1, 3):
        windows = small_windows(n)
        engine.run(windows)
        assert np.array_equal(windows, small_windows(n))


def test_windows_in_another_layout_of_memory(engine):
    windows = small_windows(6)
    for view in (windows[::2], np.asfortranarray(windows), windows[::-1], windows[5:6, ::-1]):
        assert not view.flags.c_contiguous
        assert np.array_equal(engine.run(view), engine.run(np.ascontiguousarray(view)))


def test_no_windows_give_no_rows(engine):
    assert engine.run(small_windows(4)[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    "windows",
    [
        np.zeros((1, 31, 3), np.float32),
        np.zeros((1, 32, 4), np.float32),
        np.zeros((32, 3), np.float32),
        np.zeros((1, 1, 32, 3), np.float32),
        np.zeros((2, 3, 32), np.float32),
        np.zeros((1, 32, 3), np.float64),
        np.zeros((1, 32, 3), np.int16),
    ],
    ids=lambda windows: f"{windows.dtype}{windows.shape}",
)
def test_wrong_windows(engine, windows):
    with pytest.raises(
        InputError, match=r"windows: expected float32 of shape \(n, 32, 3\), got .* of shape .*\. Cut the"
    ) as e:
        engine.run(windows)
    assert e.value.got == f"{windows.dtype} of shape {windows.shape}"


def test_a_graph_that_is_none(small_bundle):
    bundle, zeros = Bundle.open(small_bundle), b"\0" * 400_000
    (small_bundle / "model.onnx").write_bytes(zeros)
    with pytest.raises(BundleError, match=r"model.onnx: expected \d+ bytes, got 400000"):
        open_engine(bundle)
    told = replace(bundle.manifest.files["model.onnx"], bytes=len(zeros), sha256=sha256(zeros).hexdigest())
    bundle = replace(bundle, manifest=replace(bundle.manifest, files={**bundle.manifest.files, "model.onnx": told}))
    with pytest.raises(
        BundleError, match=r"model.onnx: expected a graph that onnxruntime can open, got .*Update onnxrun"
    ):
        open_engine(bundle)


def samples_of(n):
    return np.random.default_rng(8).normal((0.5, -1, 9), (2, 3, 4), (n, 3)).astype(np.float32)


def answers(predictions):
    """What of predictions is the same whenever they are made."""
    return [(p.label, p.probability, p.probabilities, p.start_s, p.end_s, p.quality) for p in predictions]


def test_predictions_are_scipys_softmax_of_torchs_logits(bundle, exported):
    samples = samples_of(200)
    predictions = Stream(bundle).push(samples)
    windows = np.lib.stride_tricks.sliding_window_view(samples, LENGTH, axis=0)[::HOP].transpose(0, 2, 1)
    logits = exported("fcn").module(np.ascontiguousarray(windows))[1]
    truth = scipy.special.softmax(logits.astype(np.float64), axis=1)
    assert len(predictions) == len(windows) == 15
    np.testing.assert_allclose([p.probabilities for p in predictions], truth, rtol=1e-4)
    for prediction, probabilities in zip(predictions, truth, strict=True):
        assert sum(prediction.probabilities) == pytest.approx(1, abs=1e-12)
        assert prediction.probability == max(prediction.probabilities)
        assert prediction.label == LABELS[int(probabilities.argmax())]
    assert len({p.label for p in predictions}) > 1
    assert [p.start_s for p in predictions] == [i * HOP / RATE_HZ for i in range(15)]
    assert [p.end_s - p.start_s for p in predictions] == [1.0] * 15


def test_probabilities_of_extreme_logits():
    class Extreme:
        def logits(self, window):
            return [-1e30, 700.0, 800.0]

    stream = Stream.__new__(Stream)
    manifest = small_manifest()
    stream.windower, stream._labels = Windower(manifest.signal, manifest.window), manifest.labels
    stream._engine, stream._spectrogram, stream._unusual = Extreme(), None, None
    stream._watch = Watch(manifest.signal, manifest.window)
    (prediction,) = stream.push(samples_of(32))
    assert prediction.label == "running"
    assert prediction.probabilities == pytest.approx(scipy.special.softmax([-1e30, 700, 800]), abs=1e-15)


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, 150), max_size=20), timed=st.booleans(), gap=st.integers(1, 149))
def test_any_chunking_gives_the_same_predictions_bit_for_bit(bundle, engine, cuts, timed, gap):
    samples = samples_of(150)
    t = np.arange(150) / RATE_HZ
    t[gap:] += 5
    whole, pieces = Stream(bundle, engine), Stream(bundle, engine)
    expected = answers(whole.push(samples, t if timed else None))
    bounds = [0, *sorted(cuts), 150]
    found = [
        prediction
        for begin, end in pairwise(bounds)
        for prediction in pieces.push(samples[begin:end], t[begin:end] if timed else None)
    ]
    assert answers(found) == expected
    n_windows = [max(0, (n - LENGTH) // HOP + 1) for n in ((gap, 150 - gap) if timed else (150,))]
    assert len(expected) == sum(n_windows)
    pieces.reset()
    assert answers(pieces.push(samples, t if timed else None)) == expected


def test_two_streams_over_one_engine_are_as_two_over_two(bundle, engine):
    left, right = samples_of(160), samples_of(160)[::-1]
    expected = [answers(Stream(bundle).push(samples)) for samples in (left, right)]
    assert expected[0] != expected[1]
    shared = Stream(bundle, engine), Stream(bundle, engine)
    found = [], []
    for begin in range(0, 160, 7):
        for stream, samples, predictions in zip(shared, (left, right), found, strict=True):
            predictions += stream.push(samples[begin : begin + 7])
    assert [answers(predictions) for predictions in found] == expected


def test_a_refused_push_leaves_the_stream_as_it_was(bundle, engine):
    stream, samples = Stream(bundle, engine), samples_of(100)
    found = stream.push(samples[:30])
    with pytest.raises(InputError, match=r"samples: expected real numbers of shape \(n, 3\): acc_x, acc_y, acc_z, got"):
        stream.push([[1, 2], [1, 2]])
    found += stream.push(samples[30:])
    assert answers(found) == answers(Stream(bundle, engine).push(samples))


def test_a_row_that_is_no_number_is_counted_and_no_window_spans_it(bundle, engine):
    stream, samples = Stream(bundle, engine), samples_of(100)
    samples[40, 2] = np.nan
    found = stream.push(samples)
    assert [(p.start_s, p.end_s) for p in found] == [(0, 1), *[((41 + k) / 32, (73 + k) / 32) for k in (0, 12, 24)]]
    assert (stream.counters.not_finite, stream.counters.gaps, stream.counters.windows) == (1, 1, 4)
    assert answers(found[1:]) == [
        (*a[:3], a[3] + 41 / 32, a[4] + 41 / 32, a[5]) for a in answers(Stream(bundle, engine).push(samples[41:]))
    ]


def test_one_window_at_a_time_is_what_a_batch_of_one_gives(engine):
    for window in small_windows(3):
        assert engine.logits(window) == engine.run(window[None])[0].tolist()


def test_a_prediction_as_a_dictionary_is_json(bundle, engine):
    (prediction,) = Stream(bundle, engine).push(samples_of(32), np.arange(32) / RATE_HZ)
    told = json.loads(json.dumps(prediction.to_dict()))
    assert set(told) == set(prediction._fields)
    assert told["label"] == prediction.label
    assert told["quality"] == {
        "real": 1.0,
        "filled": 0,
        "saturated": 0,
        "padded": 0,
        "source_hz": [pytest.approx(RATE_HZ)],
        "jitter_s": pytest.approx(0, abs=1e-9),
        "frozen": [],
        "implausible": [],
    }


def test_times_of_computing_are_told(bundle, engine):
    predictions = Stream(bundle, engine).push(samples_of(44))
    for p in predictions:
        assert min(p.window_s, p.engine_s, p.decide_s) > 0
        assert p.compute_s == p.window_s + p.engine_s + p.decide_s
    assert len(predictions) == 2


class Clock:
    """A clock that only sleeping moves, and what the reader of the replay takes."""

    def __init__(self):
        self.now, self.slept = 100.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(replay, "time", clock)
    return clock


def recording(n, t=None):
    return Recording(samples_of(n), ("acc_x", "acc_y", "acc_z"), RATE_HZ, t=t)


def test_a_replay_waits_as_long_as_the_sensor(bundle, clock):
    source = Replay(recording(80), bundle.manifest.signal, chunk_samples=16, realtime=True, sleep=clock.sleep)
    arrivals = [(clock.now - 100, len(samples)) for samples, *_ in source]
    assert arrivals == [(0.5, 16), (1.0, 16), (1.5, 16), (2.0, 16), (2.5, 16)]


def test_a_replay_does_not_add_the_readers_own_time(bundle, clock):
    arrivals = []
    for _ in Replay(recording(64), bundle.manifest.signal, chunk_samples=16, realtime=True, sleep=clock.sleep):
        arrivals.append(clock.now - 100)
        clock.now += 0.75 if len(arrivals) == 1 else 0.25  # once it is late, then it catches up
    assert arrivals == [0.5, 1.25, 1.5, 2.0]
    assert clock.slept == [0.5, 0.0, 0.0, 0.25]


def test_a_replay_with_times_keeps_to_them(bundle, clock):
    t = 1e6 + np.concatenate([np.arange(16), 96 + np.arange(16)]) / RATE_HZ
    source = Replay(recording(32, t), bundle.manifest.signal, chunk_samples=16, realtime=True, sleep=clock.sleep)
    assert [clock.now - 100 for _ in source] == [15 / 32, 111 / 32]


def test_a_fast_replay_never_sleeps_and_gives_everything(bundle, clock, tmp_path):
    recorded = recording(70, np.arange(70) / RATE_HZ)
    recorded.save(tmp_path / "a.npz")
    for given_as in (recorded, tmp_path / "a.npz", str(tmp_path / "a.npz")):
        chunks = list(Replay(given_as, bundle.manifest.signal, chunk_samples=32, sleep=clock.sleep))
        assert [len(samples) for samples, *_ in chunks] == [32, 32, 6]
        assert np.array_equal(np.concatenate([samples for samples, *_ in chunks]), recorded.samples)
        assert np.array_equal(np.concatenate([t for _, t, _ in chunks]), recorded.t)
    assert clock.slept == []
    stream = Stream(bundle)
    found = [p for batch in chunks for p in stream.push(*batch)]
    assert answers(found) == answers(Stream(bundle).push(recorded.samples, recorded.t))


@pytest.mark.parametrize("n", [0, -1])
def test_a_replay_of_no_rows_at_a_time(bundle, n):
    with pytest.raises(InputError, match=f"chunk_samples: expected at least 1, got {n}. Give a number of rows."):
        Replay(recording(4), bundle.manifest.signal, chunk_samples=n)
