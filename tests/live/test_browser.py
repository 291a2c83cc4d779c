"""The whole story in a real Chromium, as on a phone: seen, labelled, asked, learned, kept, gone back."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.tools import environment
from tests.live.served import copy_of_bundle
from tests.live.story import clocks, write_story

HERE = Path(__file__).parent / "e2e"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
NODE = Path(os.environ.get("SENSEDGE_NODE") or HERE)
LACK = next(
    (
        how
        for there, how in (
            (CHROMIUM, "no Chromium: apt-get install chromium"),
            (shutil.which("node"), "no Node: apt-get install nodejs npm"),
            (
                (NODE / "node_modules" / "playwright-core").is_dir(),
                "no playwright-core: npm ci, in tests/live/e2e",
            ),
        )
        if not there
    ),
    "",
)
pytestmark = pytest.mark.skipif(bool(LACK), reason=LACK)
pytest.importorskip("uvicorn")


@pytest.fixture
def live(tmp_path):
    """The command in a process of its own; the address that it printed, and what to label."""
    bundle = copy_of_bundle(tmp_path)
    story = clocks(write_story(bundle, tmp_path / "me.db"))
    words = [bundle.path, "--replay", tmp_path / "turned.npz", "--record", tmp_path / "me.db", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sdk.live", *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(PYTHONUNBUFFERED="1"),
    )
    with process:
        try:
            yield process.stdout.readline().strip(), story
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait() == 0  # with pages that look on


def test_story(live, tmp_path):
    url, story = live
    pictures = Path(os.environ.get("SENSEDGE_PICTURES") or tmp_path)
    home = {name: str(tmp_path) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
    env = {**os.environ, **home, "STORY": json.dumps(story), "CHROMIUM": CHROMIUM, "SENSEDGE_NODE": str(NODE)}
    words = ["node", str(HERE / "story.mjs"), url, str(pictures)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert "failed" not in found, (found, done.stderr)
    assert (found["errors"], found["elsewhere"], found["axe"]) == ([], [], [])
    assert found["bytes"] < 70_000
    assert found["steps"][-1] == "done"
