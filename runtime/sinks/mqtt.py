"""MQTT out: one message per prediction, at least once; the stream never waits for the broker.

write -> queue -> [network thread] -> broker
         bounded: while the broker is away the oldest go, and are counted; the rest is sent when it is back

TOPIC                a prediction as JSON, with the names of its probabilities; retained where that is asked for
TOPIC/availability   online or offline, retained; the broker itself says offline when we die (a last will)
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from threading import Event, Lock, Thread
from typing import Any

from runtime.errors import InputError, SensedgeError
from runtime.sinks.base import SinkCounters, json_of
from runtime.sinks.home_assistant import PREFIX, availability, discovery_of
from runtime.stream import Prediction
from runtime.wire.backoff import Backoff
from runtime.wire.mqtt import QOS, Broker
from runtime.wire.url import Options

_QUEUE = 1024  # predictions
_IN_FLIGHT = 16  # sent and not yet taken
_LOOP_S = 0.1
_DRAIN_S = 0.6  # how long closing waits for the broker to take what is left
_PART_S = 0.2  # and for our good-bye
_JOIN_S = 0.9
_log = logging.getLogger("sensedge.sinks")


class MQTTSink:
    """Publishes predictions as JSON under one topic.

    Args:
        broker: where, which topic, who we are.
        queue: predictions that are kept while the broker is away or slow.
        backoff: how to connect again.
        retain: the broker keeps the latest prediction for those who subscribe later.
        discovery: prefix under which Home Assistant is told of us; None: it is not.

    Raises:
        InputError: a queue of less than one prediction, or a topic with a wildcard.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        queue: int = _QUEUE,
        backoff: Backoff | None = None,
        retain: bool = False,
        discovery: str | None = None,
    ) -> None:
        if queue < 1:
            raise InputError("queue", expected="at least 1", got=queue, fix="Keep some hundreds.")
        if set(broker.topic) & set("+#"):
            raise InputError(f"topic {broker.topic}", expected="one topic", got="a wildcard", fix="Name one.")
        self.counters = SinkCounters()
        self._broker, self._backoff = broker, backoff or Backoff()
        self._retain, self._discovery = retain, discovery
        self._about: tuple[str, bytes] | None = None  # what Home Assistant is told, and where
        self._waiting: deque[bytes] = deque()
        self._limit = queue
        self._in_flight: set[int] = set()  # message ids that the broker has not taken yet
        self._acks: deque[int] = deque()  # message ids that it has taken; not under the lock, which the writer holds
        self._lock = Lock()  # over queue and flight
        self._more: dict[str, object] = {}  # fields that every message has
        self._connected, self._closing = False, Event()
        self._client: Any = None
        self._thread: Thread | None = None

    @classmethod
    def from_url(cls, rest: str, options: Options) -> MQTTSink:
        """A sink from what follows the scheme of a URL.

        `mqtt://[user@]host[:port]/topic?queue=1024&retain&discovery&client_id=...`, `mqtts://...?ca=...`.
        """
        queue, retain, prefix = options.whole("queue", _QUEUE), options.flag("retain"), options.text("discovery")
        discovery = None if prefix is None else prefix or PREFIX
        return cls(Broker.from_url(rest, options), queue=queue, retain=retain, discovery=discovery)

    def __enter__(self) -> MQTTSink:
        """Connect.

        Raises:
            InputError: the broker refuses us, or we do not trust it.
            MissingError: no paho-mqtt, or no broker.
        """
        self._client = self._broker.client("sink")
        self._client.on_publish = self._taken
        self._client.will_set(availability(self._broker.topic), b"offline", QOS, retain=True)
        self._broker.connect(self._client)
        self._connected = True
        self._greet()
        self._thread = Thread(target=self._work, name="sensedge-mqtt-sink", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        end_s = time.monotonic() + _DRAIN_S
        while self._connected and self._left() and time.monotonic() < end_s:
            time.sleep(0.01)
        self._closing.set()
        if self._thread is not None:
            self._thread.join(max(0.1, end_s + _JOIN_S - _DRAIN_S - time.monotonic()))
        self.counters.dropped += self._left()

    def _left(self) -> int:
        with self._lock:
            self._land()
            return len(self._waiting) + len(self._in_flight)

    def _land(self) -> None:
        while self._acks:
            mid = self._acks.popleft()
            self.counters.written += mid in self._in_flight  # else it was no prediction
            self._in_flight.discard(mid)

    def about(self, name: str, version: str, labels: Sequence[str]) -> None:
        """What predicts from now on: its labels stand in each message, and in what Home Assistant is told."""
        self._more = {"labels": list(labels)}
        if self._discovery is not None:
            self._about = discovery_of(self._broker.topic, name, version, labels, self._discovery)
            if self._connected:
                self._client.publish(*self._about, QOS, retain=True)

    def _greet(self) -> None:
        """Say that we are here."""
        self._client.publish(availability(self._broker.topic), b"online", QOS, retain=True)
        if self._about is not None:
            self._client.publish(*self._about, QOS, retain=True)

    def _part(self) -> None:
        """Say that we go: the broker says it only of those who leave without a word."""
        told = self._client.publish(availability(self._broker.topic), b"offline", QOS, retain=True)
        end_s = time.monotonic() + _PART_S
        while not told.is_published() and time.monotonic() < end_s and not self._client.loop(0.01):
            pass

    def write(self, prediction: Prediction) -> None:
        """Queue a prediction, in place of the oldest where the queue is full; never waits.

        Raises:
            InputError: it is no number.
        """
        payload = json_of(prediction, **self._more).encode()
        with self._lock:
            if len(self._waiting) >= self._limit:
                self._waiting.popleft()
                self.counters.dropped += 1
            self._waiting.append(payload)
        self._send()

    def _send(self) -> None:
        """Hand over what waits, as far as the broker keeps up."""
        with self._lock:
            self._land()
            while self._connected and self._waiting and len(self._in_flight) < _IN_FLIGHT:
                payload = self._waiting.popleft()
                self._in_flight.add(self._client.publish(self._broker.topic, payload, QOS, self._retain).mid)

    def _taken(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        self._acks.append(mid)

    def _work(self) -> None:
        while not self._closing.is_set():
            if self._client.loop(_LOOP_S):
                self._connected = False
                if not self._closing.is_set():
                    self.counters.lost += 1
                    _log.warning("%s has gone; predictions wait", self._broker.name)
                    self._again()
            else:
                self._send()
        if self._connected:
            self._part()
        self._client.disconnect()  # here: in another thread it might wait for a loop that has ended
        self._client.on_publish = None  # else a circle of references keeps its sockets open for a while

    def _again(self) -> None:
        """Connect the same client: it sends again what was in flight."""
        attempt = 0
        while not self._closing.wait(self._backoff.wait_s(attempt)):
            attempt += 1
            try:
                self._broker.connect(self._client)
            except (OSError, SensedgeError):
                continue
            self.counters.reconnects += 1
            self._connected = True
            self._greet()
            return
