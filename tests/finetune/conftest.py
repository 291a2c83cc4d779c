"""The shipped bundle to train, and the windows of one of its people whom the model never saw."""

import shutil
from pathlib import Path

import pytest

import sdk.demo
from runtime import Bundle, Recording, labelled_windows

DATA = Path(sdk.demo.__file__).parent / "data"


@pytest.fixture
def bundle(tmp_path):
    return Bundle.open(shutil.copytree(DATA / "walk.bundle", tmp_path / "walk.bundle"))


@pytest.fixture(scope="module")
def windows():
    m = Bundle.open(DATA / "walk.bundle").manifest
    return labelled_windows([Recording.load(DATA / "person_6.npz")], m.signal, m.window, m.labels)
