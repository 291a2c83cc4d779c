"""Commands in processes of their own, and what a folder holds before and after."""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import sdk
import sdk.demo
from runtime import Recording

ROOT = Path(sdk.__file__).parents[1]  # what an `import sdk` needs on its path
DATA = Path(sdk.demo.__file__).parent / "data"
LABELS = ("downstairs", "upstairs", "walking", "jogging", "sitting", "standing")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # NumPy's threads fight on a busy machine


def environment(**changes):
    return {**os.environ, "PYTHONPATH": str(ROOT), **ONE_THREAD, **changes}


def python(*arguments, cwd=None, env=None):
    """Run the interpreter; stdout, stderr and returncode as text, and the line on an unsigned bundle as `notes`."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=cwd,
        env=env or environment(),
    )
    lines = done.stderr.splitlines(keepends=True)
    done.notes = [line for line in lines if line.startswith("note: ") and line.endswith("is trusted\n")]
    done.stderr = "".join(line for line in lines if line not in done.notes)
    return done


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
