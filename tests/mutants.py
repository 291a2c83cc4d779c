"""`make mutants`: small faults put into the code, one at a time, to see whether the closest tests notice.

    python -m tests.mutants --n 40 --seed 1 [--jobs 2] [--module sdk/meters runtime/hub] [--json]

    the checkout -> a copy in a temporary folder -> its tests pass? -> a mutant of one module -> the same tests fail?

killed: a test failed; time: the tests took five times as long as they do; lived: nobody noticed. The score is the share
of the first two, and whoever reads it reads the list of those that lived: some change nothing that could be told.
"""

import argparse
import ast
import copy
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LEAST_LIMIT_S, SLOWER = 60.0, 5.0  # a mutant's tests may take so many times what they take without it
RECORDER, CLOCK = "tests/runtime/recorder/test_recorder.py", "tests/runtime/window/test_clock.py"
MODULES = {  # those whose faults a user would not see, with the tests that are closest to them
    "runtime/window/order.py": [CLOCK],
    "runtime/window/grid.py": [CLOCK],
    "runtime/window/track.py": [CLOCK, "tests/runtime/window/test_several_clocks.py"],
    "runtime/window/windower.py": [
        "tests/runtime/window/test_window.py", "tests/runtime/window/test_several_clocks.py", CLOCK,
    ],
    "runtime/bundle/folder.py": ["tests/runtime/bundle/test_bundle.py"],
    "runtime/bundle/manifest.py": ["tests/runtime/bundle/test_manifest.py", "tests/runtime/bundle/test_bundle.py"],
    "runtime/bundle/trust.py": ["tests/runtime/test_trust.py"],
    "runtime/engine/auto/choice.py": ["tests/runtime/engine/auto/test_auto.py"],
    "runtime/events/tracker.py": ["tests/runtime/events/test_events.py"],
    "runtime/hub/core.py": ["tests/runtime/test_hub.py"],
    "runtime/recorder/writer.py": [RECORDER],
    "runtime/recorder/store.py": [RECORDER],
    "exporters/parity.py": ["tests/exporters/test_commands.py", "tests/exporters/test_export.py"],
    "exporters/int8/make.py": ["tests/exporters/test_variants.py"],
    "exporters/training/convolution.py": ["tests/exporters/training/test_rules.py"],
    "sdk/datasets/_archive.py": ["tests/datasets/test_archive.py"],
    "sdk/finetune/head.py": ["tests/finetune/test_head.py"],
    "sdk/finetune/judge.py": ["tests/finetune/test_judge.py", "tests/finetune/test_finetune.py"],
    "sdk/finetune/labels.py": ["tests/finetune/test_finetune.py"],
    "sdk/finetune/train.py": ["tests/finetune/test_train.py"],
    "sdk/meters/energy.py": ["tests/meters/test_energy.py", "tests/meters/test_result.py"],
    "sdk/meters/sampling.py": ["tests/meters/test_hwmon.py", "tests/meters/test_result.py"],
    "sdk/profile/compare.py": ["tests/profile/test_compare.py"],
}  # fmt: skip

BOUNDARY = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
OPPOSITE = [(ast.Lt, ast.GtE), (ast.Gt, ast.LtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)]
NEGATED = dict(OPPOSITE) | {second: first for first, second in OPPOSITE}
ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
ARITHMETIC |= dict.fromkeys((ast.FloorDiv, ast.Mod, ast.Pow), ast.Mult)
SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
LEFT_ALONE = ("annotation", "returns", "decorator_list")
REMOVABLE = (ast.Expr, ast.AugAssign, ast.Raise)


class Mutant(NamedTuple):
    """One fault: what stands between two places of a file is replaced."""

    module: str
    line: int
    kind: str
    old: str
    new: str
    source: bytes  # of the whole file with the fault


class Result(NamedTuple):
    """What the tests made of it: "killed", "time" or "lived"."""

    mutant: Mutant
    end: str


def changes_of(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Every fault that this node by itself can have: its kind, and what would stand there."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for kind, table in (("boundary", BOUNDARY), ("negated", NEGATED)):
            if type(node.ops[0]) in table:
                yield kind, written(node, ops=[table[type(node.ops[0])]()])
    elif isinstance(node, ast.BoolOp):
        yield "and/or", written(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not removed", f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield "constant + 1", repr(node.value + 1)
        if node.value:
            yield "constant x 2", repr(node.value * 2)
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC and not any(map(is_text, (node.left, node.right))):
        yield "arithmetic", written(node, op=ARITHMETIC[type(node.op)]())
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SWAPPED:
        yield "min/max/any/all", written(node, func=ast.Name(SWAPPED[node.func.id]))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SWAPPED:
        yield "min/max/any/all", written(node, func=ast.Attribute(node.func.value, SWAPPED[node.func.attr]))
    elif isinstance(node, ast.Return) and not (node.value is None or is_none(node.value)):
        yield "return None", "return None"
    elif isinstance(node, REMOVABLE) and not (isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call)):
        yield "removed", "pass"


def written(node: ast.AST, **fields: object) -> str:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return f"({ast.unparse(changed)})"


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def defaults_of(node: ast.AST) -> Iterator[ast.Constant]:
    """Texts and truths that stand where an argument or a field was not given; numbers are constants anyway."""
    values: list[ast.AST | None] = []
    if isinstance(node, ast.arguments):
        values = [*node.defaults, *node.kw_defaults]
    elif isinstance(node, ast.ClassDef):
        values = [part.value for part in node.body if isinstance(part, ast.AnnAssign)]
    yield from (v for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str | bool))


def nodes_of(tree: ast.AST) -> Iterator[ast.AST]:
    """What runs: no annotations, no decorators, nothing inside an f-string, whose places Python 3.11 does not know."""
    yield tree
    if not isinstance(tree, ast.JoinedStr):
        for name, value in ast.iter_fields(tree):
            if name not in LEFT_ALONE:
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        yield from nodes_of(child)


def mutants_of(module: str, source: bytes) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    starts, found = [0], []
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in nodes_of(ast.parse(source)):
        pairs = [(node, kind, new) for kind, new in changes_of(node)]
        pairs += [
            (v, "default", repr(not v.value if isinstance(v.value, bool) else "mutant")) for v in defaults_of(node)
        ]
        for place, kind, new in pairs:
            begin, end = (
                starts[place.lineno - 1] + place.col_offset,
                starts[place.end_lineno - 1] + place.end_col_offset,
            )
            whole = source[:begin] + new.encode() + source[end:]
            old = " ".join(source[begin:end].decode().split())
            try:
                compile(whole, module, "exec")
            except SyntaxError:  # `case -1`, and whatever else is no expression
                continue
            found.append(Mutant(module, place.lineno, kind, old, new, whole))
    return sorted(found, key=lambda mutant: mutant.line)


def sample(n: int, seed: int, modules: list[str], root: Path = ROOT) -> list[Mutant]:
    """As many of each module, drawn at random; a large module counts no more than a small one."""
    rng, drawn = random.Random(seed), []
    piles = [mutants_of(name, (root / name).read_bytes()) for name in modules]
    rng.shuffle(piles)
    for pile in piles:
        rng.shuffle(pile)
    while len(drawn) < n and any(piles):
        drawn += [pile.pop() for pile in piles if pile]
    return drawn[:n]


def copied(folder: Path) -> Path:
    """A copy of what git knows or would know of the checkout."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def end_of(folder: Path, tests: Sequence[str], limit_s: float | None) -> str:
    """Run tests in a copy: "lived" if all pass, "killed" if one does not, "time" if they do not end."""
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    env = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    out = subprocess.DEVNULL
    with subprocess.Popen(words, cwd=folder, env=env, stdout=out, stderr=out, start_new_session=True) as child:
        try:
            code = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            return "time"
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
    if code in (4, 5):
        raise SystemExit(f"pytest found nothing to run in {' '.join(tests)}")
    return "lived" if code == 0 else "killed"


def run(mutants: list[Mutant], jobs: int, tell: Callable[[Result], None] = lambda result: None) -> list[Result]:
    """Each mutant against the tests of its module, in copies of the checkout."""
    with tempfile.TemporaryDirectory(prefix="sensedge-mutants-") as base, ThreadPoolExecutor(jobs) as pool:
        folders: queue.Queue[Path] = queue.Queue()
        for i in range(jobs):
            folders.put(copied(Path(base) / str(i)))

        def timed(tests: tuple[str, ...]) -> float:
            folder, began = folders.get(), time.monotonic()
            try:
                if end_of(folder, tests, None) != "lived":
                    raise SystemExit(f"{' '.join(tests)} fails without any mutant: mend that first")
            finally:
                folders.put(folder)
            return max(LEAST_LIMIT_S, SLOWER * (time.monotonic() - began))

        def tried(mutant: Mutant) -> Result:
            folder = folders.get()
            path = folder / mutant.module
            whole = path.read_bytes()
            try:
                path.write_bytes(mutant.source)
                tests = tuple(MODULES[mutant.module])
                result = Result(mutant, end_of(folder, tests, limits_s[tests]))
            finally:
                path.write_bytes(whole)
                folders.put(folder)
            tell(result)
            return result

        groups = sorted({tuple(MODULES[mutant.module]) for mutant in mutants})
        limits_s = dict(zip(groups, pool.map(timed, groups), strict=True))
        return list(pool.map(tried, mutants))


def score_of(results: list[Result]) -> float:
    return sum(result.end != "lived" for result in results) / len(results)


def table_of(results: list[Result]) -> str:
    rows = [f"{'':38}{'mutants':>8}{'killed':>8}{'time':>8}{'lived':>8}{'score':>8}"]
    for by in ("module", "kind"):
        names = sorted({getattr(result.mutant, by) for result in results})
        rows += [row_of(name, [result for result in results if getattr(result.mutant, by) == name]) for name in names]
        rows.append("")
    return "\n".join([*rows, row_of("all", results)])


def row_of(name: str, results: list[Result]) -> str:
    ends = Counter(result.end for result in results)
    numbers = (len(results), *(ends[end] for end in ("killed", "time", "lived")))
    return f"{name:38}" + "".join(f"{number:8}" for number in numbers) + f"{score_of(results):8.0%}"


def line_of(result: Result) -> str:
    mutant = result.mutant
    return f"{result.end:7} {mutant.module}:{mutant.line}  {mutant.kind}: {mutant.old[:70]} -> {mutant.new[:70]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=40, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="copies of the tree that run at once")
    parser.add_argument("--module", nargs="*", default=[""], help="only modules whose path begins so")
    parser.add_argument("--json", action="store_true", help="the results as JSON on stdout")
    args = parser.parse_args()
    modules = [name for name in MODULES if name.startswith(tuple(args.module))]
    mutants = sample(args.n, args.seed, modules)
    if not mutants:
        parser.error(f"--module: one of {', '.join(MODULES)}, or how they begin")
    results = run(mutants, args.jobs, lambda result: print(line_of(result), file=sys.stderr, flush=True))
    if args.json:
        rows = [{**result.mutant._asdict(), "end": result.end} for result in results]
        for row in rows:
            del row["source"]
        print(json.dumps({"seed": args.seed, "score": score_of(results), "mutants": rows}, indent=1))
        return
    print(table_of(results))
    print("\n".join(["", "lived:", *(line_of(result) for result in results if result.end == "lived")]))


if __name__ == "__main__":
    main()
