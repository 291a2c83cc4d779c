"""Small bundles of every encoder, exported once per run and copied for each worker of it and for each test.

    <temporary folder of the run>/bundles/fcn              exported by the first worker that wants it, under a lock
    <temporary folder of a worker>/fcn0/small.bundle       its own copy; `small_bundle` copies once more

On a device there is no torch: there `SENSEDGE_BUNDLES` names a folder with bundles that tests/ship_bundles.py exported
on a workstation, and what needs the module itself skips.
"""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from tests.bundles_small import Exported, export_small, small_module, small_windows


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """The folder of bundles that the workers of a run share."""
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
