"""One word for one thing: no name of a class or of a type stands in two files."""

import ast
from collections import defaultdict

from tests.commands.tools import ROOT
from tests.rooms import House

# Names that stand in several files all the same, and why.
KNOWN = {
    "Floats": "an array of floats: of float32 in sdk.features, of float64 in the space",
    "Limits": "what an engine's builder may take, and what `optimize` asks of a candidate: neither leaves its room",
    "Reading": "what was said about a file's columns, and one value of a meter: neither leaves its room",
    "Report": "a profile as read from JSON, in all three files",
    "Rows": "samples in an array; in a recording's room with their times and labels",
    "Shape": "a tuple of integers in both; a training graph's have -k for k times the batch",
    "Split": "both public: a window into its modalities (sdk.encoders), people into trained and tested (sdk.pretrain)",
    "Values": "an array of float64 numbers in both",
}


def names(tree):
    """Public classes, and types that are given a name, at the top of a module."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        else:
            continue
        if name[0].isupper() and not name.isupper():
            yield name


def doubled(trees):
    """Names that stand in two files or more, with the files."""
    where = defaultdict(list)
    for module, tree in trees.items():
        for name in names(tree):
            where[name].append(module)
    return {name: modules for name, modules in where.items() if len(modules) > 1}


def test_no_name_stands_for_two_things():
    trees = House(ROOT).trees
    assert sum(len(list(names(tree))) for tree in trees.values()) >= 300
    assert doubled(trees).keys() == KNOWN.keys()


def test_a_doubled_name_would_be_found():
    trees = {
        "a": ast.parse("class Box: ...\nRows = NDArray[int]\nLIMIT = 3\nclass _Inner: ..."),
        "b": ast.parse("Box = tuple[int, ...]\nRows: TypeAlias = int\nLIMIT = 4\nclass _Inner: ..."),
    }
    assert doubled(trees) == {"Box": ["a", "b"], "Rows": ["a", "b"]}
