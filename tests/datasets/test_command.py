import json
import os
import subprocess
import sys

import numpy as np
import pytest

from sdk.datasets import __main__ as command
from sdk.datasets import _registry, list_datasets
from tests.datasets.archives import motionsense_members, write_registry, write_zip
from tests.datasets.formats import csv, hugadb_file, write_small


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a small MotionSense of two people."""
    registry = write_registry(tmp_path / "registry.txt", "motionsense m.zip - https://x.org/m.zip", "hapt h.zip - -")
    monkeypatch.setattr(_registry, "REGISTRY", registry)
    write_zip(tmp_path / "m.zip", motionsense_members())
    return tmp_path


def test_list(capsys):
    assert command.main(["list"]) == 0
    out = capsys.readouterr().out
    for name in list_datasets():
        assert name in out
    assert "commercial use: no" in out
    lines = {line.split()[0]: line for line in out.splitlines() if not line.startswith(" ")}
    assert "151 people  10 labels        100 Hz  download: CAPTURE-24" in lines["capture24"]
    assert "50 to 200 Hz" in lines["hhar"]
    assert "by request or login" in lines["mobiact"]
    assert command.main(["list", "--json"]) == 0
    assert [info["name"] for info in json.loads(capsys.readouterr().out)] == list_datasets()


@pytest.mark.parametrize("name", list_datasets())
def test_info(capsys, name):
    assert command.main(["info", name]) == 0
    out = capsys.readouterr().out
    for part in ("citation", "licence", "channels", "sha256", "https://"):
        assert part in out
    assert command.main(["info", name, "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["archives"][0]["dataset"] == name
    assert info["signal"]["modalities"][0]["unit"] in ("m/s^2", "m", "1/min")


def test_check_prints_what_is_in_it(capsys, folder, monkeypatch):
    assert command.main(["check", "motionsense", "--data", str(folder)]) == 1
    printed = capsys.readouterr()
    for part in ("people       2", "recordings   4", "samples      20", "50 Hz", "gyro (x, y, z) in rad/s"):
        assert part in printed.out
    assert "problem      expected 24 people, got 2" in printed.out
    assert "problem      expected samples of every label, got none of downstairs" in printed.out
    assert printed.err.startswith("warning: ")
    assert "no official sha256 is known" in printed.err


def test_check_in_json(capsys, folder):
    assert command.main(["check", "--data", str(folder), "--json"]) == 1
    (summary,) = json.loads(capsys.readouterr().out)
    assert summary["samples"] == 20
    assert summary["seconds"]["standing"] == 0.2
    assert summary["units"]["acc"] == "m/s^2"
    assert summary["rest_acc_m_s2"] == pytest.approx(1.25**0.5 * 9.80665, abs=1e-3)
    assert len(summary["problems"]) == 3


@pytest.fixture
def small(tmp_path, monkeypatch, capsys):
    """small(name, members=None): exit code and JSON of `check`, and its page, on a small archive."""

    def check(name, members=None):
        monkeypatch.setattr(_registry, "REGISTRY", write_registry(tmp_path / "registry.txt", f"{name} s.zip - -"))
        write_small(tmp_path / "s.zip", name, members)
        code = command.main(["check", name, "--data", str(tmp_path), "--json"])
        (summary,) = json.loads(capsys.readouterr().out)
        assert command.main(["check", name, "--data", str(tmp_path)]) == code
        return code, summary, capsys.readouterr()

    return check


def test_check_does_not_ask_for_what_a_version_does_not_have(small):
    """HuGaDB's version 2 has neither bicycles nor cars."""
    rows = [[*["0", "0", "16384", "0", "0", "0"] * 6, "1", "1", str(act)] for act in (*range(1, 9), 10, 11)]
    files = {f"Data/HuGaDB_v2_various_{person:02}_00.txt": hugadb_file(rows) for person in range(1, 19)}
    code, summary, printed = small("hugadb", files)
    assert (code, summary["problems"], summary["people"]) == (0, [], 18)
    assert "absent       cycling, car_riding: not in every published version" in printed.out
    del rows[3]
    code, summary, _ = small("hugadb", {name: hugadb_file(rows) for name in files})
    assert (code, summary["problems"]) == (1, ["expected samples of every label, got none of downstairs"])


def test_check_measures_rates_and_counts_people_per_place(small):
    def content(steps_ms):
        times = 1657533977810 + np.cumsum([0, *steps_ms])
        rows = [f"0.5,-3.5,9.1,0.1,0.2,0.3,{ms},SEATED" for ms in times.tolist()]
        return csv("x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label", *rows)

    bunches, fast = [0, 20] * 100, [10] * 400 + [10_000] + [10] * 400
    mixed = [10] * 320 + [50] * 320
    members = {
        "DATA/s01/s01_01_sp.csv": content(bunches),  # 100 Hz
        "DATA/s01/s01_01_sw.csv": content(fast),  # 100 Hz with a gap
        "DATA/s02/s02_01_sw.csv": content([20] * 200),  # 50 Hz
        "DATA/s03/s03_01_sw.csv": content(mixed),
    }
    _, summary, printed = small("sp_sw_har", members)
    assert summary["people_at"] == {"phone": 1, "watch": 3}
    assert summary["measured"] == {
        "recordings": 4,
        "least_hz": 50.0,
        "median_hz": 80.0,  # of 50, 60, 100, 100: as many blocks at 100 as at 20
        "most_hz": 100.0,
        "off_nominal": 2,
        "changing": 1,
    }
    assert "worn at      phone 1 people, watch 3 people" in printed.out
    assert "2 of 4 are off the nominal rate by more than 5%; 1 of them change their rate" in printed.out


def test_check_takes_the_folder_from_the_environment(capsys, folder, monkeypatch):
    monkeypatch.setenv("SENSEDGE_DATA", str(folder))
    assert command.main(["check", "motionsense"]) == 1
    assert "recordings   4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "uci-har"], "error: data set: expected one of .*, got 'uci-har'. Did you mean uci_har?"),
        (["info", "zzz"], "Choose one of them."),
        (["check", "hapt", "--data", "."], "error: .: expected there or in a direct subfolder one of"),
        (["check", "--data", "."], "error: .: expected there"),
        (["check", "--data", "missing-folder"], "error: missing-folder: expected the folder that holds the archives"),
        (["check"], "error: data_dir: expected the folder that holds the archives, got none"),
    ],
)
def test_bad_input_is_one_line_and_2(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SENSEDGE_DATA", raising=False)
    assert command.main(arguments) == 2
    printed = capsys.readouterr()
    assert message.split(".*")[0] in printed.err
    assert message.split(".*")[-1] in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.parametrize("arguments", [[], ["fly"], ["get", "hapt"], ["info"], ["check", "--data"]])
def test_wrong_use_is_2(arguments):
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert "exit codes: 0 done" in out


def test_it_runs_as_a_module():
    run = subprocess.run(
        [sys.executable, "-m", "sdk.datasets", "info", "nothing"], capture_output=True, text=True, env=dict(os.environ)
    )
    assert run.returncode == 2
    assert run.stderr.startswith("error: data set: ")
    assert "Traceback" not in run.stderr
