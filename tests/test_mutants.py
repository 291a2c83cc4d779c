"""The faults that `make mutants` puts into the code, and that it tells tests that notice from tests that do not."""

import ast
import subprocess
from itertools import islice

import pytest

from tests import mutants
from tests.mutants import (
    FURTHER,
    MODULES,
    ROOT,
    Clean,
    Kept,
    Mutant,
    Result,
    line_of,
    mutants_of,
    ordered,
    sample,
    score_of,
    table_of,
)

SOURCE = b'''"""A sum of \xc2\xb5."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    name: str = "none"
    loud: bool = False


def total(values: list[float], least: int = 2, *, text: str = "a") -> float | None:
    """Not 3."""
    \xc2\xb5 = "\xc2\xb5" + text; wanted = len(values) >= least and not text
    if len(values) < least or values is None:
        raise ValueError(f"at least {least + 1}")
    values.sort()
    return max(values) - values[0] * 0.5
'''


def test_every_kind_of_fault_by_hand():
    found = [(mutant.line, mutant.kind, mutant.old, mutant.new) for mutant in mutants_of("x.py", SOURCE)]
    assert sorted(found) == sorted(
        [
            (8, "default", '"none"', "'mutant'"),
            (9, "default", "False", "True"),
            (12, "constant + 1", "2", "3"),
            (12, "constant x 2", "2", "4"),
            (12, "default", '"a"', "'mutant'"),
            (14, "and/or", "len(values) >= least and not text", "(len(values) >= least or not text)"),
            (14, "boundary", "len(values) >= least", "(len(values) > least)"),
            (14, "negated", "len(values) >= least", "(len(values) < least)"),
            (14, "not removed", "not text", "(text)"),
            (15, "and/or", "len(values) < least or values is None", "(len(values) < least and values is None)"),
            (15, "boundary", "len(values) < least", "(len(values) <= least)"),
            (15, "negated", "len(values) < least", "(len(values) >= least)"),
            (15, "negated", "values is None", "(values is not None)"),
            (16, "removed", 'raise ValueError(f"at least {least + 1}")', "pass"),
            (17, "removed", "values.sort()", "pass"),
            (18, "arithmetic", "max(values) - values[0] * 0.5", "(max(values) + values[0] * 0.5)"),
            (18, "arithmetic", "values[0] * 0.5", "(values[0] / 0.5)"),
            (18, "constant + 1", "0", "1"),
            (18, "constant + 1", "0.5", "1.5"),
            (18, "constant x 2", "0.5", "1.0"),
            (18, "min/max/any/all", "max(values)", "(min(values))"),
            (18, "return None", "return max(values) - values[0] * 0.5", "return None"),
        ]
    )


def test_a_mutant_differs_from_its_module_where_it_says():
    whole = SOURCE.splitlines()
    for mutant in mutants_of("x.py", SOURCE):
        lines = mutant.source.splitlines()
        assert [i + 1 for i, (a, b) in enumerate(zip(whole, lines, strict=True)) if a != b] == [mutant.line]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_matters_is_there_with_its_tests_and_has_mutants(module):
    assert all((ROOT / name).is_file() for name in MODULES[module])
    found = mutants_of(module, (ROOT / module).read_bytes())
    assert len(found) >= 40
    assert len({mutant.source for mutant in found}) == len(found)
    whole = ast.dump(ast.parse((ROOT / module).read_bytes()))
    assert all(ast.dump(ast.parse(mutant.source)) != whole for mutant in islice(found, 0, None, 29))


def test_a_sample_is_that_of_its_seed_and_of_all_modules_alike():
    modules = sorted(MODULES, key=lambda name: (ROOT / name).stat().st_size)[:5]
    first = sample(13, 1, modules)
    assert first == sample(13, 1, modules)
    assert first != sample(13, 2, modules)
    assert len(set(first)) == 13
    assert {sum(mutant.module == name for mutant in first) for name in modules} == {2, 3}
    assert {name for further in FURTHER.values() for name in further if not (ROOT / name).is_file()} == set()
    assert FURTHER.keys() <= MODULES.keys()
    assert len(sample(10**6, 1, modules[:1])) == len(mutants_of(modules[0], (ROOT / modules[0]).read_bytes()))


def test_who_notices_kills_who_hangs_is_ended_and_the_checkout_stays(tmp_path, monkeypatch, capfd):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    subprocess.run(["git", "init", "-q", str(checkout)], check=True)
    code = "def half(n):\n    while n > 9:\n        n -= 1\n    return n * 1\n"
    (checkout / "halves.py").write_text(code)
    (checkout / "test_it.py").write_text("from halves import half\n\n\ndef test_it():\n    assert half(11) == 9\n")
    monkeypatch.setattr(mutants, "ROOT", checkout)
    (checkout / "test_far.py").write_text("from halves import half\n\n\ndef test_it():\n    assert half(9.5) == 8.5\n")
    monkeypatch.setattr(mutants, "LEAST_LIMIT_S", 8.0)
    monkeypatch.setitem(MODULES, "halves.py", ["test_it.py"])
    monkeypatch.setitem(FURTHER, "halves.py", ["test_far.py"])
    made = {(m.line, m.kind, m.new): m for m in mutants_of("halves.py", code.encode())}
    wanted = {
        (4, "arithmetic", "(n / 1)"): "lived",  # the same number
        (4, "return None", "return None"): "killed",
        (2, "boundary", "(n >= 9)"): "killed",
        (3, "removed", "pass"): "time",
        (3, "constant + 1", "2"): "far",  # 11, 9: as by ones; 9.5, 7.5
    }
    told = []
    results = mutants.run([made[key] for key in wanted], 1, told.append)
    assert [result.end for result in results] == list(wanted.values())
    assert told == results
    assert [result.by for result in results] == ["", *["test_it.py::test_it"] * 2, "", "test_far.py::test_it"]
    assert (checkout / "halves.py").read_text() == code
    assert {path.name for path in checkout.iterdir()} == {".git", "halves.py", "test_it.py", "test_far.py"}
    assert mutants.run([made[key] for key in wanted], 1, told.append, time_s=0) == []
    (checkout / "test_it.py").write_text("def test_it():\n    assert False\n")
    assert mutants.run([made[4, "arithmetic", "(n / 1)"]], 1) == []
    assert "test_it.py fails without any mutant" in capfd.readouterr().err


def test_tests_that_enter_the_function_come_first_from_quick_to_slow():
    def tests(*names):
        places = {"slow": ("x.py", 12), "quick": ("x.py", 12), "other": ("x.py", 1), "elsewhere": ("y.py", 12)}
        times = {"slow": 9.0, "quick": 1.0, "other": 0.1, "elsewhere": 0.2}
        return [Clean(name, times[name], frozenset([places[name]])) for name in names]

    inside, outside = (
        next(m for m in mutants_of("x.py", SOURCE) if (m.line, m.kind) == key)
        for key in ((15, "boundary"), (9, "default"))
    )
    assert (inside.function, outside.function) == (12, None)
    clean = tests("other", "slow", "elsewhere", "quick")
    assert ordered(inside, clean) == tests("quick", "slow", "other", "elsewhere")
    assert ordered(outside, clean) == tests("other", "elsewhere", "quick", "slow")


def test_what_is_kept_is_taken_unless_the_file_is_another(tmp_path):
    first, second, third = mutants_of("x.py", SOURCE)[:3]
    kept = Kept(tmp_path / "kept.jsonl")
    kept.add(Result(first, "killed", "test_x.py::test_it"))
    kept.add(Result(second, "lived"))
    again = Kept(tmp_path / "kept.jsonl")
    assert again.of([third, second, first]) == [Result(second, "lived"), Result(first, "killed", "test_x.py::test_it")]
    assert again.of(mutants_of("x.py", SOURCE + b"\n")) == again.of(mutants_of("z.py", SOURCE)) == []
    assert Kept(None).of([first]) == []


def test_the_score_and_the_table():
    one = Mutant("a.py", 3, "removed", "f(x)", "pass", b"")
    results = [Result(one, "lived"), Result(one, "time"), Result(one._replace(module="b.py"), "killed")]
    assert score_of(results) == pytest.approx(2 / 3)
    lines = [line.split() for line in table_of(results).splitlines()]
    assert ["a.py", "2", "0", "0", "1", "1", "50%"] in lines
    assert ["b.py", "1", "1", "0", "0", "0", "100%"] in lines
    assert lines[-1] == ["all", "3", "1", "0", "1", "1", "67%"]
    assert line_of(results[0]) == "lived   a.py:3  removed: f(x) -> pass"
    assert line_of(Result(one, "far", "t.py::t")) == "far     a.py:3  removed: f(x) -> pass  by t.py::t"
