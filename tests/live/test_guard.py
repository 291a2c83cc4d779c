"""Hostile requests, over real sockets: each is refused, with the status that says why, before the page sees it."""

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from sdk.live.guard import HEADERS, Guard, Refused, Rules
from tests.live.served import TOKENS, ask, raw, serving

BODY = b'{"version": "base"}'


@pytest.fixture
def page():
    """Counts what reaches it: hostile requests must not."""
    reached = []

    async def app(scope, receive, send):
        reached.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"yes"})

    with serving(app) as port:
        yield port, reached


HOSTILE = {
    "no token": (401, {"Cookie": None}),
    "an empty cookie": (401, {"Cookie": ""}),
    "a cookie of another port": (401, {"Cookie": "sensedge_1=" + TOKENS[1]}),
    "a wrong cookie": (403, {"Cookie": "sensedge_{port}=guess"}),
    "a cookie that begins well": (403, {"Cookie": "sensedge_{port}=" + TOKENS[1][:-1]}),
    "a wrong token": (403, {"path": "/?token=guess"}),
    "an empty token": (403, {"path": "/?token="}),
    "two tokens": (403, {"path": f"/?token={TOKENS[1]}&token=x"}),
    "a token for another path": (403, {"path": f"/events?token={TOKENS[1]}"}),
    "a rebound name": (421, {"Host": "evil.example"}),
    "a name that ends well": (421, {"Host": "127.0.0.1.evil.example:{port}"}),
    "another port": (421, {"Host": "127.0.0.1:1"}),
    "an address of all": (421, {"Host": "0.0.0.0:{port}"}),
    "another method": (405, {"method": "PUT"}),
    "a trace": (405, {"method": "TRACE"}),
    "a long query": (414, {"path": "/state?" + "a" * 2000}),
    "no header of ours": (403, {"method": "POST", "X_Live": None}),
    "no origin": (403, {"method": "POST", "Origin": None}),
    "another origin": (403, {"method": "POST", "Origin": "http://evil.example"}),
    "an opaque origin": (403, {"method": "POST", "Origin": "null"}),
    "another scheme": (403, {"method": "POST", "Origin": "https://127.0.0.1:{port}"}),
    "another site": (403, {"method": "POST", "Sec_Fetch_Site": "cross-site"}),
    "a sibling site": (403, {"method": "DELETE", "Sec_Fetch_Site": "same-site"}),
    "who may look only": (403, {"method": "POST", "Cookie": "sensedge_{port}=" + TOKENS[0]}),
    "a form": (415, {"method": "POST", "Content_Type": "application/x-www-form-urlencoded"}),
    "text as of a form": (415, {"method": "POST", "Content_Type": "text/plain"}),
    "a long body": (413, {"method": "POST", "body": b"x" * 10_000}),
    "a body of unknown length": (411, {"method": "POST", "Transfer_Encoding": "chunked", "Content_Length": None}),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile(page, what):
    port, reached = page
    status, changed = HOSTILE[what]
    changed = {k: v.replace("{port}", str(port)) if isinstance(v, str) else v for k, v in changed.items()}
    got, headers, _ = ask(port, **changed)
    assert (got, reached) == (status, [])
    assert {name.decode(): value.decode().lower() for name, value in HEADERS}.items() <= headers.items()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_malformed(page, data):
    port, reached = page
    assert 400 <= raw(port, data)[0] < 500
    assert reached == []


def test_friendly(page):
    """What the table changes one thing of each is let through as it is."""
    port, reached = page
    assert ask(port)[0] == 200
    assert ask(port, "POST", "/version", BODY, Sec_Fetch_Site="same-origin")[0] == 200
    assert ask(port, Cookie=f"other=1; sensedge_{port}={TOKENS[0]}")[0] == 200
    assert reached == ["/state", "/version", "/state"]


def test_token_becomes_a_cookie(page):
    port, _ = page
    status, headers, _ = ask(port, path=f"/?token={TOKENS[0]}", Cookie=None)
    assert (status, headers["location"]) == (303, "/")
    assert headers["set-cookie"].startswith(f"sensedge_{port}={TOKENS[0]}; path=/; httponly; samesite=strict")


def test_guesses_are_counted(page):
    """After eight wrong ones even the right one waits."""
    port, _ = page
    statuses = [ask(port, path=f"/?token={k}")[0] for k in range(9)]
    assert statuses == [403] * 8 + [429]
    assert ask(port)[0] == 429


def test_guesses_are_forgotten_after_a_minute():
    now = [0.0]
    guard = Guard(None, Rules(*TOKENS, frozenset(), 1), lambda: now[0])
    for _ in range(8):
        with pytest.raises(Refused) as wrong:
            guard.checked("guess", "them")
        assert wrong.value.status == 403
    with pytest.raises(Refused) as wrong:
        guard.checked(TOKENS[0], "them")
    assert wrong.value.status == 429
    assert guard.checked(TOKENS[0], "us") == "look"
    now[0] = 61.0
    assert guard.checked(TOKENS[0], "them") == "look"


def test_cookie_is_secure_under_tls():
    assert Rules(*TOKENS, frozenset(), 7, tls=True).cookie == "sensedge_7"
