"""The page in this process: a source that a test feeds, a server on a free port, and requests as bytes."""

import asyncio
import json
import shutil
import socket
import threading
from contextlib import contextmanager
from queue import SimpleQueue

import numpy as np

from runtime.bundle import Bundle
from runtime.sources.base import Batch, Stoppable
from tests.commands.tools import DATA
from tests.waiting import PATIENCE_S, until

TOKENS = "look-look-look-look", "change-change-change"
HZ = 50.0


class Fed(Stoppable):
    """A source of what a test hands in."""

    def __init__(self):
        super().__init__()
        self._queue, self._n = SimpleQueue(), 0
        self.taken = 0

    def give(self, samples, error=None):
        self._queue.put(error or Batch(np.asarray(samples, np.float32)))
        self._n += 1

    def all_taken(self):
        until(lambda: self.taken >= self._n)

    def stop(self):
        super().stop()
        self._queue.put(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def __iter__(self):
        while (batch := self._queue.get()) is not None:
            if isinstance(batch, Exception):
                raise batch
            yield batch
            self.taken += 1


def walk(n, seed=0):
    """Something that moves."""
    rows = np.random.default_rng(seed).normal(0, 2, (n, 6)).astype(np.float32)
    rows[:, 1] += 9.8
    return rows


def copy_of_bundle(folder):
    return Bundle.open(shutil.copytree(DATA / "walk.bundle", folder / "walk.bundle"))


@contextmanager
def serving(app, **rules):
    """The app behind its guard, on a socket; gives its port."""
    from sdk.live.guard import Rules
    from sdk.live.serving import hosts_of, listening, make_server

    with listening(0, lan=False) as listener:
        port = listener.getsockname()[1]
        server = make_server(app, Rules(*TOKENS, hosts_of((), lan=False), port, **rules), None, None)
        thread = threading.Thread(target=lambda: asyncio.run(server._serve([listener])))
        thread.start()
        try:
            until(lambda: server.started)
            yield port
        finally:
            server.should_exit = True
            thread.join()


def ask(port, method="GET", path="/state", body=b"", *, drop=(), **headers):
    """Status, headers in small letters, and body of a request as bytes; a header None is left out."""
    base = f"http://127.0.0.1:{port}"
    sent = {"Host": f"127.0.0.1:{port}", "Cookie": f"sensedge_{port}={TOKENS[1]}", "Connection": "close"}
    if method in ("POST", "DELETE"):
        sent |= {"Origin": base, "X-Live": "1", "Content-Type": "application/json", "Content-Length": str(len(body))}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in sent.items() if v is not None)]
    return raw(port, "\r\n".join([*lines, "", ""]).encode("latin-1") + body)


def raw(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(data)
        answer = b""
        while block := connection.recv(65536):
            answer += block
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), rest


def answer(port, *arguments, **headers):
    status, _, body = ask(port, *arguments, **headers)
    return status, json.loads(body)
