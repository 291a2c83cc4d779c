"""The commands of examples/own_data/README.md, one after the other as a newcomer gives them; only shorter."""

import re
import shlex
from pathlib import Path

import pytest

from runtime import Bundle
from sdk.cli import main

FOLDER = Path(__file__).parents[2] / "examples" / "own_data"
SHORTER = {
    "pretrain": ["--epochs", "1", "--threads", "1", "--length", "64"],
    "profile": ["--runs", "1", "--windows", "20", "--seconds", "5"],
}


def commands():
    [block] = re.findall(r"^```\n(.*?)^```", (FOLDER / "README.md").read_text(), re.M | re.S)
    return [shlex.split(line) for line in block.splitlines()]


def test_the_tutorial(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    first, *others = commands()
    assert first[:2] == ["python", "examples/own_data/record.py"]
    assert len(others) <= 7
    assert {words[0] for words in others} == {"sensedge"}
    scope = {"__name__": "record"}
    exec(compile((FOLDER / "record.py").read_text(), "record.py", "exec"), scope)
    scope["main"](Path(first[2]))
    out = {}
    for words in others:
        assert main([*words[1:], *SHORTER.get(words[1], [])]) in ((0, 3) if words[1] == "finetune" else (0,)), words
        out[" ".join(words[1:3])] = capsys.readouterr().out
    assert "signal.acc.unit = g" in out["datasets new"]
    assert "signal.gyro.unit = deg/s" in out["datasets new"]
    assert "rate_hz = 104" in out["datasets new"]
    assert "problem" not in out["datasets check"]
    manifest = Bundle.open(tmp_path / "mine.bundle").manifest
    assert manifest.signal.rate_hz == 104
    assert manifest.labels == ("downstairs", "jogging", "sitting", "standing", "upstairs", "walking")
    assert "18708 rows read" in out["stream mine.bundle"]
    assert "labelled windows" in out["finetune mine.bundle"]
