"""A bundle survives whatever ends the process that writes to it."""

import os
import random
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from exporters.training import add_training
from runtime import Bundle, open_engine
from sdk.finetune import finetune
from tests.commands import kill_target
from tests.commands.tools import copy_bundle, environment, listing, python

KILLS = int(os.environ.get("SENSEDGE_KILLS", "60"))
SCRIPT = Path(kill_target.__file__)


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):
        yield


def golden_logits(bundle):
    engine = open_engine(bundle)
    logits = engine.run(bundle.golden().windows)
    engine.close()
    return logits


def nearest(logits, expected):
    """The name of the answers that these logits are; None when they are none of them."""
    for name, answers in expected.items():
        if np.abs(logits - answers).max() < 1e-3 * np.abs(answers).max():
            return name
    return None


def leftovers(path):
    return [entry.name for entry in (path / "personal").glob(".tmp-*")]


@pytest.mark.parametrize("kind", kill_target.PLANS)
def test_kill_at_any_moment(tmp_path, kind):
    path, data, plans = copy_bundle(tmp_path), kill_target.wearer(), kill_target.PLANS[kind]
    if kind == "layers":
        add_training(path)
    bare = Path(shutil.copytree(path, tmp_path / "bare.bundle"))
    expected = {"base": golden_logits(Bundle.open(path))}
    for i, plan in enumerate(plans):
        adapted, report = finetune(Bundle.open(shutil.copytree(bare, tmp_path / f"{i}.bundle")), data, plan)
        assert report.accepted, report.reason
        expected[f"plan {i}"] = golden_logits(adapted)
    assert all(
        nearest(answers, {k: v for k, v in expected.items() if k != name}) is None for name, answers in expected.items()
    )

    shipped, rng = listing(path), random.Random()
    checked, found, torn = set(), set(), 0
    longest_s = 0.25  # of a life; adapts itself to the machine so that a good part of the lives commits
    command = [sys.executable, str(SCRIPT), "loop", kind, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as target:
        assert target.stdout.readline() == "ready\n"
        for _ in range(KILLS):
            target.stdin.write(f"{rng.uniform(0, longest_s)}\n")
            target.stdin.flush()
            assert target.stdout.readline() == "killed\n"
            bundle = Bundle.open(path)
            found.add(nearest(golden_logits(bundle), expected))
            torn += bool((path / "personal").is_dir() and leftovers(path))
            new = set(bundle.versions()) - checked
            longest_s *= 0.8 if new else 1.25
            for version in new:
                assert nearest(golden_logits(Bundle.open(path, version)), expected) in ("plan 0", "plan 1")
                assert bundle.record(version)["accepted"] is True
                checked.add(version)
            assert shipped.items() <= listing(path).items()
        target.stdin.close()
        assert target.wait(60) == 0
    assert None not in found
    if KILLS >= 20:
        assert len(found) > 1  # the kills did not all come too early
        assert len(checked) > KILLS / 4
    (path / "personal" / ".tmp-left").mkdir(exist_ok=True)
    adapted, report = finetune(Bundle.open(path, "base"), data, plans[0])
    assert report.accepted
    assert int(adapted.version) == max(map(int, checked)) + 1
    assert nearest(golden_logits(Bundle.open(path)), expected) == "plan 0"
    assert leftovers(path) == []
    print(f"{KILLS} kills, {torn} left an unfinished write, {len(checked)} versions")


@pytest.mark.parametrize(("action", "before", "after"), [("commit", 0, 1), ("commit_again", 1, 2), ("rollback", 1, 0)])
def test_death_before_every_system_call(tmp_path, action, before, after):
    """The answers are those of before or of after, wherever the writer stopped, and the next writer comes through."""
    start = Path(shutil.move(copy_bundle(tmp_path), tmp_path / "start.bundle"))
    if before:
        kill_target.commit(start)
    base = golden_logits(Bundle.open(start, "base"))
    done = python(SCRIPT, "crash", action, tmp_path)
    assert done.returncode == 0, done.stderr
    deaths, code = map(int, done.stdout.split())
    assert code == 0
    assert deaths > (20 if "commit" in action else 8)
    seen, left = [], 0
    for k in range(1, deaths + 2):
        path = tmp_path / str(k) / "walk.bundle"
        bundle = Bundle.open(path)
        step = (golden_logits(bundle) - base).mean()  # commits add 1 or 2 to the bias
        seen.append(round(float(step)))
        assert step == pytest.approx(seen[-1], abs=1e-4)
        for version in bundle.versions():
            Bundle.open(path, version)
        if (path / "personal").is_dir():
            left += bool(leftovers(path))
        kill_target.commit_again(path)
        assert leftovers(path) == []
        assert (golden_logits(Bundle.open(path)) - base).mean() == pytest.approx(2, abs=1e-4)
    changes = [pair for pair in pairwise(seen) if pair[0] != pair[1]]
    assert changes == [(before, after)]  # one instant at which the new state becomes the one in use
    assert (seen[0], seen[-1]) == (before, after)
    assert left > 0  # some died with a write half done


def test_two_processes_commit_one_after_the_other(tmp_path):
    """Ten writers at once: each commits or is told to wait, and every version is whole."""
    path = copy_bundle(tmp_path)
    code = "import sys; from tests.commands import kill_target; kill_target.commit(sys.argv[1])"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stderr=subprocess.PIPE, text=True, env=environment())
        for _ in range(6)
    ]
    errors = [writer.communicate(timeout=120)[1] for writer in writers]
    codes = [writer.returncode for writer in writers]
    assert 0 in codes
    for status, error in zip(codes, errors, strict=True):
        assert status == 0 or "expected one writer at a time, got a second one" in error
    bundle = Bundle.open(path)
    assert len(bundle.versions()) == codes.count(0)
    assert bundle.version == bundle.versions()[-1]
    for version in bundle.versions():
        Bundle.open(path, version)
