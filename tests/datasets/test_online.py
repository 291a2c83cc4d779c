"""Real recordings of uneven clocks: as a file, and as live lines of a pipe, the stream says the same."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest

from tests.commands.tools import DATA, environment
from tests.datasets.archives import real

CHOSEN = ["sp_sw_har/s01_01/watch", "wisdm_2019/1608_J/watch", "wisdm_2019/1626_B/phone"]


def stream(*arguments, lines=None):
    done = subprocess.run(
        [sys.executable, "-m", "sdk.stream", str(DATA / "walk.bundle"), *map(str, arguments), "--json"],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment(),
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [(row["label"], row["end_s"]) for row in rows if "label" in row]


@pytest.mark.parametrize("name", CHOSEN)
def test_online_is_offline(tmp_path, name):
    recording = next(r for r in real(name.partition("/")[0]) if r.name == name)
    recording.save(tmp_path / "r.npz")
    text = io.StringIO()
    np.savetxt(text, np.column_stack([recording.t, recording.samples]), "%.9g", ",")
    header = ",".join(("t", *recording.channels))
    as_file = stream("--replay", tmp_path / "r.npz")
    as_lines = stream("--source", "stdin?t=s", lines=f"{header}\n{text.getvalue()}")
    assert len(as_file) > 2
    assert [label for label, _ in as_lines] == [label for label, _ in as_file]
    assert np.diff([end for _, end in as_lines]) == pytest.approx(np.diff([end for _, end in as_file]), abs=1e-3)
