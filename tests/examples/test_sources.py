"""The examples run as they stand, each in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import sdk.demo
from tests.board_trees import write_tree
from tests.runtime.sources.brokers import Mosquitto, needs_mosquitto
from tests.runtime.sources.iio_trees import mpu6050, pack_mpu6050
from tests.waiting import PATIENCE_S, until

ROOT = Path(sdk.__file__).parents[1]
BUNDLE = Path(sdk.demo.__file__).parent / "data" / "walk.bundle"
N = 140  # samples of one window at 50 Hz
ROW = [0.5, 0.1, 9.8, 0, 0, 0.1]


def started(name, *arguments):
    return subprocess.Popen(
        [sys.executable, ROOT / "examples" / name, str(BUNDLE), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def test_embed():
    out, err = started("embed.py", "synthetic?fast&seconds=6").communicate(timeout=PATIENCE_S)
    assert err == ""
    assert re.fullmatch(r"(\d\.\d\d s: \w+ \(\d+%\)\n)+", out)
    lines = (ROOT / "examples/embed.py").read_text().splitlines()
    assert len(lines) <= 35  # it is to be read in a minute


def test_embed_without_a_source():
    process = started("embed.py", "serial:/dev/none")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("error: /dev/none: expected a serial port")


def test_pi_iio(tmp_path):
    write_tree(tmp_path / "sys", mpu6050())
    (tmp_path / "dev").mkdir()
    os.mkfifo(tmp_path / "dev/iio:device0")
    done = threading.Event()

    def write():
        with (tmp_path / "dev/iio:device0").open("wb", buffering=0) as node:
            node.write(b"".join(pack_mpu6050((0, 0, 16000), (0, 0, 0), 10**18 + i * 20_000_000) for i in range(N)))
            done.wait(PATIENCE_S)

    threading.Thread(target=write, daemon=True).start()
    process = started("pi_iio.py", f"iio:mpu6050?root={tmp_path}/sys&dev={tmp_path}/dev", tmp_path / "log.jsonl")
    assert process.stdout.readline().endswith(": 50 samples per second\n")
    assert re.fullmatch(r"\w+ +\d+%  100% measured\n", process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE_S)
    done.set()
    assert (process.returncode, err) == (0, "")
    assert out == f"samples: {N}, gaps: 0, lost: 0\n"
    assert json.loads((tmp_path / "log.jsonl").read_text())["quality"]["real"] == 1


@needs_mosquitto
def test_mqtt_gateway(tmp_path):
    mqtt = pytest.importorskip("paho.mqtt.client")
    broker, heard = Mosquitto(tmp_path, "allow_anonymous true"), {}
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_message = lambda client, data, m: heard.setdefault(m.topic, []).append(json.loads(m.payload)["label"])
    client.connect("127.0.0.1", broker.port)
    client.subscribe("activity/+", 1)
    client.loop_start()
    try:
        process = started("mqtt_gateway.py", f"mqtt://127.0.0.1:{broker.port}", "anna", "ben")
        assert process.stdout.readline() == "serving anna, ben\n"
        for name, n in (("anna", N), ("ben", N + 64)):
            text = json.dumps({"t": [i / 50 for i in range(n)], "samples": [ROW] * n})
            client.publish(f"sensors/{name}", text, 1).wait_for_publish(PATIENCE_S)
        until(lambda: sum(map(len, heard.values())) == 3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        client.disconnect()
        client.loop_stop()
        broker.kill()
    assert (process.returncode, err) == (0, "")
    assert {topic: len(labels) for topic, labels in heard.items()} == {"activity/anna": 1, "activity/ben": 2}
    assert out.splitlines() == ["anna: 1 predictions sent, 0 dropped", "ben: 2 predictions sent, 0 dropped"]
