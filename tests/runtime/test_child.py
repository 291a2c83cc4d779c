"""A child process: what it is told and tells, how its end is worded, and that it has no life of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.process.child import HELD, Child

ROOT = Path(__file__).parents[2]
LONG_S = 60  # far more than anything here takes; only a failure waits for it


def started(code, *arguments, **options):
    """A child that runs some lines, with a `parent`; not yet started."""
    return Child(["-c", f"from runtime.process.parent import Parent\nparent = Parent()\n{code}", *arguments], **options)


def answer_of(code, *arguments, **options):
    with started(code, *arguments, **options) as child:
        child.start()
        return child.receive(LONG_S)


def gone(pid):
    """Whether a process ends before long; one that is dead but not yet waited for has ended."""
    until = time.monotonic() + LONG_S
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


# ---- talking


def test_messages_in_order_and_then_none():
    with started("for i in range(3): parent.tell([i, 'ä\\n'])") as child:
        child.start()
        assert [child.receive(LONG_S) for _ in range(4)] == [[0, "ä\n"], [1, "ä\n"], [2, "ä\n"], None]
        assert child.ending() == "exit code 0"


def test_a_message_longer_than_a_pipe_holds():
    assert answer_of("parent.tell('x' * 1_000_000)") == "x" * 1_000_000


def test_a_child_that_asks_waits():
    with started("import time\nparent.ask('first')\nparent.ask('second')\nparent.tell('third')") as child:
        child.start()
        assert child.receive(LONG_S) == "first"
        with pytest.raises(TimeoutError):
            child.receive(0.2)
        child.go_on()
        assert child.receive(LONG_S) == "second"
        child.go_on()
        assert child.receive(LONG_S) == "third"


def test_it_may_go_on_at_once_and_often():
    """What lets it go on may still be on its way out of the kernel when it has been read: it must not end it."""
    with started("for i in range(5000): parent.ask(i)\nparent.tell('done')") as child:
        child.start()
        for i in range(5000):
            assert child.receive(LONG_S) == i
            child.go_on()
        assert child.receive(LONG_S) == "done"


def test_what_a_library_prints_is_no_message():
    assert answer_of("import os\nos.write(1, b'{}\\n'); print('[]', flush=True)\nparent.tell('mine')") == "mine"


def test_text():
    with Child(["-c", "print('a' * 100_000); print('b')"]) as child:
        child.start()
        assert child.text(LONG_S) == "a" * 100_000 + "\nb\n"


# ---- the end


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("os.kill(os.getpid(), signal.SIGILL)", "signal SIGILL"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 3)", f"signal {signal.SIGRTMIN + 3}"),
        ("os._exit(7)", "exit code 7"),
        ("raise SystemExit", "exit code 0"),
    ],
)
def test_how_it_ended(code, ending):
    with started(f"import os, signal\n{code}") as child:
        child.start()
        assert child.receive(LONG_S) is None
        assert child.ending() == ending
        assert child.is_over


def test_what_it_said_last():
    with started("print('one')\nimport sys\nprint('two\\n', file=sys.stderr)\nraise ValueError('three ä')") as child:
        child.start()
        assert child.wait(LONG_S) == 1
        assert child.last_line() == "ValueError: three ä"
    with Child(["-c", ""]) as child:
        child.start()
        assert (child.wait(LONG_S), child.last_line()) == (0, "")


def test_what_takes_too_long():
    with started("import time\ntime.sleep(3600)") as child:
        child.start()
        for wait in (child.receive, child.wait, child.text):
            with pytest.raises(TimeoutError):
                wait(0.05)
        assert not child.is_over


def test_it_is_not_left_behind():
    with started("parent.tell('here')\nwhile True: pass") as child:
        child.start()
        assert child.receive(LONG_S) == "here"
    assert child.ending() == "signal SIGKILL"


def test_what_one_that_is_alone_started_ends_with_it():
    code = "import subprocess, sys\nparent.tell(subprocess.Popen([sys.executable, '-c', 'while True: pass']).pid)"
    with started(f"{code}\nwhile True: pass", alone=True) as child:
        child.start()
        pid = child.receive(LONG_S)
    assert gone(pid)


def test_one_that_cannot_be_started():
    with pytest.raises(OSError, match="no-such-python"), Child(["-c", ""], python="/no-such-python") as child:
        child.start()


# ---- its parent's end


BUSY = {
    "in a loop": "while True: pass",
    "in a library that keeps the lock": "import ctypes; ctypes.PyDLL(None).sleep(3600)",
    "after it asked": "parent.ask('go on?')\nwhile True: pass",
    "while it asks": "parent.ask('go on?')",
}
PARENT = """
import sys, time
from runtime.process.child import Child
with Child(["-c", "from runtime.process.parent import Parent; parent = Parent()\\n" + sys.argv[1]]) as child:
    child.start()
    if "ask" in sys.argv[1]:
        child.receive()
    if "while True" in sys.argv[1]:
        child.go_on() if "ask" in sys.argv[1] else None
    print(child.pid, flush=True)
    time.sleep(3600)
"""


@pytest.mark.parametrize("what", BUSY)
def test_it_ends_with_a_parent_that_is_killed(what):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PARENT, BUSY[what]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as parent:
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
    assert gone(pid)


def test_one_whose_parent_is_gone_before_it_looks():
    reading, writing = os.pipe()
    os.close(writing)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", f"{HELD}print('on')"], stdin=reading, capture_output=True, env=env)
    os.close(reading)
    assert (done.returncode, done.stdout) == (1, b"")


def test_by_hand_nothing_holds_it():
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", f"{HELD}print('on')"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=env)
    assert (done.returncode, done.stdout) == (0, b"on\n")


# ---- where it finds itself


SEEN = "import os, sys\nparent.tell([os.getcwd(), os.listdir(), sys.path, dict(os.environ)])"


def test_it_works_in_an_empty_folder_that_goes_with_it():
    where, files, path, _ = answer_of(SEEN)
    assert files == []
    assert where != os.getcwd()
    assert not Path(where).exists()
    assert str(ROOT) in path
    assert "" not in path or sys.version_info < (3, 11)  # before, Python adds the current folder, which is empty


def test_only_what_was_meant_is_on_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(("", ".", "sub", "/meant")))
    path = answer_of(SEEN, path=["", "sub", str(tmp_path), "/more"])[2]
    assert [entry for entry in path if entry][:3] == [str(ROOT), "/meant", "/more"]
    assert not [entry for entry in path if entry.startswith(str(tmp_path))]


def test_its_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENSEDGE_CACHE", "cache")
    environment = answer_of(SEEN, environment={"MINE": "1"})[3]
    assert (environment["MINE"], environment["SENSEDGE_CACHE"]) == ("1", str(tmp_path / "cache"))
    assert environment["HOME"] == os.environ["HOME"]


def test_nothing_heavy_is_imported_for_it():
    code = "import json, sys, runtime.process.child, runtime.process.parent; print(json.dumps([*sys.modules]))"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert not {"numpy", "onnxruntime", "psutil", "argparse", "asyncio"} & {*json.loads(done.stdout)}
