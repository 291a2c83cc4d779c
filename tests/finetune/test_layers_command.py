"""`python -m sdk.finetune --method ...` in this process: what it prints, its exit codes, its one-line errors."""

import json
import shutil
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

import sdk.demo
from exporters.training import add_training
from runtime import Bundle
from sdk.finetune.__main__ import main
from sdk.meters import NoMeter
from tests.bundles_small import without_note

DATA = Path(sdk.demo.__file__).parent / "data"
PERSON = DATA / "person_24.npz"
STEPS = ("--sure", "--method", "layers", "--epochs", "5", "--judge", "one")


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setattr("sdk.meters.open_meter", lambda: NoMeter("none in a test"))
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    path = shutil.copytree(DATA / "walk.bundle", tmp_path_factory.mktemp("walk") / "walk.bundle")
    add_training(path)
    return path


@pytest.fixture
def bundle(walk, tmp_path):
    return shutil.copytree(walk, tmp_path / "walk.bundle")


@pytest.fixture
def labels(tmp_path):
    """Spans of a quarter of a minute in the middle of each activity."""
    from runtime import Recording

    recording = Recording.load(PERSON)
    rows = ["start_s,end_s,label"]
    for label, name in enumerate(recording.label_names):
        at = [i for i, value in enumerate(recording.labels) if value == label]
        begin = at[len(at) // 2] / recording.rate_hz
        rows.append(f"{begin:.2f},{begin + 8:.2f},{name}")
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def command(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out = capsys.readouterr()
    return code, out.out, without_note(out.err)


def test_layers_are_trained_listed_and_taken_back(bundle, labels, capsys):
    common = (bundle, "--labels", labels, "--recording", PERSON)
    code, out, err = command(capsys, *common, *STEPS, "--json")
    report = json.loads(out)
    assert (code, err) == (0 if report["accepted"] else 3, "")
    assert report["plan"]["method"] == "layers"
    assert report["training"]["layers"] == [3, 4]
    assert {"prefix", "judging", "training"} <= report["phases"].keys()
    assert report["phases"]["training"]["energy"]["joules"] is None
    code, out, _ = command(capsys, *common, *STEPS, "--keep", "0", "--budget-seconds", "60", "--budget-mb", "60")
    assert "golden windows     " in out
    assert "layers 3, 4 (59782 parameters), 5 epochs of batches of 16, 2 times" in out
    assert "MB predicted)" in out
    assert "energy             not measured (no meter: none in a test)" in out
    assert ("accepted: no worse" in out) == (code == 0)
    assert ("not accepted, nothing was changed" in out) == (code == 3)
    assert command(capsys, bundle, "--list")[0] == 0
    assert command(capsys, bundle, "--rollback", "base")[1] == "in use: base\n"
    assert Bundle.open(bundle).version == "base"


def test_a_version_that_is_worse_is_refused(bundle, labels, capsys):
    code, out, _ = command(capsys, bundle, "--labels", labels, "--recording", PERSON, *STEPS, "--learning-rate", "0.3")
    assert code == 3
    assert "in use             base (not accepted, nothing was changed: " in out
    assert not (bundle / "personal").exists()


def test_layers_of_a_bundle(bundle, capsys):
    code, out, _ = command(capsys, bundle, "--layers")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["layer", "parameters", "training", "can", "start", "here"]
    assert lines[2].split() == ["0", "encoder.blocks.0", "128", "yes"]
    assert lines[-1].split() == ["4", "head", "18438", "yes"]
    rows = json.loads(command(capsys, bundle, "--layers", "--json")[1])
    assert [row["starts"] for row in rows] == [True] * 5
    assert sum(row["parameters"] for row in rows) == 72998


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--sure", "--method", "layers", "--from-layer", "9"),
            "error: from_layer: expected 0 to 4, the head's, got 9. ",
        ),
        (("--epochs", "3"), "error: --epochs: expected one of the methods layers, full and iterative, got head, "),
        (
            ("--sure", "--method", "full", "--gamma", "1,2"),
            "error: gamma: expected one number, or 4: one per layer of the encod",
        ),
        ((*STEPS, "--budget-joules", "5"), "error: budget.joules: expected a meter of energy, got none: none in a te"),
        ((*STEPS, "--budget-mb", "1"), "error: budget.megabytes: expected at least "),
        (
            ("--sure", "--method", "full", "--optimiser", "sgd", "--learning-rate", "1e30"),
            "error: training: expected a finite loss, got ",
        ),
    ],
)
def test_one_line_and_exit_code_2(bundle, labels, capsys, options, message):
    code, out, err = command(capsys, bundle, "--labels", labels, "--recording", PERSON, *options)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert err.count("\n") == 1
    assert not (bundle / "personal").exists()


def test_a_bundle_without_graphs(tmp_path, labels, capsys):
    bare = shutil.copytree(DATA / "walk.bundle", tmp_path / "bare.bundle")
    if not Bundle.open(bare).manifest.training:
        code, _, err = command(capsys, bare, "--labels", labels, "--recording", PERSON, *STEPS)
        assert code == 2
        assert "got a bundle without training graphs. Train the head only" in err


def test_a_second_run_is_told_to_wait(bundle, labels, capsys):
    from sdk.finetune.run import alone

    with alone(bundle):
        for method in (STEPS, ()):
            code, _, err = command(capsys, bundle, "--labels", labels, "--recording", PERSON, *method)
            assert code == 2
            assert "expected one fine-tuning at a time, got a second one. Wait for the other to end." in err


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    for part in ("which method?", "--from-layer", "--gamma", "--budget-joules", "inf: frozen", "Cosmo", "exit codes:"):
        assert part in text
