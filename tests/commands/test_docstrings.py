"""Docstrings of what is public: shapes of arrays, what is raised, and more than a riddle.

A function or method is public where neither its name nor its class's begins with an underscore. What belongs to
`__init__` and `__post_init__` stands in the class's docstring.
"""

import ast
import re

from tests.commands.tools import ROOT
from tests.rooms import House

FOUND_OUT = {
    "AssertionError",
    "AttributeError",
    "NotImplementedError",
}  # a mistake in the house, or the interpreter's own


def aliases(trees):
    """Names that a module gives to array types at its top, such as `Rows = NDArray[np.float32]`."""
    return {
        node.targets[0].id
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and re.match(r"(Mapping\[.*|dict\[.*)?(NDArray|ArrayLike)", ast.unparse(node.value))
    }


def publics(tree):
    """Classes, functions and methods of a module with the docstring that speaks for each."""
    for node in tree.body:
        if getattr(node, "name", "_").startswith("_"):
            continue
        yield node.name, node, ast.get_docstring(node) or ""
        for method in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(method, ast.FunctionDef):
                if method.name in ("__init__", "__post_init__"):
                    yield f"{node.name}.{method.name}", method, ast.get_docstring(node) or ""
                elif not method.name.startswith("_"):
                    yield f"{node.name}.{method.name}", method, ast.get_docstring(method) or ""


def arrays(function, names):
    """Whether a function takes or returns arrays, as its annotations say."""
    arguments = function.args
    given = [one.annotation for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    said = " ".join(ast.unparse(node) for node in (*given, function.returns) if node)
    return re.search(rf"\b(NDArray|ArrayLike|{'|'.join(sorted(names))})\b", said) is not None


def makers(tree):
    """Functions of a module that make an error to be raised, with the error's name."""
    return {
        node.name: node.returns.id
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and isinstance(node.returns, ast.Name)
        and node.returns.id.endswith("Error")
    }


def raised(node, made):
    """Errors that a function raises itself, but for those that it catches again.

    By their class, by a function that makes one (`made`: names of errors by names of functions), or by `require`.
    """
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        name = last(node.exc.func)
        return {made.get(name, name)} - FOUND_OUT if name in made or name[0].isupper() else set()
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "require":
        return {last(node.args[0])}
    if not isinstance(node, ast.Try):
        return set().union(*(raised(child, made) for child in ast.iter_child_nodes(node)))
    caught = " ".join(ast.unparse(handler.type) for handler in node.handlers if handler.type)
    inside = set().union(*(raised(child, made) for child in node.body))
    outside = set().union(*(raised(child, made) for child in (*node.handlers, *node.orelse, *node.finalbody)))
    return outside | {name for name in inside if not re.search(rf"\b({name}|Exception)\b", caught)}


def last(node):
    return ast.unparse(node).rsplit(".", 1)[-1]


def told(text):
    """The part of a docstring that says what is raised."""
    return text.partition("Raises:\n")[2]


def riddles(trees):
    """What is public and has a docstring of three words or fewer."""
    spoken = [
        (f"{module}: {name}", text)
        for module, tree in trees.items()
        for name, node, text in publics(tree)
        if not name.endswith(("__init__", "__post_init__"))
    ]
    return [f"{name}: {text}" for name, text in spoken if text != "For JSON." and len(text.split()) <= 3]


def without_shapes(trees):
    """Array functions, and those of them that do not say the shapes."""
    names = aliases(trees.values())
    found = [
        (f"{module}: {name}", text)
        for module, tree in trees.items()
        for name, node, text in publics(tree)
        if isinstance(node, ast.FunctionDef) and arrays(node, names)
    ]
    return found, [name for name, text in found if not re.search(r"\bshapes?\b", text)]


def without_raises(trees):
    """Functions that raise, and those of them that do not say what."""
    known = {name: error for tree in trees.values() for name, error in makers(tree).items() if name[0] != "_"}
    found = []
    for module, tree in trees.items():
        made = known | makers(tree)
        for name, node, text in publics(tree):
            if isinstance(node, ast.FunctionDef) and (errors := raised(node, made)):
                found.append((f"{module}: {name}", errors, text))
    return found, [
        f"{name}: {', '.join(sorted(missing))}"
        for name, errors, text in found
        if (missing := {error for error in errors if error not in told(text)})
    ]


TREES = House(ROOT).trees


def test_array_functions_say_the_shapes():
    assert {"Rows", "Times", "Array", "Flat", "Windows"} <= aliases(TREES.values())
    found, silent = without_shapes(TREES)
    assert len(found) >= 120
    assert silent == []


def test_functions_that_raise_say_what():
    found, silent = without_raises(TREES)
    assert len(found) >= 200
    assert silent == []


def test_a_docstring_is_more_than_a_riddle():
    assert sum(len(list(publics(tree))) for tree in TREES.values()) >= 1300
    assert riddles(TREES) == []


BAD = '''
Rows = NDArray[np.float32]
Tell = Callable[[NDArray[np.float32]], None]

class Box:
    """One box of rows."""
    def __init__(self, rows: Rows) -> None:
        if not len(rows):
            raise InputError("rows")
    def first(self) -> NDArray[np.float32]:
        """The first."""
    def tell(self, tell: Tell) -> None:
        """Tell what is in the box."""
    def _inner(self, rows: Rows) -> Rows:
        raise InputError("rows")
    def close(self) -> None:
        """Close the box for good."""
        raise _open()

def _open() -> BundleError: ...

def caught(data: bytes) -> int:
    """Read a number and say what is wrong with it.

    Raises:
        InputError: no number.
    """
    try:
        raise KeyError("inside")
    except KeyError:
        raise InputError("data")
    raise AssertionError("never")
'''


def test_what_is_missing_would_be_found():
    trees = {"box": ast.parse(BAD)}
    assert without_shapes(trees)[1] == ["box: Box.__init__", "box: Box.first"]
    assert [name for name, *_ in without_raises(trees)[0]] == ["box: Box.__init__", "box: Box.close", "box: caught"]
    assert without_raises(trees)[1] == ["box: Box.__init__: InputError", "box: Box.close: BundleError"]
    assert riddles(trees) == ["box: Box.first: The first."]


def test_what_is_said_would_be_seen():
    text = BAD.replace(
        "One box of rows.",
        "A box.\n\n    Args:\n        rows: shape (n, 3).\n\n    Raises:\n        InputError: none.\n",
    )
    text = text.replace("The first.", "The first row, shape (3,).")
    text = text.replace("for good.", "for good.\n\n        Raises:\n            BundleError: it is open.\n")
    trees = {"box": ast.parse(text)}
    assert (without_shapes(trees)[1], without_raises(trees)[1], riddles(trees)) == ([], [], [])
