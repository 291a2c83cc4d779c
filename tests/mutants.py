"""`make mutants`: small faults put into the code, one at a time, to see whether the closest tests notice.

    python -m tests.mutants --n 40 --seed 1 [--jobs 2] [--time 600] [--keep FILE] [--module sdk/meters] [--json]

    the checkout -> a copy in a temporary folder -> its tests pass? -> a mutant of one module -> the same tests fail?

killed: a test failed; far: none of the closest did, but one further away; time: a test took five times as long as it
does, and half a minute; lived: nobody noticed. The score is the share of the first three, and whoever reads it reads
the list of those that lived: some change nothing that could be told.

A mutant meets first the tests that enter its function, from quick to slow, and the first that fails is the last.
"""

import argparse
import ast
import copy
import hashlib
import json
import math
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
SERVER = Path(__file__).with_name("mutants_server.py")
LEAST_LIMIT_S, SLOWER = 30.0, 5.0  # a test may take so many times what it takes without a fault
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
    "exporters/parity.py": [
        "tests/exporters/test_parity.py", "tests/exporters/test_commands.py", "tests/exporters/test_export.py",
    ],
    "exporters/int8/make.py": ["tests/exporters/test_variants.py"],
    "exporters/training/convolution.py": ["tests/exporters/training/test_rules.py"],
    "sdk/datasets/_archive.py": ["tests/datasets/test_archive.py"],
    "sdk/finetune/head.py": ["tests/finetune/test_head.py"],
    "sdk/finetune/judge.py": ["tests/finetune/test_judge.py", "tests/finetune/test_finetune.py"],
    "sdk/finetune/labels.py": ["tests/finetune/test_labelled_set.py", "tests/finetune/test_finetune.py"],
    "sdk/finetune/train.py": ["tests/finetune/test_train.py"],
    "sdk/meters/energy.py": ["tests/meters/test_energy.py", "tests/meters/test_result.py"],
    "sdk/meters/sampling.py": ["tests/meters/test_hwmon.py", "tests/meters/test_result.py"],
    "sdk/profile/compare.py": ["tests/profile/test_compare.py"],
}  # fmt: skip
REPRS = "tests/commands/test_reprs.py"
FILLING = ["tests/attacks/test_filling.py", "tests/runtime/window/test_faults.py"]
FURTHER = {  # who else looks at them; asked when the closest notice nothing
    "runtime/window/order.py": [*FILLING, "tests/runtime/window/test_rate.py"],
    "runtime/window/grid.py": [*FILLING, "tests/runtime/window/test_rate.py"],
    "runtime/window/track.py": [*FILLING, "tests/runtime/test_stream.py"],
    "runtime/window/windower.py": [*FILLING, "tests/runtime/test_stream.py"],
    "runtime/bundle/folder.py": ["tests/attacks/test_versions.py", "tests/attacks/test_links.py"],
    "runtime/bundle/manifest.py": [
        "tests/attacks/test_names.py",
        "tests/attacks/test_older.py",
        REPRS,
        "tests/runtime/bundle/test_hostile.py",
    ],
    "runtime/bundle/trust.py": ["tests/attacks/test_older.py", "tests/exporters/test_sign.py"],
    "runtime/engine/auto/choice.py": ["tests/attacks/test_swapped.py", "tests/optimize/test_optimize.py"],
    "runtime/events/tracker.py": ["tests/runtime/events/test_scores.py"],
    "runtime/hub/core.py": ["tests/attacks/test_not_finite.py", REPRS],
    "runtime/recorder/writer.py": ["tests/attacks/test_stores.py", "tests/attacks/test_not_finite.py"],
    "runtime/recorder/store.py": ["tests/attacks/test_stores.py", "tests/commands/test_label.py"],
    "exporters/training/convolution.py": ["tests/exporters/training/test_pitfalls.py"],
    "sdk/finetune/judge.py": ["tests/finetune/test_layers.py"],
    "sdk/finetune/labels.py": ["tests/commands/test_label.py"],
    "sdk/finetune/train.py": ["tests/finetune/test_layers.py"],
    "sdk/meters/energy.py": ["tests/meters/test_boards.py", "tests/meters/test_hwmon.py", "tests/meters/test_rapl.py"],
    "sdk/meters/sampling.py": ["tests/meters/test_rapl.py", "tests/meters/test_boards.py"],
    "sdk/profile/compare.py": ["tests/profile/test_turns.py", "tests/profile/test_report.py"],
}

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
    function: int | None = None  # the first line of the one that it is in


class Result(NamedTuple):
    """What the tests made of it: "killed", "far", "time" or "lived", and which of them failed."""

    mutant: Mutant
    end: str
    by: str = ""


class Clean(NamedTuple):
    """A test without any fault: how long it takes, and which functions it enters."""

    name: str
    seconds: float
    reached: frozenset[tuple[str, int]]  # path, first line


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
        if node.value not in (0, 1):  # twice 1 is 2, too
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
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in nodes_of(tree):
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
            around = [f for f in functions if f.lineno <= place.lineno <= f.end_lineno]
            inner = max(around, key=lambda f: f.lineno, default=None)
            first = inner and min([inner.lineno, *(part.lineno for part in inner.decorator_list)])
            found.append(Mutant(module, place.lineno, kind, old, new, whole, first))
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


class Server:
    """A copy of the checkout, and a process in it that runs tests: `tests/mutants_server.py`."""

    def __init__(self, base: Path) -> None:
        self.base, self.folder = base, copied(base / "checkout")
        (base / "tmp").mkdir()
        env = os.environ | {
            "PYTHONPATH": str(self.folder), "TMPDIR": str(base / "tmp"), "OMP_NUM_THREADS": "1",
            "ORT_DISABLE_TELEMETRY": "1", "HYPOTHESIS_STORAGE_DIRECTORY": str(base / "tmp"),
        }  # fmt: skip
        words = [sys.executable, "-c", SERVER.read_text(), str(base)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, cwd=self.folder, env=env, stdin=pipe, stdout=pipe, text=True)
        self._changes = 0

    def ask(self, **request: object) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        for path in (self.base / "tmp").iterdir():  # of tests that were ended
            shutil.rmtree(path, ignore_errors=True)
        return answer

    @contextmanager
    def changed(self, mutant: Mutant) -> Iterator[None]:
        """Within, the fault is in the copy; its time is a new one, so that no bytecode of before is taken for it."""
        path = self.folder / mutant.module
        whole, self._changes = path.read_bytes(), self._changes + 1
        before = path.stat()
        try:
            path.write_bytes(mutant.source)
            os.utime(path, (before.st_atime, before.st_mtime + self._changes))
            yield
        finally:
            path.write_bytes(whole)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Bench:
    """Servers for so many jobs, and what tests do without any fault: found when first asked for."""

    def __init__(self, base: Path, jobs: int) -> None:
        self._bundles, self._lock, self._clean = base / "bundles", threading.Lock(), {}
        self._bundles.mkdir()
        self._servers: queue.Queue[Server] = queue.Queue()
        self._all = []
        for i in range(jobs):
            (base / str(i)).mkdir()
            self._all.append(Server(base / str(i)))
            self._servers.put(self._all[-1])

    def end_of(self, mutant: Mutant) -> Result:
        """What the closest tests make of it and, if they notice nothing, those further away."""
        server = self._servers.get()
        try:
            for tests, end in ((MODULES[mutant.module], "killed"), (FURTHER.get(mutant.module, []), "far")):
                if found := tests and self._end(server, mutant, tests, end):
                    return found
            return Result(mutant, "lived")
        finally:
            self._servers.put(server)

    def _end(self, server: Server, mutant: Mutant, tests: list[str], noticed: str) -> Result | None:
        clean = self.clean(server, mutant.module, tests)
        if not clean:
            return Result(mutant, "unclear")
        slowest_s = max(test.seconds for test in clean)  # it may have made what others find made
        limits_s = {test.name: LEAST_LIMIT_S + SLOWER * (slowest_s + test.seconds) for test in ordered(mutant, clean)}
        with server.changed(mutant):
            answer = server.ask(tests=tests, bundles=self._kept(mutant.module), limits_s=limits_s)
        if not answer["code"]:
            return None
        return Result(mutant, "time" if answer["code"] == -signal.SIGALRM else noticed, answer.get("failed", ""))

    def _kept(self, module: str) -> str | None:
        """The exported bundles that runs share; not where the fault may lie in what exports them."""
        return None if module.startswith("exporters/") else str(self._bundles)

    def clean(self, server: Server, module: str, tests: list[str]) -> list[Clean]:
        """The tests without any fault; none, if one of them fails: then they can tell nothing."""
        key = (*tests, self._kept(module))
        with self._lock:
            if key not in self._clean:
                answer = server.ask(tests=tests, bundles=self._kept(module), watch=True)
                if answer["code"]:
                    end = (server.base / "log").read_text(errors="replace")[-4000:]
                    print(f"{end}\n{' '.join(tests)} fails without any mutant", file=sys.stderr, flush=True)
                self._clean[key] = (
                    []
                    if answer["code"]
                    else [
                        Clean(name, told["s"], frozenset(map(tuple, told["reached"])))
                        for name, told in answer["tests"].items()
                    ]
                )
            return self._clean[key]

    def close(self) -> None:
        for server in self._all:
            server.close()


def ordered(mutant: Mutant, clean: list[Clean]) -> list[Clean]:
    """First the tests that enter a mutant's function, from quick to slow; then the others, as they stand.

    A fault outside of all functions reaches whoever imports the module.
    """
    place = (mutant.module, mutant.function)
    near = [test for test in clean if mutant.function is None or place in test.reached]
    return [*sorted(near, key=lambda test: test.seconds), *(test for test in clean if test not in near)]


def run(
    mutants: list[Mutant],
    jobs: int,
    tell: Callable[[Result], None] = lambda result: None,
    time_s: float | None = None,
) -> list[Result]:
    """Each mutant against the tests of its module, in copies of the checkout; after `time_s` none is begun.

    Left out are those whose tests fail without them.
    """
    end_s = math.inf if time_s is None else time.monotonic() + time_s

    def tried(mutant: Mutant) -> Result | None:
        if time.monotonic() >= end_s:
            return None
        result = bench.end_of(mutant)
        if result.end == "unclear":
            return None
        tell(result)
        return result

    with tempfile.TemporaryDirectory(prefix="sensedge-mutants-") as base, ThreadPoolExecutor(jobs) as pool:
        bench = Bench(Path(base), jobs)
        try:
            return [result for result in pool.map(tried, mutants) if result is not None]
        finally:
            pool.shutdown(cancel_futures=True)
            bench.close()


def score_of(results: list[Result]) -> float:
    return sum(result.end != "lived" for result in results) / len(results)


def table_of(results: list[Result]) -> str:
    rows = [f"{'':38}{'mutants':>8}{'killed':>8}{'far':>8}{'time':>8}{'lived':>8}{'score':>8}"]
    for by in ("module", "kind"):
        names = sorted({getattr(result.mutant, by) for result in results})
        rows += [row_of(name, [result for result in results if getattr(result.mutant, by) == name]) for name in names]
        rows.append("")
    return "\n".join([*rows, row_of("all", results)])


def row_of(name: str, results: list[Result]) -> str:
    ends = Counter(result.end for result in results)
    numbers = (len(results), *(ends[end] for end in ("killed", "far", "time", "lived")))
    return f"{name:38}" + "".join(f"{number:8}" for number in numbers) + f"{score_of(results):8.0%}"


def line_of(result: Result) -> str:
    mutant = result.mutant
    fault = f"{mutant.module}:{mutant.line}  {mutant.kind}: {mutant.old[:70]} -> {mutant.new[:70]}"
    return f"{result.end:7} {fault}" + (f"  by {result.by}" if result.by else "")


class Kept:
    """Results in a file of JSON lines: those of mutants that are what they were are not sought again."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._ends = path, {}
        if path is not None and path.exists():
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            self._ends = {row["mutant"]: (row["end"], row.get("by", "")) for row in rows}

    def of(self, mutants: list[Mutant]) -> list[Result]:
        return [Result(mutant, *self._ends[name]) for mutant in mutants if (name := name_of(mutant)) in self._ends]

    def add(self, result: Result) -> None:
        if self._path is not None:
            with self._path.open("a") as file:
                print(json.dumps({"mutant": name_of(result.mutant), **plain_of(result)}), file=file)


def name_of(mutant: Mutant) -> str:
    """The file with the fault, in short: another one if anything else in the file is another."""
    return hashlib.sha256(f"{mutant.module}\0".encode() + mutant.source).hexdigest()[:16]


def plain_of(result: Result) -> dict[str, object]:
    mutant = result.mutant
    told = {"module": mutant.module, "line": mutant.line, "kind": mutant.kind, "old": mutant.old, "new": mutant.new}
    return {**told, "end": result.end, "by": result.by}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=40, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="copies of the tree that run at once")
    parser.add_argument("--time", type=float, metavar="S", help="begin no mutant after so many seconds")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="results go there; those that are there are taken")
    parser.add_argument("--module", nargs="*", default=[""], help="only modules whose path begins so")
    parser.add_argument("--json", action="store_true", help="the results as JSON on stdout")
    args = parser.parse_args()
    modules = [name for name in MODULES if name.startswith(tuple(args.module))]
    mutants = sample(args.n, args.seed, modules)
    if not mutants:
        parser.error(f"--module: one of {', '.join(MODULES)}, or how they begin")
    kept = Kept(args.keep)
    results = kept.of(mutants)
    done = {result.mutant for result in results}

    def tell(result: Result) -> None:
        kept.add(result)
        print(line_of(result), file=sys.stderr, flush=True)

    results += run([mutant for mutant in mutants if mutant not in done], args.jobs, tell, args.time)
    if not results:
        raise SystemExit("nothing was tried")
    if args.json:
        rows = [plain_of(result) for result in results]
        facts = {"seed": args.seed, "asked": len(mutants), "tried": len(results), "score": score_of(results)}
        print(json.dumps({**facts, "mutants": rows}, indent=1))
        return
    print(table_of(results))
    print("\n".join(["", "lived:", *(line_of(result) for result in results if result.end == "lived")]))


if __name__ == "__main__":
    main()
