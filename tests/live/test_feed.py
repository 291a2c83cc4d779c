"""The feed: the predictions of a stream whoever looks, and no message while nobody does."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import sdk.live
from runtime.recorder import Recorder, Store
from runtime.stream import Stream
from sdk.live import messages
from sdk.live.feed import Feed
from tests.live.served import Fed, copy_of_bundle, walk
from tests.waiting import Clock, until


@pytest.fixture
def bundle(tmp_path):
    return copy_of_bundle(tmp_path)


def fed(feed, source, samples, chunk=5):
    for at in range(0, len(samples), chunk):
        source.give(samples[at : at + chunk])
    source.all_taken()


def kinds(said):
    return [json.loads(text)["kind"] for text in said]


def test_nobody_looks(bundle):
    source = Fed()
    with Feed(source, bundle) as feed:
        fed(feed, source, walk(400))
        assert feed.made == 0
        said = []
        feed.listen(said.append)
        assert kinds(said) == ["hello", "data"]
        assert json.loads(said[0])["latest"]["label"] in bundle.manifest.labels  # what stands is shown at once
        assert len(json.loads(said[0])["ring"]) == 2 * 80  # ticks of two modalities
        fed(feed, source, walk(200))
        assert {"tick", "pred", "cost"} <= set(kinds(said))
        assert feed.made == len(said)


def test_leaving(bundle):
    source, said = Fed(), []
    with Feed(source, bundle) as feed:
        feed.listen(said.append)
        feed.leave(said.append)  # equal, but another object: as bound methods are
        fed(feed, source, walk(300))
        assert (feed.n_listeners, feed.made) == (0, 2)


def test_predictions_with_five_viewers(bundle):
    """Those of a stream alone, bit for bit: rounded on the page, whole in the store."""
    samples, source, said = walk(1500), Fed(), [[] for _ in range(5)]
    clock = Clock()
    store = bundle.path.with_name("me.db")
    with Feed(source, bundle, lambda of: Recorder(store, of, epoch=1e9), clock=clock) as feed:
        for one in said:
            feed.listen(one.append)
        fed(feed, source, samples)
    alone = Stream(bundle)
    expected = [p for at in range(0, 1500, 5) for p in alone.push(samples[at : at + 5])]
    with Store(store) as kept:
        found = [(*p.probabilities.values(),) for p in kept.predictions(0, 2e9)]
    assert np.array_equal(np.float32(found), np.float32([p.probabilities for p in expected]))
    shown = [json.loads(text) for text in said[4] if '"pred"' in text]
    assert [m["p"] for m in shown] == [[round(v, 4) for v in p.probabilities] for p in expected]
    assert said[0][2:] == said[3][2:]  # each made once


def test_another_version(bundle):
    """Its predictions from the next batch on; who chooses it by the page or by hand is the same. The stream goes on."""
    head = bundle.manifest.head
    weights = {head.weight: bundle.tensor(head.weight) * 0, head.bias: np.float32([0, 0, 0, 0, 0, 9])}
    source, said = Fed(), []
    with Feed(source, bundle) as feed:
        feed.listen(said.append)
        fed(feed, source, walk(320))
        other = bundle.commit(weights, {"made_s": 1.0})
        feed.use(other)
        fed(feed, source, walk(320))
    heard = [json.loads(text) for text in said]
    preds = [m for m in heard if m["kind"] == "pred"]
    assert [m["v"] for m in preds] == ["base"] * 4 + ["0001"] * 5  # no window is lost: 128 rows, then each 64
    assert {m["label"] for m in preds if m["v"] == "0001"} == {"standing"}
    assert [m["version"] for m in heard if m["kind"] == "hello"] == ["base", "0001"]


def test_source_dies(bundle):
    source, said = Fed(), []
    with Feed(source, bundle) as feed:
        feed.listen(said.append)
        fed(feed, source, walk(100))
        source.give(None, OSError("the cable was pulled"))
        until(lambda: feed.is_over)
        assert json.loads(said[-1])["over"] == "the cable was pulled"
        feed.use(bundle)  # a version can be chosen nevertheless
        late = []
        feed.listen(late.append)
        assert json.loads(late[1])["over"] == "the cable was pulled"


def test_full_disk(bundle):
    class Full(Recorder):
        trouble = "database or disk is full"

    source, said = Fed(), []
    with Feed(source, bundle, lambda of: Full(bundle.path.with_name("me.db"), of)) as feed:
        until(lambda: feed.recorder is not None)
        feed.listen(said.append)
        assert json.loads(said[1])["recorder"] == "database or disk is full"


def test_many_rows_become_pairs():
    rows = np.zeros((1000, 3), np.float32)
    rows[617, 1], rows[618, 1] = 7, -7
    told = messages.tick("acc", 0.0, 1.0, rows)["x"]
    assert len(told) == 100
    assert (max(row[1] for row in told), min(row[1] for row in told)) == (7, -7)


def test_not_finite_is_null():
    told = messages.text_of(messages.tick("acc", 0.0, 0.1, np.full((1, 3), np.nan, np.float32)))
    assert json.loads(told)["x"] == [[None] * 3]


def test_third_party():
    """The files are those of uPlot 1.6.32's package, and the licence stands beside them."""
    web = Path(sdk.live.__file__).parent / "web"
    text = (web / "THIRD_PARTY.md").read_text()
    for name in ("uPlot.iife.min.js", "uPlot.min.css"):
        assert f"{hashlib.sha256((web / name).read_bytes()).hexdigest()}  {name}" in text
    assert "The MIT License (MIT)" in text
