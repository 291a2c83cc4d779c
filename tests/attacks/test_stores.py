"""Stores that are damaged or foreign end in one line, whatever is done with them; marks are many without waiting."""

import random
import shutil
import sqlite3
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InputError
from runtime.recorder import Store, days_of, labelled_recording
from runtime.recorder.marks import paint
from sdk.label import _longest
from sdk.label import main as label
from sdk.stream import main as stream
from tests.commands.tools import DATA

AS_BEFORE = ["--replay", str(DATA / "person_6.npz"), "--json"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "me.db"
    assert stream([str(DATA / "walk.bundle"), *AS_BEFORE, "--record", str(path)]) == 0
    with Store(path) as store:
        begin_s, end_s = store.span_s
        store.mark(begin_s, (begin_s + end_s) / 2, "walking", 0.0)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    return path


@pytest.fixture
def store(recorded, tmp_path):
    return shutil.copy(recorded, tmp_path / "me.db")


def uses(path):
    """All that is done with a store."""
    with Store(path) as it:
        span = it.span_s or (0.0, 1.0)
        it.spans(), it.labels, it.keeps(), it.timeline(*span), it.counts(*span)
        list(it.predictions(*span)), list(it.windows(*span)), list(it.samples(*span)), list(it.features(*span, "x"))
        list(days_of(it, 31))
        labelled_recording(it)


META = "UPDATE meta SET value = {} WHERE key = '{}'"
LATEST = "WHERE at = (SELECT max(at) FROM predictions)"
DAMAGE = {
    **{f"{key} is {value}": META.format(value, key) for key in ("signal", "window", "window_bytes") for value in (
        "'[]'", "'{'", "x'ff'", "'null'", "'3'", "''", "17", "'{\"modalities\": []}'", "'NaN'",
        "'{\"length_samples\": 0, \"hop_samples\": 1}'",
    )},
    **{f"no {key}": f"DELETE FROM meta WHERE key = '{key}'" for key in ("window", "window_bytes")},
    "no rate": "UPDATE meta SET value = replace(value, '50.0', '0.0') WHERE key = 'signal'",
    "a rate that is none": "UPDATE meta SET value = replace(value, '50.0', '1e-300') WHERE key = 'signal'",
    "a rate in words": "UPDATE meta SET value = replace(value, '50.0', '\"fast\"') WHERE key = 'signal'",
    "a field more": "UPDATE meta SET value = replace(value, '\"unit\"', '\"units\"') WHERE key = 'signal'",
    "the future": f"UPDATE predictions SET at = 9000000000000000000 {LATEST}",
    "the past": f"UPDATE predictions SET at = -9000000000000000000 {LATEST}",
    "labels that are no list": "UPDATE models SET labels = '{}'",
    "labels that are no JSON": "UPDATE models SET labels = '['",
    "labels that are no text": "UPDATE models SET labels = x'ff'",
    "labels that are numbers": "UPDATE models SET labels = '[1, 2]'",
    "labels that are gone": "UPDATE models SET labels = NULL",
    "too few labels": "UPDATE models SET labels = '[\"a\"]'",
    "no models": "DELETE FROM models",
    "no names": "DELETE FROM labels",
    "a name that is a blob": "UPDATE labels SET name = x'ff00' WHERE id = 1",
    "a name that is no UTF-8": "UPDATE labels SET name = CAST(x'ff' AS TEXT) WHERE id = 1",
    "another model": f"UPDATE predictions SET model = 99 {LATEST}",
    "another label": f"UPDATE predictions SET label = 99 {LATEST}",
    "a label in words": f"UPDATE predictions SET label = 'x' {LATEST}",
    "no probabilities": f"UPDATE predictions SET probabilities = NULL {LATEST}",
    "half a probability": f"UPDATE predictions SET probabilities = x'0000' {LATEST}",
    "a probability in words": f"UPDATE predictions SET probability = 'x' {LATEST}",
    "a share in words": f"UPDATE predictions SET real = 'x' {LATEST}",
    "rows in words": f"UPDATE predictions SET filled = 'x' {LATEST}",
    "no model and no probability": f"UPDATE predictions SET model = 99, probabilities = x'' {LATEST}",
    "no label and no probability": "UPDATE models SET labels = '[]'; UPDATE predictions SET probabilities = x''",
    "one probability more": f"UPDATE predictions SET probabilities = probabilities || x'00000000' {LATEST}",
    "half a rate": f"UPDATE predictions SET source_hz = x'00' {LATEST}",
    "jitter in words": f"UPDATE predictions SET jitter_s = 'x' {LATEST}",
    "half a sample": "UPDATE windows SET samples = x'00'",
    "a sample in words": "UPDATE windows SET samples = 'x'",
    "less than nothing shared": "UPDATE windows SET shared = -1",
    "shared in words": "UPDATE windows SET shared = 'x'",
    "a quarter in words": "UPDATE quarters SET n = 'x'",
    "a mark in words": "UPDATE marks SET start = 'x'",
    "a mark that is a blob": "UPDATE marks SET label = x'ff'",
    "a mark without an end": 'UPDATE marks SET "end" = NULL',
    "a mark in the far future": 'UPDATE marks SET "end" = 9000000000000000000',
    "a table that is gone": "DROP TABLE quarters",
    "a column that is gone": "ALTER TABLE predictions RENAME COLUMN probability TO p",
    "another format": "PRAGMA user_version = 9",
    "another program": "PRAGMA application_id = 9",
    "nothing": "DELETE FROM meta",
}  # fmt: skip
ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)"
PROGRAMS = {
    "a view": f"DROP TABLE quarters; CREATE VIEW quarters AS {ENDLESS} SELECT n quarter, 1 label, 1 n FROM c",
    "a view beside": f"CREATE VIEW v AS {ENDLESS} SELECT n FROM c",
    "a trigger": f"CREATE TRIGGER t AFTER INSERT ON marks BEGIN INSERT INTO meta {ENDLESS} SELECT n, n FROM c; END",
    "a trigger on deleting": "CREATE TRIGGER t BEFORE DELETE ON marks BEGIN SELECT RAISE(IGNORE); END",
    "a virtual table": "CREATE VIRTUAL TABLE v USING fts5(x)",
}


def spoil(path, statements):
    db = sqlite3.connect(path)
    try:
        db.executescript(f"PRAGMA ignore_check_constraints = ON; {statements}")
    except sqlite3.OperationalError as error:
        pytest.skip(f"this SQLite cannot: {error}")
    finally:
        db.close()


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_store_ends_in_one_line(statement, store, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spoil(store, statement)
    with pytest.raises(InputError) as caught:
        uses(store)
    assert str(store) in caught.value.where or "labels" in str(caught.value)
    for words in (["list"], ["list", "--json"], ["undo"], ["export", "x.npz"]):
        assert label([str(store), *words]) in (0, 2)
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("statement", PROGRAMS.values(), ids=PROGRAMS)
def test_a_store_with_a_program_in_it_is_refused(statement, store, capsys):
    spoil(store, statement)
    with pytest.raises(InputError, match="expected a store as a recorder makes it, got one with a"):
        Store(store)
    for words in (["list"], ["undo"], ["mark", "12:00-12:01", "walking"]):
        assert label([str(store), *words]) == 2
    assert stream([str(DATA / "walk.bundle"), *AS_BEFORE, "--record", str(store)]) == 2
    assert capsys.readouterr().err.count("got one with a") == 4


@pytest.mark.parametrize("value", ["'x'", "x'ff'", "''", "'-1'", "'99999999999999999999'", "'1.5'"])
def test_a_run_that_is_no_number(value, store, capsys):
    spoil(store, META.format(value, "run"))
    code = stream([str(DATA / "walk.bundle"), *AS_BEFORE, "--record", str(store)])
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert code in (0, 2)
    assert "the run" in err


@pytest.mark.parametrize("seed", range(40))
def test_bytes_at_random(seed, recorded, tmp_path):
    rng = random.Random(seed)
    data = bytearray(recorded.read_bytes())
    for _ in range(rng.choice((1, 20, 400))):
        data[rng.randrange(100, len(data))] = rng.randrange(256)
    if seed % 4 == 0:
        del data[rng.randrange(len(data)) :]
    path = tmp_path / "me.db"
    path.write_bytes(data)
    with suppress(InputError):
        uses(path)


def test_a_whole_one_stands_all_of_it(store):
    uses(store)


# ---- marks


def paint_before(marks):
    """As it was, in the square of their number."""
    spans = []
    for start, end, name in marks:
        kept = [piece for s, e, old in spans for piece in ((s, min(e, start), old), (max(s, end), e, old))]
        spans = [piece for piece in kept if piece[0] < piece[1]]
        if name is not None:
            spans.append((start, end, name))
    joined = []
    for start, end, name in sorted(spans):
        if joined and joined[-1][1] == start and joined[-1][2] == name:
            joined[-1] = (joined[-1][0], end, name)
        else:
            joined.append((start, end, name))
    return joined


MARKS = st.lists(
    st.tuples(st.integers(-20, 20), st.integers(1, 15), st.sampled_from(["a", "b", "c", None])), max_size=25
).map(lambda rows: [(start, start + length, name) for start, length, name in rows])


@given(MARKS)
def test_the_sweep_paints_what_painting_did(marks):
    assert paint(marks) == paint_before(marks)


def test_a_mark_of_nothing_is_none():
    assert paint([(0, 10, "a"), (5, 5, "b"), (8, 3, None)]) == [(0, 10, "a")]


def test_five_thousand_marks_that_overlap_are_listed_at_once(store, capsys):
    with Store(store) as it:
        begin_s, end_s = it.span_s
    rng, rows = random.Random(0), []
    for i in range(5000):
        start = int((begin_s + rng.random() * (end_s - begin_s)) * 1e6)
        rows.append((start, start + rng.randrange(1, 60_000_000), rng.choice(("walking", "sitting", None)), i))
    with sqlite3.connect(store) as db:
        db.executemany('INSERT INTO marks (start, "end", label, made) VALUES (?, ?, ?, ?)', rows)
    began = time.process_time()
    assert label([str(store), "list"]) == 0
    assert time.process_time() - began < 5  # it took 22 s; 0.1 s where nothing else runs
    assert "labelled" in capsys.readouterr().out


def test_labelled_windows_are_counted_alike_by_both_ways(store, monkeypatch):
    with Store(store) as it:
        begin_s, _ = it.span_s
        for i in range(40):
            with suppress(InputError):
                it.mark(begin_s + i * 7, begin_s + i * 7 + 5 + i % 4, "walking" if i % 3 else "sitting", 0.0)
        many = list(days_of(it, 31))
        monkeypatch.setattr("runtime.recorder.days._FEW", 10**6)
        assert list(days_of(it, 31)) == many
        assert sum(many[-1]["labelled"].values()) > 20


def test_the_letter_of_a_half_hour_is_that_of_most_of_it():
    from runtime.recorder.marks import Span

    spans = [Span(0, 600, "a"), Span(600, 1300, "b"), Span(1300, 1500, "a"), Span(3000, 9000, "c")]
    assert _longest(spans, 0, 7200) == {0: "a", 1: "c", 2: "c", 3: "c"}
    assert _longest(spans, 3600, 7200) == {0: "c", 1: "c"}
    assert _longest(spans, 10_000, 20_000) == {}
