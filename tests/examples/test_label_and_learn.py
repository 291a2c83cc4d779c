import re
import stat
import subprocess
import sys
from pathlib import Path

from runtime import Store

ROOT = Path(__file__).parent.parent.parent


def test_label_and_learn(tmp_path):
    command = [sys.executable, "examples/label_and_learn.py", "--store", str(tmp_path / "me.db"), "--person", "18"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    before, after = map(float, re.search(r"macro-F1 ([\d.]+) -> ([\d.]+)", done.stdout).groups())
    assert before < 0.75
    assert after > 0.85
    assert stat.S_IMODE((tmp_path / "me.db").stat().st_mode) == 0o600
    with Store(tmp_path / "me.db") as store:
        assert len(store.spans()) == 6
        assert f"recorded  {sum(store.counts(*store.span_s).values())} windows" in done.stdout
