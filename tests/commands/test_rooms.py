"""The plan of the house: no circles anywhere, few rooms with few arrows between them, files and functions of a size."""

import statistics

import pytest

from tests.commands.tools import ROOT
from tests.rooms import House, circles


@pytest.fixture(scope="module")
def house():
    return House(ROOT)


def test_no_circle_of_files(house):
    """Imports inside functions and for annotations included."""
    assert len(house.files) > 250
    assert circles(house.arrows) == []


@pytest.mark.parametrize("package", ["runtime", "sdk", "exporters"])
def test_no_circle_of_rooms(house, package):
    assert circles(house.rooms(package)) == []


def test_the_runtime_has_few_rooms_with_few_arrows_between_them(house):
    rooms = house.rooms("runtime")
    assert {"runtime.specs", "runtime.bundle", "runtime.window", "runtime.engine"} <= rooms.keys()
    assert len(rooms) <= 20
    assert sum(map(len, rooms.values())) <= 65


def test_the_manifest_is_wanted_by_few(house):
    """Most want the words of `runtime.specs`, not the file."""
    assert 10 < house.fan_in("runtime.bundle.manifest") <= 30
    assert house.fan_in("runtime.specs.signals") > 50


def test_files_and_functions_are_of_a_size(house):
    lines, functions = house.lines(), house.functions()
    assert {name: n for name, n in lines.items() if n > 350} == {}
    assert {name: n for name, n in functions.items() if n > 60} == {}
    assert statistics.median(functions.values()) <= 6


def test_a_circle_would_be_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_arrows_go_through_faces_and_into_functions(tmp_path):
    files = {
        "runtime/__init__.py": "",
        "runtime/box/__init__.py": "from runtime.lazy import attach\n__getattr__ = attach(__name__, {'lid': 'Lid'})",
        "runtime/box/lid.py": "def f():\n    from runtime.shelf import Shelf",
        "runtime/lazy.py": "",
        "runtime/shelf.py": "if TYPE_CHECKING:\n    from runtime.box import Lid",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = House(tmp_path)
    assert found.arrows["runtime.shelf"] == {"runtime.box.lid"}
    assert circles(found.arrows) == [["runtime.box.lid", "runtime.shelf"]]
    assert found.rooms("runtime") == {
        "runtime.box": {"runtime.shelf"},
        "runtime.lazy": set(),
        "runtime.shelf": {"runtime.box"},
    }
