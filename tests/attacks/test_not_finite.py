"""A number that is not one is never a prediction: no label, counted, marked, valid JSON in every sink, no NULL."""

import json
import math
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.engine import open_engine
from runtime.errors import InputError
from runtime.hub import HubCore
from runtime.recorder import RecordedStream, Recorder, Store
from runtime.recording import Recording
from runtime.sinks import JsonLinesSink, MQTTSink
from runtime.specs import ClockSpec
from runtime.stream import Stream, decide
from runtime.window import LabelledWindows, Window
from runtime.wire.mqtt import Broker
from sdk.finetune.__main__ import main as finetune
from sdk.scores import score_bundle
from sdk.stream import main as stream_command
from tests.attacks.graphs import WALK, adding, with_tail

NAN, INF = math.nan, math.inf
GARBAGE = (3.4e38, -3.4e38, 3e38, 1e38, 1e37, 1e30, 1e20, 1e12, -1e9, 1e6, 2e4)  # finite float32 that no sensor gives
STRANGE = {  # what is added to the six logits
    "nan": (NAN, None, None, None, None, None),
    "the last is nan": (None, None, None, None, None, NAN),
    "all nan": (NAN,) * 6,
    "inf": (None, INF, None, None, None, None),
    "-inf": (None, None, -INF, None, None, None),
    "all -inf": (-INF,) * 6,
    "two inf": (INF, None, None, INF, None, None),
    "inf and -inf": (INF, None, -INF, None, None, None),
}


def samples(n=128, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)


def spoilt(value, n=128, at=5):
    rows = samples(n)
    rows[at] = value
    return rows


@pytest.fixture(scope="module")
def walk():
    return Bundle.open(WALK)


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("strange")
    made = {}

    def bundle(name):
        if name not in made:
            made[name] = with_tail(folder / f"{len(made)}.bundle", adding(*STRANGE[name]))
        return made[name]

    return bundle


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def assert_honest(predictions, counters):
    """Every window is a prediction or counted, and every prediction has numbers."""
    assert len(predictions) == counters.windows - counters.windows_not_finite
    for prediction in predictions:
        assert all(math.isfinite(p) for p in prediction.probabilities)
        assert sum(prediction.probabilities) == pytest.approx(1)
        assert prediction.quality.saturated > 0
        strict(json.dumps(prediction.to_dict()))


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("value", GARBAGE)
def test_a_row_of_garbage(walk, value, timed):
    stream, rows = Stream(walk), spoilt(value)
    predictions = stream.push(rows, np.arange(128) / 50 if timed else None)
    predictions += stream.flush("hold") if timed else []
    assert stream.counters.windows == 1
    assert stream.counters.saturated == 1
    assert_honest(predictions, stream.counters)


@pytest.mark.parametrize("clock", [ClockSpec(gap="hold"), ClockSpec(gap="mark"), ClockSpec(reorder_s=0.1)])
@pytest.mark.parametrize("value", GARBAGE[:4])
def test_garbage_that_is_filtered_bridged_or_held(walk, value, clock):
    stream, rows = Stream(walk, clock=clock), spoilt(value, 1000, slice(5, 1000, 90))
    t = np.delete(np.arange(1000), slice(400, 420)) / 200  # a faster source goes through the low-pass
    predictions = stream.push(np.delete(rows, slice(400, 420), axis=0), t) + stream.flush("hold")
    assert stream.counters.windows > 0
    assert_honest(predictions, stream.counters)


def test_the_next_windows_are_as_if_nothing_had_been(walk):
    stream, clean = Stream(walk), Stream(walk)
    rows = spoilt(3.4e38, 512)
    labels = [p.probabilities for p in stream.push(rows)]
    assert labels == [p.probabilities for p in clean.push(samples(512))][-len(labels) :]
    assert (stream.counters.windows, stream.counters.windows_not_finite, len(labels)) == (7, 1, 6)


@pytest.mark.parametrize("logits", [v for v in STRANGE.values()], ids=STRANGE)
def test_no_label_is_made_of_such_logits(logits):
    window = Window(samples(), 0.0, 2.56)
    numbers = [0.5 if value is None else value for value in logits]
    assert decide("abcdef", numbers, window, 0.0, 0.0, 0.0) is None


@pytest.mark.parametrize("highest", [3.4e38, -3.4e38, 0.0])
def test_logits_of_any_size_are_numbers(highest):
    prediction = decide("abc", [highest, highest - 3e38, highest / 2], Window(samples(), 0.0, 2.56), 0.0, 0.0, 0.0)
    assert sum(prediction.probabilities) == pytest.approx(1)


@pytest.mark.parametrize("name", STRANGE)
def test_a_graph_that_gives_none(strange, name):
    bundle = Bundle.open(strange(name))
    stream = Stream(bundle)
    assert stream.push(samples(512)) == []
    assert (stream.counters.windows, stream.counters.windows_not_finite) == (7, 7)
    core = HubCore(bundle, open_engine(bundle))
    core.push("a", samples(512), now_s=0.0)
    assert core.step() == []
    assert core.counters("a") == core.counters()
    assert (core.counters().windows, core.counters().not_finite) == (7, 7)
    assert core.sample_counters("a").windows_not_finite == 7


@pytest.mark.parametrize("value", GARBAGE)
def test_a_hub_beside_a_good_stream(walk, value):
    core, found = HubCore(walk, open_engine(walk)), {"good": [], "bad": []}
    for name, rows in (("bad", spoilt(value, 256)), ("good", samples(256, 1))):
        core.push(name, rows, now_s=0.0)
    while core.due_s() is not None:
        for name, prediction in core.step():
            found[name].append(prediction)
    assert len(found["good"]) == 3
    counted, bad = core.counters(), core.counters("bad")
    assert counted.windows == counted.predicted + counted.dropped + counted.queued + counted.not_finite == 6
    assert (bad.predicted, bad.not_finite) == (len(found["bad"]), 3 - len(found["bad"]))
    assert all(p.quality.saturated for p in found["bad"] if p.start_s == 0)


@pytest.mark.parametrize("value", [3.4e38, 3e38, 1e6])
def test_what_a_recorder_keeps_has_no_null(walk, tmp_path, value):
    with Recorder(tmp_path / "me.db", walk, epoch=1.7e9) as recorder:
        stream = RecordedStream(recorder)
        predictions = stream.push(spoilt(value, 512))
        assert recorder.flush()
    assert recorder.counters.written == len(predictions)
    with closing(sqlite3.connect(tmp_path / "me.db")) as db:
        assert db.execute("SELECT count(*) FROM predictions WHERE probability IS NULL").fetchone() == (0,)
    with Store(tmp_path / "me.db") as store:
        kept = list(store.predictions(0, 2e9))
        windows = list(store.windows(0, 2e9))
    assert [p.probability for p in kept] == [p.probability for p in predictions]
    assert len(windows) == len(predictions)


def test_what_an_older_recorder_kept_is_left_out(walk, tmp_path):
    with Recorder(tmp_path / "me.db", walk, epoch=1.7e9) as recorder:
        RecordedStream(recorder).push(samples(512))
        assert recorder.flush()
    with closing(sqlite3.connect(tmp_path / "me.db")) as db, db:
        db.execute("UPDATE predictions SET probability = NULL WHERE at = (SELECT max(at) FROM predictions)")
    with Store(tmp_path / "me.db") as store:
        assert [type(p.probability) for p in store.predictions(0, 2e9)] == [float] * 6


@pytest.mark.parametrize("value", [NAN, INF, -INF, -0.1, 1.5])
def test_predictions_that_somebody_else_made_up(walk, tmp_path, value):
    (prediction,) = Stream(walk).push(samples())
    made_up = prediction._replace(probability=value)
    with Recorder(tmp_path / "me.db", walk) as recorder, pytest.raises(InputError, match="a probability"):
        recorder.write(made_up)
    if math.isfinite(value):
        return
    with JsonLinesSink(tmp_path / "out") as sink, pytest.raises(InputError, match="finite numbers"):
        sink.write(made_up)
    assert (tmp_path / "out").read_text() == ""
    with pytest.raises(InputError, match="finite numbers"):
        MQTTSink(Broker("localhost", "activity")).write(made_up)


@pytest.mark.parametrize("way", [["--json"], ["--sink", "jsonl:-"], ["--sink", "jsonl:out"], []])
@pytest.mark.parametrize("bad", ["samples", "graph"])
def test_the_command_writes_json_only(strange, tmp_path, way, bad, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = WALK if bad == "samples" else strange("nan")
    rows = spoilt(3.4e38, 400)
    channels = [f"{name}_{axis}" for name in ("acc", "gyro") for axis in "xyz"]
    Recording(rows, tuple(channels), 50.0).save(tmp_path / "r.npz")
    code = stream_command([str(path), "--replay", "r.npz", *way])
    stdout, stderr = capsys.readouterr()
    assert code == 0, stderr
    windows = 5
    wanted = windows - 1 if bad == "samples" else 0
    if way:
        lines = (tmp_path / "out").read_text() if way[1:] == ["jsonl:out"] else stdout
        objects = [strict(line) for line in lines.splitlines()]
        assert len([o for o in objects if "label" in o]) == wanted
        if way == ["--json"]:
            assert objects[-1]["counters"]["windows_not_finite"] == windows - wanted
    if way != ["--json"]:
        assert f"{windows - wanted} windows not finite" in stdout + stderr


def test_an_altered_demo_is_taken_as_it_is(strange, tmp_path):
    """The tool of these tests: without a change behind the logits the answers are those of the demo."""
    path = with_tail(tmp_path / "same.bundle", adding(*[None] * 6))
    rows = samples(512)
    assert [p[:3] for p in Stream(path).push(rows)] == [p[:3] for p in Stream(WALK).push(rows)]
    shutil.rmtree(path)


@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 3e38])
@pytest.mark.parametrize("method", ["head", "layers"])
def test_nothing_is_learnt_from_such_windows(tmp_path, value, method, capsys):
    shutil.copytree(WALK, tmp_path / "walk.bundle")
    rows, labels = samples(1280), np.arange(1280) // 320 % 2
    rows[700] = value
    channels = [f"{name}_{axis}" for name in ("acc", "gyro") for axis in "xyz"]
    recording = Recording(
        rows, tuple(channels), 50.0, labels=labels.astype(np.int16), label_names=("sitting", "walking")
    )
    recording.save(tmp_path / "r.npz")
    code = finetune([str(tmp_path / "walk.bundle"), "--labels", str(tmp_path / "r.npz"), "--method", method])
    err = capsys.readouterr().err
    assert code == 2, err
    assert "finite" in err.splitlines()[-1]
    assert not list((tmp_path / "walk.bundle").glob("personal/0*"))


def test_no_score_is_made_of_such_windows(walk):
    windows = np.stack([samples(), spoilt(3.4e38)])
    found = LabelledWindows(windows, np.array([0, 1]), np.zeros(2), np.zeros(2, np.int64))
    with pytest.raises(InputError, match="1 of 2 windows"):
        score_bundle(walk, found)
