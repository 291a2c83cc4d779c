"""Every process that we start: in a folder full of files that it must not import, and after its parent was killed."""

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

import pytest

from exporters.tensorrt import gate
from runtime import Bundle
from runtime.engine.auto.measure import Candidate
from runtime.engine.auto.trial import measure_apart
from runtime.engine.tensorrt.child import ask
from runtime.engine.tensorrt.engine import BuildOptions
from runtime.errors import MissingError
from runtime.recorder import RecordedStream, Recorder
from runtime.recording import Recording
from sdk.demo.__main__ import _profile as profile_of_the_demo
from sdk.doctor.host import import_ending, spinning
from sdk.live.jobs import Jobs
from sdk.meters import open_meter
from sdk.profile import ProfileOptions, profile
from tests.commands.tools import DATA, ROOT, environment

TRAPS = (
    *("sdk", "runtime", "exporters", "numpy", "onnxruntime", "psutil", "tensorrt", "tensorrt_rtx"),
    *("sitecustomize", "usercustomize", "json", "typing", "dataclasses", "signal", "select", "tempfile", "pathlib"),
)
PATH = Path("walk.bundle")


@pytest.fixture
def traps(tmp_path, monkeypatch):
    """A folder of files that write down who imported them, which is the current one and on every way to a path."""
    log = tmp_path / "log"
    folder = tmp_path / "traps"
    folder.mkdir()
    for name in TRAPS:
        (folder / f"{name}.py").write_text(f"open({str(log)!r}, 'a').write(__name__ + '\\n'); raise SystemExit('trap')")
    shutil.copytree(DATA / "walk.bundle", folder / PATH)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(("", ".", f"../{folder.name}")))
    monkeypatch.setattr(sys, "path", [*sys.path, "", ".", str(folder)])  # behind all else: this process is not to fall
    code = f"for name in {TRAPS!r}:\n try: __import__(name)\n except SystemExit: pass"
    subprocess.run([sys.executable, "-S", "-c", code], check=True)
    assert log.read_text().split() == list(TRAPS)  # they work
    log.write_text("")
    return log


def in_a_profile():
    report = profile(PATH, ProfileOptions(5, sweeps=("batch",)), meter=open_meter("none"))
    assert report.n_windows == 5
    assert len(report.sweeps["batch"]) == 6


def in_a_trial():
    (found,) = measure_apart(Bundle.open(PATH), [Candidate("onnxruntime")], budget_s=0.01)
    assert (found.dropped, found.labels_agree) == ("", 1)


def in_a_builder():
    folder = Path("request")
    folder.mkdir()
    told = ask(folder, BuildOptions().request("probe", library="tensorrt_rtx"))
    assert told["reason"] == "ModuleNotFoundError: No module named 'tensorrt_rtx'"


def in_the_gate():
    (Path("bin")).mkdir()
    Path("bin/python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    Path("bin/python").chmod(0o755)
    os.environ[gate.PYTHON] = "bin/python"
    with pytest.raises(MissingError, match="tensorrt_rtx and numpy, got none in /"):
        gate.find_python()


def in_the_doctor():
    assert import_ending("numpy") == import_ending("json") == ""


def in_the_doctors_spin():
    assert spinning(PATH)["ours_cpu_s"] > 0


def in_the_demo():
    told = json.loads(profile_of_the_demo(PATH, Namespace(windows=5, json=True)))
    assert told["deadline"]["hops"] == 5


def jobs_of_the_page():
    with Recorder("me.db", PATH, epoch=1.7e9) as recorder:
        RecordedStream(recorder).push(Recording.load(DATA / "person_6.npz").samples[:6000])
    return Jobs(Bundle.open(PATH), Path("me.db"), str, str, str)


def in_a_question_of_the_page():
    assert len(jobs_of_the_page().questions("")["questions"]) == 4


def in_what_the_page_learns():
    told = jobs_of_the_page()._run(["--labels", str(Path("me.db").absolute())])
    assert told["state"] == "failed"
    assert "label" in told["text"]


STARTERS = {
    "sdk/profile/parent.py": in_a_profile,
    "runtime/engine/auto/trial.py": in_a_trial,
    "runtime/engine/tensorrt/child.py": in_a_builder,
    "exporters/tensorrt/gate.py": in_the_gate,
    "sdk/doctor/host.py": in_the_doctor,
    "sdk/doctor/host.py, spin": in_the_doctors_spin,
    "sdk/demo/__main__.py": in_the_demo,
    "sdk/live/jobs.py": in_what_the_page_learns,
    "sdk/live/jobs.py, questions": in_a_question_of_the_page,
}


@pytest.mark.parametrize("start", STARTERS.values(), ids=STARTERS)
def test_nothing_of_the_folder_is_imported(start, traps, monkeypatch):
    monkeypatch.setenv(gate.PYTHON, "")
    start()
    assert traps.read_text() == ""


# ---- killed


BUSY = {  # what keeps a child, or the child of a child, at work for long
    "profile": """
from sdk.profile import ProfileOptions, profile
profile(path, ProfileOptions(10**9, runs=1, cap_s=3600.0))""",
    "trial": """
from runtime import Bundle
from runtime.engine.auto.measure import Candidate
from runtime.engine.auto.trial import measure_apart
from tests.runtime.engine.auto import fake
measure_apart(Bundle.open(path), [Candidate("hangs")], table=fake.table(fake.Hangs))""",
    "builder": """
import tempfile
from pathlib import Path
from runtime.process.child import HELD
from runtime.engine.tensorrt.child import Builder, ask
ask(Path(tempfile.mkdtemp()), {}, builder=Builder(("-c", HELD + "while True: pass")))""",
    "demo": """
from argparse import Namespace
from pathlib import Path
from sdk.demo.__main__ import _profile
_profile(Path(path), Namespace(windows=10**9, json=True))""",
}


def below(pid):
    """The processes that one started, and those that they started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [other for child in found for other in below(child)]


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(question):
    until = time.monotonic() + 120  # only a failure waits for it
    while not question():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("what", BUSY)
def test_no_child_outlives_a_parent_that_is_killed(what, tmp_path):
    code = f"path = {str(DATA / 'walk.bundle')!r}{BUSY[what]}"
    env = environment(PYTHONPATH=str(ROOT), TMPDIR=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, env=env) as parent:
        wait_for(lambda: len(below(parent.pid)) == (2 if what == "demo" else 1))
        children = below(parent.pid)
        parent.kill()
    wait_for(lambda: not any(map(lives, children)))


def test_these_are_all_that_start_a_process():
    """`Child(...)` is written nine times; `subprocess` is for it, and for the firmware's own tool."""
    calls, imports = [], []
    for file in sorted(path for package in ("runtime", "sdk", "exporters") for path in (ROOT / package).rglob("*.py")):
        name = str(file.relative_to(ROOT))
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Child":
                calls.append(name)
            if isinstance(node, ast.Import) and "subprocess" in [alias.name for alias in node.names]:
                imports.append(name)
    assert calls == sorted(name.partition(",")[0] for name in STARTERS)
    assert len(calls) == 9
    assert imports == ["runtime/process/child.py", "sdk/meters/firmware.py"]
