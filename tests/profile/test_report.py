"""A report against what its own raw samples say, a scripted meter, recorded boards, and injected stalls."""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporters.sign import create_keys, read_secret, sign_bundle
from runtime import Bundle
from runtime.bundle import Trust
from runtime.engine.auto import choice
from runtime.errors import InputError
from sdk.demo.__main__ import DATA
from sdk.meters import Energy, Timeline, open_meter
from sdk.profile import ProfileOptions, child, profile, side
from sdk.profile.__main__ import main
from sdk.profile.side import child_options
from sdk.profile.text import describe
from tests.board_trees import orin_nano, write_tree

WALK = DATA / "walk.bundle"
SLOWED = str(Path(__file__).parent / "slowed")


class Scripted:
    """Idle: 1 J in 0.5 s; a run: 5 J for its start, 2 J for its warm-up, 12 J in 4 s for the measured windows."""

    name = "scripted"

    def __init__(self):
        self.script = [(1.0, 0.5)] * 5 + [(5.0, 1.0), (2.0, 1.0), (12.0, 4.0)] * 2 + [(1.0, 0.5)] * 5

    def start(self):
        pass

    def stop(self):
        joules, seconds = self.script.pop(0)
        timeline = Timeline(("all",), (0.0, seconds), ((joules / seconds,),))
        return Energy(
            *(joules, "scripted", ("all",), "counter"),
            seconds=seconds,
            n_samples=2,
            tier="measured",
            uncertainty_j=0.1,
            metering_cpu_s=seconds / 500,
            timeline=timeline,
        )


@pytest.fixture(scope="module")
def report():
    """Two runs of a hundred windows under a scripted meter."""
    return profile(WALK, ProfileOptions(200, runs=2, idle_s=0.01, cap_s=1), meter=Scripted())


def test_percentiles_are_numpys_on_the_samples_of_the_file(report):
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain == report.to_dict()
    assert (plain["schema"], plain["kind"]) == (1, "sensedge profile")
    for stage, found in plain["latency"].items():
        ticks = [tick for run in plain["runs"] for tick in run["samples"][stage]]
        assert all(isinstance(tick, int) for tick in ticks)
        seconds = np.array(ticks) * plain["tick_s"]
        assert len(seconds) >= 200
        percentiles = [found[f"p{name}_s"] for name in ("50", "90", "95", "99", "99_9")]
        assert percentiles == np.percentile(seconds, [50, 90, 95, 99, 99.9]).tolist()
        assert (found["n"], found["max_s"]) == (len(seconds), seconds.max())
        assert found["jitter_s"] == pytest.approx(seconds.std())
    for stage, found in plain["cold_start"].items():
        columns = [run["cold_s"] for run in plain["runs"]]
        values = [sum(column.values()) if stage == "total" else column[stage] for column in columns]
        assert found == {"median_s": np.median(values), "low_s": min(values), "high_s": max(values)}


def test_joules_by_hand(report):
    """24 J in 8 s; idle was 2 W: 24 - 2 * 8 = 8 J above it."""
    energy, n = report.to_dict()["energy"], report.n_windows
    assert (energy["joules"], energy["seconds"]) == (24.0, 8.0)
    assert energy["net_joules"] == pytest.approx(8.0)
    assert energy["joules_per_hop"] == 24.0 / n
    assert energy["net_joules_per_hop"] == pytest.approx(8.0 / n)
    assert energy["uncertainty_j"] == pytest.approx(0.2)  # steps are the same error in both
    assert energy["idle"]["watts"] == pytest.approx(2.0)
    assert energy["metering_share"] == pytest.approx(1 / 500)
    text = describe(report)
    assert f"energy       {24e3 / n:.4g} ± {200 / n:.2g} mJ per window, gross; {8e3 / n:.4g} ± " in text
    assert "             scripted: all; counter; measured; the metering took 0.20% of one core" in text


def test_phases_are_marked(report):
    runs = [("start", i) for i in (0, 1)], [("warm-up", i) for i in (0, 1)], [("measured", i) for i in (0, 1)]
    names = [(phase.name, phase.run) for phase in report.phases]
    assert (
        names
        == [("idle", None)] * 5 + [name for both in zip(*runs, strict=True) for name in both] + [("idle", None)] * 5
    )
    assert all(phase.begin_s <= phase.end_s <= report.seconds for phase in report.phases)
    assert report.phases[7].energy.timeline.watts == ((3.0,),)


def test_a_board_whose_power_stands_still(tmp_path):
    """5.016 V * 0.976 A = 4.895616 W, whatever the machine does: nothing is left above idle."""
    write_tree(tmp_path, orin_nano())
    meter = open_meter(root=tmp_path, timeline=50)
    report = profile(WALK, ProfileOptions(50, idle_s=0.2, cap_s=3), meter=meter, root=tmp_path)
    energy = report.energy
    assert report.runs[0].seconds >= 1  # windows go on until the sensor has seen enough
    assert energy.seconds == pytest.approx(report.runs[0].seconds, rel=0.2)
    assert energy.joules == pytest.approx(4.895616 * energy.seconds)
    assert energy.net_joules == pytest.approx(0, abs=1e-6)
    assert 0 < energy.metering_share < 0.05  # 0.2 to 0.5 % here; a busy machine counts more
    timeline = report.phases[-6].energy.timeline
    area = sum(w[0] * (b - a) for w, a, b in zip(timeline.watts, timeline.edges_s, timeline.edges_s[1:], strict=False))
    assert area == pytest.approx(energy.joules)
    text = describe(report)
    assert "hwmon:ina3221: VDD_IN; integrated power; measured; without " in text
    assert "; the metering took 0." in text or "; the metering took 1." in text
    assert "NVIDIA Jetson Orin Nano Developer Kit, " in text
    assert report.gpu_memory.bytes is None
    assert report.gpu_memory.reason


@pytest.fixture(scope="module")
def stalled():
    """A hundred windows with a stall of 50 ms in every tenth."""
    before = os.environ.get("PYTHONPATH", "")
    os.environ |= {"PYTHONPATH": os.pathsep.join((SLOWED, before)), "STALLED_EVERY": "10"}
    try:
        return profile(WALK, ProfileOptions(100, cap_s=60, deadline_s=0.045), meter=open_meter("none"))
    finally:
        os.environ["PYTHONPATH"] = before
        del os.environ["STALLED_EVERY"]


def test_stalls_are_in_the_tail_and_miss_the_deadline(stalled, report):
    assert stalled.latency["total"].p99_9_s >= 0.05
    assert stalled.latency["total"].p90_s >= 0.045 or stalled.latency["total"].p95_s >= 0.05
    assert stalled.latency["total"].p50_s < 0.05
    totals = stalled.runs[0].samples["total"]
    assert stalled.misses == sum(tick > 450_000 for tick in totals) >= 10
    assert f"deadline     {stalled.misses} of 100 windows later than 45 ms (a hop is 1.28 s)" in describe(stalled)
    assert report.misses == 0


def test_without_a_meter_the_energy_is_not_measured_and_never_zero(stalled):
    energy = stalled.to_dict()["energy"]
    assert energy["joules"] is energy["joules_per_hop"] is energy["net_joules"] is None
    assert energy["reason"] == "switched off"
    assert {meter["name"] for meter in energy["meters"]} >= {"rapl", "hwmon", "pmic"}
    assert "energy       not measured (no meter: switched off)" in describe(stalled).splitlines()


def test_a_run_that_throttled_says_so_first(report):
    slow = replace(report, throttled="The machine did not hold its speed: throttled at the end.")
    assert describe(slow).startswith("THROTTLED    The machine did not hold its speed: throttled at the end.\n")


def test_sweeps(monkeypatch):
    monkeypatch.setattr("sdk.profile.sweeps.ROUNDS", 1)
    report = profile(WALK, ProfileOptions(20, sweeps=("threads", "batch")), meter=open_meter("none"))
    threads, batch = report.sweeps["threads"], report.sweeps["batch"]
    assert threads[0].value == "1"
    assert [point.value for point in batch] == ["1", "2", "4", "8", "16", "32"]
    assert all(0 < point.low_s <= point.high_s and point.p50_s <= point.p99_s for point in (*threads, *batch))
    assert "windows in a batch  ms a window, p50" in describe(report)


def test_what_auto_chose_is_measured_and_told(monkeypatch):
    why = "onnxruntime with 2 threads: made up"
    monkeypatch.setattr(side, "recall", lambda bundle: choice.Choice(choice.Candidate("onnxruntime", threads=2), why))
    report = profile(WALK, ProfileOptions(5, engine="auto"), meter=open_meter("none"))
    setup = report.to_dict()["setup"]
    assert (setup["engine"], setup["precision"], setup["threads"]) == ("onnxruntime", "float32", 2)
    assert setup["reason"] == why
    text = describe(report).splitlines()
    assert text[0].endswith("; onnxruntime, float32, 2 threads")
    assert f"engine       {why}" in text


def test_what_an_engine_says_of_itself(report):
    run = replace(report.runs[0], engine_reason="onnxruntime answers: no GPU")
    assert "engine       onnxruntime answers: no GPU" in describe(replace(report, runs=(run, run))).splitlines()
    assert "engine   " not in describe(report).replace("engine        ", "")  # but for the column of the table


def test_every_process_asks_for_the_signature(tmp_path, capsys):
    (secret, mine), (_, other) = (create_keys(tmp_path / name) for name in ("mine", "other"))
    signed = shutil.copytree(WALK, tmp_path / "walk.bundle")
    sign_bundle(signed, read_secret(secret))
    arguments = [str(signed), "--windows", "5", "--meter", "none", "--trust"]
    assert main([*arguments, str(mine)]) == 0
    assert capsys.readouterr().err == ""
    assert main([*arguments, str(other)]) == 3
    options = child_options(Bundle.open(signed, trust=Trust.of(mine)), ProfileOptions(5))
    assert child._trust(json.loads(json.dumps(options.trust))) == Trust.of(mine)


def test_a_page_without_matplotlib(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main([str(WALK), "--html", str(tmp_path / "x.html")]) == 2
    assert 'pip install "sensedge[report]"' in capsys.readouterr().err


def test_real_time_as_text(report):
    run = replace(report.runs[0], late=(12_000,) * len(report.runs[0].samples["total"]))
    paced = replace(report, runs=(run,), workload=replace(report.workload, pace="real time", deadline_s=0.0012))
    text = describe(paced)
    assert paced.misses == paced.n_windows  # each began 1.2 ms late
    assert (
        f"deadline     {paced.n_windows} of {paced.n_windows} windows later than 1.2 ms (a hop is 1.28 s); woken up"
        in text
    )
    assert "woken up to 1.20 ms late; " in text


@pytest.mark.parametrize(
    ("field", "value", "got"),
    [
        ("windows", 0, "0"),
        ("cap_s", 0, "0"),
        ("deadline_s", -1, "-1"),
        ("idle_s", 0, "0"),
        ("sweeps", ("threads", "cores"), "threads,cores"),
    ],
)
def test_from_python_a_wrong_option_is_named_as_its_field(field, value, got):
    with pytest.raises(InputError, match=rf"^{field}: expected .*, got {got}\. Correct it\.$"):
        ProfileOptions(**{field: value})


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (["--runs", "0"], "--runs: expected at least 1, got 0"),
        (["--threads", "0"], "--threads: expected at least 1, got 0"),
        (["--seconds", "0"], "--seconds: expected a number above 0, got 0.0"),
        (["--windows", "0"], "--windows: expected at least 1, got 0"),
        (["--idle-seconds", "0"], "--idle-seconds: expected a number above 0, got 0.0. Correct the option."),
        (["--deadline-ms", "-1"], "--deadline-ms: expected a number above 0, got -0.001"),
        (["--sweep", "threads,cores"], "--sweep: expected names among threads, engines, batch, got threads,cores"),
        (["--meter", "rapk"], "meter: expected one of auto, none"),
        (["--finetune", "head"], "--finetune: expected --labels beside it"),
    ],
)
def test_wrong_use(arguments, where, capsys):
    assert main([str(WALK), *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"error: {where}")


@pytest.mark.parametrize("arguments", [[], ["x.bundle", "--compare", "a", "b"]])
def test_a_bundle_or_two_reports(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "name a bundle, or reports" in capsys.readouterr().err
