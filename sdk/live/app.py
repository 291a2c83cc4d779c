"""The page's routes: files, the stream of events, and what may be changed.

A viewer has a queue of twenty messages. If they are not fetched in time the oldest go, and the page is told how many.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from runtime.command import json_text
from runtime.errors import InputError, SensedgeError
from sdk.live.serving import lacking

try:
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route
except ImportError as error:
    raise lacking("starlette") from error

if TYPE_CHECKING:
    from sdk.live.feed import Feed
    from sdk.live.jobs import Jobs
    from sdk.live.marks import Marks

QUEUE = 20  # messages that wait for a viewer
MOST_VIEWERS = 16
_ALIVE_S = 15.0  # a line that says nothing, for what lies between
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/draw.js": ("draw.js", "text/javascript; charset=utf-8"),
    "/app.css": ("app.css", "text/css; charset=utf-8"),
    "/uPlot.iife.min.js": ("uPlot.iife.min.js", "text/javascript; charset=utf-8"),
    "/uPlot.min.css": ("uPlot.min.css", "text/css; charset=utf-8"),
}


class Viewer:
    """The queue of one page that looks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._there = loop, asyncio.Event()
        self._queue: deque[str] = deque()
        self.lost = 0  # messages, since the last was fetched

    def put(self, text: str) -> None:
        """Take a message, from any thread."""
        self._queue.append(text)
        if len(self._queue) > QUEUE:
            self._queue.popleft()
            self.lost += 1
        try:
            self._loop.call_soon_threadsafe(self._there.set)
        except RuntimeError:
            return  # the server is at its end

    async def events(self) -> AsyncIterator[str]:
        """What waits, as it comes; for ever."""
        yield "retry: 1000\n\n"
        while True:
            self._there.clear()
            if self.lost:
                lost, self.lost = self.lost, 0
                yield f"data: {json_text({'kind': 'behind', 'lost': lost})}\n\n"
            while self._queue:
                yield f"data: {self._queue.popleft()}\n\n"
            try:
                await asyncio.wait_for(self._there.wait(), _ALIVE_S)
            except (TimeoutError, asyncio.TimeoutError):
                yield ": here\n\n"


def make_app(feed: Feed, marks: Marks | None, jobs: Jobs) -> Starlette:
    """The page, without a guard.

    Args:
        feed: what is shown.
        marks: the store; None: nothing is recorded, so nothing can be labelled.
        jobs: what is learned.
    """
    page = _Page(feed, marks, jobs)
    routes = [Route(path, partial(_file, *found)) for path, found in _FILES.items()]
    for path, answer, method in (
        ("/events", page.events, "GET"),
        ("/state", page.state, "GET"),
        ("/timeline", page.timeline, "GET"),
        ("/questions", page.questions, "GET"),
        ("/labels/check", page.check, "POST"),
        ("/labels", page.mark, "POST"),
        ("/labels/last", page.undo, "DELETE"),
        ("/jobs", page.learn, "POST"),
        ("/jobs/last", page.cancel, "DELETE"),
        ("/version", page.version, "POST"),
        ("/keep", page.keep, "POST"),
    ):
        routes.append(Route(path, _answered(answer), methods=[method]))
    return Starlette(routes=routes)


class _Page:
    def __init__(self, feed: Feed, marks: Marks | None, jobs: Jobs) -> None:
        self._feed, self._store, self._jobs = feed, marks, jobs
        self._n_viewers = 0

    @property
    def _marks(self) -> Marks:
        if self._store is None:
            raise InputError("labels", expected="a store", got="none", fix="Start with --record me.db.")
        return self._store

    async def events(self, _: Request) -> Response:
        if self._n_viewers >= MOST_VIEWERS:
            return Response("Sixteen look already.\n", 503)
        return StreamingResponse(
            self._watched(),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    async def _watched(self) -> AsyncIterator[str]:
        viewer = Viewer(asyncio.get_running_loop())
        self._n_viewers += 1
        try:
            await run_in_threadpool(self._listen, viewer)
            async for text in viewer.events():
                yield text
        finally:
            self._n_viewers -= 1
            self._feed.leave(viewer.put)

    def _listen(self, viewer: Viewer) -> None:
        self._feed.listen(viewer.put)

    async def state(self, request: Request) -> dict[str, Any]:
        told = await run_in_threadpool(self._jobs.versions)
        told |= {"job": self._jobs.latest, "now": self._feed.now_s, "labels": self._feed.bundle.manifest.labels}
        told |= {"recorded": self._store is not None, "may_change": bool(request.scope.get("may_change"))}
        counts = {} if self._store is None else await run_in_threadpool(self._store.labelled)
        return told | {"labelled": counts, "data": self._feed.data()}

    async def timeline(self, request: Request) -> dict[str, Any]:
        start_s, end_s = (_number(request.query_params.get(name)) for name in ("start", "end"))
        return await run_in_threadpool(self._timeline, start_s, end_s)

    def _timeline(self, start_s: float, end_s: float) -> dict[str, Any]:
        self._feed.flush()
        return self._marks.timeline(start_s, end_s)

    async def questions(self, request: Request) -> dict[str, Any]:
        skipped = request.query_params.get("skip", "")
        if not all(c in "0123456789.," for c in skipped):
            raise InputError("skip", expected="seconds", got="something else", fix="As start_s says.")
        return await run_in_threadpool(self._jobs.questions, skipped)

    async def check(self, request: Request) -> dict[str, Any]:
        return await run_in_threadpool(self._marked, *await _span(request), write=False)

    async def mark(self, request: Request) -> dict[str, Any]:
        return await run_in_threadpool(self._marked, *await _span(request), write=True)

    def _marked(self, start_s: float, end_s: float, label: str, *, write: bool) -> dict[str, Any]:
        marks = self._marks
        self._feed.flush()
        return (marks.mark if write else marks.check)(start_s, end_s, label)

    async def undo(self, _: Request) -> dict[str, Any]:
        return {"undone": await run_in_threadpool(self._marks.undo)}

    async def learn(self, request: Request) -> Response:
        body = await _body(request, sure=bool)
        known = self._feed.bundle.manifest.labels
        new = [name for name in await run_in_threadpool(self._marks.labelled) if name not in known]
        number = await run_in_threadpool(partial(self._jobs.start, new, sure=body["sure"]))
        return Response(json_text({"id": number}), 202, media_type="application/json")

    async def cancel(self, _: Request) -> dict[str, Any]:
        self._jobs.cancel()
        return {}

    async def version(self, request: Request) -> dict[str, Any]:
        body = await _body(request, version=str)
        await run_in_threadpool(self._jobs.use_version, body["version"])
        return {"version": body["version"]}

    async def keep(self, _: Request) -> dict[str, Any]:
        await run_in_threadpool(self._jobs.keep)
        return {}


def _answered(answer: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    """JSON of what it returns; what the wearer can mend as a sentence."""

    async def respond(request: Request) -> Response:
        status = 200
        try:
            found = await answer(request)
        except ClientDisconnect:
            found, status = {"error": "Too much."}, 413
        except SensedgeError as error:
            found, status = {"error": f"{error.got}. {error.fix}", "where": str(error.where)}, 409
        except OSError as error:
            found, status = {"error": str(error)}, 500
        if isinstance(found, Response):
            return found
        headers = {"cache-control": "no-store"}
        return Response(json_text(found), status, media_type="application/json", headers=headers)

    return respond


async def _file(name: str, kind: str, request: Request) -> Response:
    headers, data = {"cache-control": "no-cache", "vary": "accept-encoding"}, _data(name)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"], data = "gzip", _packed(name)
    return Response(data, media_type=kind, headers=headers)


def _data(name: str) -> bytes:
    return files("sdk.live").joinpath("web").joinpath(name).read_bytes()


@lru_cache
def _packed(name: str) -> bytes:
    return gzip.compress(_data(name), mtime=0)


async def _body(request: Request, **wanted: type) -> dict[str, Any]:
    """A JSON object with just these keys.

    Raises:
        InputError: it is something else.
    """
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError):
        found = None
    ok = isinstance(found, dict) and found.keys() == wanted.keys()
    if not ok or not all(type(found[name]) in ((float, int) if of is float else (of,)) for name, of in wanted.items()):
        raise InputError("request", expected=", ".join(wanted), got="something else", fix="Load the page anew.")
    return dict(found)


async def _span(request: Request) -> tuple[float, float, str]:
    body = await _body(request, start=float, end=float, label=str)
    return float(body["start"]), float(body["end"]), body["label"]


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise InputError("time", expected="Unix seconds", got=repr(text)[:40], fix="Load the page anew.") from None
