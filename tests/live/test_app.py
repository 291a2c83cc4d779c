"""The page's answers: viewers, labels with what the model said there, learning, trials; each failure's sentence."""

import asyncio
import json
import socket
from itertools import pairwise

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from runtime.bundle.versions import current_version
from runtime.errors import BundleError
from runtime.files.atomic import held
from runtime.recorder import RecordedStream, Recorder
from sdk.live import Feed, Jobs, Marks, make_app
from sdk.live.app import QUEUE, Viewer
from tests.commands.tools import DATA, python
from tests.live.served import Fed, answer, ask, copy_of_bundle, serving, walk
from tests.live.story import write_story
from tests.waiting import PATIENCE_S, until

BEGAN_S = 1_700_000_000.0


class Served:
    """A page over a store of a minute."""

    def __init__(self, folder):
        self.bundle = copy_of_bundle(folder)
        self.store = folder / "me.db"
        self.source = Fed()
        self.feed = Feed(self.source, self.bundle)
        self.jobs = Jobs(self.bundle, self.store, self.feed.use, self.feed.tell, self.feed.flush)
        self.app = make_app(self.feed, Marks(self.store), self.jobs)


@pytest.fixture
def page(tmp_path):
    it = Served(tmp_path)
    with Recorder(it.store, it.bundle, epoch=BEGAN_S) as recorder:
        RecordedStream(recorder).push(walk(3000))
    with it.feed, serving(it.app) as it.port:
        yield it
    it.jobs.close()


def events(port, n):
    """The first n messages."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        cookie = f"Cookie: sensedge_{port}=look-look-look-look"
        connection.sendall(f"GET /events HTTP/1.1\r\nHost: localhost:{port}\r\n{cookie}\r\n\r\n".encode())
        lines = (line for line in connection.makefile() if line.startswith("data: "))
        return [json.loads(next(lines)[6:]) for _ in range(n)]


def test_files_are_small(page):
    """All that the browser loads, packed: the promise is 70 kB."""
    from sdk.live.app import _FILES

    n_bytes = 0
    for path in _FILES:
        status, headers, body = ask(page.port, path=path, Accept_Encoding="gzip")
        assert (status, headers["content-encoding"]) == (200, "gzip")
        n_bytes += len(body)
    assert n_bytes < 70_000


def test_events(page):
    hello, data = events(page.port, 2)
    assert (hello["kind"], hello["v"], hello["version"], data["kind"]) == ("hello", 1, "base", "data")
    until(lambda: page.feed.n_listeners == 0)  # whoever leaves is forgotten


def test_slow_viewer():
    """Its oldest messages go, and it is told how many."""

    async def look():
        viewer = Viewer(asyncio.get_running_loop())
        for k in range(QUEUE + 7):
            viewer.put(str(k))
        stream = viewer.events()
        return [await anext(stream) for _ in range(3)]

    retry, behind, first = asyncio.run(look())
    assert "retry" in retry
    assert json.loads(behind[6:]) == {"kind": "behind", "lost": 7}
    assert first == "data: 7\n\n"


def test_label_is_checked_before(page):
    body = json.dumps({"start": BEGAN_S + 10, "end": BEGAN_S + 30, "label": "sitting"}).encode()
    status, told = answer(page.port, "POST", "/labels/check", body)
    assert (status, sum(told["said"].values())) == (200, told["inside"])
    assert told["differs"] is ("sitting" not in told["said"])
    assert answer(page.port)[1]["labelled"] == {}  # nothing is written yet
    assert answer(page.port, "POST", "/labels", body)[1] == told
    assert answer(page.port)[1]["labelled"] == {"sitting": told["inside"]}
    _, shown = answer(page.port, "GET", f"/timeline?start={BEGAN_S}&end={BEGAN_S + 60}")
    assert [(s["start"], s["end"], s["label"]) for s in shown["spans"]] == [(BEGAN_S + 10, BEGAN_S + 30, "sitting")]
    assert answer(page.port, "DELETE", "/labels/last")[1]["undone"]["label"] == "sitting"
    assert answer(page.port, "DELETE", "/labels/last")[1] == {"undone": None}


def test_timeline_tiles(page):
    """Runs neither overlap nor lie: each instant has the label of the window whose middle is nearest."""
    _, shown = answer(page.port, "GET", f"/timeline?start={BEGAN_S}&end={BEGAN_S + 60}")
    runs = shown["runs"]
    assert all(a["end"] <= b["start"] + 1e-6 for a, b in pairwise(runs))
    assert all(a["start"] < a["end"] for a in runs)
    assert (runs[0]["start"], runs[-1]["end"]) == pytest.approx((BEGAN_S, BEGAN_S + 60), abs=1.3)
    _, day = answer(page.port, "GET", f"/timeline?start={BEGAN_S - 40000}&end={BEGAN_S + 40000}")
    assert [run["p"] for run in day["runs"]] == [None] * len(day["runs"]) != []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/labels", b"{"),
        ("/labels", b"[" * 4000),
        ("/labels", b'{"start": 1, "end": 2}'),
        ("/labels", b'{"start": 1, "end": 2, "label": 3}'),
        ("/labels", b'{"start": true, "end": 2, "label": "x"}'),
        ("/labels", b'{"start": NaN, "end": 2, "label": "x"}'),
        ("/labels", b'{"start": 1, "end": Infinity, "label": "x"}'),
        ("/labels", b'{"start": 3, "end": 2, "label": "x"}'),
        ("/labels", b'{"start": 1, "end": 2, "label": "a\\nb"}'),
        ("/labels", b'{"start": 1, "end": 2, "label": "far from all windows"}'),
        ("/version", b'{"version": "../../etc"}'),
        ("/version", b'{"version": "0009"}'),
        ("/jobs", b'{"sure": "yes"}'),
    ],
)
def test_senseless_requests(page, path, body):
    status, told = answer(page.port, "POST", path, body)
    assert status == 409
    assert told["error"]
    assert answer(page.port)[1]["labelled"] == {}
    assert current_version(page.bundle.path) == "base"


def learned(page, sure):
    assert ask(page.port, "POST", "/jobs", json.dumps({"sure": sure}).encode())[0] == 202
    until(lambda: page.jobs.latest["state"] != "running")
    return page.jobs.latest


@pytest.fixture
def story(tmp_path):
    """A page over five minutes with labels, of a sensor that was worn another way."""
    it = Served(tmp_path)
    spans = write_story(it.bundle, it.store)
    it.span = spans[0][0], spans[-1][1]
    marks = Marks(it.store)
    for start_s, end_s, label in spans:
        marks.mark(start_s, end_s, label)
    with it.feed, serving(it.app) as it.port:
        yield it
    it.jobs.close()


def test_learn_try_keep(story):
    job = learned(story, sure=False)
    assert job["state"] == "refused"
    assert job["report"]["contradictions"]
    assert not (story.bundle.path / "personal" / "trial.json").exists()
    assert learned(story, sure=True)["state"] == "accepted"
    trial = answer(story.port)[1]["trial"]
    assert (trial["back_to"], trial["version"]) == ("base", "0001")
    assert current_version(story.bundle.path) == "0001"
    until(lambda: story.feed._next is not None)  # the stream takes it with its next batch
    story.source.give(walk(10))
    until(lambda: story.feed.bundle.version == "0001")
    assert answer(story.port, "POST", "/jobs", b'{"sure": true}')[0] == 409  # one trial at a time
    assert ask(story.port, "POST", "/keep", b"{}")[0] == 200
    assert answer(story.port)[1]["trial"] is None
    assert story.jobs.end_old_trial() is None  # nothing is left to go back from
    assert current_version(story.bundle.path) == "0001"
    assert answer(story.port, "POST", "/version", b'{"version": "base"}')[0] == 200
    assert current_version(story.bundle.path) == "base"


def test_new_activity(story):
    """A name that the model does not know is one that it is to learn; its version has labels of its own."""
    marks = Marks(story.store)
    for span in marks.timeline(*story.span)["spans"]:
        if span["label"] == "upstairs":
            marks.mark(span["start"], span["end"], "climbing")
    job = learned(story, sure=True)
    assert job["state"] == "accepted", job["text"]
    story.source.give(walk(10))
    until(lambda: story.feed.bundle.version == "0001")
    assert story.feed.bundle.manifest.labels == (*story.bundle.manifest.labels, "climbing")


def test_trial_that_nobody_keeps(story):
    assert learned(story, sure=True)["state"] == "accepted"
    story.jobs._time_is_up()
    assert (current_version(story.bundle.path), story.jobs.trial) == ("base", None)


def test_trial_that_a_crash_cut_off(story):
    """The next start goes back."""
    assert learned(story, sure=True)["state"] == "accepted"
    story.jobs.close()
    after = Jobs(story.bundle, story.store, lambda _: None, lambda _: None, lambda: None)
    assert after.end_old_trial() == "base"
    assert (current_version(story.bundle.path), after.end_old_trial()) == ("base", None)


def test_killed_while_learning(story):
    """The bundle is as it was, and the page says so."""
    told = []
    jobs = Jobs(story.bundle, story.store, lambda _: None, told.append, lambda: None)
    jobs.start(sure=True)
    until(lambda: jobs._child is not None)
    jobs.cancel()
    until(lambda: jobs.latest["state"] != "running")
    assert (jobs.latest["state"], current_version(story.bundle.path)) == ("ended", "base")
    assert "as it was" in told[-1]["text"]
    assert not (story.bundle.path / "personal" / "trial.json").exists()


def test_bundle_is_locked(story):
    """By another fine-tuning: its sentence is shown, nothing changes."""
    personal = story.bundle.path / "personal"
    personal.mkdir(exist_ok=True)
    busy = BundleError(personal, expected="", got="", fix="")
    with held(personal, busy):
        status, told = answer(story.port, "POST", "/version", b'{"version": "base"}')
        assert status == 409
        assert told["error"]


def test_one_job_at_a_time(story):
    story.jobs.latest = {"id": 1, "state": "running"}
    assert answer(story.port, "POST", "/jobs", b'{"sure": true}')[0] == 409
    assert answer(story.port, "POST", "/version", b'{"version": "base"}')[0] == 409


def test_questions(page):
    status, told = answer(page.port, "GET", "/questions")
    assert status == 200
    assert {"start_s", "end_s", "guess", "picture"} <= told["questions"][0].keys()
    assert answer(page.port, "GET", "/questions?skip=a;b")[0] == 409


@pytest.mark.parametrize("library", ["starlette", "uvicorn"])
def test_without_its_libraries_the_command_says_what_to_install(library, tmp_path):
    words = [str(copy_of_bundle(tmp_path).path), "--replay", str(DATA / "person_6.npz"), "--port", "0"]
    done = python(
        "-c", f"import sys; sys.modules[{library!r}] = None; import sdk.live.__main__ as m; exit(m.main({words}))"
    )
    assert done.returncode == 2
    assert f'the live page: expected {library}, got no such library. Run: pip install "sensedge[live]"' in done.stderr
