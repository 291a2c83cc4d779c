"""A machine made of files, and a clock that a test turns by hand."""

from functools import partial

import pytest

from tests.board_trees import write_tree
from tests.waiting import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def late_threads(monkeypatch):
    """A thread that samples may come late, as on a busy machine, without that its window counts as incomplete."""
    monkeypatch.setattr("sdk.meters.sampling.GAP_PERIODS", 10_000)


@pytest.fixture
def tree(tmp_path):
    """Write files under a root, as `write_tree` does."""
    return partial(write_tree, tmp_path)
