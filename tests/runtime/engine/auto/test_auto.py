"""`engine="auto"`: right answers first, then speed; a candidate may die; the choice is kept for this device only."""

import itertools
import json
import os
import random
import stat
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from runtime.bundle import Bundle
from runtime.engine import open_engine
from runtime.engine.auto import choice, device, faster, measure, trial
from runtime.engine.auto.choice import Candidate, Choice, Measured
from runtime.engine.auto.faster import TimeRatio
from runtime.errors import InputError
from runtime.files import cache
from runtime.files.cache import cache_folder
from tests.bundles_small import needs_openvino, small_windows
from tests.runtime.engine.auto import fake
from tests.waiting import Clock

pytestmark = needs_openvino  # the second engine of a machine, which a board may not have
ONE = Candidate("onnxruntime")


@pytest.fixture(autouse=True)
def kept_in(tmp_path, monkeypatch):
    """The cache of one test."""
    monkeypatch.setenv("SENSEDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def bundle(exported):
    return Bundle.open(exported("fcn").path)


def measured(bundle, *classes, **options):
    """In this process, by the engine's name, on the clock that the fake engines move."""
    table = fake.table(fake.Plain, *classes)
    candidates = [Candidate(name) for name in table]
    found = choice.measure_candidates(bundle, candidates, budget_s=0.05, table=table, clock=fake.CLOCK, **options)
    assert [one.candidate for one in found] == candidates
    return {one.candidate.engine: one for one in found}


def apart(bundle, *classes):
    table = fake.table(*classes)
    found = trial.measure_apart(bundle, [Candidate(name) for name in table], budget_s=0.02, table=table)
    return {one.candidate.engine: one for one in found}


# ---- measuring


def test_what_is_measured(bundle):
    found = measured(bundle, fake.Slow)
    for one in found.values():
        assert one.dropped == ""
        assert one.labels_agree == 1
        assert 0 <= one.relative_error < 1e-5
        assert one.rounds >= 3
        assert one.spread_s[0] <= one.latency_s <= one.spread_s[1]
    assert found["onnxruntime"].ratio is None
    assert found["slow"].ratio.median == pytest.approx(2)
    assert not found["slow"].ratio.is_faster()
    assert choice.best(tuple(found.values())).candidate == ONE


def test_a_faster_one_is_chosen(bundle):
    found = measured(bundle, fake.Quick)
    assert found["quick"].ratio.is_faster()
    assert choice.best(tuple(found.values())) is found["quick"]
    assert found["onnxruntime"].rounds >= 12  # however slow, it is what the others are compared with


def test_one_that_is_being_built_is_waited_for(bundle, monkeypatch):
    monkeypatch.setattr(fake.Builds, "waits", [False, False, True])
    assert measured(bundle, fake.Builds)["builds"].latency_s
    assert fake.Builds.waits == []


def test_one_that_lets_another_answer_for_good_is_dropped_with_its_reason(bundle, monkeypatch):
    monkeypatch.setattr(fake.Builds, "waits", [False] * 60)
    found = measured(bundle, fake.Builds)["builds"]
    assert found == Measured(Candidate("builds"), dropped="onnxruntime answers: no GPU")


def test_a_slow_one_is_not_raced(bundle):
    slower = measured(bundle, fake.Slower)["slower"]
    assert (slower.rounds, slower.dropped) == (0, "")
    assert slower.latency_s == pytest.approx(0.02)


@pytest.mark.parametrize("kind", [fake.Wrong, fake.WrongInBatches, fake.NotANumber])
def test_other_answers_are_dropped(bundle, kind):
    found = measured(bundle, kind)
    assert found["onnxruntime"].dropped == ""
    assert found[kind.name].dropped.startswith("other answers than the golden ones: ")
    assert found[kind.name].latency_s is None
    assert choice.best(tuple(found.values())).candidate == ONE


def test_an_error_is_dropped_and_said_in_one_line(bundle):
    assert measured(bundle, fake.Raises)["raises"].dropped == "RuntimeError: no kernel for this device"


def test_batches_are_measured_as_batches(bundle):
    one, many = (measured(bundle, batch=n)["onnxruntime"].spread_s[0] for n in (1, 64))
    assert many == pytest.approx(64 * one)


def test_the_golden_answers_are_those_of_the_base(small_bundle):
    base = Bundle.open(small_bundle)
    head = base.manifest.head.weight
    personal = base.commit({head: -3 * base.tensor(head)}, {})
    assert measured(personal)["onnxruntime"].dropped == ""


def test_a_tie_of_labels_within_the_error_agrees(bundle):
    class Tie:
        def logits(self, window):
            return [1.0, 1.0005]

        def run(self, windows):
            return np.float32([[1.0, 1.0005]])

    inputs, truth = small_windows(1), np.float32([[1.0004, 1.0]])
    assert measure._agreement(Tie(), inputs, truth, 1e-3)[0] == 1
    assert measure._agreement(Tie(), inputs, truth, 1e-4)[0] == 0


def of(engine, ratio=None, threads=1, spread=0.001, tenth=None, **more):
    """Measured at 2 ms times a ratio whose interval is so wide; the base, to which all ratios are, without one."""
    if ratio is not None:
        span = (ratio - spread, ratio + spread)
        more["ratio"] = TimeRatio(ratio, span, span if tenth is None else tenth)
    s = 0.002 * (ratio or 1)
    return Measured(Candidate(engine, threads=threads), s, (s / 2, s * 2), 12, 1.0, 0.0, **more)


def chosen(*measured):
    found = choice.best(measured)
    return found and found.candidate.engine


def test_the_best_is_the_fastest_or_as_fast_with_fewer_threads():
    assert chosen(of("a"), of("b", 0.5), of("c", 1.5)) == "b"
    assert chosen(of("z"), of("a", 0.5, threads=4), of("b", 0.504, threads=2), of("c", 0.51)) == "b"
    assert chosen(of("a"), of("b", 0.995)) == "a"
    assert chosen(of("a", dropped="wrong"), of("b"), of("c", 1.2), Measured(ONE)) == "b"
    assert chosen(of("a", dropped="wrong")) is None
    assert chosen() is None


def test_only_what_is_faster_beyond_doubt_displaces_the_default():
    assert chosen(of("a"), of("b", 0.5, spread=0.4)) == "b"
    assert chosen(of("a"), of("b", 0.5, spread=0.6)) == "a"
    assert chosen(of("a"), of("b", 0.5, tenth=(0.9, 1.01))) == "a"  # beside others faster, alone not
    assert chosen(of("a"), of("b", 8, spread=2, tenth=(0.8, 0.9))) == "a"  # alone faster, beside others not
    assert choice.open_questions([of("a"), wide := of("b", 0.5, spread=0.6), of("c", 1.1)]) == (wide,)
    assert choice.open_questions([of("a"), of("b", 8, spread=2, tenth=(0.8, 0.9))]) == ()
    assert choice.open_questions([of("a"), of("b", 0.5), of("c", 0.5, spread=0.6)]) == ()  # b is faster for certain


# ---- how sure it is


def noisy(seed, n, scale=1.0, share_slow=0.0):
    """Rounds of something that takes 1 ms, often a little longer, and in a share of them thirty times as long."""
    rng = np.random.default_rng(seed)
    return (scale * (1 + rng.exponential(0.05, n)) * np.where(rng.random(n) < share_slow, 30, 1)).tolist()


def test_faster_is_found_and_alike_is_not():
    pairs = [(noisy(2 * seed, 48), noisy(2 * seed + 1, 48)) for seed in range(100)]
    assert sum(faster.compare(a, b).is_faster() for a, b in pairs) <= 2
    assert all(faster.compare([0.9 * s for s in a], b).is_faster() for a, b in pairs)


def test_who_waits_for_a_busy_core_in_most_rounds_is_not_faster():
    """Alone 10 % faster, in three rounds of four much slower: its fastest tenth would win."""
    for seed in range(20):
        mine, base = noisy(seed, 96, 0.9, share_slow=0.75), noisy(seed + 100, 96)
        assert np.quantile(mine, 0.1) < np.quantile(base, 0.1)
        assert not faster.compare(mine, base).is_faster()
        assert not faster.compare(mine, base).is_open()


def test_few_or_wild_rounds_leave_the_question_open():
    assert faster.compare([0.5] * 5, [1.0] * 5).is_open()
    assert faster.compare(noisy(0, 12, 0.95, 0.4), noisy(1, 12, 1, 0.4)).is_open()
    assert not faster.compare([0.5] * 12, [1.0] * 12).is_open()


def test_the_interval_of_a_median():
    """Of 1...11 at 95 %: the 2nd and the 10th (coverage 0.988); the 3rd and 9th would cover 0.935 only."""
    assert faster.median_interval(range(11, 0, -1)) == (2, 10)
    assert stats.binom.cdf(1, 11, 0.5) <= 0.025 < stats.binom.cdf(2, 11, 0.5)
    assert faster.median_interval([1.0] * 5) is None  # 2 / 2**5 > 0.05
    assert faster.median_interval([3, 1, 2, 5, 4, 6]) == (1, 6)


def test_the_interval_covers_the_median_as_often_as_it_says():
    rng = random.Random(1)
    hits = 0
    for _ in range(1000):
        low, high = faster.median_interval([rng.expovariate(1) for _ in range(21)])
        hits += low <= np.log(2) <= high
    assert hits >= 940


def test_a_race_is_in_turn():
    seen, clock = [], Clock()
    calls = {name: lambda name=name: (seen.append(name), clock.sleep(0.002)) for name in "ab"}
    seconds = faster.race(calls, "a", 0, clock=clock)
    assert len(seconds["a"]) == len(seconds["b"]) == 12
    assert seconds["a"] + seconds["b"] == pytest.approx([0.002] * 24)
    turns = "".join(seen[6:])  # the first are to learn how long a call takes
    assert {"".join(sorted(turns[i : i + 2])) for i in range(0, 24, 2)} == {"ab"}


def test_a_race_ends_when_all_is_decided_or_the_time_is_up():
    clock = Clock()

    def busy(*ms):
        left = itertools.cycle(ms)
        return lambda: clock.sleep(next(left) / 1e3)

    told = []
    found = faster.race({"a": busy(2), "b": busy(0.5)}, "a", 10, told.append, clock)
    assert len(found["a"]) == len(found["b"]) == 12
    assert set(told) == {"a", "b"}
    assert np.median(found["a"]) / np.median(found["b"]) == pytest.approx(4)
    wild = {"a": busy(2), "b": busy(1.5, 3, 1.6, 4, 1.7)}  # which may be faster, so that all goes on
    assert [len(rounds) for rounds in faster.race(wild, "a", 0, clock=clock).values()] == [12, 12]
    assert [len(rounds) for rounds in faster.race(wild, "a", 0.1, clock=clock).values()] != [12, 12]
    assert len(faster.race({"a": busy(2)}, "a", 10, clock=clock)["a"]) == 12


def test_candidates_are_the_engines_here_by_threads():
    table = fake.table(fake.Slow)
    found = choice.candidates_here(cores=4, table=table)
    assert found == tuple(Candidate(name, threads=n) for name in ("onnxruntime", "slow") for n in (1, 2, 4))
    assert [one.threads for one in choice.candidates_here(cores=6, table=fake.table())] == [1, 2, 4, 6]
    assert [one.threads for one in choice.candidates_here(cores=1, table=fake.table())] == [1]
    gpu = {"gpu": replace_kind(table["slow"], on_gpu=True), "gone": replace_kind(table["slow"], library="gone_")}
    assert choice.candidates_here(cores=4, table=gpu, precisions=("float32", "int8")) == (
        Candidate("gpu"),
        Candidate("gpu", "int8"),
    )


def replace_kind(kind, **changes):
    return kind._replace(**changes)


# ---- in a process of its own


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (fake.Killed, "killed the process that tried it (signal SIGILL)"),
        (fake.KilledLater, "killed the process that tried it (signal SIGSEGV)"),
        (fake.Leaves, "killed the process that tried it (exit code 7)"),
    ],
)
def test_a_candidate_that_kills_its_process_is_dropped(bundle, kind, why):
    found = apart(bundle, kind)
    assert found[kind.name] == Measured(Candidate(kind.name), dropped=why)
    assert found["onnxruntime"].dropped == ""
    assert found["onnxruntime"].latency_s > 0


def test_a_candidate_that_hangs_is_dropped(bundle):
    hangs = Candidate("hangs")
    found = trial.measure_apart(bundle, [hangs], limit_s=1, table=fake.table(fake.Hangs, default=False))
    assert found == (Measured(hangs, dropped="took more than 1 s"),)


def test_what_a_library_prints_is_not_taken_for_an_answer(bundle):
    found = apart(bundle, fake.Noisy)
    assert found["noisy"].latency_s > 0


def test_a_choice_with_a_crash_says_so_and_the_app_lives(bundle):
    table = fake.table(fake.Killed)
    engine = choice.open_auto(bundle, table=table)
    assert engine.name == "onnxruntime"
    assert engine.run(small_windows(2)).shape == (2, 3)
    assert engine.reason.endswith("; dropped: killed with 1 thread (killed the process that tried it (signal SIGILL))")


def test_where_no_process_can_be_started_the_default_is_measured_here(bundle, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError("no processes here")

    monkeypatch.setattr("runtime.process.child.subprocess.Popen", refuse)
    chosen = choice.choose(bundle, [Candidate("killed"), ONE], budget_s=0.02, table=fake.table(fake.Killed))
    assert chosen.candidate == ONE
    assert [one.candidate for one in chosen.measured] == [ONE]


def test_when_all_are_dropped_it_is_the_default(bundle, monkeypatch):
    monkeypatch.setattr(choice, "measure_apart", lambda *a, **k: (Measured(ONE, dropped="odd"),))
    chosen = choice.choose(bundle, [ONE])
    assert chosen.candidate == ONE
    assert chosen.reason == (
        "onnxruntime with 1 thread, because no candidate could be measured; dropped: onnxruntime with 1 thread (odd)"
    )


def test_what_is_said():
    wrong = Measured(Candidate("c", "int8"), dropped="wrong")
    assert choice.explain([of("onnxruntime"), of("a", 2, threads=2), of("b", 0.5), wrong]) == (
        "b with 1 thread: 1 ms a call (0.50 to 0.50 of onnxruntime's), measured on this device; "
        "slower or alike: onnxruntime with 1 thread 2 ms, a with 2 threads 4 ms (2.00 to 2.00 of onnxruntime's); "
        "dropped: c in int8 with 1 thread (wrong)"
    )
    assert choice.explain([of("onnxruntime"), of("a", 1.5, spread=1), of("b", 1.2)]) == (
        "onnxruntime with 1 thread: 2 ms a call, measured on this device; this machine was too busy to tell whether "
        "another is faster, so it is measured again next time: a with 1 thread 3 ms (0.50 to 2.50 of onnxruntime's); "
        "slower or alike: b with 1 thread 2.4 ms (1.20 to 1.20 of onnxruntime's)"
    )


# ---- kept


@pytest.fixture
def asked(monkeypatch):
    """How often something was measured; the answer is made up."""
    calls = []

    def answer(bundle, candidates, **options):
        calls.append(options["batch"])
        return tuple(of(one.engine, None if one == ONE else len(one.engine) / 11, one.threads) for one in candidates)

    monkeypatch.setattr(choice, "measure_apart", answer)
    return calls


def files(kept_in):
    return sorted((kept_in / "engines").iterdir())


def test_it_is_measured_once(bundle, asked, kept_in):
    first, second = (open_engine(bundle, "auto") for _ in range(2))
    assert len(asked) == 1
    assert first.reason == second.reason
    assert first.reason.startswith(f"{first.name} with 1 thread: ")
    assert first.name == "openvino"  # the shortest name is the fastest, see `asked`
    assert [stat.S_IMODE(path.stat().st_mode) for path in (kept_in, kept_in / "engines")] == [0o700, 0o700]
    (path,) = files(kept_in)
    recalled = choice.recall(bundle)
    assert recalled.kept == str(path)
    assert recalled.measured == choice.measure_apart(bundle, [one.candidate for one in recalled.measured], batch=1)
    assert choice.recall(bundle, batch=32) is None


def test_a_choice_that_is_not_certain_is_the_default_and_is_not_kept(bundle, kept_in, monkeypatch):
    monkeypatch.setattr(choice, "measure_apart", lambda *a, **k: (of("onnxruntime"), of("openvino", 0.9, spread=0.2)))
    engine = open_engine(bundle, "auto")
    assert engine.name == "onnxruntime"
    assert "too busy to tell whether another is faster, so it is measured again next time: openvino" in engine.reason
    assert choice.choose(bundle).kept == "not kept: the measurement was not clear"
    assert choice.recall(bundle) is None
    assert not (kept_in / "engines").exists()


def test_nothing_is_written_unless_auto_is_asked_for(bundle, kept_in):
    for name in ("onnxruntime", "openvino"):
        open_engine(bundle, name).run(small_windows(1))
    assert choice.recall(bundle) is None
    assert not (kept_in / "engines").exists()


DEVICE = {"cpu": "a", "libraries": {"onnxruntime": "1.31.1"}}


@pytest.mark.parametrize(
    "other",
    [
        {**DEVICE, "cpu": "b"},
        {**DEVICE, "libraries": {"onnxruntime": "1.31.2"}},
        {**DEVICE, "libraries": {"onnxruntime": "1.31.1", "openvino": "2026.4"}},
        {**DEVICE, "gpu": ["Model: Orin"]},
    ],
)
def test_another_device_library_or_gpu_is_measured_anew(bundle, asked, kept_in, monkeypatch, other):
    monkeypatch.setattr(choice, "device", lambda: DEVICE)
    open_engine(bundle, "auto")
    monkeypatch.setattr(choice, "device", lambda: other)
    open_engine(bundle, "auto")
    open_engine(bundle, "auto")
    assert len(asked) == 2
    assert len(files(kept_in)) == 2
    monkeypatch.setattr(choice, "device", lambda: DEVICE)
    open_engine(bundle, "auto")
    assert len(asked) == 2


def test_another_bundle_is_measured_anew_and_a_personal_version_is_not(exported, small_bundle, asked):
    bundle = Bundle.open(small_bundle)
    open_engine(bundle, "auto")
    head = bundle.manifest.head.bias
    personal = bundle.commit({head: bundle.tensor(head) + 1}, {})
    engine = open_engine(personal, "auto")
    assert len(asked) == 1
    windows = small_windows(1)
    np.testing.assert_allclose(engine.run(windows), open_engine(personal).run(windows), rtol=1e-4)
    open_engine(Bundle.open(exported("fcn-stride4").path), "auto")
    assert len(asked) == 2


def damage(path, how):
    plain = json.loads(path.read_text())
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "bytes":
        path.write_bytes(os.urandom(500))
    elif how == "large":
        path.write_text(path.read_text().ljust((1 << 18) + 1))
    elif how == "deep":
        path.write_text("[" * 100_000)
    elif how == "list":
        path.write_text("[]")
    elif how == "other key":
        path.write_text(json.dumps({**plain, "key": {**plain["key"], "batch": 2}}))
    elif how == "schema":
        path.write_text(json.dumps({**plain, "schema": 1}))
    elif how == "no reason":
        path.write_text(json.dumps({name: value for name, value in plain.items() if name != "reason"}))
    elif how == "odd measured":
        path.write_text(json.dumps({**plain, "measured": [{"candidate": {"engine": "x", "y": 1}}]}))
    else:
        path.write_text(json.dumps({**plain, "chosen": {**plain["chosen"], **how}}))


@pytest.mark.parametrize(
    "how",
    [
        *("truncated", "empty", "bytes", "large", "deep", "list", "other key", "schema", "no reason", "odd measured"),
        {"engine": "os.system"},
        {"engine": 3},
        {"threads": "2"},
        {"threads": -2},
        {"threads": True},
        {"precision": "int8"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_damaged_or_foreign_file_is_measured_anew_and_written_over(bundle, asked, kept_in, how):
    open_engine(bundle, "auto")
    (path,) = files(kept_in)
    whole = path.read_bytes()
    damage(path, how)
    assert open_engine(bundle, "auto").name == "openvino"
    assert len(asked) == 2
    assert files(kept_in) == [path]
    assert path.read_bytes() == whole


def test_a_chosen_engine_that_is_gone_is_measured_anew(bundle, asked):
    choice.remember(bundle, Choice(Candidate("tensorrt"), "it was fast"))
    assert open_engine(bundle, "auto").name == "openvino"
    assert len(asked) == 1


@pytest.mark.parametrize(
    "gone", [Candidate("tensorrt"), Candidate("onnxruntime", "int8"), Candidate("onnxruntime", threads=0)]
)
def test_a_kept_choice_needs_its_engine_its_precision_and_a_thread(bundle, gone):
    choice.remember(bundle, Choice(gone, "it was fast"))
    assert choice.recall(bundle, table={"onnxruntime": None}) is None
    choice.remember(bundle, Choice(Candidate("onnxruntime"), "because"))
    assert choice.recall(bundle, table={"onnxruntime": None}).reason == "because"
    assert choice.recall(bundle, table={}) is None


def test_a_choice_is_that_of_all_files_that_could_be_chosen(bundle):
    """Other variants are other candidates; other golden windows are not."""

    def key(**files):
        named = {"model.onnx": "aa", "golden.npz": "bb", "variants/int8.onnx": "cc", **files}
        manifest = SimpleNamespace(files={name: SimpleNamespace(sha256=value) for name, value in named.items()})
        return choice._key(SimpleNamespace(manifest=manifest), 1)

    assert key() == key(**{"golden.npz": "dd"})
    assert key() != key(**{"variants/int8.onnx": "dd"})
    assert key() != key(**{"variants/fp16.onnx": "dd"})
    assert key() != key(**{"model.onnx": "dd"})


def test_a_verdict_that_others_wrote_is_used(bundle, asked):
    choice.remember(bundle, Choice(Candidate("onnxruntime", threads=2), "because"))
    engine = open_engine(bundle, "auto")
    assert (engine.name, engine.threads, engine.reason, len(asked)) == ("onnxruntime", 2, "because", 0)


def test_forgetting(bundle, asked, kept_in):
    assert not choice.forget(bundle)
    for batch in (1, 8):
        choice.open_auto(bundle, batch=batch)
    other = kept_in / "engines" / "0123456789abcdef-1.json"
    other.write_text("{}")
    assert choice.forget(bundle)
    assert files(kept_in) == [other]
    open_engine(bundle, "auto")
    assert asked == [1, 8, 1]


def test_where_nothing_can_be_kept_it_still_chooses(bundle, asked, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SENSEDGE_CACHE", str(tmp_path / "file" / "cache"))
    assert open_engine(bundle, "auto").name == "openvino"
    chosen = choice.choose(bundle, [ONE])
    assert chosen.kept.startswith(
        f"not kept: {tmp_path}/file/cache: expected a folder to write to, got Not a directory."
    )
    assert len(asked) == 2


# ---- the folder


def test_the_folder_by_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SENSEDGE_CACHE", str(tmp_path / "own" / "deep"))
    assert cache_folder() == tmp_path / "own" / "deep"
    monkeypatch.delenv("SENSEDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "sensedge"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "sensedge"
    assert stat.S_IMODE(cache_folder().stat().st_mode) == 0o700


def test_a_folder_that_others_may_write_to_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("SENSEDGE_CACHE", str(tmp_path))
    for mode in (0o777, 0o770, 0o1777):
        tmp_path.chmod(mode)
        with pytest.raises(InputError, match=r"expected a folder that only its owner, this user, writes to, got owner"):
            cache_folder()
    tmp_path.chmod(0o755)
    assert cache_folder() == tmp_path
    monkeypatch.setattr(cache.os, "geteuid", lambda: 4321)
    with pytest.raises(InputError, match=r"got owner [0-9]+, mode 755"):
        cache_folder()


# ---- the device


def test_the_device_of_a_pi_and_of_a_jetson(tmp_path):
    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    write("proc/device-tree/model", "NVIDIA Jetson Orin Nano\0")
    write(
        "proc/cpuinfo", "processor : 0\nCPU implementer : 0x41\nCPU part\t: 0xd42\n\nprocessor : 1\nCPU part\t: 0xd42\n"
    )
    write("etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, more\n")
    write("proc/driver/nvidia/gpus/0/information", "Model: \t Orin\nIRQ: 3\n")
    found = device.device(tmp_path)
    assert found["board"] == "NVIDIA Jetson Orin Nano"
    assert found["cpu"] == ["CPU implementer : 0x41", "CPU part\t: 0xd42"]
    assert found["gpu"] == ["Model: \t Orin", "# R36 (release), REVISION: 4.3, more"]
    assert found["libraries"]["openvino"]
    assert json.loads(json.dumps(found)) == found


def test_two_threads_of_a_core_count_once(tmp_path, monkeypatch):
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 4})
    for cpu, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        path = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        path.parent.mkdir(parents=True)
        path.write_text(siblings + "\n")
    assert device.physical_cores(tmp_path) == 3  # the fifth says nothing of siblings
    assert device.physical_cores(Path("/nonexistent")) == 5


@pytest.mark.parametrize(("cores", "threads"), [(1, [1]), (2, [1, 2]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])])
def test_threads_worth_trying(cores, threads, monkeypatch):
    assert device.thread_counts(cores) == threads
    monkeypatch.setattr(device, "physical_cores", lambda: cores)
    assert device.thread_counts() == threads


def test_a_file_as_large_as_may_be_is_read(bundle, asked, kept_in):
    open_engine(bundle, "auto")
    (path,) = files(kept_in)
    path.write_text(path.read_text().ljust(1 << 18))
    open_engine(bundle, "auto")
    assert len(asked) == 1
