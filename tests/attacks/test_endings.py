"""Signals and errors of the engine: every command ends in time, in one line, and with what was told also stored."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.command import BAD_INPUT, DONE, FAILED, guarded
from runtime.engine import open_engine
from runtime.errors import EngineError
from runtime.process.signals import caught
from runtime.recorder import Store
from runtime.stream import Stream
from tests.attacks.graphs import WALK, adding, endless, endless_above, huge, with_tail
from tests.commands.test_children import below
from tests.waiting import PATIENCE_S

REPLAY = WALK.parent / "person_6.npz"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SYNTHETIC = ("--source", "synthetic?rate=50")
BUSY_S, BEGUN_S = 0.5, 0.6


def computed_s(pid):
    with suppress(OSError), open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


@pytest.fixture(autouse=True)
def signals_as_on_a_terminal():
    """Under nohup a child would inherit that SIGHUP is ignored, and rightly go on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("strange")
    tails = {"endless": endless(), "huge": huge(3 * 10**12), "huger": huge(10**15), "more": huge(10**17)}
    return {name: with_tail(folder / f"{name}.bundle", tail) for name, tail in tails.items()}


class Command:
    """`python -m ...` in a folder, its output in files there."""

    def __init__(self, folder, *arguments, **options):
        command = [sys.executable, "-m", *map(str, arguments)]
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            self.process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err, env=os.environ, **options)
        self.folder = folder

    def wait_for(self, holds):
        end_s = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < end_s, (self.folder / "stderr").read_text()
            assert self.process.poll() is None, (self.folder / "stderr").read_text()
            time.sleep(0.05)

    def end(self, number):
        self.process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(PATIENCE_S)
        self.process.kill()
        return pytest.fail("it goes on")

    def told(self):
        return (self.folder / "stderr").read_text()

    def wait_until_busy(self):
        """Until it has computed for a while from now on: it is in what never ends."""
        begun_s = computed_s(self.process.pid)
        self.wait_for(lambda: computed_s(self.process.pid) > begun_s + BUSY_S)

    def is_computing(self):
        """Or a process below it: past what the start takes of processor time."""
        return any(computed_s(pid) > BEGUN_S for pid in (self.process.pid, *below(self.process.pid)))


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_what_was_told_is_stored(tmp_path, number):
    command = Command(tmp_path, "sdk.stream", WALK, *SYNTHETIC, "--record", "me.db", "--sink", "jsonl:out.jsonl")
    out = tmp_path / "out.jsonl"
    command.wait_for(lambda: out.exists() and out.read_text().count("\n") >= 2)
    assert command.end(number) == DONE, command.told()
    told = [json.loads(line) for line in out.read_text().splitlines()]
    with Store(tmp_path / "me.db") as store:
        kept = [prediction.label for prediction in store.predictions(0, 4e9)]
    assert kept == [prediction["label"] for prediction in told]
    assert "predictions" in command.told()


def test_a_hang_up_that_is_ignored_stays_so(tmp_path):
    """As under nohup."""
    command = Command(
        tmp_path,
        "sdk.stream",
        WALK,
        *SYNTHETIC,
        "--sink",
        "jsonl:out.jsonl",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    out = tmp_path / "out.jsonl"
    command.wait_for(out.exists)
    command.process.send_signal(signal.SIGHUP)
    n = out.read_text().count("\n")
    command.wait_for(lambda: out.read_text().count("\n") > n + 1)
    assert command.end(signal.SIGTERM) == DONE


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("name", ["sdk.stream", "sdk.finetune", "sdk.profile", "exporters"])
def test_an_endless_graph_ends(strange, tmp_path, name, number):
    path = strange["endless"]
    more = {
        "sdk.stream": (path, "--replay", REPLAY),
        "sdk.finetune": (path, "--labels", REPLAY, "--method", "head"),
        "sdk.profile": (path, "--windows", "20"),
        "exporters": ("parity", path),
    }
    command = Command(tmp_path, name, *more[name])
    command.wait_for(command.is_computing)
    if command.process.poll() is None:
        code = command.end(number)
        assert code in (FAILED, BAD_INPUT), command.told()
    assert "Traceback" not in command.told()


def test_what_was_told_before_an_endless_graph_is_stored(strange, tmp_path):
    """The store is closed, though the stream never comes back from the engine by itself."""
    command = Command(tmp_path, "sdk.stream", strange["endless"], "--replay", REPLAY, "--record", "me.db")
    command.wait_for((tmp_path / "me.db").exists)
    command.wait_until_busy()
    assert command.end(signal.SIGTERM) == FAILED
    assert not (tmp_path / "me.db-wal").exists()
    assert "stopped" in command.told()


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_run_that_is_interrupted_is_the_end_where_something_was_told(tmp_path, number):
    """Window after window is told, and then one comes back never: exit code 0, all that was told is stored."""
    pytest.importorskip("onnx")
    path = with_tail(tmp_path / "late.bundle", endless_above(50))
    rows = np.random.default_rng(0).normal(size=(640, 6)).astype(np.float32)
    rows[600] = 70
    names = [f"{sensor}_{axis}" for sensor in ("acc", "gyro") for axis in "xyz"]
    np.savetxt(tmp_path / "me.csv", rows, delimiter=",", header=",".join(names), comments="")
    sinks = ("--record", "me.db", "--sink", "jsonl:out.jsonl")
    command = Command(tmp_path, "sdk.stream", path, "--replay", "me.csv", "--chunk", "8", *sinks)
    out = tmp_path / "out.jsonl"
    command.wait_for(lambda: out.exists() and out.read_text().count("\n") == 8)
    command.wait_until_busy()
    assert command.end(number) == DONE, command.told()
    told = [json.loads(line) for line in out.read_text().splitlines()]
    with Store(tmp_path / "me.db") as store:
        assert [one.label for one in store.predictions(0, 4e9)] == [one["label"] for one in told]
    assert len(told) == 8
    assert "Traceback" not in command.told()
    assert "JsonLinesSink: 8 written" in command.told()


@pytest.mark.parametrize("name", ["huge", "huger", "more"])
@pytest.mark.parametrize("module", ["sdk.stream", "exporters"])
def test_a_graph_that_wants_all_memory_is_one_line(strange, tmp_path, name, module):
    more = (strange[name], "--replay", REPLAY) if module == "sdk.stream" else ("parity", strange[name])
    command = Command(tmp_path, module, *more)
    assert command.process.wait(PATIENCE_S) == FAILED, command.told()
    lines = [line for line in command.told().splitlines() if not line.startswith("note:")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")


@pytest.mark.parametrize("name", ["huge", "huger", "more"])
def test_what_the_engine_raises_is_ours(strange, name):
    bundle = Bundle.open(strange[name])
    engine, stream = open_engine(bundle), Stream(bundle)
    rows = np.zeros((128, 6), np.float32)
    for run in (lambda: engine.logits(rows), lambda: engine.run(rows[None]), lambda: engine.run(np.stack([rows] * 2))):
        with pytest.raises(EngineError, match="a graph that runs") as found:
            run()
        assert "\n" not in str(found.value)
    with pytest.raises(EngineError):
        stream.push(np.zeros((512, 6), np.float32), np.arange(512) / 50)
    assert stream.counters.windows == 7  # the samples are taken all the same
    with pytest.raises(EngineError):
        stream.push(rows, 10.24 + np.arange(128) / 50)
    assert stream.counters.windows == 9


@pytest.mark.parametrize(
    "error", [MemoryError(), MemoryError("Unable to allocate 9 TiB"), EngineError("x", expected="y", got="z", fix="")]
)
def test_errors_while_running_are_one_line(capsys, error):
    def fail():
        raise error

    assert guarded(fail) == FAILED
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_in_a_command_is_a_word(capsys, number):
    before = [signal.getsignal(n) for n in SIGNALS]

    def wait():
        signal.raise_signal(number)
        time.sleep(PATIENCE_S)
        return DONE

    assert guarded(wait) == FAILED
    assert capsys.readouterr().err == "stopped\n"
    assert [signal.getsignal(n) for n in SIGNALS] == before
    assert "sensedge-signals" not in [thread.name for thread in threading.enumerate()]


def test_other_threads_may_run_commands():
    codes = []
    thread = threading.Thread(target=lambda: codes.append(guarded(lambda: DONE)))
    thread.start()
    thread.join()
    assert codes == [DONE]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_what_cannot_be_interrupted_is_left(tmp_path, number):
    """The call goes on after the signal, as one does that computes; what was told is kept all the same."""
    code = """
import ctypes
from runtime.process.signals import caught, last_words
last_words.append(lambda: open("kept", "w").write("all"))
lock, libc = (ctypes.c_byte * 64)(), ctypes.CDLL(None)
with caught():
    print("busy", flush=True)
    libc.pthread_mutex_lock(lock)
    libc.pthread_mutex_lock(lock)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"busy\n"
        time.sleep(0.3)
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == FAILED
    assert (tmp_path / "kept").read_text() == "all"


def test_a_handler_of_ones_own_is_called_for_each():
    came = []
    with caught(came.append):
        for number in SIGNALS:
            signal.raise_signal(number)
    assert came == list(SIGNALS)


def test_the_tail_of_these_tests_may_end(tmp_path):
    pytest.importorskip("onnx")
    path = with_tail(tmp_path / "short.bundle", endless(3))
    rows = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
    (honest,) = open_engine(Bundle.open(with_tail(tmp_path / "same.bundle", adding(*[0] * 6)))).run(rows[None])
    expected = np.sin(np.sin(np.sin(honest)))
    assert open_engine(Bundle.open(path)).logits(rows) == pytest.approx(expected.tolist(), rel=1e-5)
