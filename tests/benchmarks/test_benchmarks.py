"""Every benchmark runs to its end at toy size, finds the right answers, and prints what its readers rely on."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.tools import environment, python
from tests.forked import Forks

ROOT = Path(__file__).parent.parent.parent
KEYS = {"name", "machine", "versions", "commit", "figures", "ratios", "checks"}
PROMISED = {  # ratios and figures that are known by name outside
    "adapt": {"hapt_before", "hapt_after", "hapt_hurt"},
    "coldstart": {"import_vs_bare", "first_prediction_vs_bare"},
    "encoders": {"fcn_parameters", "fcn_macs", "fcn_ms", "fcn_windows_per_s", "fcn_bundle_mb", "cosmo-utd_parameters"},
    "engines": {"auto_vs_best_worst", "fcn_auto", "hart_auto"},
    "export": {"int8_vs_fp32_size", "int8_vs_fp32_time", "walk_fp16_size", "walk_int8_macro_f1", "fcn_fp16_error"},
    "spectrogram": {"scipy_vs_incremental", "scipy_matrices_vs_incremental", "columns_scipy_vs_incremental"},
    "memory": {"rss_over_bare_mb", "rss_slope_kb_per_hour"},
    "hub": {"streams", "realtime_factor", "p99_delay_ms", "core_share", "one_by_one_vs_batched"},
    "finetune": {
        *(f"labeltrain_vs_layerwise_{what}" for what in ("time", "energy", "memory")),
        *(f"hapt_{n}_{kind}_macro_f1" for n in (1, 5) for kind in ("labeltrain", "layerwise")),
    },
    "head": {"ours_vs_sklearn"},
    "recorder": {"rows", "day_ms", "range_ms", "list_ms", "write_us", "written_mb_per_day", "scan_vs_day"},
    "rows": {"push1_vs_interp", "push16_vs_interp", "us_per_row"},
    "stream": {"push_vs_run_fcn30", "push_vs_run_fcn128"},
    "text": {"ours_vs_csv_plain", "ours_vs_csv_labels", "replay_us_plain"},
    "trainstep": {"ours_vs_torch", "ours_vs_ort_training", "memory_ours_vs_torch", "start_ours_vs_torch"},
}
NEED_DATA = {"adapt", "finetune"}
MINUTES = {
    "answers",
    "onelabel",
    "questions",
    "robust",
    "sessions",
    "unusual",
    "worn",
}  # of people, for minutes even if quick: their parts have tests of their own
# None where there is no meter, and where the peer is not installed
NOT_MEASURED = {"labeltrain_vs_layerwise_energy", "ours_vs_ort_training"}


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    pytest.importorskip("torch")
    imports = "torch, onnxruntime, onnx, onnxscript, scipy.signal, exporters.export, exporters.int8, tests.torchlib"
    with Forks(imports, environment(), "tests.torchlib.build()") as it:
        yield it


def run(forks: Forks, out: Path, *arguments: str) -> str:
    done = forks.run(ROOT, out, "benchmarks", *arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_the_list_names_every_benchmark(forks: Forks, tmp_path: Path) -> None:
    assert {line.split()[0] for line in run(forks, tmp_path).splitlines()} == {*PROMISED, *MINUTES}


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_quick_run(name: str, forks: Forks, tmp_path: Path) -> None:
    data = os.environ.get("SENSEDGE_DATA")
    if name in NEED_DATA and data is None:
        pytest.skip("set SENSEDGE_DATA to a folder with HAPT_Data_Set.tar.xz or the official HAPT archive")
    more = ["--data", data] if name in NEED_DATA else []
    result = json.loads(run(forks, tmp_path, name, "--quick", "--json", *more))
    assert result.keys() == KEYS
    assert result["name"] == name
    assert PROMISED[name] <= result["figures"].keys() | result["ratios"].keys()
    assert all(result["checks"].values())
    ratios = {key: value for key, value in result["ratios"].items() if not key.endswith("_spread")}
    assert {key for key, value in ratios.items() if value is None} <= NOT_MEASURED
    assert all(value > 0 for value in ratios.values() if value is not None)


def test_recordings_of_ones_own_take_a_public_sets_place(forks: Forks, tmp_path: Path) -> None:
    own = tmp_path / "mine"
    for words in ((f"{ROOT}/examples/own_data/record.py", own), ("-m", "sdk.datasets", "new", own)):
        assert python(*words).returncode == 0
    result = json.loads(run(forks, tmp_path, "adapt", "--quick", "--json", "--on", str(own)))
    assert result["figures"]["mine_people"] == 1
    assert result["figures"]["mine_adaptations"] == 1
    assert result["figures"]["mine_before"] > 0
