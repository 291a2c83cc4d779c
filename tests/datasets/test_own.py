"""Recordings of one's own as a data set: what dataset.toml says is done, and every format is read in its real shape."""

import json
import re
import sys
import types
import zipfile

import numpy as np
import pytest

from runtime.errors import InputError, MissingError
from sdk.datasets import __main__ as command
from sdk.datasets import dataset_info, load_dataset, split_by_subject, subject_of
from sdk.datasets.own.description import parse
from tests.datasets import own_files as made
from tests.datasets.own_files import PART_S, SPANS, TOML, G, motion, write_files, write_set, write_zip


def truth(recording, rate_hz, begin_s=0.0):
    """What `motion` has at a recording's times, without its noise: shape (n, 6)."""
    t = recording.t - recording.t[0] + begin_s
    moves, swing = (t >= PART_S)[:, None], np.sin(2 * np.pi * 2 * t)[:, None]
    acc = np.array([0.2, -0.3, 9.78]) + moves * swing * [2, 1, 4]
    return np.column_stack([acc, moves * swing * [1.0, 0.4, 0.2]])


def is_like(recording, rate_hz, begin_s=0.0):
    off = np.abs(recording.samples - truth(recording, rate_hz, begin_s))
    edge = np.abs(recording.t - recording.t[0] + begin_s - PART_S) < 0.05
    return bool((off[~edge] < 0.12).all())


def test_a_folder_stands_where_a_name_does(tmp_path):
    folder = write_set(tmp_path / "ward")
    info = dataset_info(str(folder))
    assert (info.name, info.labels, info.signal.units[0], info.signal.units[-1]) == (
        "ward",
        ("sitting", "walking"),
        "m/s^2",
        "rad/s",
    )
    assert (info.n_subjects, info.names_subjects) == (2, True)
    recordings = load_dataset(str(folder))
    assert [r.name for r in recordings] == ["own/ward/anna_1", "own/ward/ben_1"]
    assert [subject_of(r) for r in recordings] == ["ward:anna", "ward:ben"]
    assert all(is_like(r, 50) for r in recordings)
    assert np.bincount(recordings[0].labels).tolist() == [400, 400]
    assert [r.subject for r in split_by_subject(recordings, ["ward:ben"])[1]] == ["ben"]


def test_a_zip_does_as_well(tmp_path):
    folder = write_set(tmp_path / "ward")
    write_zip(tmp_path / "w.zip", {f"ward/{path.name}": path.read_text() for path in folder.iterdir()})
    one, other = load_dataset(str(folder)), load_dataset(str(tmp_path / "w.zip"))
    assert [r.name for r in one] == [r.name for r in other]
    assert all((a.samples == b.samples).all() for a, b in zip(one, other, strict=True))


def test_a_zip_that_leads_out_of_its_folder_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr("../dataset.toml", TOML)
    with pytest.raises(InputError, match=r"expected files inside of it, got \.\./dataset.toml"):
        dataset_info(str(tmp_path / "w.zip"))


def test_units_axes_and_columns_are_turned(tmp_path):
    toml = """
name = "ward"
rate_hz = 50
[signal.acc]
unit = "g"
columns = ["one", "two", "three"]
axes = "y,-x,z"
[signal.gyro]
unit = "deg/s"
[people]
pattern = "{subject}_*"
"""
    write_set(tmp_path, toml, ("anna",), scale=(G, np.pi / 180), header="t,one,two,three,gx,gy,gz")
    [recording] = load_dataset(str(tmp_path))
    plain = truth(recording, 50)
    assert (
        np.abs(recording.samples[:390, :3] - np.stack([plain[:, 1], -plain[:, 0], plain[:, 2]], 1)[:390]).max() < 0.12
    )
    assert np.abs(recording.samples[410:, 3:] - plain[410:, 3:]).max() < 0.05


def test_people_and_labels_by_column(tmp_path):
    t, acc, gyro = motion()
    rows = [
        [f"{s:.3f}", *(f"{v:.4f}" for v in a), *(f"{v:.4f}" for v in g), who, what]
        for who in ("p7", "p8")
        for s, a, g, what in zip(t, acc, gyro, np.where(t < PART_S, "Sit still", "WALK"), strict=True)
    ]
    text = "\n".join(",".join(row) for row in [["t", *"abcdef", "who", "klass"], *rows])
    (tmp_path / "all.csv").write_text(text + "\n")
    toml = TOML.replace("[signal.acc]", '[signal.acc]\ncolumns = ["a", "b", "c"]')
    toml = toml.replace("[signal.gyro]", '[signal.gyro]\ncolumns = ["d", "e", "f"]')
    toml += '[people]\ncolumn = "who"\n[labels]\ncolumn = "klass"\nnames = ["walk", "sit_still"]\n'
    (tmp_path / "dataset.toml").write_text(toml)
    found = load_dataset(str(tmp_path))
    assert [(r.subject, len(r.samples), r.name) for r in found] == [
        ("p7", 800, "own/ward/all/p7_1"),
        ("p8", 800, "own/ward/all/p8_1"),
    ]
    assert found[1].label_names == ("walk", "sit_still")
    assert np.bincount(found[1].labels).tolist() == [400, 400]


def test_labels_are_renamed_and_left_out_in_any_case(tmp_path):
    toml = (
        TOML + '[people]\npattern = "{subject}_*"\n[labels]\nleave_out = ["SITTING"]\nrename = {Walking = "marching"}\n'
    )
    [recording] = load_dataset(str(write_set(tmp_path, toml, ("anna",))))
    assert recording.label_names == ("marching",)
    assert np.bincount(recording.labels + 1).tolist() == [400, 400]


def test_a_label_that_is_not_named_is_refused(tmp_path):
    toml = TOML + '[labels]\nnames = ["sitting", "walkin"]\n'
    with pytest.raises(
        InputError, match=r"expected labels among sitting, walkin, got 'walking'. Did you mean walkin\?"
    ):
        load_dataset(str(write_set(tmp_path, toml, ("anna",))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TOML + "[lables]\n", r"dataset.toml: lables: expected one of the keys .*, got lables. Did you mean labels\?"),
        (TOML + "unitt = 'g'\n", r"signal.gyro.unitt: .* Did you mean unit\?"),
        (TOML + "[people]\npatern = '{subject}'\n", r"people.patern: .* Did you mean pattern\?"),
        (TOML + "[people]\npattern = '{subjekt}'\n", r"people.pattern: expected \{subject\}, .* got subjekt"),
        (TOML + "[labels]\nunit = 'min'\n", "labels.unit: expected one of s, ms, .* got min"),
        (TOML + "[labels]\ncolumn = 'a'\nspans = 'b'\n", "labels: expected a column or spans, got both"),
        (TOML + "[labels]\nnames = [1, 2]\n", "labels.names: expected texts in quotes"),
        (TOML.replace("50", '"50"'), "rate_hz: expected a number, got 50"),
        (TOML.replace("50", "true"), "rate_hz: expected a number, got True"),
        (TOML.replace('"ward"', '"hapt"'), "name: expected a word of its own .*, got hapt, a public data set"),
        ('name = "ward"\n', "rate_hz: expected to be there, got nothing"),
        (TOML + "[signal.heart]\n", "signal.heart.unit: expected its unit, got none"),
        (TOML + "signs = 'windows'\n", "signal.gyro.signs: expected android or ios, got windows"),
        ("name = ward\n", "expected a file in TOML, got"),
    ],
)
def test_dataset_toml_is_read_strictly(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


# ---- formats


def logged(folder, toml=""):
    (folder / "dataset.toml").write_text(TOML + toml)
    return load_dataset(str(folder))


@pytest.mark.parametrize("packed", [True, False])
def test_sensor_logger(tmp_path, packed):
    """Each sensor with its own times and rate; the acceleration with gravity is taken, though both are there."""
    if packed:
        write_zip(tmp_path / "anna_1.zip", made.sensor_logger())
    else:
        write_files(tmp_path / "anna_1", made.sensor_logger())
    [recording] = logged(tmp_path, '[people]\npattern = "{subject}_*"\n')
    assert (recording.subject, recording.name) == ("anna", "own/ward/anna_1")
    assert recording.t[0] == pytest.approx(1717400000.013, abs=1e-6)
    assert recording.rate_hz == pytest.approx(100, abs=0.01)
    assert is_like(recording, 100, 0.01)


def test_sensor_logger_json(tmp_path):
    (tmp_path / "anna.json").write_text(made.sensor_logger_json())
    [recording] = logged(tmp_path)
    assert recording.rate_hz == pytest.approx(100, abs=0.01)
    assert is_like(recording, 100, 0.01)


def test_phyphox(tmp_path):
    write_zip(tmp_path / "anna.zip", made.phyphox())
    write_files(tmp_path / "ben", made.phyphox())
    found = logged(tmp_path)
    assert [r.name for r in found] == ["own/ward/anna", "own/ward/ben"]
    assert all(is_like(r, 100) for r in found)


def test_files_of_sensors_beside_one_another(tmp_path):
    t, acc, _ = motion(0, 100.0)
    slow, _, gyro_slow = motion(0, 40.0)
    for person in ("anna", "ben"):
        (tmp_path / f"{person}-2_accel.csv").write_text(made.lines("t,x,y,z", np.column_stack([t, acc / G])))
        (tmp_path / f"{person}-2_gyr.csv").write_text(made.lines("t,x,y,z", np.column_stack([slow, gyro_slow])))
    (tmp_path / "dataset.toml").write_text(
        TOML.replace("[signal.acc]", '[signal.acc]\nunit = "g"')
        + '[people]\npattern = "{subject}-{session}_{sensor}"\n'
    )
    found = load_dataset(str(tmp_path))
    assert [(r.subject, r.name) for r in found] == [("anna", "own/ward/anna-2"), ("ben", "own/ward/ben-2")]
    assert np.abs(found[0].samples[:, :3] - acc[: len(found[0].samples)]).max() < 1e-3
    assert len(found[0].samples) == pytest.approx(len(t), abs=3)


def test_new_sees_files_of_sensors_beside_one_another(tmp_path, capsys):
    t, acc, gyro = motion(0, 100.0)
    for person in ("anna", "ben"):
        (tmp_path / f"{person}_1_accel.csv").write_text(made.lines("t,x,y,z", np.column_stack([t, acc / G])))
        (tmp_path / f"{person}_1_gyr.csv").write_text(made.lines("t,x,y,z", np.column_stack([t, gyro])))
    assert run(capsys, "new", tmp_path)[0] == 0
    its = parse((tmp_path / "dataset.toml").read_text())
    assert (its.pattern, its.rate_hz) == ("{subject}_{session}_{sensor}", 100)
    assert [(s.name, s.unit) for s in its.sensors] == [("acc", "g"), ("gyro", "rad/s")]
    assert [r.subject for r in load_dataset(str(tmp_path))] == ["anna", "ben"]


def edge_impulse_files(folder, dump=json.dumps, suffix=".json"):
    for person in ("anna", "ben"):
        for part, label in enumerate(("sitting", "walking")):
            path = folder / "training" / f"{label}.{person}{suffix}"
            path.parent.mkdir(exist_ok=True)
            data = dump(made.edge_impulse(part, person))
            path.write_bytes(data if isinstance(data, bytes) else data.encode())


def check_edge_impulse(found):
    assert [(r.subject, r.label_names[r.labels[0]], r.rate_hz) for r in found] == [
        ("anna", "sitting", 62.5),
        ("ben", "sitting", 62.5),
        ("anna", "walking", 62.5),
        ("ben", "walking", 62.5),
    ]
    assert np.allclose(found[0].samples[:, :3].mean(0), [0.2, -0.3, 9.78], atol=0.01)


def test_edge_impulse(tmp_path):
    edge_impulse_files(tmp_path)
    check_edge_impulse(logged(tmp_path, '[people]\npattern = "{label}.{subject}"\n'))


def test_edge_impulse_with_its_own_list_of_labels(tmp_path):
    edge_impulse_files(tmp_path)
    files = [
        {"path": f"training/{label}.{person}.json", "category": "training", "label": {"type": "label", "label": label}}
        for person in ("anna", "ben")
        for label in ("sitting", "walking")
    ]
    (tmp_path / "info.labels").write_text(json.dumps({"version": 1, "files": files}))
    check_edge_impulse(logged(tmp_path, '[people]\npattern = "*.{subject}"\n[labels]\nspans = "info.labels"\n'))


def test_edge_impulse_in_cbor(tmp_path):
    cbor2 = pytest.importorskip("cbor2")
    edge_impulse_files(tmp_path, cbor2.dumps, ".cbor")
    check_edge_impulse(logged(tmp_path, '[people]\npattern = "{label}.{subject}"\n'))


@pytest.mark.parametrize(
    ("file", "package", "extra"),
    [("a.cbor", "cbor2", "own"), ("a.cwa", "actipy", "actipy"), ("a.gt3x", "actipy", "actipy")],
)
def test_what_needs_a_package_says_which(tmp_path, monkeypatch, file, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / file).write_bytes(b"\0")
    with pytest.raises(
        MissingError, match=rf'{file}: expected the package {package}.* pip install "sensedge\[{extra}\]"'
    ):
        logged(tmp_path)


def test_axivity_through_actipy(tmp_path, monkeypatch):
    """The package's table: x, y, z in g over an index of times; every processing of it is switched off."""
    t, acc, _ = motion(0, 100.0)
    asked = {}

    def read_device(path, **options):
        asked.update(options, path=path)
        table = {axis: acc[:, i] / G for i, axis in enumerate("xyz")}
        index = types.SimpleNamespace(values=(1.7e18 + t * 1e9).astype("datetime64[ns]"))
        return types.SimpleNamespace(index=index, __getitem__=table.__getitem__, **table), {}

    class Table(dict):
        index = None

    def as_table(path, **options):
        found, info = read_device(path, **options)
        table = Table({axis: getattr(found, axis) for axis in "xyz"})
        table.index = found.index
        return table, info

    monkeypatch.setitem(sys.modules, "actipy", types.SimpleNamespace(read_device=as_table))
    (tmp_path / "anna.cwa.gz").write_bytes(b"\0")
    (tmp_path / "dataset.toml").write_text('name = "w"\nrate_hz = 100\n[signal.acc]\n')
    [recording] = load_dataset(str(tmp_path))
    assert np.abs(recording.samples - acc).max() < 1e-3
    assert recording.t[-1] - recording.t[0] == pytest.approx(t[-1], abs=1e-5)
    assert asked["lowpass_hz"] is asked["resample_hz"] is None
    assert not asked["calibrate_gravity"]


def test_nothing_that_can_be_read_is_said(tmp_path):
    (tmp_path / "notes.md").write_text("no")
    with pytest.raises(InputError, match=r"expected recordings \(\.csv, .*\), got none"):
        logged(tmp_path)


def test_a_file_that_the_pattern_does_not_fit(tmp_path):
    made.write_csv(tmp_path / "anna.csv")
    with pytest.raises(InputError, match=r"anna.csv: expected a name like \{subject\}_\{session\}, got anna"):
        logged(tmp_path, '[people]\npattern = "{subject}_{session}"\n')


# ---- new, check


def run(capsys, *words):
    code = command.main([str(word) for word in words])
    return code, capsys.readouterr()


def test_new_guesses_and_check_agrees(tmp_path, capsys):
    folder = write_set(tmp_path / "ward", scale=(G, np.pi / 180), rate_hz=104.0)
    (folder / "dataset.toml").unlink()
    code, printed = run(capsys, "new", folder)
    assert code == 0
    assert "signal.acc.unit = g: its norm is 0.99" in printed.out
    assert "signal.gyro.unit = deg/s: " in printed.out
    assert "rate_hz = 104: by the times" in printed.out
    assert "people are anna, ben" in printed.out
    assert "labels.names = sitting, walking" in printed.out
    its = parse((folder / "dataset.toml").read_text())
    assert (its.name, its.rate_hz, its.pattern, its.labels.column) == ("ward", 104, "{subject}_{session}", "activity")
    assert [(s.name, s.unit) for s in its.sensors] == [("acc", "g"), ("gyro", "deg/s")]
    code, printed = run(capsys, "check", folder)
    assert code == 0
    assert "problem" not in printed.out
    assert "at rest      acc 9.79 m/s^2" in printed.out
    assert all(is_like(r, 104) for r in load_dataset(str(folder)))


def test_new_never_overwrites(tmp_path, capsys):
    folder = write_set(tmp_path / "ward")
    before = (folder / "dataset.toml").read_text()
    code, printed = run(capsys, "new", folder)
    assert (code, (folder / "dataset.toml").read_text()) == (2, before)
    assert "expected no such file yet, got one" in printed.err


def test_new_sees_spans_and_sensors(tmp_path, capsys):
    write_files(tmp_path / "anna_1", made.sensor_logger())
    write_files(tmp_path / "ben_1", made.sensor_logger())
    rows = [f"{who}_1,{s:g},{e:g},{label}" for who in ("anna", "ben") for s, e, label in [*SPANS, (3, 4, "null")]]
    (tmp_path / "marks.csv").write_text("\n".join(["recording,begin,end,label", *rows]) + "\n")
    assert run(capsys, "new", tmp_path)[0] == 0
    its = parse((tmp_path / "dataset.toml").read_text())
    assert (its.labels.spans, its.labels.unit, its.labels.origin) == ("marks.csv", "s", "start")
    assert its.labels.leave_out == ("null",)
    assert its.labels.names == ("sitting", "walking")
    assert its.rate_hz == 100
    assert run(capsys, "check", tmp_path)[0] == 0


def test_check_as_json(tmp_path, capsys):
    folder = write_set(tmp_path / "ward", people=("anna", "ben", "cleo"))
    code, printed = run(capsys, "check", folder, "--json")
    [found] = json.loads(printed.out)
    assert code == 0
    assert (found["people"], found["recordings"], found["labels"]) == (3, 3, ["sitting", "walking"])
    assert found["seconds"]["ben"] == {"sitting": 8.0, "walking": 8.0}
    assert found["windows"]["walking"] == 12
    assert found["problems"] == []


@pytest.mark.parametrize(
    ("options", "toml", "problem"),
    [
        ({"scale": (G, 1)}, "", r"acc: \|acc\| at rest is 1.00 m/s\^2 in all recordings, .*; perhaps unit = \"g\""),
        ({"scale": (1, np.pi / 180)}, "", r"gyro: 5\d rad/s in anna_1, ben_1, more than a sensor measures: deg/s\?"),
        ({"people": ("anna",)}, "", "all recordings are of one person"),
        ({"labelled": False}, "", "expected windows of two labels at least, got those of none"),
        ({}, '[labels]\nleave_out = ["sitting"]\n', "expected windows of two labels at least, got those of walking"),
    ],
)
def test_check_finds_what_cannot_be_trained_on(tmp_path, capsys, options, toml, problem):
    whole = TOML + '[people]\npattern = "{subject}_{session}"\n' + toml
    folder = write_set(tmp_path / "ward", whole, **options)
    code, printed = run(capsys, "check", folder)
    assert code == 1
    lines = [line for line in printed.out.splitlines() if line.strip().startswith("problem")]
    assert any(re.search(problem, line) for line in lines), printed.out


def test_check_finds_gravity_that_is_missing(tmp_path, capsys):
    t, acc, gyro = motion()
    for who in ("anna", "ben"):
        table = np.column_stack([t, acc - [0.2, -0.3, 9.78], gyro])
        (tmp_path / f"{who}_1.csv").write_text(made.lines("t,ax,ay,az,gx,gy,gz", table))
    rows = [f"{who}_1,{s:g},{e:g},{label}" for who in ("anna", "ben") for s, e, label in SPANS]
    (tmp_path / "labels.csv").write_text("\n".join(["recording,start_s,end_s,label", *rows]) + "\n")
    toml = TOML + '[people]\npattern = "{subject}_*"\n[labels]\nspans = "labels.csv"\n'
    (tmp_path / "dataset.toml").write_text(toml)
    code, printed = run(capsys, "check", tmp_path)
    assert code == 1
    assert "it was freed of gravity: record the total acceleration, or say gravity = false" in printed.out
    (tmp_path / "dataset.toml").write_text(toml.replace("[signal.acc]", "[signal.acc]\ngravity = false"))
    assert run(capsys, "check", tmp_path)[0] == 0


def test_check_finds_doubts(tmp_path, capsys):
    """Another rate, a person without a class, spans that overlap, end late or are too short, a short recording."""
    for who, rate_hz in (("anna", 50.0), ("ben", 100.0), ("cleo", 50.0)):
        made.write_csv(tmp_path / f"{who}_1.csv", rate_hz=rate_hz, labelled=False)
    short = "\n".join((tmp_path / "anna_1.csv").read_text().splitlines()[:60])
    (tmp_path / "dan_1.csv").write_text(short + "\n")
    rows = [f"{who}_1,{s:g},{e:g},{label}" for who in ("anna", "ben") for s, e, label in SPANS]
    rows += [
        "cleo_1,0,8,Sitting",
        "anna_1,7,9,Walking",
        "ben_1,15,16.4,walking",
        "cleo_1,20,30,walking",
        "dan_1,0,1,sitting",
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["recording,start_s,end_s,label", *rows]) + "\n")
    toml = TOML + '[people]\npattern = "{subject}_*"\n[labels]\nspans = "labels.csv"\n'
    (tmp_path / "dataset.toml").write_text(toml)
    code, printed = run(capsys, "check", tmp_path)
    assert code == 0
    for doubt in (
        "rate_hz is 50, and by their times ben_1 have 100 Hz: they are brought to 50 Hz",
        "cleo: no window of walking",
        "1 of 4 recordings gave no window, because 1 are shorter than a window of 2.56 s",
        "1 spans have another label than one that they overlap",
        "2 spans begin before or end after their recording",
        "cleo_1: 1 of 2 spans lie outside of it, the first labels.csv: line 9",
        "3 of 9 spans are shorter than a window of 2.56 s",
    ):
        assert doubt in printed.out, (doubt, printed.out)
