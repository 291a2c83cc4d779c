import ast
import json
import re
import sys
from pathlib import Path

import pytest

from tests.commands.tools import ROOT, copy_bundle, environment, python

HEAVY = ("torch", "onnx", "onnxscript", "scipy", "matplotlib", "sklearn", "safetensors", "pooch", "tqdm")
FLOOR_1 = (
    "ask",
    "augment",
    "bundle",
    "cli",
    "datasets",
    "demo",
    "doctor",
    "features",
    "finetune",
    "info",
    "label",
    "left_out",
    "live",
    "meters",
    "optimize",
    "profile",
    "schedule",
    "scores",
    "shown",
    "stream",
)

_BLOCK = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ImportError(f"{{name}} is not on this floor")
sys.meta_path.insert(0, Block())
"""

# Prints the top-level names of what `body` loads, beyond the standard library and what the interpreter starts with.
_LOADED = """
import sys
before = set(sys.modules)
{body}
names = {{name.split(".")[0] for name in set(sys.modules) - before}} - set(sys.stdlib_module_names)
print(" ".join(sorted(names)))
"""


def loaded(body):
    done = python("-c", _LOADED.format(body=body))
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def sources(package):
    """The files of a package or module, by their path under the root."""
    path = ROOT.joinpath(*package.split("."))
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    assert files
    assert all(file.is_file() for file in files)
    return files


def imports(file):
    """Every module that a file imports, at the top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def forbidden(files, *prefixes):
    return sorted(
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imports(file)
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
    )


# ---- what runs without torch and its friends


def test_the_block_blocks():
    done = python("-c", _BLOCK + "import scipy.special")
    assert done.returncode == 1
    assert "ImportError: scipy is not on this floor" in done.stderr


def test_the_demo_runs_without_the_heavy_ones(tmp_path):
    # The demo starts a process of its own for the profile: sitecustomize puts the block into that one too.
    (tmp_path / "sitecustomize.py").write_text(_BLOCK)
    env = environment(PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert "is not on this floor" in python("-c", "import torch", env=env).stderr
    done = python("-m", "sdk.demo", "--json", "--windows", "50", env=env)
    assert done.returncode == 0, done.stderr
    assert {"stream", "finetune", "others", "profile"} <= json.loads(done.stdout).keys()


def test_the_demo_as_text_runs_without_the_heavy_ones():
    code = (
        _BLOCK + "import runpy; sys.argv = ['demo', '--windows', '50']; runpy.run_module('sdk.demo', None, '__main__')"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    for step in ("1. open", "2. stream", "3. adapt", "4. profile", "5. next"):
        assert step in done.stdout


@pytest.mark.parametrize("command", ["info", "stream", "finetune", "label", "profile", "doctor", "datasets"])
def test_commands_start_without_the_heavy_ones(command):
    code = _BLOCK + f"import runpy; sys.argv = ['x', '--help']; runpy.run_module('sdk.{command}', run_name='__main__')"
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")


# ---- what an import brings


def test_profile_help_imports_nothing_heavy():
    done = python("-X", "importtime", "-m", "sdk.profile", "--help")
    names = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert {"argparse", "sdk"} <= names
    assert not names & {*HEAVY, "onnxruntime", "psutil"}


def test_the_door_imports_nothing():
    assert loaded("import sdk.cli") == {"sdk"}


def test_runtime_brings_numpy_only():
    assert loaded("import runtime") <= {"runtime", "numpy"}
    assert loaded("from runtime import Bundle, Recording, Stream, Windower") == {"runtime", "numpy"}


def test_an_engine_brings_onnxruntime_only(tmp_path):
    body = f"import runtime; runtime.Stream({str(copy_bundle(tmp_path))!r})"
    names = loaded(body)
    assert {"runtime", "numpy", "onnxruntime"} <= names
    assert not names & {*HEAVY, "sdk", "exporters", "psutil"}


@pytest.mark.parametrize("module", [f"sdk.{name}" for name in FLOOR_1])
def test_floor_1_brings_nothing_heavy(module):
    names = loaded(f"import {module}")
    assert "sdk" in names
    assert not names & {*HEAVY, "exporters"}


def test_exporters_bring_no_sdk():
    assert "sdk" not in loaded("import exporters.export")


def test_training_graphs_are_made_without_torch():
    names = loaded("import exporters.training")
    assert {"onnx", "onnxruntime"} <= names
    assert not names & {"torch", "onnxscript", "sdk"}


# ---- what the sources say, functions included


def test_floor_1_is_complete():
    """What is neither floor 1 nor known to need torch would escape the tests below."""
    found = {path.stem for path in (ROOT / "sdk").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert found - {"__init__", "encoders", "pretrain"} == set(FLOOR_1)


def test_runtime_imports_no_other_floor():
    assert not forbidden(sources("runtime"), "sdk", "exporters", *HEAVY, "psutil")


def test_exporters_import_no_sdk():
    assert not forbidden(sources("exporters"), "sdk")


@pytest.mark.parametrize("module", FLOOR_1)
def test_floor_1_imports_nothing_above(module):
    assert not forbidden(sources(f"sdk.{module}"), "sdk.encoders", "sdk.pretrain", "exporters", "torch", "onnx")


def test_the_imports_are_seen():
    """The checks above find what they look for where it is."""
    assert forbidden(sources("sdk.pretrain"), "torch", "exporters")
    assert forbidden(sources("sdk.finetune"), "runtime")
    assert forbidden(sources("exporters"), "torch")


def test_foreign_modules_of_runtime_are_declared():
    """Whatever runtime imports, at any place, is numpy, onnxruntime or the standard library, but for these extras."""
    own = {
        "runtime/engine/openvino.py": {"openvino"},
        "runtime/wire/mqtt.py": {"paho"},
        "runtime/sources/serial_lines.py": {"serial"},
        "runtime/bundle/trust.py": {"cryptography"},
    }
    for file in sources("runtime"):
        names = {name.split(".")[0] for name in imports(file)} - set(sys.stdlib_module_names) - {"runtime"}
        assert names <= {"numpy", "onnxruntime"} | own.get(str(file.relative_to(ROOT)), set())


def test_no_file_shadows_the_standard_library():
    """`signal.py` beside a script started by path would be taken for the standard library's."""
    files = {path for package in ("runtime", "exporters") for path in sources(package)}
    own = {path.stem for path in files if path.parent.name != "commands"}  # these are named as they are called
    assert not own & {"signal", "onnx", "profile", "statistics", "platform"}
    assert all(re.fullmatch(r"[a-z0-9_]+", Path(file).stem) for file in sources("sdk"))
