"""A terminal that is not UTF-8 never sees a traceback, whatever a bundle, a file or a word is called."""

import io
import json
import os
import sys
from dataclasses import replace

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.command import guarded, no_command
from runtime.errors import InputError
from runtime.recording import Recording
from tests.attacks.graphs import WALK
from tests.forked import Forks

REPLAY = WALK.parent / "person_6.npz"
TERMINALS = {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252:strict"},
    "utf-8": {"PYTHONIOENCODING": "utf-8:strict"},
}
STRANGE = "gehen-日本-\U0001f6b6"


@pytest.fixture(scope="module")
def japanese(tmp_path_factory):
    """The demo's bundle with a label that few terminals can show."""
    import shutil

    path = tmp_path_factory.mktemp("japanese") / "walk.bundle"
    shutil.copytree(WALK, path)
    told = json.loads((path / "manifest.json").read_text())
    told["labels"] = [STRANGE if label == "walking" else label for label in told["labels"]]
    (path / "manifest.json").write_text(json.dumps(told))
    assert STRANGE in Bundle.open(path).manifest.labels
    return path


@pytest.fixture(scope="module", params=TERMINALS)
def terminal(request):
    """(its name, what runs commands in it)."""
    with Forks("runtime.engine.ort, runtime.recording, runtime.stream", os.environ | TERMINALS[request.param]) as forks:
        yield request.param, forks


@pytest.fixture(scope="module")
def walking(tmp_path_factory):
    """Twenty seconds of a recording in which its person walks."""
    whole = Recording.load(REPLAY)
    rows = np.flatnonzero(whole.labels == whole.label_names.index("walking"))[:1000]
    parts = {name: getattr(whole, name)[rows] for name in ("samples", "t", "labels")}
    path = tmp_path_factory.mktemp("walking") / "r.npz"
    replace(whole, **parts).save(path)
    return path


def said(terminal, folder, *arguments):
    done = terminal[1].run(folder, folder, *arguments)
    told = done.stdout + done.stderr
    assert b"Traceback" not in told, told.decode(errors="replace")
    assert b"UnicodeEncodeError" not in told
    return done


@pytest.mark.parametrize("more", [[], ["--json"], ["--sink", "jsonl:-"]], ids=["table", "json", "sink"])
def test_a_label_of_another_script(japanese, walking, tmp_path, terminal, more):
    done = said(terminal, tmp_path, "sdk.stream", japanese, "--replay", walking, *more)
    assert done.returncode == 0
    shown = STRANGE.encode("ascii", "backslashreplace")
    if more:
        assert any(json.loads(line).get("label") == STRANGE for line in done.stdout.splitlines())
    else:
        assert (STRANGE.encode() if terminal[0] == "utf-8" else shown) in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [("exporters", "inspect"), ("sdk.finetune", "--list"), ("sdk.profile", "--help")],
    ids=lambda arguments: arguments[0],
)
def test_commands_that_draw(japanese, tmp_path, terminal, arguments):
    pytest.importorskip("onnx")
    name, word = arguments
    done = said(terminal, tmp_path, name, *((word, japanese) if name == "exporters" else (japanese, word)))
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["日本.bundle", "gel\udcfcscht.bundle", "\U0001f6b6"])
def test_a_name_that_is_no_text(tmp_path, terminal, name):
    done = said(
        terminal, tmp_path, "sdk.stream", os.fsencode(name).decode(errors="surrogateescape"), "--replay", "x.npz"
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("text", [STRANGE, "\udcff", "\ud800 half", "·═█"])
def test_errors_and_unknown_commands(monkeypatch, encoding, text):
    def fail():
        print(text)
        raise InputError(text, expected=text, got=text, fix=text)

    for act in (lambda: guarded(fail), lambda: no_command(text, [text, "stream"])):
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding, errors="strict"))
        assert act() == 2
        sys.stdout.flush(), sys.stderr.flush()
        assert sys.stderr.buffer.getvalue().startswith(b"error: ")
