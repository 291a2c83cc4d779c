"""Small bundles of every encoder, exported once per run and copied for each worker of it and for each test.

    <temporary folder of the run>/bundles/fcn              exported by the first worker that wants it, under a lock
    <temporary folder of a worker>/fcn0/small.bundle       its own copy; `small_bundle` copies once more

On a device there is no torch: there `SENSEDGE_BUNDLES` names a folder with bundles that tests/ship_bundles.py exported
on a workstation, and what needs the module itself skips.

The run has a home folder of its own, which must be empty at its end, and ends by saying what it lacked.
"""

import fcntl
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests import torchlib
from tests.bundles_small import Exported, export_small, small_module, small_windows

FOLDERS = pytest.StashKey()  # of the run: home, which has to stay empty, and what may be written


def pytest_configure(config):
    """Workers and commands get it from here; matplotlib, torch, pip, and rustc which pip asks, write where told."""
    if hasattr(config, "workerinput"):
        return
    config.stash[FOLDERS] = folder = Path(tempfile.mkdtemp(prefix="sensedge-tests-"))
    others = {
        "MPLCONFIGDIR": "matplotlib",
        "PIP_CACHE_DIR": "pip",
        "RUSTUP_HOME": "rustup",
        "TORCHINDUCTOR_CACHE_DIR": "torch",
    }
    changes = {"HOME": folder / "home"} | {name: folder / place for name, place in others.items()}
    for path in changes.values():
        path.mkdir()
    os.environ |= {name: str(path) for name, path in changes.items()}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        os.environ.pop(name, None)


def pytest_collection_finish():
    if "torch" in sys.modules:
        torchlib.keep()


def pytest_sessionfinish(session):
    if (folder := session.config.stash.get(FOLDERS, None)) is None:
        return
    home = folder / "home"
    if left := sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        session.config.get_terminal_writer().line(f"\nwritten to the home folder: {', '.join(left)}", red=True)
    shutil.rmtree(folder)


def pytest_terminal_summary(terminalreporter):
    """What was skipped for want of something, and how to get it: a line for each."""
    lacks = Counter(lack_of(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ()))
    for lack, count in lacks.most_common():
        terminalreporter.line(f"{count:4} skipped: {lack}")


def lack_of(reason):
    """One for all archives; of a library, that which installs all of them."""
    if "SENSEDGE_DATA" in reason:
        return "no public data: python -m sdk.datasets get NAME --data DIR, then SENSEDGE_DATA=DIR make test"
    if found := re.search("could not import '([^']+)'", reason):
        return f'no {found[1]}: pip install "sensedge[dev]"'
    return reason.removeprefix("Skipped: ")


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """The folder of bundles that the workers of a run share; or many runs, as those of tests/mutants.py."""
    if kept := os.environ.get("SENSEDGE_KEPT_BUNDLES"):
        return Path(kept)
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "bundles"
    folder.mkdir(exist_ok=True)
    return folder


def once(path, export):
    """`path`, which export(path) makes, or made in another worker.

    A worker that is killed loses its lock and leaves no bundle, as bundles appear whole or not at all.
    """
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            export(path)
    return path


@pytest.fixture(scope="session")
def exported(bundles, tmp_path_factory):
    """exported(name): the worker's bundle of one encoder. Not to be written to: see `small_bundle`."""
    done = {}
    shipped = os.environ.get("SENSEDGE_BUNDLES")

    def export(name):
        if name not in done:
            source = Path(shipped) / name if shipped else once(bundles / name, lambda path: export_small(name, path))
            path = shutil.copytree(source, tmp_path_factory.mktemp(name) / "small.bundle")
            done[name] = Exported(path, Elsewhere() if shipped else small_module(name), small_windows(4))
        return done[name]

    return export


class Elsewhere:
    """The module of a bundle that was exported on another machine."""

    def __call__(self, *windows):
        pytest.skip("needs torch: the module that the bundle was made of")

    encoder = head = property(__call__)


@pytest.fixture(scope="session")
def bundle_of(bundles, tmp_path_factory):
    """bundle_of(name): (bundle, torch module from windows or images to logits, these) of any registered encoder."""
    from runtime.bundle import Bundle
    from tests.encoders_small import export_of, module_of  # they need torch

    done = {}

    def export(name):
        if name not in done:
            source = once(bundles / f"every-{name}", lambda path: export_of(name, path))
            path = shutil.copytree(source, tmp_path_factory.mktemp(name) / "small.bundle")
            done[name] = Bundle.open(path), *module_of(name)
        return done[name]

    return export


@pytest.fixture
def small_bundle(exported, tmp_path):
    """The path of a small bundle that a test may spoil."""
    return shutil.copytree(exported("fcn").path, tmp_path / "small.bundle")
