"""One reader for files and pipes: the same rows in every shape in which loggers write them, in pieces of any size."""

import json
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.errors import InputError
from runtime.recording import Recording, TextFile, TextReader
from runtime.recording.lines import Lines
from runtime.recording.numbers import read_block
from runtime.recording.shape import Numbers
from runtime.recording.text import TextOptions
from runtime.sources import Replay, StdinLines
from runtime.specs import Modality, Signal

SIGNAL = Signal((Modality("acc", "m/s^2", ("x", "y"), 50.0), Modality("gyro", "rad/s", ("z",), 50.0)))
NAMES = ("acc_x", "acc_y", "gyro_z")
N = 40
SAMPLES = np.round(np.random.default_rng(0).normal(0, 10, (N, 3)), 4)
T = 1.5 + np.arange(N) / 50
LABELS = ["walking" if i % 20 < 10 else "sitting" for i in range(N)]
HEAD = ["t", *NAMES, "label"]
ROWS = [[f"{t:.3f}", *(f"{v:.4f}" for v in row), name] for t, row, name in zip(T, SAMPLES, LABELS, strict=True)]


def text(head, rows, sep=",", end="\n", before="", tail=""):
    return before + "".join(sep.join(row) + tail + end for row in ([head] if head else []) + rows)


def with_column(place, name, cells):
    head, rows = HEAD.copy(), [row.copy() for row in ROWS]
    head.insert(place, name)
    for row, cell in zip(rows, cells, strict=True):
        row.insert(place, cell)
    return head, rows


COMMAS = [[*(cell.replace(".", ",") for cell in row[:-1]), row[-1]] for row in ROWS]
NOTES = ["", "shoe", "a, b; c"] + [""] * (N - 3)
SHAPES = {
    "plain": text(HEAD, ROWS),
    "byte order mark, CR LF": "\ufeff" + text(HEAD, ROWS, end="\r\n"),
    "CR only": text(HEAD, ROWS, end="\r"),
    "another order": text(HEAD[::-1], [row[::-1] for row in ROWS]),
    "index column": text(*with_column(0, "", [str(i) for i in range(N)])),
    "text column": text(*with_column(1, "device", ["watch"] * N)),
    "text with signs": text(*with_column(1, "note", [f'"{note}"' for note in NOTES])),
    "text of any language": text(*with_column(1, "note", ["größe"] * N)),
    "empty column": text(*with_column(5, "note", [""] * N)),
    "column that is text at times": text(*with_column(5, "note", ["7"] * 30 + ["seven"] * 10)),
    "separator at the end": text(HEAD, ROWS, tail=","),
    "separator at the end of rows": text(HEAD, []) + text(None, ROWS, tail=","),
    "semicolons": text(HEAD, ROWS, sep=";"),
    "decimal commas": text(HEAD, COMMAS, sep=";"),
    "decimal commas, tabs": text(HEAD, COMMAS, sep="\t"),
    "decimal commas in quotes": text(HEAD, [[f'"{cell}"' for cell in row] for row in COMMAS]),
    "tabs": text(HEAD, ROWS, sep="\t"),
    "bars": text(HEAD, ROWS, sep="|"),
    "blanks": text(HEAD, [[f"{cell:>9}" for cell in row] for row in ROWS], sep=" "),
    "comma and blank": text(HEAD, ROWS, sep=", "),
    "quotes": text([f'"{name}"' for name in HEAD], [[f'"{cell}"' for cell in row] for row in ROWS]),
    "lines before": text(HEAD, ROWS, before="".join(f"Meta {i}: value\n" for i in range(10)) + "Rate,50\n\n"),
    "comments": text(HEAD, ROWS[:9], before="# made by hand\n% so\n") + "# moved\n\n" + text(None, ROWS[9:]),
    "header in a comment": text(["# t", *HEAD[1:]], ROWS),
    "header again": text(HEAD, ROWS[:17]) + text(HEAD, ROWS[17:]),
    "header again, another order": text(HEAD, ROWS[:17]) + text(HEAD[::-1], [row[::-1] for row in ROWS[17:]]),
    "torn last line": text(HEAD, ROWS) + "2.300,1.2",
    "no end": text(HEAD, ROWS).removesuffix("\n"),
    "zeros at the end": text(HEAD, ROWS) + "\0" * 5000,
    "a line of nonsense": text(HEAD, ROWS[:20]) + "brown-out\n" + text(None, ROWS[20:]),
    "exponents": text(HEAD, [[*(f"{float(cell):.18e}" for cell in row[:-1]), row[-1]] for row in ROWS]),
    "signs": text(HEAD, [[row[0], *(f"{float(cell):+.4f}" for cell in row[1:-1]), row[-1]] for row in ROWS]),
}
UNLABELLED = {
    "no header": text(None, [row[:-1] for row in ROWS]),
    "no header, blanks": text(None, [row[:-1] for row in ROWS], sep="  "),
    "boot messages": "rst:0x1 (POWERON_RESET)\r\nI (31) boot: ESP-IDF\r\n" + text(None, [row[:-1] for row in ROWS]),
    "name:value": "".join("\t".join(f"{n}:{c}" for n, c in zip(HEAD, row[:-1], strict=False)) + "\n" for row in ROWS),
    "name=value": "".join(", ".join(f"{n}={c}" for n, c in zip(HEAD, row[:-1], strict=False)) + "\n" for row in ROWS),
    "JSON": "".join(json.dumps(dict(zip(HEAD, map(float, row[:-1]), strict=False))) + "\n" for row in ROWS),
    "JSON, many": json.dumps({"t": T.tolist(), "samples": SAMPLES.tolist()}) + "\n",
}


def taken(pieces):
    pieces = list(pieces)
    labels = [name for rows, _ in pieces for name in rows.labels or ()]
    t = [rows.t for rows, _ in pieces if rows.t is not None]
    return np.concatenate([rows.samples for rows, _ in pieces]), np.concatenate(t) if t else None, labels or None


def in_pieces(data, sizes, wrong):
    """What comes of bytes in pieces of some sizes, in turn."""
    reader, lines, at, turn = TextReader(SIGNAL, wrong.append, TextOptions()), Lines(), 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield from reader.read(lines.push(data[at : at + size]))
        at, turn = at + size, turn + 1
    yield from reader.read(lines.flush())
    yield from reader.flush()


@pytest.mark.parametrize("shape", [*SHAPES, *UNLABELLED])
def test_every_shape_gives_the_rows_of_the_plain_one(tmp_path, pipe, shape):
    data = {**SHAPES, **UNLABELLED}[shape].encode()
    (tmp_path / "a.csv").write_bytes(data)
    wrong = []
    samples, t, labels = taken(TextFile(tmp_path / "a.csv", SIGNAL).pieces(wrong.append))
    assert samples.tolist() == SAMPLES.astype(np.float32).tolist()
    assert t.tolist() == [float(row[0]) for row in ROWS] if "many" not in shape else T.tolist()
    assert labels == (LABELS if shape in SHAPES else None)
    assert len(wrong) == {"torn last line": 1, "a line of nonsense": 1, "boot messages": 2}.get(shape, 0)
    read, write = pipe
    write.write(data)
    write.close()
    with StdinLines(SIGNAL, file=read) as source, Replay(tmp_path / "a.csv", SIGNAL) as replay:
        for way in (source, replay):
            batches = list(way)
            assert np.concatenate([batch.samples for batch in batches]).tolist() == samples.tolist()
            assert np.concatenate([batch.t for batch in batches]).tolist() == t.tolist()
            assert way.counters.malformed == len(wrong)
            assert way.counters.samples == N


@pytest.fixture
def pipe():
    import os

    read, write = os.pipe()
    with open(write, "wb", buffering=0) as writer:
        yield read, writer
    os.close(read)


@example("name:value", False, [33], [1])
@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from([*SHAPES, *UNLABELLED]),
    untimed=st.booleans(),
    wrong_at=st.lists(st.integers(0, N), max_size=3),
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=5),
)
def test_pieces_of_any_size_give_the_same(shape, untimed, wrong_at, sizes):
    text = {**SHAPES, **UNLABELLED}[shape]
    if untimed:
        text = text.replace('"t"', '"u"').replace("t,", "u,", 1).replace("\nt", "\nu").replace("t:", "u:")
    lines = text.split("\n")
    for at in wrong_at:
        lines.insert(at, ["x", "1,2", ",,,,,", "\udcff", "7;8;9;x;y"][at % 5])
    data = "\n".join(lines).encode("utf-8", "surrogateescape")
    told, whole = [], None
    for cuts in ([len(data)], sizes):
        wrong = []
        try:
            samples, t, labels = taken(in_pieces(data, cuts, wrong))
            found = samples.tobytes(), None if t is None else t.tobytes(), labels
        except (InputError, ValueError) as error:  # no row at all, or other names
            found = str(error)
        whole = found if whole is None else whole
        told.append(wrong)
        assert found == whole
    assert told[0] == told[1]


decimals = st.from_regex(r"-?[0-9]{0,12}(\.[0-9]{0,9})?", fullmatch=True)
cells = (
    decimals | st.floats().map(repr) | st.integers().map(str) | st.sampled_from(["", " 1.5 ", "+1", "1e3", "x", "."])
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=20))
def test_numbers_are_those_of_float_bit_for_bit(rows):
    block = "".join(",".join(row) + "\n" for row in rows).encode()
    read = read_block(block, b",", 2, (0, 1), (), decimal=b".", number=Numbers())
    for row, values, strange in zip(rows, read.values, read.strange, strict=True):
        expected = [as_float(cell) for cell in row]
        assert strange == (None in expected)
        for value, true in zip(values, expected, strict=True):
            assert strange or struct.pack("d", value) == struct.pack("d", true) or np.isnan([value, true]).all()


def as_float(cell):
    try:
        return float(cell) if cell.strip() else np.nan
    except ValueError:
        return None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (text(HEAD, ROWS).encode("utf-16"), "expected text in UTF-8, got UTF-16 or UTF-32. Save it as UTF-8"),
        (text(["t", "ux", "uy", "uz", "label"], ROWS).encode(), "expected the channels acc_x, acc_y, gyro_z"),
        (text(["t", *NAMES, "acc_x"], ROWS).encode(), "expected column names that differ"),
    ],
)
def test_what_is_refused_is_refused_both_ways(tmp_path, pipe, data, message):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(InputError, match=message):
        Replay(tmp_path / "a.csv", SIGNAL)
    read, write = pipe
    write.write(data)
    write.close()
    with StdinLines(SIGNAL, file=read) as source, pytest.raises(InputError, match=message):
        list(source)


def test_seven_columns_without_names_are_not_guessed_at(tmp_path):
    (tmp_path / "a.csv").write_text(text(None, [[*row[:-1], "36.5"] for row in ROWS]))
    with Replay(tmp_path / "a.csv", SIGNAL) as replay:
        assert list(replay) == []
    assert replay.counters.malformed == N
    assert "5 columns, and the bundle has 3 channels; name them in a header" in replay.counters.first_malformed


def write_rows(path, n):
    row = "".join(f"{i / 50:.3f},1.2345,-9.8123,0.{i % 10},{'walking' if i % 5000 < 4000 else ''}\n" for i in range(n))
    path.write_text("t,acc_x,acc_y,gyro_z,label\n" + row)
    return path


def peak(action):
    tracemalloc.start()
    action()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_a_replay_takes_no_more_memory_for_a_longer_file(tmp_path):
    def play(n):
        path = write_rows(tmp_path / "a.csv", n)
        return peak(lambda: [None for _ in Replay(path, SIGNAL)])

    play(1000)
    short, long = play(20_000), play(100_000)
    assert long < short + 2e6  # labels of 131,072 rows are remembered
    assert long < 16e6


def test_a_recording_takes_little_more_memory_than_its_numbers(tmp_path):
    path = write_rows(tmp_path / "a.csv", 100_000)
    read = Recording.load(path)
    own = read.samples.nbytes + read.t.nbytes + read.labels.nbytes
    assert peak(lambda: Recording.load(path)) < 2.5 * own + 12e6


def test_true_labels_of_a_replay_are_those_of_the_recording(tmp_path):
    path = write_rows(tmp_path / "a.csv", 12_000)
    whole, replay = Recording.load(path), Replay(path, SIGNAL)
    for batch in replay:
        end_s = float(batch.t[-1]) + 0.02
        assert replay.true_label(end_s - 2.56, end_s) == whole.label_between(end_s - 2.56, end_s)
    assert replay.true_label(0.0, 2.56) == "walking"
    assert replay.true_label(80.0, 82.56) is None
    assert replay.true_label(79.0, 81.56) is None


@pytest.mark.parametrize("rate_hz", [25.0, 100.0, 104.0])
def test_a_files_own_times_win_over_the_rate_that_is_asked_for(tmp_path, rate_hz):
    n = 200
    t = np.arange(n) / rate_hz
    path = tmp_path / "a.csv"
    path.write_text("t,acc_x,acc_y,gyro_z\n" + "".join(f"{at:.6f},1,2,3\n" for at in t))
    assert Recording.load(path, 50.0).rate_hz == pytest.approx(rate_hz, rel=1e-4)
    np.savez(tmp_path / "a.npz", samples=np.zeros((n, 3)), channels=NAMES, t=t)
    assert Recording.load(tmp_path / "a.npz", 50.0).rate_hz == pytest.approx(rate_hz, rel=1e-4)
