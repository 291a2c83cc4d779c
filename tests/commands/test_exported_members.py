import ast
from importlib import import_module

import pytest

from tests.commands.tools import ROOT
from tests.rooms import House

PACKAGES = sorted(
    ".".join(path.parent.relative_to(ROOT).parts)
    for top in ("runtime", "exporters", "sdk")
    for path in (ROOT / top).rglob("__init__.py")
)


def order(name):
    """Constants, then classes, then functions, as ruff's RUF022 sorts."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2, name


def exported(package):
    tree = ast.parse((ROOT.joinpath(*package.split(".")) / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return ast.literal_eval(node.value)
    return []


def imported(package):
    """Public names that the `__init__` takes from its own floor or defines, for the type checker only ones too."""
    tree = ast.parse((ROOT.joinpath(*package.split(".")) / "__init__.py").read_text())
    names = set()
    for node in (inner for top in tree.body for inner in (top.body if isinstance(top, ast.If) else [top])):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{package}."):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return {name for name in names if not name.startswith("_")} - {"attach"}


def test_packages_are_found():
    assert {"runtime", "runtime.engine", "runtime.sources", "exporters", "sdk.finetune", "sdk.meters"} <= set(PACKAGES)
    assert sum(bool(exported(package)) for package in PACKAGES) >= 8


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_sorted(package):
    names = exported(package)
    assert names == sorted(set(names), key=order)


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_complete(package):
    assert imported(package) <= set(exported(package))


def test_a_lazy_face_says_the_same_three_times():
    """Its imports for the type checker, the table that `attach` was given, and `__all__`."""
    faces = House(ROOT).faces
    assert len(faces) >= 10
    for package, names in faces.items():
        assert names.keys() == set(exported(package)) - {"__version__"}, package
        assert imported(package) == {name for name, file in names.items() if file.startswith(f"{package}.")}, package


@pytest.mark.parametrize("package", [package for package in PACKAGES if exported(package)])
def test_all_is_true(package):
    module = import_module(package)
    for name in exported(package):
        assert hasattr(module, name), name
    assert module.__doc__


@pytest.mark.parametrize("package", [package for package in PACKAGES if not exported(package)])
def test_a_package_without_all_is_empty(package):
    tree = ast.parse((ROOT.joinpath(*package.split(".")) / "__init__.py").read_text())
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1
