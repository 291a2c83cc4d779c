import json
import os
import random
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import f1_score

from runtime import Bundle, Recording
from tests.commands.tools import (
    DATA,
    LABELS,
    MINE,
    copy_bundle,
    environment,
    listing,
    python,
    write_labels,
    write_turned,
)

PERSON = DATA / "person_6.npz"
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")


@pytest.fixture
def bundle(tmp_path):
    return copy_bundle(tmp_path)


# ---- help


@pytest.mark.parametrize("name", ["stream", "label", "finetune", "profile", "doctor", "demo"])
def test_help_has_examples_and_exit_codes(name):
    done = python("-m", f"sdk.{name}", "--help")
    assert done.returncode == 0
    assert not done.stderr
    assert f"usage: python -m sdk.{name}" in done.stdout
    assert f"examples:\n  python -m sdk.{name}" in done.stdout
    assert "exit codes: 0 done, 1 failed while running, 2 wrong use or bad input, 3 refused" in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_the_door_lists_every_command(arguments):
    done = python("-m", "sdk.cli", *arguments)
    assert done.returncode == (0 if arguments else 2)
    for name in ("demo", "stream", "label", "finetune", "profile", "doctor", "datasets", "pretrain"):
        assert f"\n  {name} " in done.stdout


def test_the_door_hands_over():
    """The same words but for those it was called by."""
    ours, theirs = (python("-m", *words, "--help").stdout for words in (("sdk.cli", "profile"), ("sdk.profile",)))
    assert ours.split() == theirs.replace("python -m sdk.", "sensedge ").split()


def test_the_door_does_not_know_everything():
    done = python("-m", "sdk.cli", "fly")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no command 'fly'; there are demo, info, stream, ")


@pytest.mark.parametrize(
    "arguments",
    [["sdk.stream", "x"], ["sdk.finetune", "x"], ["sdk.profile"], ["sdk.profile", "x", "--windows", "many"]],
)
def test_wrong_use(arguments):
    done = python("-m", *arguments)
    assert done.returncode == 2
    assert f"usage: python -m {arguments[0]}" in done.stderr
    assert "Traceback" not in done.stderr


# ---- stream


@pytest.mark.parametrize("chunk", ["16", "1000"])
def test_stream_in_json(bundle, chunk):
    done = python("-m", "sdk.stream", bundle, "--replay", PERSON, "--json", "--chunk", chunk)
    assert (done.returncode, done.stderr) == (0, "")
    *predictions, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(predictions) == last["scores"]["n"] == 357  # all windows of this person have one label
    true = [prediction["true"] for prediction in predictions]
    predicted = [prediction["label"] for prediction in predictions]
    assert last["bundle"] == "walk"
    assert last["version"] == "base"
    assert last["scores"]["macro_f1"] == pytest.approx(f1_score(true, predicted, average="macro"), abs=1e-12)
    assert last["scores"]["accuracy"] == pytest.approx(np.mean([a == b for a, b in zip(true, predicted, strict=True)]))
    for prediction in predictions:
        assert sum(prediction["probabilities"]) == pytest.approx(1)
        assert prediction["label"] == LABELS[int(np.argmax(prediction["probabilities"]))]
        assert prediction["probability"] == max(prediction["probabilities"])
        assert prediction["end_s"] - prediction["start_s"] == pytest.approx(2.56)


def test_stream_as_text(bundle):
    done = python("-m", "sdk.stream", bundle, "--replay", PERSON)
    header, *rest = done.stdout.splitlines()
    lines = [line for line in rest if " ms" in line]
    last, told, *more = rest[len(lines) :]
    assert more[-1] == f"source: {len(Recording.load(PERSON).samples)} rows read"
    assert header.split() == ["time", "prediction", "prob.", "true", "compute"]
    in_json = python("-m", "sdk.stream", bundle, "--replay", PERSON, "--json").stdout.splitlines()
    predictions = [json.loads(line) for line in in_json[:-1]]
    scores = json.loads(in_json[-1])["scores"]
    assert len(lines) == len(predictions)
    for line, prediction in zip(lines, predictions, strict=True):
        cells = line.split()
        assert cells[0] == f"{prediction['end_s']:.2f}"
        assert cells[2:5] == [prediction["label"], f"{prediction['probability']:.3f}", prediction["true"]]
        assert line.endswith("<- wrong") == (prediction["label"] != prediction["true"])
    assert 0 < sum(line.endswith("<- wrong") for line in lines) < len(lines)
    figures = f"accuracy {scores['accuracy']:.3f}, macro-F1 {scores['macro_f1']:.3f}"
    assert scores["macro_f1_classes"] == 6
    assert last == f"357 windows with a true label: {figures} over 6 of 6 classes"
    counters = json.loads(in_json[-1])["counters"]
    assert counters["windows"] == 357
    gaps, dropped = (counters[name] for name in ("gaps", "rows_dropped"))
    assert told == f"of {len(Recording.load(PERSON).samples)} samples: {gaps} gaps, {dropped} rows dropped"


def test_stream_of_a_csv_without_labels(tmp_path, bundle):
    samples = Recording.load(PERSON).samples[:640]
    path = tmp_path / "today.csv"
    rows = [",".join(map(repr, row)) for row in samples.tolist()]
    path.write_text("\n".join([",".join(CHANNELS), *rows]) + "\n")
    done = python("-m", "sdk.stream", bundle, "--replay", path)
    assert done.returncode == 0
    _, *lines, last, source = done.stdout.splitlines()
    assert len(lines) == 9
    assert last.startswith("accuracy, macro-F1: not measured (no window with a true label")
    assert source == "source: 640 rows read"
    done = python("-m", "sdk.stream", bundle, "--replay", path, "--json")
    *predictions, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert [prediction["true"] for prediction in predictions] == [None] * 9
    assert last["scores"]["n"] == 0
    assert last["scores"]["macro_f1"] is None


def test_a_reader_that_has_enough(bundle):
    command = [sys.executable, "-m", "sdk.stream", str(bundle), "--replay", str(PERSON), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as running:
        assert json.loads(running.stdout.readline())["label"] in LABELS
        running.stdout.close()
        assert running.stderr.read().endswith(b"not signed; whoever made it is trusted\n")
        assert running.wait(60) == 1


# ---- profile


def test_profile_in_json(bundle):
    done = python("-m", "sdk.profile", bundle, "--windows", "30", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["bundle"]["name"] == "walk"
    assert report["deadline"]["hops"] == report["latency"]["total"]["n"] == 30
    assert report["bundle"]["model_bytes"] == (bundle / "model.onnx").stat().st_size
    assert 0 < report["latency"]["engine"]["p50_s"] <= report["latency"]["total"]["p50_s"]
    assert report["workload"]["hop_s"] == 1.28
    assert all(stage["median_s"] > 0 for stage in report["cold_start"].values())


def test_profile_as_text(bundle):
    done = python("-m", "sdk.profile", bundle, "--windows", "30")
    assert done.returncode == 0
    assert done.stdout.startswith("walk, version base, model 298 kB; onnxruntime, float32, 1 thread\n")
    for part in (
        "30 windows, ms",
        "p99.9",
        "push to prediction",
        "deadline  ",
        "warm-up  ",
        "cold start  ",
        "memory  ",
    ):
        assert part in done.stdout
    (energy,) = [line for line in done.stdout.splitlines() if line.startswith("energy ")]
    assert "not measured (" in energy or " mJ per window" in energy


# ---- finetune


def test_finetune_then_list_then_rollback(tmp_path, bundle):
    common = ["--labels", write_turned(tmp_path), "--sure"]
    done = python("-m", "sdk.finetune", bundle, *common)
    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split("   ", 1) for line in done.stdout.splitlines())
    assert " walking" in lines["labelled windows"]
    assert lines["held-out labels"].strip().startswith("macro-F1 ")
    assert "(l2 " in lines["held-out labels"]
    assert "in use             0001 (accepted: " in done.stdout
    assert "energy " in done.stdout
    done = python("-m", "sdk.finetune", bundle, *common, "--json")
    report = json.loads(done.stdout)
    assert report["version"] == ("0002" if done.returncode == 0 else "0001")
    listed = json.loads(python("-m", "sdk.finetune", bundle, "--list", "--json").stdout)
    assert listed["current"] == report["version"]
    assert listed["versions"]["0001"]["parent"] == "base"
    table = python("-m", "sdk.finetune", bundle, "--list").stdout.splitlines()
    assert table[0].split()[0] == "version"
    first = listed["versions"]["0001"]
    (row,) = [line for line in table if line.startswith("0001")]
    assert all(f"{first[when]['macro_f1']:.3f}" in row for when in ("before", "after"))
    assert [line.split()[0] for line in table if line.rstrip().endswith("in use")] == [report["version"]]
    assert python("-m", "sdk.finetune", bundle, "--rollback", "base").stdout == "in use: base\n"
    streamed = python("-m", "sdk.stream", bundle, "--replay", DATA / "person_24.npz", "--json")
    assert json.loads(streamed.stdout.splitlines()[-1])["version"] == "base"
    back = python("-m", "sdk.finetune", bundle, "--rollback", "0001", "--json")
    assert (back.returncode, json.loads(back.stdout)) == (0, {"version": "0001"})


def test_finetune_refuses_labels_that_are_wrong(tmp_path, bundle):
    """Every class is named at random, a span at a time: nothing fitted to it holds on the rest."""
    rng, lines = random.Random(2), ["start_s,end_s,label"]
    for begin in (2, 112, 212, 302, 392, 502):
        lines += [f"{begin + 6 * i},{begin + 6 * i + 5.9},{rng.choice(LABELS)}" for i in range(10)]
    before = listing(bundle)
    labels = write_labels(tmp_path, "\n".join(lines) + "\n")
    done = python("-m", "sdk.finetune", bundle, "--labels", labels, "--recording", PERSON, "--anchor", "zero", "--json")
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    assert not report["accepted"]
    assert report["version"] == "base"
    assert report["reason"].startswith("not accepted, nothing was changed: ")
    assert listing(bundle) == before


def commit(bundle):
    opened = Bundle.open(bundle)
    opened.commit({"head.bias": opened.tensor("head.bias")}, {"by": "hand"})


def test_a_version_that_was_committed_without_scores_is_listed(bundle):
    commit(bundle)
    done = python("-m", "sdk.finetune", bundle, "--list")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].split() == ["0001", "hand", "in", "use"]


def test_two_writers(tmp_path, bundle):
    import fcntl

    (bundle / "personal").mkdir()
    handle = os.open(bundle / "personal", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    before = listing(bundle)
    done = python("-m", "sdk.finetune", bundle, "--rollback", "base")
    os.close(handle)
    assert_refused(done, "personal", "one writer at a time")
    assert listing(bundle) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_bundle_that_cannot_be_written(tmp_path, bundle):
    bundle.chmod(0o555)
    done = python("-m", "sdk.finetune", bundle, "--rollback", "base")
    bundle.chmod(0o755)
    assert done.returncode == 1
    assert done.stderr.startswith("error: [Errno 13] Permission denied")


def test_a_disk_that_is_full(bundle):
    """A limit on the size of files stands for it."""
    code = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1)); sys.argv = ['x', sys.argv[1], '--rollback', 'base'];"
        "runpy.run_module('sdk.finetune', run_name='__main__')"
    )
    done = python("-B", "-c", code, bundle)
    assert done.returncode == 1
    assert done.stderr == "error: [Errno 27] File too large\n"
    assert [path.name for path in (bundle / "personal").iterdir()] == []


# ---- bad input


def assert_refused(done, name, expected=""):
    """Exit code 2 and one line that says where, expected, got and what to do."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(".\n") or "--" in done.stderr.rsplit(". ", 1)[-1]
    assert done.stderr.startswith("error: ")
    where, message = done.stderr.removeprefix("error: ").split(": expected ", 1)
    assert name in where
    assert ", got " in message
    assert expected in message


def recording(path, samples=None, channels=CHANNELS, **arrays):
    samples = np.zeros((300, len(channels)), np.float32) if samples is None else samples
    np.savez(path, samples=samples, channels=channels, **{"rate_hz": 50.0, **arrays})
    return path


def with_nan():
    samples = np.zeros((300, 6), np.float32)
    samples[123, 4] = np.nan
    return samples


# name: (what makes the file, where the error says it is, what it says)
RECORDINGS = {
    "channels": (lambda p: recording(p / "r.npz", channels=CHANNELS[:5]), "r.npz", "5 channels (acc_x, acc_y, acc_z,"),
    "columns": (
        lambda p: recording(p / "r.npz", np.zeros((300, 5), np.float32)),
        "r.npz",
        "samples of shape (n, 6), a column for each of acc_x, acc_y, acc_z, gyro_x, gyro_y, gyro_z, got shape (300, 5)",
    ),
    "words": (lambda p: recording(p / "r.npz", np.full((300, 6), "x")), "r.npz: samples", "real numbers"),
    "complex": (
        lambda p: recording(p / "r.npz", np.zeros((300, 6), complex)),
        "r.npz: samples",
        "complex128",
    ),
    "objects": (
        lambda p: recording(p / "r.npz", np.full((300, 6), None)),
        "r.npz",
        ", got ",
    ),
    "truncated": (lambda p: truncated(shutil.copy(PERSON, p / "r.npz")), "r.npz", "a NumPy .npz archive, got "),
    "missing": (lambda p: p / "gone.npz", "gone.npz", "a file that can be read, got No such file or directory"),
    "folder": (lambda p: folder(p / "f.npz"), "f.npz", "a file that can be read, got Is a directory"),
    "suffix": (lambda p: truncated(p / "r.wav"), "r.wav", "a .csv or .npz file, got .wav"),
}


def truncated(path):
    with open(path, "ab") as file:
        file.truncate(os.path.getsize(path) // 2)
    return path


def folder(path):
    path.mkdir()
    return path


def text(path, content):
    path.write_text(content)
    return path


@pytest.mark.parametrize("name", RECORDINGS)
def test_bad_recordings(tmp_path, bundle, name):
    make, where, expected = RECORDINGS[name]
    path = make(tmp_path)
    before = listing(tmp_path)
    assert_refused(python("-m", "sdk.stream", bundle, "--replay", path), where, expected)
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (",".join(CHANNELS) + "\n1,2,3,4,5,6\n1,2,3,4,5,x\n", "2 rows are less than 2.56 s"),
        (
            ",".join(CHANNELS) + "\n1,2,3\n",
            "not one of 1 lines is a row; the first: '1,2,3' (3 columns, the header has 6)",
        ),
        ("", "nothing came"),
    ],
)
def test_text_of_which_nothing_is_predicted(tmp_path, bundle, content, why):
    done = python("-m", "sdk.stream", bundle, "--replay", text(tmp_path / "r.csv", content))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: nothing was predicted: {why}")


@pytest.mark.parametrize("name", ["channels", "missing"])
def test_bad_recordings_of_labels(tmp_path, bundle, name):
    make, where, expected = RECORDINGS[name]
    path, labels = make(tmp_path), write_labels(tmp_path)
    before = listing(tmp_path)
    done = python("-m", "sdk.finetune", bundle, "--labels", labels, "--recording", path)
    assert_refused(done, where, expected)
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("make", "windows", "told"),
    [
        (lambda p: recording(p / "r.npz", with_nan()), 1, {"not_finite": 1, "gaps": 1}),  # 123 rows, then 176
        (lambda p: recording(p / "r.npz", rate_hz=100.0), 1, {"not_finite": 0, "gaps": 0}),  # 3 s
        (lambda p: recording(p / "r.npz", rate_hz=25.0), 8, {"gaps": 0}),  # 12 s
        (lambda p: text(p / "r.csv", ",".join(CHANNELS) + "\n1,2,3,4,5,6\n1,2,nan,4,5,6\n"), 0, {"not_finite": 1}),
    ],
)
def test_recordings_with_holes_or_of_another_rate_are_played(tmp_path, bundle, make, windows, told):
    done = python("-m", "sdk.stream", bundle, "--replay", make(tmp_path), "--json")
    assert done.returncode == (0 if windows else 1)
    *predictions, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(predictions) == last["counters"]["windows"] == windows
    assert told.items() <= last["counters"].items()


def test_a_hole_costs_the_labelled_windows_that_touch_it(tmp_path, bundle):
    person = Recording.load(PERSON)
    samples, labels = person.samples.copy(), write_labels(tmp_path)
    samples[np.searchsorted(person.t, 30), 3] = np.nan  # amid "20,40,downstairs"
    facts = {"t": person.t, "labels": person.labels, "label_names": person.label_names}
    holed = recording(tmp_path / "r.npz", samples, **facts)
    lines = [
        python("-m", "sdk.finetune", bundle, "--labels", labels, "--recording", path, "--l2", "0.01").stdout
        for path in (PERSON, holed)
    ]
    whole, less = (int(re.search(r"(\d+) downstairs", line)[1]) for line in lines)
    assert whole - 3 <= less < whole


ALTERED = ("manifest.json", "model.onnx", "weights.safetensors", "golden.npz")


@pytest.mark.parametrize("file", ALTERED)
@pytest.mark.parametrize("how", ["truncated", "altered", "gone", "folder"])
def test_bad_bundles(tmp_path, bundle, file, how):
    path = bundle / file
    if how == "truncated":
        truncated(path)
    elif how == "altered":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
    else:
        path.unlink()
        if how == "folder":
            path.mkdir()
    before = listing(tmp_path)
    command = {
        "truncated": ["sdk.stream", bundle, "--replay", PERSON],
        "altered": ["sdk.finetune", bundle, "--labels", write_labels(tmp_path.parent), "--recording", PERSON],
        "gone": ["sdk.profile", bundle],
        "folder": ["sdk.finetune", bundle, "--rollback", "base"],
    }[how]
    expected = {
        "truncated": "JSON" if file == "manifest.json" else " bytes, got ",
        "altered": "" if file == "manifest.json" else "sha256 ",  # of a manifest, the byte may be one of a name
        "gone": "a file of a bundle, got No such file or directory. Check the path of the bundle.",
        "folder": "a file of a bundle, got Is a directory",
    }[how]
    assert_refused(python("-m", *command), f"walk.bundle/{file}", expected)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
@pytest.mark.parametrize(
    "command",
    [
        ["sdk.stream", "BUNDLE", "--replay", PERSON],
        ["sdk.profile", "BUNDLE"],
        ["sdk.finetune", "BUNDLE", "--list"],
        ["sdk.cli", "finetune", "BUNDLE", "--rollback", "base"],
    ],
    ids=["stream", "profile", "list", "rollback"],
)
def test_no_bundle(tmp_path, command, kind):
    path = tmp_path / "no.bundle"
    {"missing": lambda: None, "empty": path.mkdir, "file": path.touch}[kind]()
    before = listing(tmp_path)
    done = python("-m", *[path if part == "BUNDLE" else part for part in command])
    assert_refused(done, "no.bundle", "a file of a bundle, got No")
    assert listing(tmp_path) == before


SPANS = {
    "unknown label": ("20,40,flying", "mine.csv: line 2", "a label of the model: downstairs, upstairs, walking,"),
    "after the end": ("580,600,walking", "mine.csv: line 2", "start_s before end_s, both between 0 and 589.78 s of "),
    "no window": ("20,21,walking", "mine.csv", "spans of at least 2.56 s, the length of a window"),
    "one window": ("20,23.7,walking", "labels", "at least 2 labelled windows, got 1"),
    "no times": (",,walking", "mine.csv: line 2", "got nan to nan"),
}


@pytest.mark.parametrize("name", SPANS)
def test_bad_labels(tmp_path, bundle, name):
    line, where, expected = SPANS[name]
    labels = write_labels(tmp_path, f"start_s,end_s,label\n{line}\n")
    before = listing(tmp_path)
    done = python("-m", "sdk.finetune", bundle, "--labels", labels, "--recording", PERSON)
    assert_refused(done, where, expected)
    assert listing(tmp_path) == before


OPTIONS = {
    "chunk": (["sdk.stream", "BUNDLE", "--replay", PERSON, "--chunk", "0"], "--chunk", "at least 1, got 0"),
    "windows": (["sdk.profile", "BUNDLE", "--windows", "0"], "--windows", "at least 1, got 0"),
    "demo person": (["sdk.demo", "--person", "7"], "--person", "one of 6, 12, 18, 24, got 7"),
    "demo keep": (["sdk.demo", "--keep", "BUNDLE"], "--keep", "a name that is free, got "),
    "l2 0": (["sdk.finetune", "BUNDLE", "--labels", PERSON, "--l2", "0"], "--l2", "above 0, got 0.0"),
    "l2 nan": (["sdk.finetune", "BUNDLE", "--labels", PERSON, "--l2", "nan"], "--l2", "above 0, got nan"),
    "l2 inf": (["sdk.finetune", "BUNDLE", "--labels", PERSON, "--l2", "inf"], "--l2", "above 0, got inf"),
    "folds": (["sdk.finetune", "BUNDLE", "--labels", PERSON, "--folds", "1"], "--folds", "at least 2, got 1"),
    "no recording": (["sdk.finetune", "BUNDLE", "--labels", "LABELS"], "mine.csv: line 2", "a column recording"),
    "version": (["sdk.finetune", "BUNDLE", "--rollback", "0007"], "walk.bundle/personal/0007", "a personal version"),
    "no version": (["sdk.finetune", "BUNDLE", "--rollback", ""], "walk.bundle/personal", "a personal version"),
    "path": (["sdk.finetune", "BUNDLE", "--rollback", "../.."], "walk.bundle/personal", "a personal version"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_bad_options(tmp_path, bundle, name):
    arguments, where, expected = OPTIONS[name]
    arguments = [{"BUNDLE": bundle, "LABELS": tmp_path / "mine.csv"}.get(part, part) for part in arguments]
    write_labels(tmp_path)
    before = listing(tmp_path)
    done = python("-m", *arguments, cwd=tmp_path)
    assert_refused(done, where, expected)
    assert listing(tmp_path) == before


VERSIONS = {
    "weights altered": ("personal/0001/weights.safetensors", b"x", "personal/0001", "weights.safetensors of sha256"),
    "weights gone": ("personal/0001/weights.safetensors", None, "personal/0001", "weights.safetensors of sha256"),
    "record altered": ("personal/0001/record.json", b"[]", "personal/0001/record.json", "a JSON object, got []"),
    "record torn": ("personal/0001/record.json", b'{"a', "personal/0001/record.json", "a JSON object, got "),
    "current altered": ("personal/current", b"../../etc\n", "personal/current", "base or the name of a version"),
    "current dangling": ("personal/current", b"0009\n", "personal/0009", "a personal version, got no such folder"),
}


@pytest.mark.parametrize("name", VERSIONS)
def test_bad_versions_are_refused_and_base_is_the_way_back(bundle, name):
    file, content, where, expected = VERSIONS[name]
    commit(bundle)
    (bundle / file).unlink() if content is None else (bundle / file).write_bytes(content)
    before = listing(bundle)
    done = python("-m", "sdk.stream", bundle, "--replay", PERSON)
    assert_refused(done, where, expected)
    assert "--rollback base" in done.stderr
    assert listing(bundle) == before
    assert python("-m", "sdk.finetune", bundle, "--rollback", "base").returncode == 0
    assert python("-m", "sdk.profile", bundle, "--windows", "1").returncode == 0


def test_labels_are_what_this_file_thinks():
    assert {line.split(",")[2] for line in MINE.splitlines()[1:]} == set(LABELS)
