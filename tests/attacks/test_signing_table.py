"""Every row of the table of attacks in docs/signing.md names the test that tries it."""

import ast
import re

import pytest

from tests.commands.tools import ROOT

ROWS = re.findall(
    r"^\| (.+?) \|.*\| `(tests/\S+)::(\w+)` \|$", (ROOT / "docs" / "signing.md").read_text(), re.MULTILINE
)


def test_the_table_is_there():
    assert len(ROWS) == 14


@pytest.mark.parametrize(("attack", "file", "name"), ROWS)
def test_a_row_is_a_test(attack, file, name):
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
