"""The long form of the battery: what got through is told with its seed, nothing stays behind, and its kinds survive."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.attacks import long
from tests.attacks.storms import KINDS, LackingError
from tests.commands.test_children import lives
from tests.waiting import until


@pytest.fixture(autouse=True)
def _a_folder(tmp_path, monkeypatch):
    """Where the cases work: nothing may be left in it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []


def main(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["long", *words])
    return long.main()


def survives(rng, folder):
    """Writes, and is content."""
    (folder / "x").write_text(str(rng.random()))


def fails_at_times(rng, folder):
    """Every second."""
    assert rng.random() < 0.5, "a word on it"


def dies(rng, folder):
    """As of a segmentation fault."""
    os.kill(os.getpid(), 9)


def hangs(rng, folder):
    """For long."""
    time.sleep(1000)


def leaves(rng, folder):
    """A process."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    Path(os.environ["LEFT"]).write_text(str(process.pid))


def lacks(rng, folder):
    """What is not there."""
    raise LackingError("no such thing")


def test_what_got_through_is_told_with_the_seed_that_repeats_it(monkeypatch, capsys):
    for name, kind in {"good": survives, "half": fails_at_times, "none": lacks}.items():
        monkeypatch.setitem(KINDS, name, kind)
    words = ("--kind", "good", "half", "none", "--seconds", "2", "--seed", "3")
    assert main(monkeypatch, *words) == 1
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    (good,) = (line for line in lines if line[0] == "good")
    assert good[1] == good[3] == "1" or int(good[1]) == int(good[3])
    assert ["none", "not", "tried:", "no", "such", "thing"] in lines
    (half,) = (line for line in lines if line[0] == "half")
    assert int(half[1]) == int(half[3]) - err.count("GOT THROUGH") < int(half[3])
    case = err.partition("--repeat ")[2].split()[0]
    assert main(monkeypatch, "--repeat", case) == 1
    assert "a word on it" in capsys.readouterr().out
    assert main(monkeypatch, "--kind", "good", "--seconds", "0", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["tried"], told["through"], told["lacks"]) == ({"good": 1}, [], {})


@pytest.mark.parametrize(
    ("kind", "text"),
    [(dies, "it ended with -9"), (hangs, "it does not end within 1 s"), (leaves, "left running: ")],
)
def test_a_case_that_dies_hangs_or_leaves_something_got_through(kind, text, monkeypatch, tmp_path_factory):
    monkeypatch.setitem(KINDS, "one", kind)
    pid = tmp_path_factory.mktemp("left") / "pid"
    monkeypatch.setenv("LEFT", str(pid))
    assert long.attacked("one", 1, 1.0 if kind is hangs else 60.0).startswith(text)
    if kind is leaves:
        until(lambda: not lives(int(pid.read_text())))


@pytest.mark.parametrize("kind", ["text", "stamps", "manifests", "current"])
def test_a_quick_kind_is_survived(kind):
    assert long.attacked(kind, 1) == ""


def test_every_kind_says_what_it_does():
    assert all(kind.__doc__.splitlines()[0].endswith(".") for kind in KINDS.values())
    assert len(KINDS) >= 13
