"""The plan of the house, counted: python tests/rooms.py [FOLDER] prints rooms, arrows, circles, sizes.

An import is an arrow wherever it stands: at the top, inside a function, for annotations only. What is imported from a
package's face (a table of contents: `__getattr__ = attach(...)`) is an arrow to the file that the name comes from, and
the face itself has none. A room is a file or a folder at the top of a package.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import defaultdict
from pathlib import Path

PACKAGES = ("runtime", "sdk", "exporters")


class House:
    """The import graph of a checkout, by file and by room."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = {self._name(path): path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))}
        self.trees = {name: ast.parse(path.read_text()) for name, path in self.files.items()}
        self.faces = {name: parts for name, tree in self.trees.items() if (parts := _attached(name, tree))}
        self.arrows = {name: self._arrows(name) - {name} for name in self.files}

    def _name(self, path: Path) -> str:
        parts = path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _arrows(self, name: str) -> set[str]:
        if name in self.faces:
            return set()
        found = set()
        for node in ast.walk(self.trees[name]):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found |= {self.source(node.module, alias.name) for alias in node.names}
        return found & self.files.keys()

    def source(self, module: str, name: str) -> str:
        """The file that a name comes from."""
        while name in self.faces.get(module, {}):
            module = self.faces[module][name]
        return f"{module}.{name}" if f"{module}.{name}" in self.files else module

    def rooms(self, package: str) -> dict[str, set[str]]:
        """Rooms of a package with the other rooms that each imports."""
        rooms: dict[str, set[str]] = defaultdict(set)
        for name, targets in self.arrows.items():
            if name.startswith(f"{package}."):
                rooms[_room(name)] |= {_room(t) for t in targets if t.startswith(f"{package}.")} - {_room(name)}
        return dict(rooms)

    def fan_in(self, name: str) -> int:
        """How many files import one."""
        return sum(name in targets for targets in self.arrows.values())

    def functions(self) -> dict[str, int]:
        """Lines of each function, without its docstring."""
        found = {}
        for name, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                    lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                    found[f"{name}:{node.lineno} {node.name}"] = lines
        return found

    def lines(self) -> dict[str, int]:
        """Lines of each file."""
        return {name: len(path.read_text().splitlines()) for name, path in self.files.items()}


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that can reach one another (Tarjan's strongly connected components of two or more)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(arrows.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            at = stack.index(node)
            group, stack[at:] = stack[at:], []
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return found


def _attached(package: str, tree: ast.Module) -> dict[str, str]:
    """Names of a face with the module that each comes from."""
    for node in tree.body:
        call = node.value if isinstance(node, ast.Assign) else None
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "attach":
            parts = ast.literal_eval(call.args[1])
            files = {part: part if "." in part else f"{package}.{part}" for part in parts}
            return {name: files[part] for part, names in parts.items() for name in names.split()}
    return {}


def _room(name: str) -> str:
    return ".".join(name.split(".")[:2])


def main(root: Path) -> None:
    """Print the counts."""
    sys.setrecursionlimit(10_000)
    house = House(root)
    rooms = house.rooms("runtime")
    sizes, functions = house.lines(), house.functions()
    print(f"files {len(house.files)}, imports between them {sum(map(len, house.arrows.values()))}")
    print(f"rooms of runtime {len(rooms)}, arrows between them {sum(map(len, rooms.values()))}")
    print(
        f"circles of files {circles(house.arrows)}, of rooms {[c for p in PACKAGES for c in circles(house.rooms(p))]}"
    )
    for name in ("runtime.manifest", "runtime.bundle.manifest", "runtime.specs.signals"):
        if name in house.files:
            print(f"fan-in of {name}: {house.fan_in(name)}")
    print(f"median function {statistics.median(functions.values())} lines, longest {max(functions.values())}")
    print("above 350 lines:", {name: n for name, n in sizes.items() if n > 350} or "none")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parents[1])
