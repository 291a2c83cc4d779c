"""The suite's own promises: its home folder stays empty, and it says what it lacked and how to get that."""

from tests.commands.tools import environment, python

WRITES = """
from pathlib import Path
import pytest

def test_that_writes():
    (Path.home() / "intel").mkdir()
    (Path.home() / "intel" / "id").write_text("")
"""
SKIPS = """
import pytest

@pytest.mark.parametrize("i", range(3))
def test_of_real_data(i):
    pytest.skip(f"set SENSEDGE_DATA to a folder that has file {i}")

def test_of_a_library():
    pytest.importorskip("no_such_library")

@pytest.mark.skipif(True, reason="needs a broker: apt-get install mosquitto")
def test_of_a_program():
    pass
"""


def run(folder, text, *options):
    (folder / "test_it.py").write_text(text)
    arguments = ("-c", "/dev/null", "--rootdir", folder, "-p", "tests.conftest", *options, folder / "test_it.py")
    return python("-m", "pytest", *arguments, cwd=folder, env=environment())


def test_what_a_test_leaves_at_home_fails_the_run(tmp_path):
    for options in ((), ("-n", "1")):
        done = run(tmp_path, WRITES, *options)
        assert done.returncode == 1
        assert "written to the home folder: intel/id\n" in done.stdout
        assert "1 passed" in done.stdout


def test_what_was_skipped_is_said_at_the_end_with_its_cure(tmp_path):
    done = run(tmp_path, SKIPS)
    assert done.returncode == 0
    *_, data, library, program, last = filter(None, done.stdout.splitlines())
    assert data == (
        "   3 skipped: no public data: python -m sdk.datasets get NAME --data DIR, then SENSEDGE_DATA=DIR make test"
    )
    assert {library, program} == {
        '   1 skipped: no no_such_library: pip install "sensedge[dev]"',
        "   1 skipped: needs a broker: apt-get install mosquitto",
    }
    assert "5 skipped" in last
