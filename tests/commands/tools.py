"""Commands in processes of their own, and what a folder holds before and after."""

import atexit
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import sdk
import sdk.demo
from runtime import Recording
from tests.forked import Forks

ROOT = Path(sdk.__file__).parents[1]  # what an `import sdk` needs on its path
DATA = Path(sdk.demo.__file__).parent / "data"
LABELS = ("downstairs", "upstairs", "walking", "jogging", "sitting", "standing")
_FORKS = {}  # of this worker: the one that was started, and with which variables
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # NumPy's threads fight on a busy machine


def environment(**changes):
    return {**os.environ, "PYTHONPATH": str(ROOT), **ONE_THREAD, **changes}


def python(*arguments, cwd=None, env=None):
    """Run the interpreter; stdout, stderr and returncode as text, and the line on an unsigned bundle as `notes`.

    A command of ours in this folder and with the usual variables runs in a fork that need not import everything again.
    """
    if cwd is None and env is None and arguments[0] == "-m" and arguments[1].startswith(("sdk.", "exporters")):
        done = _forked(arguments[1:])
    else:
        done = _started(arguments, cwd, env)
    lines = done.stderr.splitlines(keepends=True)
    done.notes = [line for line in lines if line.startswith("note: ") and line.endswith("is trusted\n")]
    done.stderr = "".join(line for line in lines if line not in done.notes)
    return done


def _forked(words):
    variables = {name: value for name, value in environment().items() if name != "PYTEST_CURRENT_TEST"}
    if _FORKS.setdefault("variables", variables) != variables:
        return _started(("-m", *words), None, None)
    if "forks" not in _FORKS:
        _FORKS["forks"] = Forks("numpy, psutil, runtime.engine.ort, runtime.recording", variables)
        atexit.register(_FORKS["forks"].close)
    with tempfile.TemporaryDirectory() as out:
        code, stdout, stderr = _FORKS["forks"].run(Path.cwd(), Path(out), *words)
    return subprocess.CompletedProcess(words, code, stdout.decode(), stderr.decode())


def _started(arguments, cwd, env):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=cwd,
        env=env or environment(),
    )


def copy_bundle(folder):
    return Path(shutil.copytree(DATA / "walk.bundle", folder / "walk.bundle"))


def listing(folder):
    """Every path under a folder with the hash of what it holds."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


# What person 6 did when, as that person would write it down.
MINE = """start_s,end_s,label
20,40,downstairs
120,140,jogging
220,240,sitting
310,330,standing
400,420,upstairs
510,530,walking
"""


def write_turned(folder):
    """Person 18 with labels, the sensor upside down, as the model has never seen it: a version is taken from them."""
    person = Recording.load(DATA / "person_18.npz")
    turned = replace(person, samples=person.samples * np.array([1, -1, -1, 1, -1, -1], np.float32))
    turned.save(folder / "turned.npz")
    return folder / "turned.npz"


def write_labels(folder, text=MINE):
    path = folder / "mine.csv"
    path.write_text(text)
    return path
