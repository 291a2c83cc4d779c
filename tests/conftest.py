"""Small bundles of every encoder, exported once per session and copied for each test.

On a device there is no torch: there `SENSEDGE_BUNDLES` names a folder with bundles that tests/ship_bundles.py exported
on a workstation, and what needs the module itself skips.
"""

import os
import shutil
from pathlib import Path

import pytest
from bundles_small import Exported, export_small, small_windows


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """exported(name): the session's bundle of one encoder. Not to be written to: see `small_bundle`."""
    done = {}
    shipped = os.environ.get("SENSEDGE_BUNDLES")

    def export(name):
        if name not in done:
            path = tmp_path_factory.mktemp(name) / "small.bundle"
            done[name] = shipped_bundle(Path(shipped) / name, path) if shipped else export_small(name, path)
        return done[name]

    return export


def shipped_bundle(source, path):
    """A copy of a bundle that was exported elsewhere; its module is not here."""
    shutil.copytree(source, path)

    class Elsewhere:
        def __call__(self, *windows):
            pytest.skip("needs torch: the module that the bundle was made of")

        encoder = head = property(__call__)

    return Exported(path, Elsewhere(), small_windows(4))


@pytest.fixture(scope="session")
def bundle_of(tmp_path_factory):
    """bundle_of(name): (bundle, torch module from windows or images to logits, these) of any registered encoder."""
    from encoders_small import export_of  # it needs torch

    done = {}

    def export(name):
        if name not in done:
            done[name] = export_of(name, tmp_path_factory.mktemp(name) / "small.bundle")
        return done[name]

    return export


@pytest.fixture
def small_bundle(exported, tmp_path):
    """The path of a small bundle that a test may spoil."""
    return shutil.copytree(exported("fcn").path, tmp_path / "small.bundle")
