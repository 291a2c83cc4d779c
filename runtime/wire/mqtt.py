"""What the MQTT source and sink share: a broker's address, its keys, and a connection that says why it failed.

    mqtt://broker.local/sensors/anna/imu                       port 1883
    mqtts://anna@broker.local/sensors/anna/imu?ca=ca.pem       TLS, port 8883

Passwords never stand in a command line, where every user of the machine can read them: they come from a file
(`?password_file=`) or from the environment (SENSEDGE_MQTT_USER, SENSEDGE_MQTT_PASSWORD).
"""

from __future__ import annotations

import os
import socket
import ssl
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from runtime.errors import InputError, MissingError
from runtime.wire.url import Options

PORT, TLS_PORT = 1883, 8883
QOS = 1  # at least once
_KEEPALIVE_S = 20  # a broker that is silent for 1.5 times as long is gone
CONNECT_S = 5.0
_TOPIC_BYTES = 65535
_SHOWN = 200  # characters of an address that is none


@dataclass(frozen=True)
class Broker:
    """Where a broker is, and who we are to it."""

    host: str
    topic: str
    port: int = PORT
    user: str | None = None
    password: str | None = None
    client_id: str | None = None  # None: made of the host's name and the topic, the same at each start
    clean: bool = False  # True: the broker forgets us when we go; False: it keeps what comes meanwhile
    tls: bool = False
    ca: Path | None = None  # certificates to trust; None: the system's
    cert: Path | None = None  # our own certificate and key, where the broker asks for them
    key: Path | None = None

    @classmethod
    def from_url(cls, url: str, options: Options, environ: Mapping[str, str] = os.environ) -> Broker:
        """From `mqtt://[user@]host[:port]/topic`, with the options of a source or sink.

        Raises:
            InputError: not such a URL, a password in it, or files that are not there.
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        topic = unquote(parts.path.removeprefix("/"))
        is_topic = topic and topic.isprintable() and len(topic.encode()) <= _TOPIC_BYTES
        if not parts.hostname or not is_topic or port == 0 or parts.scheme not in ("mqtt", "mqtts"):
            shown = topic[:_SHOWN].encode("unicode_escape").decode() or "none"
            raise InputError(
                url.replace(f":{parts.password}@", ":...@")[:_SHOWN],
                expected="mqtt://host[:port]/topic or mqtts://...",
                got=f"host {parts.hostname or 'none'}, topic {shown}",
                fix="Write mqtt://localhost/sensors/imu.",
            )
        if parts.password is not None:
            raise InputError(
                f"{parts.scheme}://{parts.username}:...@{parts.hostname}",
                expected="no password in the command line",
                got="one",
                fix="Put it into a file and add ?password_file=FILE, or set SENSEDGE_MQTT_PASSWORD.",
            )
        tls = parts.scheme == "mqtts"
        user = unquote(parts.username) if parts.username else environ.get("SENSEDGE_MQTT_USER")
        file = options.text("password_file")
        broker = cls(
            host=parts.hostname,
            topic=topic,
            port=port or (TLS_PORT if tls else PORT),
            user=user,
            password=_secret(file) if file else environ.get("SENSEDGE_MQTT_PASSWORD"),
            client_id=options.text("client_id"),
            clean=options.flag("clean"),
            tls=tls,
            **{name: _file(name, options.text(name)) for name in ("ca", "cert", "key")},
        )
        options.done()
        return broker

    @property
    def name(self) -> str:
        """Scheme, host and port, as messages show them."""
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"

    def client(self, role: str) -> Any:
        """A client that has not been connected yet.

        Args:
            role: source or sink; part of the client id.

        Raises:
            MissingError: there is no paho-mqtt.
            InputError: certificates that are none.
        """
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError:
            raise MissingError(
                "MQTT", expected="paho-mqtt 2", got="no such library", fix='Run: pip install "sensedge[mqtt]"'
            ) from None
        mark = zlib.crc32(f"{role} {self.topic}".encode())
        client_id = self.client_id or f"sensedge-{socket.gethostname()}-{mark:08x}"
        client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=self.clean)
        client.connect_timeout = CONNECT_S
        if self.user is not None:
            client.username_pw_set(self.user, self.password)
        if self.tls:
            client.tls_set_context(self._context())
        return client

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
            context.sslsocket_class = _HandshakeOrClosed
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            raise InputError(
                f"{self.name}: ca, cert, key", expected="certificates in PEM", got=error, fix="Check the files."
            ) from None
        return context

    def connect(self, client: Any) -> None:
        """Connect, for the first time or again, and wait for the broker's word.

        Raises:
            MissingError: no broker there.
            InputError: it refuses us, or its certificate is not one that we trust.
        """
        answer: list[Any] = []
        client.on_connect = lambda client, userdata, flags, reason, properties: answer.append(reason)
        try:
            self._connect(client, answer)
        except (InputError, MissingError):
            client.disconnect()
            raise

    def _connect(self, client: Any, answer: list[Any]) -> None:
        try:
            client.connect(self.host, self.port, _KEEPALIVE_S)
        except ssl.SSLError as error:
            raise InputError(
                self.name,
                expected="a broker whose certificate we trust",
                got=getattr(error, "verify_message", "") or error.reason or error,
                fix="Name the certificate of its authority: ?ca=FILE; the host must be the one in its certificate.",
            ) from None
        except (OSError, ValueError) as error:
            raise self.missing(error) from None
        end_s = time.monotonic() + CONNECT_S
        while not answer and time.monotonic() < end_s:
            if client.loop(0.1) and not answer:
                raise self.missing("a connection that it closed at once")
        if not answer:
            raise self.missing("no answer")
        if answer[0].is_failure:
            raise InputError(
                self.name,
                expected=f"a broker that takes the user {self.user or '(none)'}",
                got=answer[0],
                fix="Give user@host and ?password_file=FILE, or set SENSEDGE_MQTT_USER and SENSEDGE_MQTT_PASSWORD.",
            )

    def missing(self, what: object) -> MissingError:
        """The error for a broker that is not there: what came instead."""
        if isinstance(what, OSError):
            what = what.strerror or what
        return MissingError(
            self.name,
            expected="a broker",
            got=what,
            fix="Check host, port and whether it wants mqtts:// or our ?cert=FILE&key=FILE; on this machine: "
            "sudo apt-get install mosquitto && sudo systemctl start mosquitto",
        )


class _HandshakeOrClosed(ssl.SSLSocket):
    """A socket that does not stay open when the handshake fails; paho forgets it then."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def _file(name: str, path: str | None) -> Path | None:
    if path is not None and not Path(path).is_file():
        raise InputError(f"{name}={path}", expected="a file", got="none there", fix="Check the path.")
    return None if path is None else Path(path)


def _secret(path: str) -> str:
    try:
        return Path(path).read_text().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"password_file={path}", expected="a file that can be read", got=error, fix="Check the path."
        ) from None
