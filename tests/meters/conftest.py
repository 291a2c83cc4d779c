"""A machine made of files, and a clock that a test turns by hand."""

import pytest


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
    """Write {path: content} under a root and return the root; None as content makes a file that cannot be read."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.mkdir(exist_ok=True)  # reading a folder fails for root too
            else:
                path.write_text(f"{content}\n")
        return tmp_path

    return write
