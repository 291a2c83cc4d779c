"""MQTT in and out, against a real broker: plain, TLS, passwords, the broker killed and back."""

import gc
import json
import os
import re
import socket
import sys
import threading
from contextlib import ExitStack

import numpy as np
import pytest

from runtime import InputError, MissingError, Modality, Prediction, Quality, Signal, Windower, WindowSpec
from runtime.sinks import MQTTSink, open_sink
from runtime.sources import Backoff, MQTTSource, open_source
from runtime.wire.mqtt import Broker
from runtime.wire.url import Options
from tests.commands.tools import python
from tests.runtime.sources.brokers import Mosquitto, certificate, free_port, needs_mosquitto
from tests.waiting import PATIENCE_S, ending, until

mqtt = pytest.importorskip("paho.mqtt.client", reason='needs paho-mqtt: pip install "sensedge[mqtt]"')
SIGNAL = Signal((Modality("acc", "m/s^2", ("x", "z"), 50.0),))
QUICK = Backoff(0.05, 0.1)
OPEN = "allow_anonymous true"


@pytest.fixture
def broker(tmp_path):
    """broker(*lines): a running mosquitto with these lines in its configuration."""
    running = []

    def start(*lines):
        running.append(Mosquitto(tmp_path, *(lines or (OPEN,))))
        return running[-1]

    yield start
    for one in running:
        one.kill()


@pytest.fixture
def publisher():
    """publisher(port): publish(topic, payload, **options), which waits for the broker."""
    made = []

    def connect(port):
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", port)
        client.loop_start()
        made.append(client)
        return lambda topic, payload, **options: client.publish(topic, payload, 1, **options).wait_for_publish(5)

    yield connect
    for client in made:
        client.disconnect()
        client.loop_stop()


def message(first, n=5):
    t = [round((first + i) / 50, 4) for i in range(n)]
    return json.dumps({"t": t, "samples": [[first + i, 0] for i in range(n)]})


def numbers(batches):
    return [int(x) for batch in batches for x in batch.samples[:, 0]]


def taken(source, n):
    found = []
    for batch in source:
        found.append(batch)
        if len(numbers(found)) >= n:
            break
    return found


def at(port, topic="imu", **facts):
    return Broker("127.0.0.1", topic, port, **facts)


def prediction(i):
    return Prediction("walking", 0.5, (0.5, 0.5), float(i), i + 1.0, Quality(), 0.0, 0.0, 0.0)


class Listener:
    """Keeps what a topic brings, and subscribes anew when the broker is back."""

    def __init__(self, port, topic):
        self.starts = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
        self.client.reconnect_delay_set(1, 1)
        ready = threading.Event()
        self.client.on_connect = lambda client, *rest: client.subscribe(topic, 1)
        self.client.on_subscribe = lambda *rest: ready.set()
        self.client.on_message = lambda client, data, m: self.starts.append(int(json.loads(m.payload)["start_s"]))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert ready.wait(5)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


# ---- in


@needs_mosquitto
def test_messages_become_batches(broker, publisher):
    port = broker().port
    say = publisher(port)
    say("imu", message(900), retain=True)  # kept for newcomers: it is no news
    with MQTTSource(at(port), SIGNAL) as source:
        for payload in (message(0), "rubbish", message(5), message(0), "6,1,2,3,4", message(10)):
            say("imu", payload)
        batches = taken(source, 15)
        assert source.stamps is None  # as the manifest says
    assert numbers(batches) == list(range(15))
    np.testing.assert_allclose(np.concatenate([b.t for b in batches]), np.arange(15) / 50)
    assert (source.counters.malformed, source.counters.duplicates) == (2, 1)


@needs_mosquitto
def test_a_broker_killed_and_back_is_one_gap_and_nothing_comes_twice(broker, publisher):
    running = broker()
    say = publisher(running.port)
    windower = Windower(SIGNAL, WindowSpec(50, 50), source_hz=50)
    with MQTTSource(at(running.port), SIGNAL, backoff=QUICK) as source:
        for first in range(0, 100, 5):
            say("imu", message(first))
        batches = taken(source, 100)
        running.kill()
        until(lambda: source.counters.lost == 1)
        running.start()
        until(lambda: source.counters.reconnects == 1)
        say = publisher(running.port)
        say("imu", message(95))  # what a sensor that was not sure sends again
        for first in range(150, 250, 5):
            say("imu", message(first))
        batches += taken(source, 100)
    assert numbers(batches) == [*range(100), *range(150, 250)]
    windows = [window for batch in batches for window in windower.push(*batch)]
    assert [int(window.samples[0, 0]) for window in windows] == [0, 50, 150, 200]
    assert (windower.counters.gaps, windower.counters.duplicates, windower.counters.late) == (1, 0, 0)
    assert (source.counters.samples, source.counters.dropped, source.counters.duplicates) == (200, 0, 1)


@needs_mosquitto
def test_the_broker_keeps_what_comes_while_we_are_away(broker, publisher):
    port = broker().port
    say = publisher(port)
    for clean, expected in ((False, [0, 1, 2, 3, 4]), (True, [])):
        who = at(port, client_id=f"me-{clean}", clean=clean)
        with MQTTSource(who, SIGNAL):
            pass
        say("imu", message(0))
        with MQTTSource(who, SIGNAL) as source:
            say("imu", message(50))
            assert numbers(taken(source, len(expected) + 5)) == [*expected, *range(50, 55)]


@needs_mosquitto
def test_stopping_a_silent_broker(broker):
    with MQTTSource(at(broker().port), SIGNAL) as source:
        threading.Timer(0.05, source.stop).start()
        assert ending(lambda: [list(source)]) == [[]]


# ---- out


@needs_mosquitto
def test_predictions_are_published(broker):
    port = broker().port
    listener = Listener(port, "activity")
    with open_sink(f"mqtt://127.0.0.1:{port}/activity") as sink:
        for i in range(200):
            sink.write(prediction(i))
    until(lambda: len(listener.starts) == 200)
    listener.close()
    assert listener.starts == list(range(200))
    assert (sink.counters.written, sink.counters.dropped) == (200, 0)


@needs_mosquitto
def test_while_the_broker_is_away_the_newest_wait(broker):
    running = broker()
    listener = Listener(running.port, "activity")
    with MQTTSink(at(running.port, "activity"), queue=10, backoff=QUICK) as sink:
        sink.write(prediction(0))
        until(lambda: listener.starts == [0])
        running.kill()
        until(lambda: sink.counters.lost == 1)
        assert ending(lambda: [sink.write(prediction(i)) for i in range(1, 101)])  # nobody takes them, and none waits
        running.start()
        until(lambda: sink.counters.reconnects == 1)
        until(lambda: sink.counters.written == 11)
    listener.close()
    assert sink.counters.dropped == 90


@needs_mosquitto
def test_closing_without_a_broker_waits_for_none_and_counts(broker):
    running = broker()
    sink = MQTTSink(at(running.port, "activity"), backoff=QUICK)
    with ExitStack() as stack:
        stack.enter_context(sink)
        running.kill()
        until(lambda: sink.counters.lost == 1)
        sink.write(prediction(0))
        assert ending(lambda: [stack.close()])  # long before it would give up a broker that is there
    assert (sink.counters.written, sink.counters.dropped) == (0, 1)


# ---- for a dashboard


class Kept:
    """What a broker holds for one who subscribes now, by topic; and what comes."""

    def __init__(self, port):
        self.found = {}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"kept-{port}-{id(self)}")
        ready = threading.Event()
        self.client.on_connect = lambda client, *rest: client.subscribe("#", 1)
        self.client.on_subscribe = lambda *rest: ready.set()
        self.client.on_message = lambda client, data, m: self.found.update({m.topic: (m.payload, bool(m.retain))})
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert ready.wait(5)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def kept(port, *topics):
    """The retained messages, once those of some topics are there; one more round trip shows that no others are."""
    late = Kept(port)
    late.client.publish("last", b"", 1)
    until(lambda: "last" in late.found and set(topics) <= late.found.keys())
    late.close()
    return {topic: payload for topic, (payload, retained) in late.found.items() if retained}


@needs_mosquitto
def test_who_subscribes_later_sees_whether_predictions_come_and_the_last_one_on_request(broker):
    port = broker().port
    for query, has_state in (("", False), ("?retain", True)):
        with open_sink(f"mqtt://127.0.0.1:{port}/activity{query}") as sink:
            sink.about("walk", "0001", ("sitting", "walking"))
            for i in range(3):
                sink.write(prediction(i))
            until(lambda sink=sink: sink.counters.written == 3)
            found = kept(port, "activity/availability")
            assert found["activity/availability"] == b"online"
            assert ("activity" in found) is has_state
        assert kept(port, "activity/availability")["activity/availability"] == b"offline"
        assert (sink.counters.written, sink.counters.dropped) == (3, 0)
    last = json.loads(found["activity"])
    assert (last["start_s"], dict(zip(last["labels"], last["probabilities"], strict=True))) == (
        2.0,
        {"sitting": 0.5, "walking": 0.5},
    )


DIES = """
import os, sys
from runtime.sinks import open_sink
with open_sink(sys.argv[1]) as sink:
    os.kill(os.getpid(), 9)
"""


@needs_mosquitto
def test_of_one_that_is_killed_the_broker_says_offline(broker):
    port = broker().port
    done = python("-c", DIES, f"mqtt://127.0.0.1:{port}/activity")
    assert done.returncode == -9
    until(lambda: kept(port, "activity/availability")["activity/availability"] == b"offline")


@needs_mosquitto
def test_a_broker_that_comes_back_is_told_again(broker):
    running = broker()
    with MQTTSink(at(running.port, "activity"), backoff=QUICK, discovery="homeassistant") as sink:
        sink.about("walk", "base", ("sitting", "walking"))
        kept(running.port, "activity/availability")
        running.kill()
        until(lambda: sink.counters.lost == 1)
        running.start()  # it has forgotten everything
        until(lambda: sink.counters.reconnects == 1)
        (config,) = kept(running.port, "activity/availability").keys() - {"activity/availability"}
        assert config.startswith("homeassistant/device/sensedge_activity_")


@needs_mosquitto
def test_home_assistant_is_told_of_a_device_and_what_it_shows(broker):
    """Required by MQTT discovery: of a device an identifier, an origin's name, of each entity a platform and an id."""
    port = broker().port
    with open_sink(f"mqtt://127.0.0.1:{port}/home/anna's phone?discovery=ha") as sink:
        for version, labels in (("base", ("sitting", "walking")), ("0001", ("sitting", "walking", "waving"))):
            sink.about("walk", version, labels)
        until(lambda: any(b"waving" in payload for payload in kept(port).values()))
        found = kept(port, "home/anna's phone/availability")
    ((topic, payload),) = [(t, p) for t, p in found.items() if t.endswith("/config")]
    message = json.loads(payload)
    assert re.fullmatch(r"ha/device/sensedge_[A-Za-z0-9_-]+/config", topic)
    assert message["device"]["identifiers"] == [topic.split("/")[2]]
    assert (message["device"]["model"], message["device"]["sw_version"], message["origin"]) == (
        "walk",
        "0001",
        {"name": "sensedge"},
    )
    assert message["state_topic"] == "home/anna's phone"
    assert message["availability_topic"] == "home/anna's phone/availability"
    entities = message["components"].values()
    assert {one["platform"] for one in entities} == {"sensor"}
    assert len({one["unique_id"] for one in entities}) == len(entities) == 3
    (activity,) = [one for one in entities if one["name"] == "Activity"]
    assert (activity["device_class"], activity["options"]) == ("enum", ["sitting", "walking", "waving"])
    fields = prediction(0).to_dict()
    for one in entities:  # each template reads fields that a message has
        path = re.search(r"value_json\.([a-z_.]+)", one["value_template"])[1].split(".")
        value = fields
        for name in path:
            value = value[name]
        assert value is not None


# ---- who may


@pytest.fixture
def tls(tmp_path):
    """Certificates of an authority, a broker, a client, and of another authority."""
    authority = certificate(tmp_path, "ca")
    certificate(tmp_path, "broker", authority)
    certificate(tmp_path, "client", authority)
    certificate(tmp_path, "other", certificate(tmp_path, "otherca"))
    return tmp_path


def tls_lines(folder, *more):
    return OPEN, f"certfile {folder}/broker.pem", f"keyfile {folder}/broker.key", *more


@needs_mosquitto
def test_tls(broker, tls):
    running = broker(*tls_lines(tls))
    port = running.port
    url = f"mqtts://127.0.0.1:{port}/imu?ca={tls}/ca.pem"
    with open_source(url, SIGNAL) as source, open_sink(url) as sink:
        sink.write(prediction(1))
        until(lambda: source.counters.malformed == 1)  # a prediction is no sample, but it came
        running.kill()
        running.start()
        until(lambda: source.counters.reconnects == sink.counters.reconnects == 1)
        sink.write(prediction(2))
        until(lambda: source.counters.malformed == 2)
    for wrong in (f"mqtts://127.0.0.1:{port}/imu?ca={tls}/otherca.pem", f"mqtts://127.0.0.1:{port}/imu"):
        with pytest.raises(
            InputError, match=r"expected a broker whose certificate we trust, got .*certificate.* Name the"
        ):
            open_source(wrong, SIGNAL).__enter__()
    with pytest.raises(InputError, match=r"certificate we trust, got .*mismatch"):
        open_sink(url.replace("127.0.0.1", "localhost")).__enter__()
    with pytest.raises(MissingError, match="expected a broker, got"):
        open_sink(f"mqtt://127.0.0.1:{port}/imu").__enter__()  # without TLS


@needs_mosquitto
def test_a_broker_that_asks_for_our_certificate(broker, tls):
    port = broker(*tls_lines(tls, f"cafile {tls}/ca.pem", "require_certificate true")).port
    url = f"mqtts://127.0.0.1:{port}/imu?ca={tls}/ca.pem"
    with open_source(f"{url}&cert={tls}/client.pem&key={tls}/client.key", SIGNAL):
        pass
    for wrong in (url, f"{url}&cert={tls}/other.pem&key={tls}/other.key"):
        with pytest.raises((InputError, MissingError)) as caught:
            open_source(wrong, SIGNAL).__enter__()
        assert caught.value.exit_code == 2
    with pytest.raises(InputError, match="ca, cert, key: expected certificates in PEM"):
        open_source(f"{url}&cert={tls}/client.key&key={tls}/client.pem", SIGNAL).__enter__()


@needs_mosquitto
def test_passwords(broker, tmp_path, monkeypatch):
    # "secret", as `mosquitto_passwd -b` hashes it: salted PBKDF2-SHA512 of 101 rounds
    import base64
    import hashlib

    salt = b"salt" * 3
    hashed = hashlib.pbkdf2_hmac("sha512", b"secret", salt, 101)
    line = f"anna:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(hashed).decode()}\n"
    (tmp_path / "passwords").write_text(line)
    (tmp_path / "passwords").chmod(0o644)
    port = broker("allow_anonymous false", f"password_file {tmp_path}/passwords").port
    (tmp_path / "right").write_text("secret\n")
    (tmp_path / "wrong").write_text("geheim\n")
    url = f"mqtt://anna@127.0.0.1:{port}/imu"
    with open_source(f"{url}?password_file={tmp_path}/right", SIGNAL):
        pass
    monkeypatch.setenv("SENSEDGE_MQTT_USER", "anna")
    monkeypatch.setenv("SENSEDGE_MQTT_PASSWORD", "secret")
    with open_sink(f"mqtt://127.0.0.1:{port}/activity"):
        pass
    monkeypatch.delenv("SENSEDGE_MQTT_PASSWORD")
    for wrong in (f"{url}?password_file={tmp_path}/wrong", url):
        with pytest.raises(
            InputError, match=r"expected a broker that takes the user anna, got Not authorized. Give user@"
        ):
            open_source(wrong, SIGNAL).__enter__()


def test_a_password_does_not_stand_in_a_command_line():
    with pytest.raises(
        InputError, match=r"expected no password in the command line, got one. Put it into a file"
    ) as caught:
        open_source("mqtt://anna:geheim@broker/imu", SIGNAL)
    assert "geheim" not in str(caught.value)


# ---- what is not there


def test_no_broker():
    with pytest.raises(
        MissingError,
        match=r"expected a broker, got Connection refused. Check host, port and whether .*; on this machine: sudo",
    ):
        open_source(f"mqtt://127.0.0.1:{free_port()}/imu", SIGNAL).__enter__()
    with pytest.raises(MissingError, match=r"expected a broker, got .*Check host, port"):
        open_sink("mqtt://no-such-host.invalid/imu").__enter__()


@needs_mosquitto
def test_coming_and_going_leaves_no_socket_open(broker):
    port = broker().port

    def open_files():
        return len(os.listdir("/proc/self/fd"))

    gc.collect()
    gc.disable()
    try:
        counts = []
        for _ in range(6):
            with open_source(f"mqtt://127.0.0.1:{port}/imu", SIGNAL), open_sink(f"mqtt://127.0.0.1:{port}/activity"):
                pass
            counts.append(open_files())
    finally:
        gc.enable()
    assert counts[-1] <= counts[0]


def test_a_broker_that_never_answers_the_subscription(monkeypatch):
    monkeypatch.setattr("runtime.sources.mqtt.CONNECT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def welcome():
            client, _ = server.accept()
            client.recv(1000)
            client.sendall(bytes([0x20, 2, 0, 0]))  # CONNACK
            done.wait(PATIENCE_S)
            client.close()

        done = threading.Event()
        thread = threading.Thread(target=welcome)
        thread.start()
        with pytest.raises(MissingError, match="expected a broker, got no answer"):
            open_source(f"mqtt://127.0.0.1:{server.getsockname()[1]}/imu", SIGNAL).__enter__()
        done.set()
        thread.join()


def test_no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(
        MissingError, match=r'expected paho-mqtt 2, got no such library. Run: pip install "sensedge\[mqtt\]"'
    ):
        open_source("mqtt://broker/imu", SIGNAL).__enter__()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mqtt://broker", "expected mqtt://host[:port]/topic or mqtts://..., got host broker, topic none"),
        ("mqtt:///imu", "got host none, topic imu"),
        ("mqtt://broker/a%00b", r"got host broker, topic a\x00b"),
        ("mqtt://broker/" + "x" * 65536, "got host broker, topic xxx"),
        ("mqtt://broker:0/imu", "expected mqtt://host"),
        ("mqtt://broker:many/imu", "expected mqtt://host"),
        ("mqtt://broker/sensors/+/imu", "topic sensors/+/imu: expected one topic, got a wildcard"),
        (
            "mqtt://broker/imu?qos=2",
            "expected the options t, bits, stamps, units, map, axes, label, rate, password_file, client_id, clean, "
            "ca, cert, key, got qos",
        ),
        ("mqtts://broker/imu?ca=none.pem", "ca=none.pem: expected a file, got none there"),
        ("mqtt://broker/imu?password_file=none", "password_file=none: expected a file that can be read"),
    ],
)
def test_addresses_that_are_none(url, told):
    with pytest.raises(InputError) as caught:
        open_source(url, SIGNAL)
    assert told in str(caught.value)


def test_addresses():
    def read(url):
        address, _, query = url.partition("?")
        return Broker.from_url(address, Options("mqtt", query), {})

    assert read("mqtt://broker/a/b") == Broker("broker", "a/b")
    assert read("mqtts://anna@broker/a?client_id=me&clean") == Broker(
        "broker", "a", 8883, "anna", client_id="me", clean=True, tls=True
    )
    assert read("mqtt://[::1]:1999/a%20b") == Broker("::1", "a b", 1999)
