"""Text from strangers: names of a manifest that cannot be printed are refused; all else is escaped where shown."""

import copy
import json
import re
import shutil
import sqlite3

import numpy as np
import pytest

from runtime.bundle import Manifest
from runtime.command import Progress, guarded, note, say, table
from runtime.errors import BundleError, InputError, printable
from runtime.recording import Recording
from sdk.label import main as label
from sdk.stream import main as stream
from tests.commands.tools import DATA, copy_bundle

ESCAPES = {
    "a title and a red screen": "\x1b]0;pwned\x07\x1b[2J\x1b[31m",
    "a carriage return": "ok\rerror",
    "a new line": "ok\nerror: all is well",
    "a backspace": "a\x08b",
    "the eight-bit escape": "\x9b31m",
    "text from right to left": "\u202egnp.exe",
    "no width": "wal\u200bking",
    "a separator of lines": "a\u2028b",
    "a delete": "a\x7f",
    "nothing at all": "\x00",
}
PLAIN = json.loads((DATA / "walk.bundle" / "manifest.json").read_text())


def at(*way):
    def put(manifest, text):
        for key in way[:-1]:
            manifest = manifest[key]
        manifest[way[-1]] = text

    return put


def a_field(manifest, text):
    manifest[text] = 1


def a_field_inside(manifest, text):
    manifest["signal"][text] = 1


def a_key_of_the_provenance(manifest, text):
    manifest["provenance"][text] = 1


def a_file(manifest, text):
    manifest["files"][text] = manifest["files"]["model.onnx"]


PLACES = {
    "name": at("name"),
    "a label": at("labels", 2),
    "a modality": at("signal", "modalities", 0, "name"),
    "a unit": at("signal", "modalities", 0, "unit"),
    "a channel": at("signal", "modalities", 0, "channels", 1),
    "a tensor": at("tensors", 0, "name"),
    "the head": at("head", "weight"),
    "a cut": at("training", 0, "cut"),
    "a trained tensor": at("training", 0, "tensors", 0),
    "a hash": at("files", "model.onnx", "sha256"),
    "the schema": at("schema"),
    "a field": a_field,
    "a field inside": a_field_inside,
    "a file": a_file,
    "a key of the provenance": a_key_of_the_provenance,
}


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
@pytest.mark.parametrize("put", PLACES.values(), ids=PLACES)
def test_a_manifest_with_it_is_refused_in_printable_words(put, text):
    manifest = copy.deepcopy(PLAIN)
    put(manifest, text)
    with pytest.raises(BundleError) as caught:
        Manifest.from_json(json.dumps(manifest))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["Gehen", "gehen-日本", "x^2 + y", "ходьба", "🚶 walk", "é"])
def test_what_can_be_printed_is_taken(name):
    manifest = copy.deepcopy(PLAIN)
    manifest["labels"][2] = manifest["name"] = name
    assert Manifest.from_json(json.dumps(manifest)).labels[2] == name


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
def test_free_text_may_have_lines_and_nothing_else(text, tmp_path, capsys):
    pytest.importorskip("onnx")
    from exporters.__main__ import main

    manifest = copy.deepcopy(PLAIN)
    manifest["provenance"] = {"note": f"first\n\tsecond {text}"}
    if "\n" not in text:
        with pytest.raises(BundleError, match="provenance: note: expected text that can be printed"):
            Manifest.from_json(json.dumps(manifest))
        return
    bundle = copy_bundle(tmp_path)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert main(["inspect", str(bundle)]) == 0
    assert "\t" not in capsys.readouterr().out


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
def test_whatever_says_something_escapes_it(text, capsys, monkeypatch):
    def fail():
        raise InputError(text, expected=text, got=text, fix=text)

    def fail_otherwise():
        raise OSError(text)

    assert guarded(fail) == 2
    assert guarded(fail_otherwise) == 1
    note(text)
    say(text.replace("\n", ""))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    Progress().show(1, 2, text)
    out, err = capsys.readouterr()
    err = err.replace("\r\033[K", "")  # our own
    assert all(line.isprintable() for line in (*out.split("\n"), *err.split("\n")))
    assert err.count("\n") == 3
    assert all(line.isprintable() for line in table([(text, text)], ("a", text)).split("\n"))


def test_what_can_be_printed_stays():
    for text in ("", "a b", "é日本🚶", "a\\b"):
        assert printable(text) == text
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"
    assert printable("\udc80") == "\\udc80"
    assert printable(3) == "3"


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
def test_true_labels_of_a_recording(text, tmp_path, capsys):
    person = Recording.load(DATA / "person_6.npz")
    names = np.array([f"{name}{text}x" for name in person.label_names])
    few = slice(0, 400)
    np.savez(
        tmp_path / "r.npz",
        samples=person.samples[few],
        channels=np.array(person.channels),
        rate_hz=person.rate_hz,
        labels=person.labels[few],
        label_names=names,
    )
    assert stream([str(DATA / "walk.bundle"), "--replay", str(tmp_path / "r.npz")]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) >= 5
    assert all(line.isprintable() for line in (*out.split("\n"), *err.split("\n")))


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
@pytest.mark.parametrize("words", [("list",), ("undo",), ("mark", "12:00-12:01", "walkin"), ("export", "x.npz")])
def test_names_of_a_foreign_store(words, text, tmp_path, capsys, monkeypatch, foreign):
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect(foreign) as db:
        db.execute("UPDATE labels SET name = name || ?", (text,))
        db.execute("UPDATE marks SET label = label || ?", (text,))
        names = json.loads(db.execute("SELECT labels FROM models").fetchone()[0])
        db.execute("UPDATE models SET labels = ?", (json.dumps([name + text for name in names]),))
    label([str(foreign), *words])
    out, err = capsys.readouterr()
    assert out or err
    assert "\nerror: all" not in out + err
    assert all(line.isprintable() for line in (*out.split("\n"), *err.split("\n")))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A store with a mark, as one file."""
    from runtime.recorder import Store

    path = tmp_path_factory.mktemp("recorded") / "me.db"
    words = [str(DATA / "walk.bundle"), "--replay", str(DATA / "person_6.npz"), "--record", str(path), "--json"]
    assert stream(words) == 0
    with Store(path) as store:
        begin_s, end_s = store.span_s
        store.mark(begin_s, (begin_s + end_s) / 2, "walking", 0.0)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    return path


@pytest.fixture
def foreign(recorded, tmp_path):
    return shutil.copy(recorded, tmp_path / "me.db")


def test_names_in_a_graph(tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    import hashlib

    from exporters.__main__ import main

    bundle = copy_bundle(tmp_path)
    manifest = json.loads((bundle / "manifest.json").read_text())
    data = (bundle / "model.onnx").read_bytes() + onnx.ModelProto(producer_name="\x1b[2J").SerializeToString()
    manifest["files"]["model.onnx"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (bundle / "model.onnx").write_bytes(data)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert main(["inspect", str(bundle)]) == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", capsys.readouterr().out)
