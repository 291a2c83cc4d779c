"""Two sides measured in turn: the order of the runs, a real slowdown that is found, and what is refused before."""

import copy
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime import Bundle
from runtime.bundle import Golden, write_bundle
from runtime.errors import InputError
from sdk.demo.__main__ import DATA
from sdk.meters import open_meter
from sdk.profile import ProfileOptions, compare_reports, profile_in_turn, side
from sdk.profile.__main__ import main
from tests.board_trees import orin_nano, write_tree

WALK = DATA / "walk.bundle"
SLOWED = str(Path(__file__).parent / "slowed")
FEW = ProfileOptions(8 * 20, runs=8)


@pytest.fixture
def other(tmp_path):
    """A copy of the bundle under a name of its own."""
    return shutil.copytree(WALK, tmp_path / "other.bundle")


@pytest.fixture
def begun(monkeypatch):
    """What each process was told, in the order in which they would begin, and the rows that it was to be fed.

    Of each side one runs; what it found stands for the others.
    """
    told, found, one_run = [], {}, side.one_run

    def watched(options, *rest):
        told.append((options, np.load(options.rows)))
        key = options.bundle, options.threads
        if key not in found:
            found[key] = one_run(options, *rest)
        return copy.deepcopy(found[key])

    monkeypatch.setattr(side, "one_run", watched)
    return told


def test_the_sides_take_turns_and_the_turns_change(other, begun):
    first, second = profile_in_turn((WALK, FEW), (other, FEW), meter=open_meter("none"))
    names = [Path(options.bundle).name for options, _ in begun]
    assert names == ["walk.bundle", "other.bundle", "other.bundle", "walk.bundle"] * 4
    assert len(first.runs) == len(second.runs) == 8
    assert first.series == second.series is not None
    assert profile_in_turn((WALK, FEW), (other, FEW), meter=open_meter("none"))[0].series != first.series


def test_both_are_fed_the_same_rows(tmp_path, begun):
    """Two encoders for one sensor were exported with golden windows of their own."""
    walk = Bundle.open(WALK)
    golden = Golden(*(values[3:4] for values in (walk.golden().windows, walk.golden().features, walk.golden().logits)))
    manifest = replace(walk.manifest, training=())
    other = write_bundle(tmp_path / "b", manifest, walk.model(), walk.base_tensors, golden)
    first, second = profile_in_turn((walk, FEW), (other, FEW), meter=open_meter("none"))
    assert len(begun) == 16
    assert all(np.array_equal(rows, np.concatenate(walk.golden().windows)) for _, rows in begun)
    assert first.workload == second.workload
    assert compare_reports([first.to_dict()], [second.to_dict()]).block == "pair of runs"


def test_with_a_meter_the_energy_is_judged_and_each_side_has_its_idle_power(tmp_path):
    write_tree(tmp_path, orin_nano())
    few = replace(FEW, idle_s=0.2, cap_s=1.6)
    meter = open_meter(root=tmp_path, timeline=50)
    both = profile_in_turn((WALK, few), (WALK, replace(few, threads=2)), meter=meter, root=tmp_path)
    for report in both:
        names = [phase.name for phase in report.phases]
        assert names == ["idle"] * 5 + ["start", "warm-up", "measured"] * 8 + ["idle"] * 5
        assert report.idle.watts == pytest.approx(4.895616)  # 5.016 V * 0.976 A
    found = {ratio.figure: ratio for ratio in compare_reports(*([report.to_dict()] for report in both)).ratios}
    assert found["energy"].verdict != "not judged"
    assert found["energy"].ratio == pytest.approx(found["mean"].ratio, rel=0.5)  # one power: joules follow the time


def test_a_real_slowdown_is_found_by_the_command(other, monkeypatch, capsys, tmp_path):
    """Every push of one side takes 40 % more time, by spinning."""
    path = os.pathsep.join(filter(None, (SLOWED, os.environ.get("PYTHONPATH", ""))))
    for name, value in (("PYTHONPATH", path), ("SLOWED_SHARE", "0.4"), ("SLOWED_ONLY", "other.bundle")):
        monkeypatch.setenv(name, value)
    arguments = [str(WALK), "--against", str(other), "--windows", "1600", "--meter", "none", "--json"]
    assert main(arguments) == 3
    text = capsys.readouterr().out
    found = json.loads(text)
    assert (found["kind"], found["verdict"]) == ("sensedge comparison", "worse")
    assert (found["block"], found["blocks"], found["runs"]) == ("pair of runs", 20, [20, 20])
    p50 = found["ratios"][0]
    assert p50["ratio"] > 1.1  # how wide its interval is the machine decides
    assert p50["low"] <= p50["ratio"] <= p50["high"]
    kept = tmp_path / "both.json"
    kept.write_text(text)
    assert main(["--compare", str(kept)]) == 3
    assert "runs         20 and 20, judged as 20 pairs of runs" in capsys.readouterr().out
    assert main(["--compare", str(kept), "--margin", "9"]) == 0


def test_what_differs_is_given_in_quotation_marks(begun, capsys):
    assert main([str(WALK), "--against", "--threads 2", "--windows", "160", "--runs", "8", "--meter", "none"]) in (0, 3)
    out, err = capsys.readouterr()
    assert "differs      setup.threads: 1 -> 2" in out
    assert err.count("not signed") == 1  # one bundle, opened once


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "--threads 2", "--runs", "7"], "--runs: expected at least 8, on both sides, got 7"),
        (["--against", "--threads 0"], "--threads: expected at least 1, got 0"),
        (["--against", "'--threads 2"], "--against: expected options, as on a command line, got No closing quotation"),
        (["--against", "gone.bundle"], "gone.bundle/manifest.json: expected a file of a bundle"),
        (["--against", "--threads 2", "--sweep", "batch"], "--against: expected neither --sweep nor --finetune"),
    ],
)
def test_wrong_use(arguments, message, capsys):
    assert main([str(WALK), *arguments]) == 2
    assert f"error: {message}" in capsys.readouterr().err


def test_unlike_work_is_refused_before_anything_is_measured():
    unlike = ProfileOptions(160, runs=8, deadline_s=0.5)
    with pytest.raises(InputError, match=r"deadline_s: expected the same on both sides: 1\.28, got 0\.5"):
        profile_in_turn((WALK, FEW), (WALK, unlike), meter=open_meter("none"))


@pytest.mark.parametrize("second", ["--windows 5", "--thread two"])
def test_only_a_side_may_differ(second, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([str(WALK), "--against", second])
    assert "python -m sdk.profile --against: error: " in capsys.readouterr().err


def test_both_ways_to_compare_at_once(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--against", "x", "--compare", "a", "b"])
    assert "not allowed with argument" in capsys.readouterr().err
