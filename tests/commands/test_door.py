"""`sensedge COMMAND`: what it reaches, how its help is spelled, versions, and folders whose files hide our packages."""

import argparse
import configparser
import re
import subprocess
import sys
from importlib import import_module
from inspect import signature

import pytest

import exporters
import runtime
import sdk
from exporters.commands import COMMANDS as WING
from runtime.command import run_command
from sdk.cli import COMMANDS
from tests.commands.tools import ROOT, copy_bundle, environment, python

DOOR = "import sys; from sdk.cli import main; sys.exit(main())"  # what the console script does
ROWS = {name: row for group in COMMANDS.values() for name, row in group.items()}
TAKES_NO_BUNDLE = {"demo", "label", "datasets", "pretrain", "onnx", "keys"}  # these make one, or bring their own
VERSION = r"sensedge 0\.1\.0 \(Python \S+, numpy \S+, onnxruntime\S* \S+\)\n"


def spelled(name):
    """How `python -m` calls a command."""
    return ("exporters", name) if name in WING else (f"sdk.{name}",)


def text_of_help(name, door=True):
    words = ("sdk.cli", name) if door else spelled(name)
    done = python("-m", *words, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# ---- what it reaches


def test_every_command_is_behind_the_door():
    found = {path.parent.name for path in (ROOT / "sdk").glob("*/__main__.py")}
    found |= {path.stem for path in (ROOT / "sdk").glob("*.py") if "run_command(" in path.read_text()} - {"cli"}
    assert found | {*WING} == {*ROWS}
    assert {path.stem for path in (ROOT / "exporters" / "commands").glob("*.py")} - {"__init__"} == {*WING}
    assert len(ROWS) == sum(map(len, COMMANDS.values())) == 23  # no name twice


def test_the_wing_says_the_same_of_its_commands():
    assert {name: ROWS[name] for name in WING} == {n: (f"exporters.commands.{n}", text) for n, text in WING.items()}


@pytest.mark.parametrize("name", ROWS)
def test_one_protocol(name):
    module = import_module(ROWS[name][0])
    assert module.HELP
    assert module.EXAMPLES.startswith(f"  python -m {' '.join(spelled(name))}")
    assert [*signature(module.run).parameters] == ["arguments"]
    module.add_arguments(argparse.ArgumentParser())
    assert hasattr(module, "main") == (name not in WING)


def test_the_listing_is_in_groups_and_imports_nothing():
    code = "import sys; from sdk.cli import main; main(['--help']); print(*sorted(sys.modules), sep='\\n')"
    listing, names = python("-c", code).stdout.split("\n\nsensedge COMMAND --help")
    for where, group in COMMANDS.items():
        assert f"\n{where}:\n" in listing
        for name, (_, text) in group.items():
            assert listing.count(f"\n  {name:<10} {text}") == 1
    assert max(map(len, listing.splitlines())) < 100
    assert not {"runtime", "exporters", "argparse", "numpy"} & {*names.split()}


@pytest.mark.parametrize(
    ("words", "near"), [(["sdk.cli", "straem"], "stream"), (["sdk.cli", "int"], "int8"), (["exporters", "onx"], "onnx")]
)
def test_near_names(words, near):
    done = python("-m", *words)
    assert done.returncode == 2
    assert re.search(rf"; did you mean .*{near}.*\?\n$", done.stderr)


def test_a_missing_extra_answers_with_its_install_line(tmp_path):
    block = "import sys; sys.modules.update({name: None for name in ('torch', 'onnx', 'cryptography')}); "
    for words, extra in (
        (["pretrain", "motionsense", "--out", "x"], "train"),
        (["inspect", copy_bundle(tmp_path)], "graphs"),
        (["keys", "create", tmp_path / "k"], "sign"),
    ):
        done = python("-c", block + DOOR, *words)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert f'pip install "sensedge[{extra}]"' in done.stderr


# ---- help as it was called


@pytest.mark.parametrize("name", ["stream", "finetune", "datasets", "pretrain", "inspect", "fp16", "sign"])
def test_help_is_spelled_as_it_was_called(name):
    ours, theirs = text_of_help(name), text_of_help(name, door=False)
    module = f"python -m {' '.join(spelled(name))}"
    assert ours.startswith(f"usage: sensedge {name} ")
    assert theirs.startswith(f"usage: {module} ")
    assert f"examples:\n  sensedge {name} " in ours
    assert f"examples:\n  {module} " in theirs
    assert "python -m" not in ours
    assert "sensedge " not in theirs.replace("sensedge version", "")
    theirs = re.sub(r"python -m (sdk\.|exporters )(\w+)", r"sensedge \2", " ".join(theirs.split()))
    assert " ".join(ours.split()) == theirs


def test_what_stands_in_columns_keeps_its_place(capsys):
    examples = (
        "  python -m exporters fp16 a.bundle     one\n  python -m sdk.optimize a.bundle       two\n      python -m x"
    )

    def help_of(called):
        with pytest.raises(SystemExit):
            run_command(["--help"], called, "About python -m sdk.label.", examples, lambda p: None, lambda a: 0)
        return capsys.readouterr().out

    text = help_of("sensedge fp16")
    assert "\n  sensedge fp16 a.bundle                one\n  sensedge optimize a.bundle            two\n" in text
    assert "\n      python -m x\n" in text
    assert "About sensedge label." in text
    assert examples in help_of("python -m exporters fp16")


def test_options_that_speak_of_commands_are_spelled_too():
    assert "as for sensedge finetune" in text_of_help("profile")
    assert "as for python -m sdk.finetune" in text_of_help("profile", door=False)


@pytest.mark.parametrize("words", [["stream", "x"], ["profile"], ["sign", "x"], ["label", "x.db", "fly"]])
def test_wrong_use_is_told_in_the_same_spelling(words):
    done = python("-m", "sdk.cli", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: sensedge {words[0]}")


def test_the_second_side_of_a_profile_too(tmp_path):
    done = python("-m", "sdk.cli", "profile", copy_bundle(tmp_path), "--against=--fly")
    assert done.returncode == 2
    assert "sensedge profile --against: error: " in done.stderr


# ---- versions


def test_one_version():
    declared = configparser.ConfigParser()
    declared.read(ROOT / "setup.cfg")
    assert declared["metadata"]["version"] == "attr: runtime.__version__"  # read, not repeated
    assert runtime.__version__ == sdk.__version__ == exporters.__version__
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == runtime.__version__
    with pytest.raises(AttributeError, match="'sdk' has no attribute 'versoin'"):
        _ = sdk.versoin


@pytest.mark.parametrize("words", [["sdk.cli"], ["exporters"], ["sdk.stream"]])
def test_the_version_in_one_line(words):
    done = python("-m", *words, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(VERSION, done.stdout)


@pytest.mark.parametrize("name", ROWS)
def test_every_command_has_a_version(name, capsys):
    it = import_module(ROWS[name][0])
    with pytest.raises(SystemExit) as ended:
        run_command(["--version"], f"sensedge {name}", it.HELP, it.EXAMPLES, it.add_arguments, it.run)
    assert ended.value.code == 0
    assert re.fullmatch(VERSION, capsys.readouterr().out)


def test_a_version_of_the_bundle_is_still_one(tmp_path):
    done = python("-m", "sdk.cli", "inspect", copy_bundle(tmp_path), "--version", "0007")
    assert done.returncode == 2
    assert "0007" in done.stderr


# ---- whose bundles are taken


@pytest.mark.parametrize("name", ROWS)
def test_trust_is_offered_by_whatever_takes_a_bundle(name):
    p = argparse.ArgumentParser()
    import_module(ROWS[name][0]).add_arguments(p)
    assert ("--trust KEYS" in p.format_help()) == (name not in TAKES_NO_BUNDLE)


WORDS = {
    "bundle": ("pack", "B", "B.zip"),
    "doctor": ("B",),
    "ask": ("me.db", "B", "--json"),
    "finetune": ("B", "--list"),
    "fp16": ("B",),
    "info": ("B",),
    "inspect": ("B",),
    "int8": ("B",),
    "optimize": ("B",),
    "parity": ("B",),
    "profile": ("B",),
    "reference": ("B", "R.npz"),
    "sign": ("B", "--key", "K"),
    "live": ("B", "--source", "synthetic"),
    "stream": ("B", "--source", "synthetic"),
    "tensorrt": ("B",),
    "train": ("B",),
}


def test_all_that_take_a_bundle_are_tried():
    assert {*WORDS} == {*ROWS} - TAKES_NO_BUNDLE


@pytest.mark.parametrize("name", WORDS)
def test_an_unsigned_bundle_is_refused_where_keys_are_asked_for(name, tmp_path, capsys, monkeypatch):
    from exporters.sign import create_keys

    monkeypatch.setattr("sdk.doctor.libraries.LIBRARIES", {})  # slow to import, and not asked here
    bundle = copy_bundle(tmp_path)
    secret, public = create_keys(tmp_path / "k")
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    places = {"B": str(bundle), "B.zip": str(tmp_path / "B.zip"), "K": str(secret)}
    words = [places.get(word, word) for word in WORDS[name]]
    it = import_module(ROWS[name][0])
    called = f"sensedge {name}", it.HELP, it.EXAMPLES, it.add_arguments, it.run
    assert run_command([*words, "--trust", str(public)], *called) == 3
    assert "got an unsigned bundle" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "B.zip").exists()


QUICK = ["bundle", "finetune", "fp16", "inspect", "sign", "train"]


@pytest.mark.parametrize("name", QUICK)
def test_without_keys_a_note_says_that_nobody_was_asked(name, tmp_path, capsys):
    from exporters.sign import create_keys

    bundle, (secret, _) = copy_bundle(tmp_path), create_keys(tmp_path / "k")
    places = {"B": str(bundle), "B.zip": str(tmp_path / "B.zip"), "K": str(secret)}
    it = import_module(ROWS[name][0])
    words = [places.get(word, word) for word in WORDS[name]]
    assert run_command(words, f"sensedge {name}", it.HELP, it.EXAMPLES, it.add_arguments, it.run) == 0
    assert f"note: {bundle}: not signed; whoever made it is trusted\n" in capsys.readouterr().err


# ---- a folder that holds files of our names


@pytest.fixture
def folder(tmp_path):
    """A user's folder, all of whose files fail when they are imported."""
    for name in ("runtime", "sdk", "exporters", "numpy", "json", "onnxruntime"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the user was imported')\n")
    return tmp_path


@pytest.fixture
def sensedge(tmp_path_factory):
    """The console script as pip writes it: its own folder is on the path, the current one is not."""
    script = tmp_path_factory.mktemp("bin") / "sensedge"
    script.write_text("import sys\nfrom sdk.cli import main\nsys.exit(main())\n")
    return script


def test_the_door_opens_from_there(folder, sensedge, tmp_path_factory):
    bundle = copy_bundle(tmp_path_factory.mktemp("b"))
    for words, told in (
        (["--help"], "usage: sensedge COMMAND"),
        (["--version"], "sensedge 0"),
        (["inspect", bundle], "walk"),
        (["stream", bundle, "--replay", ROOT / "sdk" / "demo" / "data" / "person_6.npz"], "357 windows"),
    ):
        done = python(sensedge, *words, cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
        assert told in done.stdout


def test_so_do_the_children_of_the_doctor(folder, tmp_path_factory, monkeypatch):
    from sdk.doctor.host import import_ending, spinning

    bundle = copy_bundle(tmp_path_factory.mktemp("b"))
    monkeypatch.chdir(folder)
    assert import_ending("numpy") == ""
    assert spinning(bundle)["ours_cpu_s"] > 0


@pytest.mark.parametrize(
    ("words", "instead"), [(["sdk.stream", "--help"], "stream"), (["exporters", "inspect", "--help"], "COMMAND")]
)
@pytest.mark.parametrize("file", ["runtime.py", "runtime/__init__.py"])
def test_a_module_that_is_hidden_says_so(tmp_path, words, instead, file):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("print('a file of the user was imported')\n")
    done = python("-m", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    told = f"error: {file} in this folder hides the package runtime: go to another folder, or use `sensedge {instead}`"
    assert done.stderr == f"{told}\n"


def test_nothing_is_hidden_where_nothing_is(tmp_path):
    """Nor in the checkout itself, nor by a folder that is no package."""
    (tmp_path / "runtime").mkdir()
    for cwd in (tmp_path, ROOT):
        env = environment() if cwd == tmp_path else {**environment(), "PYTHONPATH": ""}
        done = subprocess.run([sys.executable, "-m", "sdk.stream", "--help"], capture_output=True, cwd=cwd, env=env)
        assert (done.returncode, done.stderr) == (0, b"")
