"""MQTT in: one message, one line of text; see `runtime.recording.text` for what it may hold.

At least once (QoS 1) means that a message may come twice. One that has times and came before is left out and counted;
send times, then nothing is counted twice. With `clean` off, the broker keeps messages while we are away.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from runtime.errors import InputError
from runtime.recording.reading import Reading
from runtime.sources.base import Batch
from runtime.sources.rows import LiveRows
from runtime.specs import Signal
from runtime.wire.backoff import Backoff
from runtime.wire.mqtt import CONNECT_S, QOS, Broker
from runtime.wire.url import Options

_REMEMBERED = 4096  # messages; a broker redelivers far fewer


class MQTTSource(LiveRows):
    """Reads JSON or CSV messages of one topic.

    Args:
        broker: where, which topic (without wildcards: samples of two sensors are not one stream), who we are.
        signal: whose channels.
        reading: what is said of times, units, names and axes. Messages without times get the time of their arrival.
        rate_hz: samples per second, if messages have no times and it is not the signal's.
        backoff: how to connect again.

    Raises:
        InputError: a topic with a wildcard.
    """

    def __init__(
        self,
        broker: Broker,
        signal: Signal,
        *,
        reading: Reading | None = None,
        rate_hz: float | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        if set(broker.topic) & set("+#"):
            raise InputError(
                f"topic {broker.topic}", expected="one topic", got="a wildcard", fix="Open a source for each sensor."
            )
        super().__init__(self._open, signal, reading=reading, rate_hz=rate_hz, backoff=backoff or Backoff())
        self._broker, self._seen = broker, _Seen()

    @classmethod
    def from_url(cls, rest: str, options: Options, signal: Signal) -> MQTTSource:
        """A source from what follows the scheme of a URL.

        `mqtt://[user@]host[:port]/topic?t=ms&units=g,deg/s&rate=100&client_id=...&clean&password_file=...`,
        `mqtts://...?ca=...`.
        """
        reading, rate_hz = Reading.taken(options.text, options.where), options.number("rate")
        return cls(Broker.from_url(rest, options), signal, reading=reading, rate_hz=rate_hz)

    def _open(self) -> _Subscription:
        return _Subscription(self._broker, self)

    def batches_of(self, payload: bytes) -> list[Batch]:
        """A message's samples; none if it has none, or came before."""
        if self._rows.timed is not False and self._seen.before(payload):
            self.counters.duplicates += 1
            return []
        return self._rows.read(payload)


class _Seen:
    """Whether a message came before, among the last few thousand."""

    def __init__(self) -> None:
        self._order: deque[bytes] = deque()
        self._marks: set[bytes] = set()

    def before(self, payload: bytes) -> bool:
        mark = hashlib.blake2b(payload, digest_size=16).digest()
        if mark in self._marks:
            return True
        self._marks.add(mark)
        self._order.append(mark)
        if len(self._order) > _REMEMBERED:
            self._marks.remove(self._order.popleft())
        return False


class _Subscription:
    def __init__(self, broker: Broker, source: MQTTSource) -> None:
        self._source, self._payloads = source, deque[bytes]()
        self._client = broker.client("source")
        self._client.on_message = self._keep
        broker.connect(self._client)
        try:
            self._subscribe(broker)
        except BaseException:
            self.close()
            raise

    def _subscribe(self, broker: Broker) -> None:
        refused: list[bool] = []
        self._client.on_subscribe = lambda client, userdata, mid, codes, properties: refused.append(codes[0].is_failure)
        self._client.subscribe(broker.topic, QOS)
        end_s = time.monotonic() + CONNECT_S
        while not refused:
            if time.monotonic() > end_s:
                raise broker.missing("no answer")
            self._loop(0.2)
        if refused[0]:
            raise InputError(
                f"{broker.name}/{broker.topic}",
                expected="a topic that we may read",
                got="refused",
                fix="Allow it to this user in the broker's access list.",
            )

    def _keep(self, client: Any, userdata: Any, message: Any) -> None:
        if not message.retain:  # one that is kept for newcomers is no news
            self._payloads.append(message.payload)

    def _loop(self, wait_s: float) -> None:
        if code := self._client.loop(wait_s):
            raise OSError(f"the broker has gone ({code.name})")

    def read(self, wait_s: float) -> Sequence[Batch]:
        if not self._payloads:
            self._loop(wait_s)
        batches: list[Batch] = []
        while self._payloads:
            batches += self._source.batches_of(self._payloads.popleft())
        return batches

    def close(self) -> None:
        self._client.disconnect()
        self._client.on_message = None  # else a circle of references keeps its sockets open for a while
