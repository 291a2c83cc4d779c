"""Another model while a stream runs: what is said before and after is what two streams say, bit for bit.

Then who looks after the model: what a folder says is taken up, and what cannot be is told while the old one goes on.
"""

import itertools
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundle import Bundle
from runtime.engine import open_engine
from runtime.errors import InputError
from runtime.hub import HubCore
from runtime.play import Follower, play
from runtime.recorder import RecordedStream, Recorder, Store
from runtime.recording import Recording
from runtime.sources import Replay
from runtime.specs import WindowSpec
from runtime.stream import Stream
from tests.bundles_small import CHANNELS, LENGTH

HOP, N = 12, 150


@pytest.fixture(scope="module")
def versions(exported, tmp_path_factory):
    """The base, and a version of it whose head is another."""
    path = shutil.copytree(exported("fcn").path, tmp_path_factory.mktemp("use") / "small.bundle")
    base, names = Bundle.open(path), Bundle.open(path).manifest.head
    rng = np.random.default_rng(0)
    head = {name: base.tensor(name) + rng.normal(0, 1, base.tensor(name).shape) for name in (names.weight, names.bias)}
    return base, base.commit({name: values.astype(np.float32) for name, values in head.items()}, {"method": "test"})


def rows(n, seed=1):
    return np.random.default_rng(seed).normal((0.5, -1, 9), (2, 3, 4), (n, CHANNELS)).astype(np.float32)


def said(prediction):
    return prediction.label, prediction.probabilities, prediction.start_s, prediction.end_s, prediction.quality


def both(versions):
    """What each of two streams says of all of the rows, by the end of the window."""
    return [{p.end_s: said(p) for p in Stream(bundle).push(rows(N))} for bundle in versions]


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, N), max_size=8), at=st.integers(0, N), stamped=st.booleans())
def test_before_and_after_are_those_of_two_streams(versions, cuts, at, stamped):
    samples, t = rows(N), np.arange(N) / 32.0
    stream, before, found = Stream(versions[0]), [], []
    bounds = sorted({0, *cuts, at, N})
    for begin, end in itertools.pairwise(bounds):
        if begin == at:
            before, found = found, []
            stream.use(versions[1])
        found += stream.push(samples[begin:end], t[begin:end] if stamped else None)
    if at == N:
        before, found = found, []
        stream.use(versions[1])
    expected = [[said(p) for p in Stream(bundle).push(samples, t if stamped else None)] for bundle in versions]
    assert [said(p) for p in before] == expected[0][: len(before)]
    assert [said(p) for p in found] == expected[1][len(before) :]
    assert stream.counters == whole_counters(versions[0], samples, t if stamped else None)
    assert stream.bundle is versions[1]


def whole_counters(bundle, samples, t):
    stream = Stream(bundle)
    stream.push(samples, t)
    return stream.counters


def test_a_window_that_waits_is_the_new_models(versions):
    stream = Stream(versions[0])
    assert stream.push(rows(LENGTH - 1)) == []
    stream.use(versions[1].path)  # the version in use
    (found,) = stream.push(rows(LENGTH)[LENGTH - 1 :])
    assert said(found) == both(versions)[1][1.0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"window": WindowSpec(LENGTH, HOP - 1)}, "small.bundle: window: expected that of the model in use, "),
        ({"signal": None}, "small.bundle: signal: expected that of the model in use, "),
    ],
)
def test_another_signal_or_window_is_refused_and_the_stream_goes_on(versions, change, text):
    base = versions[0]
    if change.get("signal", 0) is None:
        slower = replace(base.manifest.signal.modalities[0], rate_hz=16.0)
        change = {"signal": replace(base.manifest.signal, modalities=(slower,))}
    other, stream = replace(base, manifest=replace(base.manifest, **change)), Stream(base)
    with pytest.raises(InputError, match=text):
        stream.use(other)
    core = HubCore(base, open_engine(base))
    with pytest.raises(InputError, match=text):
        core.use(other, open_engine(base))
    assert stream.bundle is base
    assert {p.end_s: said(p) for p in stream.push(rows(N))} == both(versions)[0]


def test_a_hub_changes_between_two_batches(versions):
    core = HubCore(versions[0], open_engine(versions[0]), max_batch=2)
    for name in ("a", "b", "c"):
        core.push(name, rows(LENGTH), now_s=0.0)
    first = core.step()
    core.use(versions[1], open_engine(versions[1]))
    second = core.step()
    core.push("a", rows(LENGTH + HOP)[LENGTH:], now_s=1.0)
    third = core.step()
    expected = both(versions)
    for (name, prediction), version in zip([*first, *second, *third], (0, 0, 1, 1), strict=True):
        assert prediction.probabilities == pytest.approx(expected[version][prediction.end_s][1], abs=1e-5), name
    assert core.counters().predicted == 4


@pytest.mark.parametrize("keep", ["windows", "features"])
def test_a_store_names_the_model_of_each_window(versions, tmp_path, keep):
    with Recorder(tmp_path / "me.db", versions[0], epoch=1000.0, keep=keep) as recorder:
        stream = RecordedStream(recorder)
        stream.push(rows(LENGTH + HOP))
        stream.use(versions[1])
        stream.push(rows(LENGTH + 3 * HOP)[LENGTH + HOP :])
        stream.use(versions[0])
        stream.push(rows(LENGTH + 4 * HOP)[LENGTH + 3 * HOP :])
    base, other = versions[0].version, versions[1].version
    with Store(tmp_path / "me.db") as store:
        found = [(p.version, p.label) for p in store.predictions(0, 1e9)]
    assert [version for version, _ in found] == [base, base, other, other, base]
    expected, ends = both(versions), [1 + k * HOP / 32 for k in range(5)]
    of = [expected[version == other][end][0] for (version, _), end in zip(found, ends, strict=True)]
    assert [label for _, label in found] == of


# ---- following


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def followed(small_bundle):
    """A stream of the base, who looks after it, what was said, the clock."""
    stream, lines, clock = Stream(Bundle.open(small_bundle)), [], Clock()
    return stream, Follower(stream, lines.append, period_s=1.0, clock=clock), lines, clock


def commit(path, seed):
    bundle = Bundle.open(path)
    name = bundle.manifest.head.bias
    bias = np.random.default_rng(seed).normal(size=bundle.tensor(name).shape).astype(np.float32)
    return bundle.commit({name: bias}, {"method": "test"})


def test_a_new_version_is_taken_up_at_the_next_look_and_a_rollback_too(followed, small_bundle):
    stream, follower, lines, clock = followed
    assert [follower.look(), follower.look()] == [False, False]
    version = commit(small_bundle, 1)
    assert not follower.look()  # it looks once a second
    clock.now_s = 1.0
    assert follower.look()
    assert stream.bundle.version == version.version == "0001"
    clock.now_s = 2.0
    assert not follower.look()
    Bundle.open(small_bundle).rollback("base")
    clock.now_s = 3.0
    assert follower.look()
    assert lines == ["small.bundle: version 0001 in use", "small.bundle: version base in use"]


def test_nothing_is_read_while_nothing_was_written(followed, monkeypatch):
    _, follower, _, clock = followed
    follower.look()
    monkeypatch.setattr(Bundle, "open", lambda *_, **__: pytest.fail("it was read"))
    for clock.now_s in range(1, 100):
        assert not follower.look()


def test_another_base_is_taken_up(followed, small_bundle, exported):
    stream, follower, lines, clock = followed
    follower.look()
    rest = shutil.copytree(exported("fcn-stride4").path, small_bundle.with_name("other"))
    small_bundle.rename(small_bundle.with_name("old"))
    rest.rename(small_bundle)
    clock.now_s = 1.0
    assert follower.look()
    assert lines == ["small.bundle: version base in use"]
    expected = [said(p) for p in Stream(Bundle.open(small_bundle)).push(rows(N))]
    assert [said(p) for p in stream.push(rows(N))] == expected


def test_what_does_not_open_is_told_once_and_tried_again(followed, small_bundle):
    stream, follower, lines, clock = followed
    follower.look()
    version = commit(small_bundle, 1)
    weights = next((small_bundle / "personal" / version.version).glob("*.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    tried = []
    for clock.now_s in range(1, 200):
        lines_before = len(lines)
        assert not follower.look()
        tried += [clock.now_s] if len(lines) > lines_before else []
    assert tried == [1]
    assert lines[0].startswith("small.bundle: version base stays in use: ")
    assert said(stream.push(rows(LENGTH))[0]) == said(Stream(Bundle.open(small_bundle, "base")).push(rows(LENGTH))[0])
    weights.write_bytes(whole)
    clock.now_s += 61.0
    assert follower.look()
    assert stream.bundle.version == "0001"


def test_another_window_stays_outside(followed, small_bundle, exported, tmp_path):
    stream, follower, lines, clock = followed
    follower.look()
    other = replace(stream.bundle.manifest, window=WindowSpec(LENGTH, HOP - 1))
    (small_bundle / "manifest.json").write_text(other.to_json())
    clock.now_s = 1.0
    assert not follower.look()
    assert "small.bundle: window: expected that of the model in use" in lines[0]
    assert stream.bundle.manifest.window.hop_samples == HOP


def test_the_loop_follows(small_bundle):
    """A replay in the middle of which another version comes into use."""
    base, found = Bundle.open(small_bundle), []
    source = Replay(
        Recording(rows(400), base.manifest.signal.channel_names, 32.0), base.manifest.signal, chunk_samples=8
    )

    def look(prediction, true):
        found.append(prediction)
        if len(found) == 5:
            commit(small_bundle, 1)

    play(source, base, look, follow=lambda stream: Follower(stream, period_s=0.0))
    expected = [[said(p) for p in Stream(Bundle.open(small_bundle, v)).push(rows(400))] for v in ("base", "0001")]
    assert [said(p) for p in found] == expected[0][:5] + expected[1][5:]
