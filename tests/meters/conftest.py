"""A machine made of files, and a clock that a test turns by hand."""

from functools import partial

import pytest

from tests.board_trees import write_tree


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tree(tmp_path):
    """Write files under a root, as `write_tree` does."""
    return partial(write_tree, tmp_path)
