"""What happens in the process that is measured: which hops it is fed, when its warm-up ends, how it keeps a pace."""

import json
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from runtime import Bundle, BundleError, WindowSpec
from runtime.bundle import Golden, write_bundle
from sdk.demo.__main__ import DATA
from sdk.meters import NoMeter
from sdk.profile import ProfileOptions
from sdk.profile.child import golden_rows, hops_of, measured, ticks
from sdk.profile.parent import Phases, child_process, one_run, start
from sdk.profile.side import child_options
from sdk.profile.talk import ChildOptions
from sdk.profile.warmup import warm_up_windows
from tests.waiting import Clock

WALK = Bundle.open(DATA / "walk.bundle")


def with_hop(path, hop_samples):
    manifest = replace(WALK.manifest, window=WindowSpec(128, hop_samples), training=())
    golden = WALK.golden()
    one = Golden(golden.windows[:1], golden.features[:1], golden.logits[:1])
    return write_bundle(path, manifest, WALK.model(), WALK.base_tensors, one)


def run(bundle, options):
    phases = Phases(NoMeter("a test"))
    return one_run(child_options(bundle, options), phases, 0), phases.done


def test_the_hops_are_the_golden_rows_in_order():
    assert np.array_equal(np.concatenate(hops_of(golden_rows(WALK), 64)), np.concatenate(WALK.golden().windows))


def test_a_hop_longer_than_all_golden_windows(tmp_path):
    bundle = with_hop(tmp_path / "b", 2000)
    (hop,) = hops_of(golden_rows(bundle), 2000)
    assert np.array_equal(hop, np.tile(WALK.golden().windows[0], (16, 1))[:2000])
    found, phases = run(bundle, ProfileOptions(7))
    assert {name: len(values) for name, values in found.samples.items()} == dict.fromkeys(found.samples, 7)
    assert list(found.samples) == ["window", "engine", "decide", "total"]
    assert [phase.name for phase in phases] == ["start", "warm-up", "measured"]
    assert all(before.end_s <= after.begin_s for before, after in pairwise(phases))
    parts = np.array([found.samples[name] for name in ("window", "engine", "decide")]).sum(axis=0)
    assert (parts <= np.array(found.samples["total"]) + 2).all()  # each is rounded


def test_marks_and_timeline_of_the_memory():
    memory = run(WALK, ProfileOptions(20))[0].memory
    sizes = {mark.after: mark.rss_bytes for mark in memory.marks}
    assert list(sizes) == ["interpreter", "imports", "open", "session", "first_prediction", "measured"]
    assert sizes["interpreter"] < sizes["imports"] < sizes["session"] <= memory.peak_bytes
    assert sizes["imports"] <= memory.baseline_bytes <= sizes["open"]
    assert max(size for _, size in memory.timeline) <= memory.peak_bytes * 1.02
    assert all(mark.uss_bytes is None or mark.uss_bytes < mark.rss_bytes for mark in memory.marks)


def test_at_the_pace_of_the_stream(tmp_path):
    found, _ = run(with_hop(tmp_path / "b", 2), ProfileOptions(10, real_time=True))  # a hop is 40 ms
    assert len(found.late) == len(found.samples["total"]) == 10
    assert min(found.late) >= 0
    assert found.seconds >= 9 * 0.04
    assert found.cpu_seconds < found.seconds


def test_windows_that_take_longer_than_the_pace_become_later_and_later():
    def slow():
        time.sleep(0.03)
        return 0.0, 0.03, 0.0, 0.03

    rows, late = measured(slow, 5, 60, 0, pace_s=0.01)
    assert len(rows) == 5
    assert all(seconds >= 0.02 * i for i, seconds in enumerate(late))


def test_windows_until_the_time_is_up_or_over(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("sdk.profile.child.perf_counter", clock)

    def slow():
        clock.sleep(0.01)
        return 0.0, 0.01, 0.0, 0.01

    assert len(measured(slow, 1000, 0.045, 0, None)[0]) == 6  # the first is before the time
    assert len(measured(slow, 1, 5, 0.045, None)[0]) == 6
    assert len(measured(slow, 1, 0.001, 0, None)[0]) == 1


def test_what_a_run_raises_is_raised_here(tmp_path):
    options = replace(child_options(WALK, ProfileOptions(5)), bundle=str(tmp_path / "gone"))
    with pytest.raises(BundleError, match=r"gone/manifest\.json: expected a file of a bundle"):
        one_run(options, Phases(NoMeter("a test")), 0)


def test_a_run_that_dies_says_what_it_said_last():
    options = replace(child_options(WALK, ProfileOptions(5)), engine=None)
    with pytest.raises(OSError, match="ended with exit code 1: AttributeError: 'NoneType'"):
        one_run(options, Phases(NoMeter("a test")), 0)


def test_a_run_is_not_left_behind():
    with child_process() as child:
        start(child, child_options(WALK, ProfileOptions(5)))
        assert not child.is_over
    assert child.ending() == "signal SIGKILL"


def test_what_it_is_told_survives_json():
    options = replace(child_options(WALK, ProfileOptions(20)), batches=(1, 4))
    assert ChildOptions(**json.loads(json.dumps(vars(options)))) == replace(options, batches=[1, 4])


def test_a_run_that_dies_by_a_signal(monkeypatch, tmp_path):
    (tmp_path / "onnxruntime.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(OSError, match="ended with signal SIGILL: it said nothing"):
        run(WALK, ProfileOptions(5))


# ---- warm-up


def noise(n, seed=0):
    return 1 + 0.02 * np.random.default_rng(seed).standard_normal(n)


def test_a_step_is_found():
    assert warm_up_windows([*(1.5 * noise(60)), *noise(140, 1)]) == 60


def test_a_decay_is_found():
    found = warm_up_windows(noise(200) + 2 * np.exp(-np.arange(200) / 10))
    assert 25 <= found <= 80  # 2 exp(-25 / 10) is 0.16, 2 exp(-80 / 10) is 0.0007


def test_a_steady_beginning_is_kept():
    assert np.mean([warm_up_windows(noise(200, seed)) < 60 for seed in range(50)]) >= 0.8


def test_one_stall_is_no_warm_up():
    durations = noise(200)
    durations[70] = 50
    assert warm_up_windows(durations) == warm_up_windows(noise(200))


def test_a_warm_up_that_goes_on():
    assert warm_up_windows(np.linspace(2, 1, 200) * noise(200)) is None
    assert warm_up_windows(noise(39)) is None  # too few


def test_ticks():
    assert (ticks(1e-7), ticks(0.00010034), ticks(2.0)) == (1, 1003, 20_000_000)
