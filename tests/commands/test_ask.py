"""sdk.ask: questions about a store, answered on a pipe or listed for a page; and what is learned from them."""

import io
import json
import shutil
from datetime import datetime

import numpy as np
import pytest

import sdk.ask
from runtime import Bundle, Recorder, Store
from runtime.recorder import RecordedStream
from sdk.finetune.pool import read_days
from tests.recorder_tools import BUNDLE, EPOCH_S

MINUTES = ("sitting", "walking", "jogging", "sitting", "walking", "jogging")  # of 40 s


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two minutes of made-up life twice: still, swinging, swinging faster."""
    path = tmp_path_factory.mktemp("ask") / "me.db"
    rng, bundle, pieces = np.random.default_rng(0), Bundle.open(BUNDLE, "base"), []
    for name in MINUTES:
        size, turns = {"sitting": (0.02, 0.0), "walking": (3.0, 2.0), "jogging": (9.0, 3.0)}[name]
        t = np.arange(2000) / 50
        swing = size * np.sin(2 * np.pi * turns * t)[:, None] * rng.uniform(0.5, 1, 6)
        pieces.append(swing + [0, 9.8, 0, 0, 0, 0] + 0.02 * rng.normal(size=(2000, 6)))
    with Recorder(path, bundle, epoch=EPOCH_S) as recorder:
        RecordedStream(recorder).push(np.concatenate(pieces).astype(np.float32))
        recorder.flush()
    return path


@pytest.fixture
def store(recorded, tmp_path):
    return shutil.copy(recorded, tmp_path / "me.db")


def answer(monkeypatch, capsys, arguments, lines):
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    code = sdk.ask.main([*map(str, arguments)])
    return code, capsys.readouterr().out


def test_a_page_lists_marks_and_is_done(store, capsys, monkeypatch):
    code, out = answer(monkeypatch, capsys, [store, BUNDLE, "--json", "--budget", 6], [])
    found = json.loads(out)
    assert code == 0
    assert len(found["questions"]) == 6
    seen = {MINUTES[int((q["start_s"] - EPOCH_S) // 40)] for q in found["questions"]}
    assert seen == set(MINUTES)
    first = found["questions"][0]
    begin, end = (datetime.fromisoformat(text).timestamp() for text in first["mark"])
    assert begin < first["start_s"] < first["end_s"] < end < begin + 2.6
    assert {len(line) for line in first["picture"]["norms"].values()} == {64}
    _, out = answer(monkeypatch, capsys, [store, BUNDLE, "--json", "--budget", 6, "--skip", first["start_s"]], [])
    again = json.loads(out)["questions"]
    assert all(abs(q["start_s"] - first["start_s"]) > 2.56 for q in again)
    with Store(store) as opened:
        assert opened.mark(begin, end, "walking", 0.0).inside == 1
    _, out = answer(monkeypatch, capsys, [store, BUNDLE, "--json"], [])
    assert json.loads(out)["labelled"] == 1


def test_answers_become_marks(store, capsys, monkeypatch):
    """Enter, a number, skip, a name that is nearly one, a new one said twice, enough."""
    lines = ["", "3", "s", "waking", "walking", "juggling", "juggling", "q"]
    code, out = answer(monkeypatch, capsys, [store, BUNDLE, "--budget", 8], lines)
    assert code == 0
    assert "did you mean walking?" in out
    assert "4 answers" in out
    with Store(store) as opened:
        labels = [span.label for span in opened.spans()]
        assert len(labels) == 4
        assert {"walking", "juggling"} <= set(labels)
        assert all(opened.inside(span.start_s, span.end_s).inside == 1 for span in opened.spans())
    days, everything = (read_days(store, Bundle.open(BUNDLE, "base"), marked=told) for told in (False, True))
    assert len(everything.windows) - len(days.windows) == 4


def test_the_end_of_a_pipe_is_enough(store, capsys, monkeypatch):
    code, out = answer(monkeypatch, capsys, [store, BUNDLE], ["1"])
    assert code == 0
    assert "1 answers" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--budget", "0"], "--budget: expected at least 1"),
        (["--json", "--learn"], "--learn: expected a person"),
        (["--json", "--skip", "x"], "--skip: expected seconds"),
    ],
)
def test_bad_input_is_one_line(store, capsys, arguments, text):
    assert sdk.ask.main([str(store), str(BUNDLE), *arguments]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error


def test_a_large_store_is_covered(store):
    """Stretches of windows in a row, and every activity that was predicted."""
    bundle = Bundle.open(BUNDLE, "base")
    days = read_days(store, bundle, 48)
    assert days.recorded == read_days(store, bundle).recorded > 150
    assert 30 <= len(days.windows) <= 48
    assert np.all(np.diff(days.start_s) > 0)
    assert np.mean(np.isclose(np.diff(days.start_s), 1.28)) > 0.8


def test_learning_is_one_sitting(store, tmp_path, capsys, monkeypatch):
    bundle = shutil.copytree(BUNDLE, tmp_path / "walk.bundle", ignore=shutil.ignore_patterns("personal"))
    code, out = answer(monkeypatch, capsys, [store, bundle, "--learn", "--budget", 6], ["5"] * 6)
    assert code in (0, 3)
    assert "in use" in out
