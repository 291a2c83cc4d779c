"""Tokens, the names of this device, a socket, and the server: from options to a page that answers."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import InputError, MissingError
from sdk.live.guard import Guard, Rules

if TYPE_CHECKING:
    from uvicorn import Server

PORT = 4913
_BYTES = 16  # of a token
_AT_END_S = 1  # that pages which look on have, when the server ends


def read_tokens(path: Path) -> tuple[str, str]:
    """The tokens for looking and for changing, from a file of mode 0600 that is made if it is not there.

    Raises:
        InputError: the file holds something else, or others may read it.
    """
    with suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"look": secrets.token_urlsafe(_BYTES), "change": secrets.token_urlsafe(_BYTES)}, file)
    if path.stat().st_mode & 0o077:
        raise InputError(path, expected="mode 0600", got="others may read it", fix="Delete it: new tokens are made.")
    try:
        found = json.loads(path.read_text())
        look, change = found["look"], found["change"]
        good = all(isinstance(token, str) and len(token) >= _BYTES and token.isascii() for token in (look, change))
    except (ValueError, KeyError, TypeError):
        good = False
    if not good or look == change:
        raise InputError(path, expected="two tokens", got="something else", fix="Delete it: new ones are made.")
    return look, change


def hosts_of(names: Iterable[str], *, lan: bool) -> frozenset[str]:
    """Names and addresses by which this device may be called.

    Args:
        names: further ones.
        lan: also those of its network.
    """
    known = {"localhost", "127.0.0.1", "::1", *(name.lower() for name in names)}
    if lan:
        import psutil

        host = socket.gethostname().lower()
        known |= {host, f"{host}.local"}
        known |= {a.address.partition("%")[0] for found in psutil.net_if_addrs().values() for a in found}
    return frozenset(known)


def listening(port: int, *, lan: bool) -> socket.socket:
    """A socket of this device alone, or of its network.

    Raises:
        InputError: the port is taken.
    """
    try:
        return socket.create_server(("0.0.0.0" if lan else "127.0.0.1", port))  # noqa: S104 (--lan asks for it)
    except (OSError, OverflowError) as error:
        raise InputError("--port", expected="a free one", got=f"{port}: {error}", fix="Such as --port 4914.") from None


def make_server(app: Any, rules: Rules, cert: Path | None, key: Path | None) -> Server:
    """A server that ends when its `should_exit` is set.

    Raises:
        InputError: a certificate or key that cannot be used.
        MissingError: uvicorn is not there.
    """
    try:
        from uvicorn import Config, Server
    except ImportError as error:
        raise lacking("uvicorn") from error
    config = Config(
        Guard(app, rules),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_AT_END_S,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=16384,
        limit_concurrency=64,
        ssl_certfile=cert,
        ssl_keyfile=key,
    )
    try:
        config.load()
    except (OSError, ValueError) as error:
        raise InputError(
            "--cert", expected="a certificate and its key", got=error, fix="docs/live.md makes one."
        ) from None
    return Server(config)


def lacking(library: str) -> MissingError:
    """The error for a library that is not here."""
    fix = 'Run: pip install "sensedge[live]"'
    return MissingError("the live page", expected=library, got="no such library", fix=fix)
