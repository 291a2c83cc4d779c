"""Who may look and who may change: pure ASGI in front of the page, so that a stream of events is not held up.

    Host -> method, sizes -> token or cookie -> for a change: the right to it, Origin, X-Live, Sec-Fetch-Site -> page

It keeps out other people of the network (tokens), pages of other sites in the wearer's own browser (the cookie is
SameSite=Strict, and a change needs a header that no form can send), and names that were bound to this address later
(the list of hosts). What it refuses it refuses in one sentence, before anything is read.
"""

from __future__ import annotations

import hmac
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BODY_BYTES = 4096
_MOST_QUERY_BYTES = 1024
_MOST_WRONG, _WITHIN_S = 8, 60.0  # tokens, of one address
_MOST_CLIENTS = 256  # whose wrong tokens are remembered
_LOOKS, _CHANGES = ("GET", "HEAD"), ("POST", "DELETE")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


@dataclass(frozen=True)
class Rules:
    """Who may do what."""

    look: str  # token
    change: str  # token
    hosts: frozenset[str]  # names by which this device may be called, without ports
    port: int
    tls: bool = False

    @property
    def cookie(self) -> str:
        """Its name; cookies of one host are shared by all ports."""
        return f"sensedge_{self.port}"


class Refused(Exception):  # noqa: N818 (an answer, not an error)
    """What a request gets instead of the page."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Guard:
    """Lets through what `rules` allow.

    Args:
        app: the page.
        rules: who may do what.
        clock: tells seconds, for the count of wrong tokens.
    """

    def __init__(self, app: App, rules: Rules, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._rules, self._clock = app, rules, clock
        self._wrong: dict[str, deque[float]] = {}  # when wrong tokens came, by the address that they came from

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # a websocket is closed by the server
        try:
            headers = _headers(scope)
            self._check_shape(scope, headers)
            given = _token(scope)
            if given is not None:
                await self._exchange(given, scope, send)
                return
            scope["may_change"] = self._may_change(headers, _client(scope))
            if scope["method"] in _CHANGES:
                self._check_change(scope, headers)
            await self._app(scope, _limited(receive), _with_headers(send))
        except Refused as wrong:
            await _answer(send, wrong.status, wrong.text)

    def _check_shape(self, scope: Scope, headers: dict[str, list[str]]) -> None:
        hosts = headers.get("host", [])
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise Refused(421, "This device is not called so; name it with --host.")
        if scope["method"] not in _LOOKS + _CHANGES:
            raise Refused(405, "Only GET, HEAD, POST and DELETE.")
        if len(scope.get("query_string", b"")) > _MOST_QUERY_BYTES:
            raise Refused(414, "Too long an address.")
        if "transfer-encoding" in headers:
            raise Refused(411, "Say how long the body is.")
        length = headers.get("content-length", ["0"])
        if len(length) != 1 or not length[0].isdecimal():
            raise Refused(400, "A length that is none.")
        if len(length[0]) > 9 or int(length[0]) > MOST_BODY_BYTES:
            raise Refused(413, f"More than {MOST_BODY_BYTES} bytes.")

    def _is_ours(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        if not colon or host.endswith("]"):
            name, port = host, ""
        return name.lower().strip("[]") in self._rules.hosts and port in ("", str(self._rules.port))

    def _right_of(self, token: str) -> str | None:
        """Look or change; None: it is neither. Both are compared, in a time that does not tell which bytes differ."""
        given = token.encode("utf-8", "replace")
        looks = hmac.compare_digest(given, self._rules.look.encode())
        changes = hmac.compare_digest(given, self._rules.change.encode())
        return "change" if changes else "look" if looks else None

    def checked(self, token: str, client: str) -> str:
        """The right of a token: look or change.

        Raises:
            Refused: it is none, or too many came from there that were none.
        """
        now_s = self._clock()
        wrong = self._wrong.get(client) or deque[float]()
        if len(wrong) == _MOST_WRONG and now_s - wrong[0] < _WITHIN_S:
            raise Refused(429, "Too many wrong tokens; wait a minute.")
        right = self._right_of(token)
        if right is None:
            if client not in self._wrong and len(self._wrong) >= _MOST_CLIENTS:
                self._wrong.pop(next(iter(self._wrong)))
            self._wrong.setdefault(client, deque(maxlen=_MOST_WRONG)).append(now_s)
            raise Refused(403, "Not the token of this page; the device prints its address when it starts.")
        return right

    def _may_change(self, headers: dict[str, list[str]], client: str) -> bool:
        try:
            cookies = SimpleCookie("; ".join(headers.get("cookie", [])))
        except CookieError:
            raise Refused(400, "A cookie that is none.") from None
        morsel = cookies.get(self._rules.cookie)
        if morsel is None:
            raise Refused(401, "Open the address that the device printed, with its token.")
        return self.checked(morsel.value, client) == "change"

    def _check_change(self, scope: Scope, headers: dict[str, list[str]]) -> None:
        if not scope["may_change"]:
            raise Refused(403, "This address may look only; --allow-changes prints one that may change.")
        scheme = "https" if self._rules.tls else "http"
        origin = f"{scheme}://{headers['host'][0]}"
        if headers.get("origin") != [origin] or headers.get("x-live") != ["1"]:
            raise Refused(403, "Changes come from this page only.")
        if headers.get("sec-fetch-site", ["same-origin"]) != ["same-origin"]:
            raise Refused(403, "Changes come from this page only.")
        kind = headers.get("content-type", [""])[0].partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            raise Refused(415, "JSON, please.")

    async def _exchange(self, token: str, scope: Scope, send: Send) -> None:
        """A token in the address becomes a cookie, and leaves the address."""
        if scope["method"] != "GET" or scope["path"] != "/":
            raise Refused(403, "A token belongs to the address of the page only.")
        self.checked(token, _client(scope))
        cookie = f"{self._rules.cookie}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"
        cookie += "; Secure" if self._rules.tls else ""
        await _answer(send, 303, "", ((b"location", b"/"), (b"set-cookie", cookie.encode())))


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _client(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])


def _token(scope: Scope) -> str | None:
    tokens = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True).get("token")
    return None if tokens is None else tokens[0] if len(tokens) == 1 else ""


def _limited(receive: Receive) -> Receive:
    """Whatever was said of its length, no more of a body is taken than may come."""
    n_bytes = 0

    async def take() -> Message:
        nonlocal n_bytes
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > MOST_BODY_BYTES:
            return {"type": "http.disconnect"}
        return message

    return take


def _with_headers(send: Send) -> Send:
    async def give(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *HEADERS]
        await send(message)

    return give


async def _answer(send: Send, status: int, text: str, more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    body = (text + "\n").encode() if text else b""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    headers += [(b"cache-control", b"no-store"), *more, *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
