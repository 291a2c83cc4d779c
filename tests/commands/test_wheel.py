"""The wheel, installed into an empty environment, does the main job from elsewhere and without torch."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from runtime import __version__
from tests.commands.tools import ROOT, environment

BASE = ("numpy", "onnxruntime", "psutil")  # setup.cfg: install_requires
LIMIT_BYTES = 3_000_000


def run(*command, cwd, env=None):
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=300, cwd=cwd, env=env
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def plain_environment():
    env = environment()
    del env["PYTHONPATH"]
    return env


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of a copy of the tree, so that building leaves nothing behind."""
    tree = tmp_path_factory.mktemp("tree") / "sensedge"
    tree.mkdir()
    for name in ("runtime", "exporters", "sdk"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tree / "out", cwd=tree)
    (path,) = (tree / "out").glob("*.whl")
    return path


def requirements(name, found):
    """A distribution and all that it needs here, extras left out."""
    if name not in found:
        found[name] = distribution(name)
        for line in found[name].requires or ():
            if "extra ==" not in line and "python_version <" not in line:
                requirements(re.match(r"[A-Za-z0-9._-]+", line)[0].lower(), found)
    return found


@pytest.fixture(scope="module")
def outside(wheel, tmp_path_factory):
    """The interpreter of a new environment that has the wheel and can see the base requirements, but nothing else."""
    folder = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    env = plain_environment()  # on a path to a checkout that is installed, pip would find it there and be content
    run(*pip, "install", "--no-index", "--no-deps", wheel, cwd=folder, env=env)
    shelf = folder / "shelf"
    shelf.mkdir()
    found = {}
    for name in BASE:
        requirements(name, found)
    for item in found.values():
        for top in {file.parts[0] for file in item.files if file.parts[0] not in ("..", "__pycache__")}:
            if not (shelf / top).exists():
                (shelf / top).symlink_to(item.locate_file(top))
    assert not (shelf / "torch").exists()
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "shelf.pth").write_text(f"{shelf}\n")
    return python


def test_contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {info.filename: info.file_size for info in archive.infolist()}
    data = {name: size for name, size in names.items() if not name.endswith(".py") and ".dist-info/" not in name}
    for package in ("runtime", "exporters", "sdk"):
        assert f"{package}/py.typed" in data
    assert "sdk/datasets/registry.txt" in data
    for name in ("manifest.json", "model.onnx", "weights.safetensors", "golden.npz"):
        assert f"sdk/demo/data/walk.bundle/{name}" in data
    assert "sdk/demo/data/ATTRIBUTION.md" in data  # the licence of the recordings asks for it
    assert len([name for name in data if re.fullmatch(r"sdk/demo/data/person_\d+\.npz", name)]) == 4
    assert sum(data.values()) < LIMIT_BYTES
    assert not [name for name in data if "personal" in name]
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"runtime", "exporters", "sdk"}


def test_every_source_is_in_it(wheel):
    expected = {
        str(path.relative_to(ROOT))
        for package in ("runtime", "exporters", "sdk")
        for path in (ROOT / package).rglob("*.py")
    }
    with zipfile.ZipFile(wheel) as archive:
        assert expected <= set(archive.namelist())


def test_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
        assert any(name.endswith("/LICENSE") for name in archive.namelist())
    assert "Name: sensedge\n" in metadata
    assert f"\nVersion: {__version__}\n" in metadata
    needed = [line.split(": ")[1] for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    base = {re.match(r"\w+", line)[0] for line in needed if "extra ==" not in line}
    assert base == set(BASE)


def test_imports_come_from_the_new_environment(outside, tmp_path):
    code = "import sdk, runtime; print(sdk.__file__, runtime.__file__)"
    paths = run(outside, "-c", code, cwd=tmp_path, env=plain_environment()).split()
    assert len(paths) == 2
    for path in paths:
        assert Path(path).is_relative_to(outside.parents[1])


@pytest.mark.parametrize("name", ["torch", "scipy", "onnx", "sklearn", "safetensors", "pooch"])
def test_heavy_ones_are_not_there(outside, tmp_path, name):
    code = f"import importlib.util; print(importlib.util.find_spec({name!r}))"
    assert run(outside, "-c", code, cwd=tmp_path, env=plain_environment()) == "None\n"


def test_the_demo_runs(outside, tmp_path):
    out = run(outside, "-m", "sdk.demo", "--json", "--windows", "50", cwd=tmp_path, env=plain_environment())
    report = json.loads(out)
    assert {"stream", "finetune", "others", "profile"} <= report.keys()
    assert report["stream"]["macro_f1"] > 0.8
    assert list(tmp_path.iterdir()) == []


def test_the_command_is_installed(outside, tmp_path):
    """And does not take files of the folder that it is called in for packages."""
    for name in ("runtime", "sdk", "exporters", "numpy", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the user was imported')\n")
    command = outside.parent / "sensedge"
    assert "usage: sensedge COMMAND" in run(command, "--help", cwd=tmp_path, env=plain_environment())
    for name in ("profile", "keys"):
        assert f"usage: sensedge {name}" in run(command, name, "--help", cwd=tmp_path, env=plain_environment())
    assert f"sensedge {__version__} (Python " in run(command, "--version", cwd=tmp_path, env=plain_environment())


def test_what_needs_torch_says_how_to_get_it(outside, tmp_path):
    done = subprocess.run(
        [outside.parent / "sensedge", "pretrain", "motionsense", "--out", "x"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=plain_environment(),
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert 'pip install "sensedge[train' in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "member", "what"),
    [
        ("exporters", "export_bundle", 'exporters need torch: pip install "sensedge[export]"'),
        ("exporters.training", "add_training", 'training graphs need onnx: pip install "sensedge[graphs]"'),
    ],
)
def test_exporters_say_what_they_need(outside, tmp_path, name, member, what):
    code = f"try: from {name} import {member}\nexcept ImportError as e: print(e, '|', type(e.__cause__).__name__)"
    out = run(outside, "-c", code, cwd=tmp_path, env=plain_environment())
    assert out == f"{what} | ModuleNotFoundError\n"
