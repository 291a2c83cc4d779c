"""python -m sdk.stream with each source and sink: what it prints, how it ends, what it says of what is missing."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import runtime.engine
import sdk.demo
from runtime import Bundle, Recording, Store
from sdk import stream
from tests.board_trees import write_tree
from tests.bundles_small import without_note
from tests.runtime.sources.brokers import MOSQUITTO, Mosquitto, free_port
from tests.runtime.sources.iio_trees import mpu6050, pack_mpu6050
from tests.waiting import PATIENCE_S

DATA = Path(sdk.demo.__file__).parent / "data"
BUNDLE, PERSON = DATA / "walk.bundle", DATA / "person_6.npz"
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
N = 140  # samples at 50 Hz: one window
LINES = [f"{i * 20},0.5,0.1,9.8,0,0,0.1" for i in range(N)]  # milliseconds
MESSAGE = json.dumps({"t": [i / 50 for i in range(N)], "samples": [[0.5, 0.1, 9.8, 0, 0, 0.1]] * N})
SCANS = b"".join(pack_mpu6050((800, 100, 16000), (0, 0, 90), 10**18 + i * 20_000_000) for i in range(N))


def command(*arguments, bundle=BUNDLE):
    return [sys.executable, "-m", "sdk.stream", str(bundle), *map(str, arguments)]


def environment():
    root = str(Path(sdk.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


class Running:
    """The command in a process of its own."""

    def __init__(self, *arguments, **more):
        self.began_s, self.start_s = time.monotonic(), None
        self.process = subprocess.Popen(
            command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            **{"stdin": subprocess.DEVNULL, **more},
        )

    def line(self, stream="stdout"):
        file = getattr(self.process, stream)
        assert select.select([file], [], [], PATIENCE_S)[0], "it says nothing"
        self.start_s = self.start_s or time.monotonic() - self.began_s
        return file.readline()

    def ended(self, by):
        """Send a signal; (stdout, stderr, seconds until it was gone)."""
        began = time.monotonic()
        self.process.send_signal(by)
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return out, without_note(err), time.monotonic() - began


@pytest.fixture
def running():
    made = []

    def start(*arguments, **more):
        made.append(Running(*arguments, **more))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


@pytest.fixture
def board(tmp_path):
    write_tree(tmp_path / "sys", mpu6050())
    (tmp_path / "dev").mkdir()
    os.mkfifo(tmp_path / "dev/iio:device0")
    return tmp_path


@pytest.fixture
def broker(tmp_path):
    if MOSQUITTO is None:
        pytest.skip("needs a broker: apt-get install mosquitto")
    one = Mosquitto(tmp_path, "allow_anonymous true")
    yield one
    one.kill()


def publish(port, topic, payload):
    mqtt = pytest.importorskip("paho.mqtt.client")
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish(topic, payload, 1).wait_for_publish(PATIENCE_S)
    client.disconnect()
    client.loop_stop()


# ---- Ctrl-C


def replay(request):
    return ["--replay", PERSON, "--realtime"], lambda started: None


def synthetic(request):
    return ["--source", "synthetic?rate=50"], lambda started: None


def stdin(request):
    reader, writer = os.pipe()

    def feed(started):
        os.close(reader)
        os.write(writer, "".join(f"{line}\n" for line in LINES).encode())

    request.addfinalizer(lambda: os.close(writer))
    return ["--source", "stdin?t=ms"], feed, {"stdin": reader}


def iio(request):
    folder = request.getfixturevalue("board")
    done = threading.Event()

    def write():
        with (folder / "dev/iio:device0").open("wb", buffering=0) as node:
            node.write(SCANS)
            done.wait(PATIENCE_S)

    thread = threading.Thread(target=write, daemon=True)
    request.addfinalizer(done.set)
    return ["--source", f"iio:mpu6050?root={folder}/sys&dev={folder}/dev"], lambda started: thread.start()


def serial(request):
    pytest.importorskip("serial")
    import tty

    master, slave = os.openpty()
    tty.setraw(slave)
    request.addfinalizer(lambda: (os.close(slave), os.close(master)))
    said = "".join(f"{line}\r\n" for line in ["0,0,0", *LINES]).encode()

    def feed(started):
        for begin in range(0, len(said), 1000):
            os.write(master, said[begin : begin + 1000])

    return ["--source", f"serial:{os.ttyname(slave)}?t=ms"], feed


def mqtt(request):
    port = request.getfixturevalue("broker").port
    return ["--source", f"mqtt://127.0.0.1:{port}/imu"], lambda started: publish(port, "imu", MESSAGE)


SOURCES = {made.__name__: made for made in (replay, synthetic, stdin, iio, serial, mqtt)}
AT_ONCE = {"stdin", "iio", "serial", "mqtt"}  # those that are given the samples of one window at once


def interrupted(request, running, name):
    """Start the command, let it predict, send SIGINT; (what it printed afterwards, seconds it may take, and took)."""
    arguments, feed, *more = SOURCES[name](request)
    started = running(*arguments, **(more[0] if more else {}))
    assert started.line().split()[:2] == ["time", "prediction"]
    feed(started)
    if name in AT_ONCE:
        assert re.match(r" *(\d\.\d\d s|\d\d:\d\d:\d\d)  \w+ ", started.line())
    out, err, took_s = started.ended(signal.SIGINT)
    assert (started.process.returncode, err) == (0, "")
    return out.splitlines(), max(1.0, 3 * started.start_s), took_s


@pytest.mark.parametrize("name", SOURCES)
def test_ctrl_c_ends_every_source_within_a_second(request, running, name):
    """It starts in less than a second, where nothing else runs; a machine that is busy now takes longer for both."""
    lines, limit_s, took_s = interrupted(request, running, name)
    assert took_s < limit_s
    expected = "accuracy, macro-F1: not measured" if name == "replay" else f"{int(name in AT_ONCE)} predictions"
    assert any(line.startswith(expected) for line in lines)
    if name == "iio":
        folder = request.getfixturevalue("board")
        assert (folder / "sys/iio:device0/buffer/enable").read_text() == "0\n"


def test_sigterm_too_and_the_sinks_have_all(running, broker, tmp_path):
    url = f"mqtt://127.0.0.1:{broker.port}"
    sinks = ["--sink", f"{url}/activity", "--sink", "jsonl:-", "--sink", f"jsonl:{tmp_path}/out"]
    started = running("--source", f"{url}/imu", *sinks)
    while not select.select([started.process.stdout], [], [], 0.1)[0]:
        publish(broker.port, "imu", MESSAGE)  # the same again and again, until it has subscribed
    prediction = json.loads(started.line())
    out, err, took_s = started.ended(signal.SIGTERM)
    assert (started.process.returncode, out) == (0, "")
    assert took_s < max(1.6, 3 * started.start_s)  # the sink had 0.6 s to deliver
    assert json.loads((tmp_path / "out").read_text()) == prediction
    assert prediction["end_s"] - prediction["start_s"] == pytest.approx(2.56)
    assert err.splitlines()[0] == "1 predictions"
    assert err.splitlines()[-3:] == ["MQTTSink: 1 written", "JsonLinesSink: 1 written", "JsonLinesSink: 1 written"]


def test_lines_through_a_pipe_are_a_recordings_predictions(capsys, short):
    samples = Recording.load(short).samples
    text = "".join(json.dumps(dict(zip(CHANNELS, row, strict=True))) + "\n" for row in samples.tolist())
    by_line = subprocess.run(
        command("--source", "stdin", "--sink", "jsonl:-"),
        input=text,
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    lines, replayed = (
        [{k: json.loads(line)[k] for k in ("label", "probabilities", "start_s", "end_s")} for line in lines]
        for lines in (by_line.stdout.splitlines(), told(capsys, "--replay", short, "--json")[1].splitlines()[:-1])
    )
    assert len(lines) == 14
    assert lines == replayed
    expected = [
        "14 predictions",
        "of 1000 samples: 40 rows dropped",
        "source: 1000 rows read",
        "JsonLinesSink: 14 written",
    ]
    assert without_note(by_line.stderr).splitlines() == expected


def test_a_version_that_comes_into_use_is_followed(tmp_path):
    path = shutil.copytree(BUNDLE, tmp_path / "my.bundle", ignore=shutil.ignore_patterns("personal"))
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command("--source", "stdin", "--follow", "--json", bundle=path),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env=environment(),
    )
    with process, ThreadPoolExecutor() as pool:
        feed, done = partial(process.stdin.write, ("\n".join(LINES) + "\n").encode()), threading.Event()

        def rows_until_done():
            while not done.wait(0.05):
                feed()
                process.stdin.flush()
            process.stdin.close()

        fed = pool.submit(rows_until_done)
        try:
            process.stdout.readline()  # it runs
            read = pool.submit(process.stdout.read)  # what is not read stops it
            bundle = Bundle.open(path)
            bundle.commit({bundle.manifest.head.bias: bundle.tensor(bundle.manifest.head.bias) + 1}, {"method": "test"})
            lines = iter(process.stderr.readline, b"")
            assert next(line for line in lines if b"in use" in line) == b"my.bundle: version 0001 in use\n"
        finally:
            done.set()
        fed.result(PATIENCE_S)
        assert json.loads(read.result(PATIENCE_S).splitlines()[-1])["version"] == "0001"
        assert process.wait(PATIENCE_S) == 0


# ---- in this process


def told(capsys, *arguments):
    """The exit code, stdout and stderr of the command, called."""
    code = stream.main([str(BUNDLE), *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, without_note(err)


def test_a_summary_in_json(capsys):
    code, out, err = told(capsys, "--source", "synthetic?fast&seconds=10&gap_every=5&gap=0.5", "--json")
    *predictions, last = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert len(predictions) == last["counters"]["windows"] == 4
    assert last["source"]["samples"] == last["counters"]["samples"] == 450
    assert last["counters"]["gaps"] == 1
    assert last["scores"]["accuracy"] is None
    assert last["sinks"] == []


def test_what_is_streamed_is_recorded(capsys, short, tmp_path):
    """The same predictions as without, and every window of them in the store, under the time of a moment ago."""
    began_s = time.time()
    plain, recorded = (
        [re.sub(r"\S+ ms", "", line) for line in told(capsys, "--replay", short, *more)[1].splitlines()]
        for more in ([], ["--record", tmp_path / "me.db", "--max-mb", "5"])
    )
    assert recorded == [*plain, "Recorder: 14 written"]
    with Store(tmp_path / "me.db") as store:
        found = list(store.windows(0, time.time()))
    assert len(found) == 14
    whole = Recording.load(short)
    assert np.array_equal(found[1].data, whole.samples[64:192])
    assert found[-1].start_s - found[0].start_s == pytest.approx(13 * 1.28, abs=0.01)
    assert began_s - 10 < found[-1].start_s + 2.56 < time.time()


def test_a_live_source_is_recorded_as_it_comes(capsys, tmp_path):
    source, began_s = "synthetic?seconds=4&rate=50", time.time()
    code, out, _ = told(capsys, "--source", source, "--record", tmp_path / "me.db", "--json")
    assert code == 0
    assert json.loads(out.splitlines()[-1])["recorder"] == {"written": 2, "dropped": 0, "removed": 0, "clock_set": 0}
    with Store(tmp_path / "me.db") as store:
        (_, last) = store.predictions(0, time.time())
    assert began_s < last.start_s + 2.56 < time.time() + 1


def test_unix_times_of_a_replay_are_kept(capsys, short, tmp_path):
    recording = Recording.load(short)
    replace(recording, t=recording.t - recording.t[0] + 1_600_000_000.0).save(tmp_path / "unix.npz")
    told(capsys, "--replay", tmp_path / "unix.npz", "--record", tmp_path / "me.db")
    with Store(tmp_path / "me.db") as store:
        assert next(store.predictions(0, time.time())).start_s == pytest.approx(1_600_000_000.0, abs=0.1)


@pytest.fixture
def short(tmp_path):
    """The path of 20 s of a recording, with its labels."""
    whole = Recording.load(PERSON)
    parts = {name: None if (a := getattr(whole, name)) is None else a[:1000] for name in ("samples", "t", "labels")}
    replace(whole, **parts).save(tmp_path / "short.npz")
    return tmp_path / "short.npz"


def test_a_replay_by_url_is_a_replay(capsys, short):
    by_url, by_name = (
        [re.sub(r"\S+ ms", "", line) for line in told(capsys, *arguments)[1].splitlines()]
        for arguments in (["--source", f"replay:{short}?chunk=500"], ["--replay", short, "--chunk", "7"])
    )
    assert by_url == by_name
    assert any(re.match(r"\d+ windows with a true label: accuracy", line) for line in by_url)


def refusals(folder):
    port = free_port()
    return {
        "no such source": (["--source", "bluetooth:x"], "expected one of replay, synthetic"),
        "no such sink": (
            ["--source", "synthetic", "--sink", "kafka:x"],
            "sink: expected jsonl:FILE, jsonl:- or mqtt://",
        ),
        "no file": (["--source", f"replay:{folder}/none.npz"], "No such file or directory. Check the path."),
        "no device": (["--source", f"iio:mpu6050?root={folder}"], "got no device at all. Load its driver"),
        "no port": (["--source", f"serial:{folder}/ttyUSB0"], "got No such file or directory. Plug it in"),
        "no broker": (["--source", f"mqtt://127.0.0.1:{port}/imu"], "sudo apt-get install mosquitto"),
        "no broker out": (
            ["--source", "synthetic", "--sink", f"mqtt://127.0.0.1:{port}/x"],
            "sudo apt-get install mosq",
        ),
        "no folder": (
            ["--source", "synthetic", "--sink", f"jsonl:{folder}/none/x"],
            "expected a file that can be written",
        ),
        "no store's folder": (["--source", "synthetic", "--record", f"{folder}/none/me.db"], "got none. Make it, or"),
        "no store": (["--source", "synthetic", "--max-mb", "5"], "--max-mb: expected a --record with it"),
        "options": (["--source", "synthetic", "--realtime"], "--realtime, --chunk: expected a --replay with them"),
    }


@pytest.mark.parametrize("name", refusals(Path()))
def test_what_is_missing_is_one_line_and_exit_code_2(capsys, tmp_path, name):
    arguments, expected = refusals(tmp_path)[name]
    code, out, err = told(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert expected in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "source", "extra"),
    [("serial", "serial:/dev/ttyUSB0", "serial"), ("paho.mqtt.client", "mqtt://x/y", "mqtt")],
)
def test_a_missing_library(capsys, monkeypatch, module, source, extra):
    monkeypatch.setitem(sys.modules, module, None)
    code, out, err = told(capsys, "--source", source)
    assert (code, out) == (2, "")
    assert err.endswith(f'got no such library. Run: pip install "sensedge[{extra}]"\n')


def test_the_engine_that_is_named_is_opened(capsys, monkeypatch):
    really, asked = runtime.engine.open_engine, []

    def open_engine(bundle, name):
        asked.append(name)
        return really(bundle)

    monkeypatch.setattr(runtime.engine, "open_engine", open_engine)
    for more in ([], ["--engine", "auto"]):
        assert told(capsys, "--source", "synthetic?fast&seconds=3", *more)[0] == 0
    assert asked == ["onnxruntime", "auto"]


def test_a_torn_line_does_not_spoil_the_next(capsys, tmp_path):
    (tmp_path / "out").write_text('{"label": "wal')
    for _ in range(2):
        assert told(capsys, "--source", "synthetic?fast&seconds=5", "--sink", f"jsonl:{tmp_path}/out")[0] == 0
    torn, *whole = (tmp_path / "out").read_text().splitlines()
    assert torn == '{"label": "wal'
    assert len([json.loads(line) for line in whole]) == 4


def test_a_closed_output(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert told(capsys, "--source", "synthetic?fast&seconds=5", "--sink", "jsonl:-")[::2] == (
        2,
        "error: jsonl:-: expected an output, got a closed one. Write jsonl:FILE.\n",
    )
    assert told(capsys, "--source", "synthetic?fast&seconds=5")[0] == 0


def test_a_full_disk_is_a_failure(capsys):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    code, _, err = told(capsys, "--source", "synthetic?fast&seconds=10", "--sink", "jsonl:/dev/full")
    assert (code, err) == (1, "error: [Errno 28] No space left on device\n")


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        ("{t};{samples}", 0, ""),
        ("{t} {samples}", 0, ""),
        (
            "{t},{samples},36.5",
            1,
            "not one of 300 lines is a row; the first: .*8 columns, and the bundle has 6 channels",
        ),
        ('{{"ts": {t}, "gravity": 9.8}}', 1, "not one of 300 lines is a row; the first: .*without acc_x"),
        ("hello", 1, "not one of 300 lines is a row; the first: 'hello'"),
        ("{t},0,0,,0,0,0", 1, "300 of 300 rows lack a value"),
    ],
)
def test_an_input_of_which_nothing_is_predicted_is_a_failure_with_its_reason(
    capsys, tmp_path, monkeypatch, lines, code, said
):
    sign = lines[3] if lines[3] in "; " else ","
    samples = sign.join(["0.1", "9.8", "0.2", "0.01", "0.02", "0.03"])
    text = "".join(lines.format(t=f"{i / 50:.2f}", samples=samples) + "\n" for i in range(300))
    (tmp_path / "a.csv").write_text(text)
    ways = [told(capsys, "--replay", tmp_path / "a.csv")]
    with (tmp_path / "a.csv").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", file)
        ways.append(told(capsys, "--source", "stdin"))
    for found, out, err in ways:
        assert found == code
        assert "source: " in out
        assert (re.search(f"error: nothing was predicted: {said}", err) is not None) == (code == 1)


def test_an_input_that_is_too_short_says_so(capsys, tmp_path):
    (tmp_path / "a.csv").write_text(",".join(["t", *CHANNELS]) + "\n" + "0,1,2,3,4,5,6\n0.02,1,2,3,4,5,6\n")
    code, _, err = told(capsys, "--replay", tmp_path / "a.csv")
    assert (code, "2 rows are less than 2.56 s, the length of a window" in err) == (1, True)
