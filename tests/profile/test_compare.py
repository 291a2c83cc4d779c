"""Two reports: what may not be compared, what is found, and how often it is found where there is nothing.

SENSEDGE_COMPARISONS: how many pairs of made-up reports (8 here; 100 for the rates in docs/profile.md).
"""

import copy
import json
import os

import numpy as np
import pytest

from runtime.errors import InputError
from sdk.profile import compare_reports
from sdk.profile.__main__ import main
from sdk.profile.compare import LEAST_PAIRS, check_pairs, describe, must_agree, read_reports, rows_of
from sdk.profile.interval import interval, student_t

N = int(os.environ.get("SENSEDGE_COMPARISONS", 8))


def made_up(seed, share=0.0, *, runs=10, windows=500, joules=None, mood=0.0, at=0, series=None, bursts=None):
    """A report of windows of 100 us: runs differ by 1 %, windows follow their neighbours (AR(1), 0.9).

    Args:
        seed: of everything random.
        share: so much more time.
        runs: processes.
        windows: of each run.
        joules: per hop.
        mood: how much the slow windows of reports differ.
        at: the minute in which it was taken.
        series: shared with a report whose runs took turns with these.
        bursts: so much more time of each run, as the machine did something else.
    """
    rng = np.random.default_rng(seed)
    moody = 1 + mood * abs(rng.standard_normal())
    made = []
    noises = 0.01 * rng.standard_normal((windows, runs))
    for i in range(1, windows):
        noises[i] += 0.9 * noises[i - 1]
    for noise, burst in zip(noises.T, np.zeros(runs) if bursts is None else bursts, strict=True):
        level = 1000 * (1 + share) * (1 + burst) * (1 + 0.01 * rng.standard_normal())
        total = level * (1 + abs(noise)) * np.where(rng.random(windows) < 0.05, 5 * moody, 1)
        made.append(
            {
                "samples": {"total": np.round(total).astype(int).tolist()},
                "memory": {"baseline_bytes": 50_000_000, "peak_bytes": 60_000_000 + int(rng.integers(0, 9)) * 4096},
            }
        )
    phases = [
        {"name": "measured", "run": i, "energy": {"joules": None if joules is None else joules * windows}}
        for i in range(runs)
    ]
    machine = {name: None for name in ("board", "soc", "cpu", "cores", "machine", "governor", "power_mode", "kernel")}
    return {
        "schema": 1,
        "kind": "sensedge profile",
        "tick_s": 1e-7,
        "taken_at": f"2026-01-01T{at // 60:02}:{at % 60:02}:00+00:00",
        "series": series,
        "notes": [],
        "runs": made,
        "phases": phases,
        "bundle": {"name": "walk", "version": "base", "model_sha256": "ab" * 32},
        "workload": {"input_sha256": "cd" * 32, "window_samples": 128, "hop_samples": 64, "pace": "flat out"},
        "setup": {"engine": "onnxruntime", "precision": "float32", "threads": 1},
        "machine": {"before": machine | {"versions": {"numpy": "2.0"}}, "after": machine, "throttled": None},
    }


def save(path, report):
    path.write_text(json.dumps(report))
    return str(path)


# ---- rates


def test_five_percent_more_are_found_and_nothing_is_found_in_the_same():
    alike = [compare_reports([made_up(seed)], [made_up(seed + 5000)]).verdict for seed in range(N)]
    slower = [compare_reports([made_up(seed)], [made_up(seed + 5000, 0.05)]).verdict for seed in range(N)]
    faster = [compare_reports([made_up(seed, 0.05)], [made_up(seed + 5000)]).verdict for seed in range(N)]
    print(f"{N} pairs: alike {alike.count('alike')}, slower {slower.count('worse')}, faster {faster.count('better')}")
    assert alike.count("alike") >= 0.85 * N
    assert slower.count("worse") >= 0.85 * N
    assert faster.count("better") >= 0.85 * N


def in_turn(seed, share=0.0, n=20):
    """Two reports whose runs took turns: bursts of some runs' length, of 10 to 30 %, and a drift, both meet pairs."""
    rng = np.random.default_rng(seed)
    shared = np.repeat(np.where(rng.random(n) < 0.25, rng.uniform(0.1, 0.3, n), 0), 3)[:n] + np.linspace(0, 0.05, n)
    alone = np.where(rng.random((2, n)) < 0.1, 0.2, 0)
    return [
        [made_up(2 * seed + i, i * share, runs=n, windows=100, series="s", bursts=shared + alone[i])] for i in (0, 1)
    ]


def test_runs_that_took_turns_are_judged_as_pairs():
    alike = [compare_reports(*in_turn(seed)) for seed in range(N)]
    slower = [compare_reports(*in_turn(seed, 0.05)) for seed in range(N)]
    quiet = sum(found.verdict == "alike" for found in alike)
    caught = sum(found.verdict == "worse" for found in slower)
    print(f"{N} pairs of series: alike {quiet}, slower {caught}")
    assert {(found.block, found.blocks, found.runs) for found in alike} == {("pair of runs", 20, (20, 20))}
    assert "not judged" not in {ratio.verdict for found in alike for ratio in found.ratios}
    assert min(quiet, caught) >= 0.85 * N
    apart = [[side[0] | {"series": None}] for side in in_turn(0)]
    assert compare_reports(*apart).block == "run"


def test_moods_of_the_machine_are_judged_of_pairs_only():
    """Mean and p99 change from report to report; of two reports one cannot know by how much, of eight each one can."""
    one = compare_reports([made_up(1, mood=1)], [made_up(2, mood=1)])
    verdicts = {ratio.figure: ratio.verdict for ratio in one.ratios}
    assert (verdicts["mean"], verdicts["p99"], one.block) == ("not judged", "not judged", "run")
    found = []
    for k in range(N):
        sides = [
            [made_up(99 * k + 8 * side + i, mood=1, windows=200, at=2 * i + side) for i in range(8)] for side in (0, 1)
        ]
        several = compare_reports(*sides)
        assert (several.block, several.blocks) == ("pair of reports", 8)
        assert "not judged" not in {ratio.verdict for ratio in several.ratios}
        found.append(several.verdict)
    print(f"{N} times eight and eight: alike {found.count('alike')}")
    assert found.count("alike") >= 0.85 * N


def test_reports_that_were_not_taken_in_turn_are_no_pairs():
    first = [made_up(i, at=i, windows=50) for i in range(8)]
    assert compare_reports(first, [made_up(9 + i, at=10 + i, windows=50) for i in range(8)]).block == "run"
    assert compare_reports(first[:7], [made_up(9 + i, at=i, windows=50) for i in range(7)]).block == "run"  # too few
    second = [made_up(9 + i, at=i, windows=50) for i in range(8)]
    assert compare_reports(first, second).block == "pair of reports"
    assert compare_reports(first, second[:7]).block == "run"


@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_holds_the_truth_as_often_as_it_says(paired):
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(10 * N):
        values, less = rng.normal(0.5, 1, 10), None if paired else rng.normal(0, 1, 10)
        low, high = interval(0.95, values, less, seed)
        inside += low <= 0.5 <= high
    assert 0.88 <= inside / (10 * N) <= 1


def test_the_range_of_the_fewest_pairs_holds_the_median_as_often_as_is_asked():
    """The median lies outside the range of n when all n fall on one side of it: 2 / 2^n. Six figures: 1 - 0.05 / 6."""
    assert 1 - 2 / 2**LEAST_PAIRS > 1 - 0.05 / 6 > 1 - 2 / 2 ** (LEAST_PAIRS - 1)


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 30])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_students_t(freedom, level):
    stats = pytest.importorskip("scipy.stats")
    assert student_t(level, freedom) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-4)


def test_figures_by_hand():
    first, second = made_up(1), made_up(1)
    for run in second["runs"]:
        run["samples"]["total"] = [2 * tick for tick in run["samples"]["total"]]
        run["memory"]["peak_bytes"] += 10_000_000 + (run["memory"]["peak_bytes"] - 60_000_000)
    found = {ratio.figure: ratio for ratio in compare_reports([first], [second]).ratios}
    assert list(found) == ["p50", "p10", "mean", "p99", "memory"]  # no meter: no energy
    assert [found[name].ratio for name in ("p50", "p10", "mean", "p99")] == pytest.approx([2] * 4)
    assert found["memory"].ratio == pytest.approx(2, rel=1e-6)
    totals = [np.array(run["samples"]["total"]) * 1e-7 for run in first["runs"]]
    for name, of in (("p50", 50), ("p10", 10), ("p99", 99)):
        logs = np.log([np.percentile(total, of) for total in totals])
        assert found[name].first == pytest.approx(np.exp(np.median(logs)))
    assert found["mean"].first == pytest.approx(np.exp(np.median(np.log([total.mean() for total in totals]))))
    assert found["p50"].low < 2 < found["p50"].high


def test_the_level_is_shared_by_the_figures_that_are_judged():
    """Bonferroni: of three figures each one's interval has the level 1 - 0.05 / 3."""
    first, second = made_up(1), made_up(2, 0.03)
    a, b = (
        np.log([np.median(run["samples"]["total"]) * report["tick_s"] for run in report["runs"]])
        for report in (first, second)
    )
    found = {ratio.figure: ratio for ratio in compare_reports([first], [second]).ratios}
    assert sorted(name for name, ratio in found.items() if ratio.verdict != "not judged") == ["memory", "p10", "p50"]
    low, high = np.exp(interval(1 - 0.05 / 3, b, a))
    assert (found["p50"].low, found["p50"].high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize(("first", "second", "got"), [(7, 7, "7"), (8, 9, "8 and 9"), (20, 8, "20 and 8")])
def test_pairs_are_as_many_on_both_sides_and_enough(first, second, got):
    check_pairs(LEAST_PAIRS, LEAST_PAIRS)
    assert LEAST_PAIRS == 8
    with pytest.raises(InputError, match=f"runs: expected at least 8, on both sides, got {got}"):
        check_pairs(first, second)


def test_the_ratio_of_pairs_by_hand():
    first, second = made_up(1, runs=9, series="s"), made_up(1, runs=9, series="s")
    for i, (a, b) in enumerate(zip(first["runs"], second["runs"], strict=True)):
        a["samples"]["total"] = [1000 * 2**i] * 5  # drifts by a factor of 256
        b["samples"]["total"] = [1100 * 2**i] * 5
    p50 = compare_reports([first], [second]).ratios[0]
    assert (p50.ratio, p50.low, p50.high, p50.verdict) == (*[pytest.approx(1.1)] * 3, "worse")
    assert p50.first == pytest.approx(1000 * 2**4 * 1e-7)


@pytest.mark.parametrize(
    ("ticks", "verdict"), [(101_010, "worse"), (100_990, "alike"), (99_020, "alike"), (99_000, "better")]
)
def test_less_than_a_hundredth_is_no_difference(ticks, verdict):
    first, second = made_up(1, runs=8, series="s"), made_up(1, runs=8, series="s")
    for a, b in zip(first["runs"], second["runs"], strict=True):
        a["samples"]["total"], b["samples"]["total"] = [100_000] * 5, [ticks] * 5
    found = compare_reports([first], [second])
    assert (found.margin, found.verdict, {ratio.verdict for ratio in found.ratios[:4]}) == (0.01, verdict, {verdict})


@pytest.mark.parametrize(
    ("change", "block"),
    [
        ({}, "pair of runs"),
        ({"series": "t"}, "run"),
        ({"series": None}, "run"),
        ({"runs": 9}, "run"),
    ],
)
def test_runs_are_pairs_only_in_one_series_and_as_many(change, block):
    first, second = made_up(1, series="s", windows=20), made_up(2, **{"series": "s", "windows": 20, **change})
    assert compare_reports([first], [second]).block == block


def test_memory_that_did_not_grow_is_no_figure():
    first = made_up(1, runs=8, series="s", windows=20)
    first["runs"][3]["memory"] = {"baseline_bytes": 5, "peak_bytes": 5}
    assert [ratio.figure for ratio in compare_reports([first], [first]).ratios] == ["p50", "p10", "mean", "p99"]


PAIRS = """\
second to first     first  second  ratio  95% together
p50, ms                10   11.01  1.101  1.101 to 1.101  worse
p10, ms                10   11.01  1.101  1.101 to 1.101  worse
mean, ms               10   11.01  1.101  1.101 to 1.101  worse
p99, ms                10   11.01  1.101  1.101 to 1.101  worse
memory, MB             10      10  1.000  1.000 to 1.000  alike

runs         8 and 8, judged as 8 pairs of runs; alike: not shown to differ by 1.0%
differs      setup.threads: 1 -> 2
note         second: It was hot.
verdict      The second is WORSE."""


def test_a_comparison_as_people_read_it():
    first, second = made_up(1, runs=8, series="s"), made_up(1, runs=8, series="s")
    for report, ticks in ((first, 100_000), (second, 110_100)):
        for run in report["runs"]:
            run["samples"]["total"] = [ticks] * 5
            run["memory"] = {"baseline_bytes": 50_000_000, "peak_bytes": 60_000_000}
    second["setup"]["threads"], second["notes"] = 2, ["It was hot.", None, "It was hot."]
    said = describe(compare_reports([first], [second]))
    found = [line.split() for line in said.splitlines() if not line.startswith("---")]
    assert found == [line.split() for line in PAIRS.splitlines()]
    first["series"] = None
    lines = describe(compare_reports([first], [second])).splitlines()
    assert "runs         8 and 8; alike: not shown to differ by 1.0%" in lines
    assert "not judged   they follow what else the machine does: measure both in turn, with --against" in lines


def test_the_reports_of_a_comparison_are_read_too(tmp_path):
    both = [made_up(1, windows=5), made_up(2, windows=5)]
    path = save(tmp_path / "c", {"schema": 1, "kind": "sensedge comparison", "reports": both})
    assert read_reports(path) == both
    assert read_reports(save(tmp_path / "a", both[0])) == both[:1]


def test_figures_are_told_in_their_units():
    first = made_up(1, joules=0.002)
    for run in first["runs"]:
        run["memory"] = {"baseline_bytes": 50_000_000, "peak_bytes": 62_500_000}
        run["samples"]["total"] = [1234] * 5
    rows = {row[0]: row[1:3] for row in rows_of(compare_reports([first], [first]))}
    assert rows["memory, MB"] == ("12.5", "12.5")
    assert rows["p50, ms"] == ("0.1234", "0.1234")
    assert rows["energy, mJ"] == ("200", "200")  # 1 J in each run of 5 windows


def test_energy_is_compared_where_both_have_it():
    found = compare_reports([made_up(1, joules=0.002)], [made_up(2, joules=0.003)])
    (energy,) = [ratio for ratio in found.ratios if ratio.figure == "energy"]
    assert (energy.first, energy.second, energy.verdict) == (pytest.approx(0.002), pytest.approx(0.003), "worse")
    half = compare_reports([made_up(1, joules=0.002)], [made_up(2)])
    assert "energy" not in [ratio.figure for ratio in half.ratios]


def test_the_margin():
    pair = [made_up(1)], [made_up(2, 0.05)]
    assert compare_reports(*pair).worse
    assert not compare_reports(*pair, margin=0.1).worse
    with pytest.raises(InputError, match=r"^margin: expected a share of at least 0, got -1"):
        compare_reports(*pair, margin=-1)


def test_a_wrong_margin_is_named_as_the_option(tmp_path, capsys):
    assert (
        main(["--compare", save(tmp_path / "a", made_up(1)), save(tmp_path / "b", made_up(2)), "--margin", "-1"]) == 2
    )
    assert capsys.readouterr().err.startswith("error: --margin: expected a share of at least 0, got -1.0. 0.01 is 1 %.")


# ---- the command


def test_exit_codes_and_text(tmp_path, capsys):
    a, b = save(tmp_path / "a", made_up(1)), save(tmp_path / "b", made_up(2, 0.05))
    assert main(["--compare", a, b]) == 3
    assert capsys.readouterr().out.rstrip().endswith("verdict      The second is WORSE.")
    assert main(["--compare", b, a]) == 0
    assert "verdict      The second is better." in capsys.readouterr().out
    assert main(["--compare", a, a, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["kind"], found["verdict"]) == (1, "sensedge comparison", "alike")


def test_what_differs_is_told():
    first, second = made_up(1), made_up(2)
    second["setup"]["engine"], second["machine"]["throttled"] = "openvino", "It was hot."
    found = compare_reports([first], [second])
    assert found.differs == {"setup.engine": ("onnxruntime", "openvino")}
    assert found.notes == ("second: It was hot.",)
    assert "differs      setup.engine: onnxruntime -> openvino" in describe(found)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("workload", "input_sha256"), "0" * 64),
        (("workload", "hop_samples"), 32),
        (("workload", "pace"), "real time"),
        (("machine", "before", "board"), "Raspberry Pi 5"),
        (("machine", "before", "governor"), "powersave"),
    ],
)
def test_unlike_ones_are_refused(tmp_path, capsys, path, value):
    other = copy.deepcopy(made_up(2))
    place = other
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert main(["--compare", save(tmp_path / "a", made_up(1)), save(tmp_path / "b", other)]) == 2
    field = ".".join(part for part in path if part != "before")
    said = capsys.readouterr().err
    assert f"--compare: {field}: expected the same on both sides" in said
    assert path[1] != "input_sha256" or "both sides: cdcdcdcdcdcd, got 000000000000. Only" in said


def test_a_value_that_is_no_hash_is_told_whole():
    with pytest.raises(InputError, match=f"both sides: {'a' * 65}, got unknown"):
        must_agree("x", ["a" * 65, None])
    with pytest.raises(InputError, match=f"both sides: {'a' * 63}, got {'b' * 12}\\."):
        must_agree("x", ["a" * 63, "b" * 64])
    must_agree("x", ["a", "a"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("{", "no JSON"),
        ("[]", "other JSON"),
        ('{"kind": "sensedge profile", "schema": 2}', "schema 1, got 2"),
        ('{"kind": "sensedge comparison", "schema": 1}', "got a comparison of files"),
    ],
)
def test_files_that_are_no_reports(tmp_path, text, message):
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_reports(path)


def test_too_few_runs_and_odd_files(tmp_path, capsys):
    a = save(tmp_path / "a", made_up(1, runs=4))
    assert main(["--compare", a, a]) == 2
    assert "at least 5 runs on each side, to know how runs differ, got 4" in capsys.readouterr().err
    assert main(["--compare", a, a, a, a]) == 0  # eight of each
    capsys.readouterr()
    assert main(["--compare", a]) == 2
    assert "pairs of reports, got 1" in capsys.readouterr().err


def test_pairs_of_runs_need_every_pair_in_one_series():
    def side(seed, *series):
        return [made_up(seed + i, runs=8, windows=20, series=name, at=i) for i, name in enumerate(series)]

    assert compare_reports(side(1, "s", "t"), side(5, "s", "t")).block == "pair of runs"
    assert compare_reports(side(1, "s", "t"), side(5, "s", "u")).block != "pair of runs"
