import json
import shutil

import pytest

from runtime.bundle import Bundle
from tests.commands.tools import DATA, copy_bundle, environment, listing, python, write_turned

COMMANDS = {
    "stream": ["sdk.stream", "BUNDLE", "--replay", DATA / "person_24.npz"],
    "finetune": ["sdk.finetune", "BUNDLE", "--labels", "LABELS", "--sure"],
    "profile": ["sdk.profile", "BUNDLE", "--windows", "20"],
    "demo": ["sdk.demo", "--windows", "20", "--json"],
}


@pytest.fixture
def away(tmp_path):
    """An environment in which every place that programs like to write to is an empty folder; and these folders."""
    places = {
        name: tmp_path / "places" / name
        for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "cwd")
    }
    for place in places.values():
        place.mkdir(parents=True)
    return environment(**{name: str(place) for name, place in places.items() if name != "cwd"}), tmp_path / "places"


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_written_outside_the_bundle(tmp_path, away, name):
    env, places = away
    bundle = copy_bundle(tmp_path)
    labels = write_turned(tmp_path)
    before, bundle_before = listing(places), listing(bundle)
    arguments = [{"BUNDLE": bundle, "LABELS": labels}.get(part, part) for part in COMMANDS[name]]
    done = python("-m", *arguments, cwd=places / "cwd", env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert listing(places) == before
    added = set(listing(bundle)) - set(bundle_before)
    assert {path: digest for path, digest in listing(bundle).items() if path not in added} == bundle_before
    if name == "finetune":
        assert added == {
            "personal",
            "personal/current",
            "personal/0001",
            "personal/0001/record.json",
            "personal/0001/weights.safetensors",
        }
    else:
        assert not added
    assert sorted(path.name for path in tmp_path.iterdir()) == ["places", "turned.npz", "walk.bundle"]


LIBRARIES = {  # that write into the home folder when they are imported as they are
    "openvino": ["sdk.profile", "BUNDLE", "--windows", "20", "--engine", "openvino"],
    "all that are asked for their versions": ["sdk.doctor", "BUNDLE"],
    "matplotlib": ["sdk.profile", "BUNDLE", "--windows", "20", "--html", "PAGE"],
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_libraries_leave_nothing_behind(tmp_path, away, name):
    env, places = away
    env.pop("CI", None)  # which would silence OpenVINO
    (tmp_path / "fonts").mkdir()
    paths = {"BUNDLE": copy_bundle(tmp_path), "PAGE": tmp_path / "page.html"}
    arguments = [paths.get(part, part) for part in LIBRARIES[name]]
    before = listing(places)
    done = python("-m", *arguments, cwd=places / "cwd", env=env | {"MPLCONFIGDIR": str(tmp_path / "fonts")})
    assert done.stdout, done.stderr
    assert listing(places) == before


def test_the_demo_keeps_what_it_is_asked_to_keep(tmp_path, away):
    env, places = away
    done = python("-m", "sdk.demo", "--windows", "20", "--json", "--keep", "my.bundle", cwd=places / "cwd", env=env)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (places / "cwd").iterdir()] == ["my.bundle"]
    version = Bundle.open(places / "cwd" / "my.bundle").version
    assert json.loads(done.stdout)["version"] == version == "base"
    assert "my.bundle: the base is in use, since no version for person 6 was accepted." in done.stderr
    shutil.rmtree(places / "cwd" / "my.bundle")
    assert not [path for path in places.rglob("*") if path.is_file()]


_ASK = "import runtime, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"


@pytest.mark.parametrize(("own", "expected"), [(None, "1"), ("0", "0"), ("1", "1")])
def test_telemetry_is_off_unless_the_user_says_otherwise(own, expected):
    env = environment()
    env.pop("ORT_DISABLE_TELEMETRY", None)
    if own is not None:
        env["ORT_DISABLE_TELEMETRY"] = own
    done = python("-c", _ASK, env=env)
    assert done.stdout.strip() == expected, done.stderr


def test_telemetry_is_off_before_onnxruntime_is_imported():
    env = environment()
    env.pop("ORT_DISABLE_TELEMETRY", None)
    code = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print("telemetry off:", os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Watch())
from runtime.engine.ort import OrtEngine
"""
    done = python("-c", code, env=env)
    assert done.stdout.strip() == "telemetry off: 1", done.stderr
