"""`sensedge info`: what a bundle is, from the base install."""

import json

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.errors import BundleError
from sdk.info import facts_of, main
from tests.commands.tools import copy_bundle


@pytest.fixture
def bundle(tmp_path):
    """The shipped bundle, with a version of today and a damaged one."""
    found = Bundle.open(copy_bundle(tmp_path))
    head = {found.manifest.head.bias: np.ones(6, np.float32)}
    scores = {"before": {"macro_f1": 0.5}, "after": {"macro_f1": 0.75}}
    plan = {"plan": {"method": "head"}, "windows_per_label": {"walking": 12}, "by": "anna"}
    found.commit(head, {"made_s": 1_700_000_000.0, **plan, **scores})
    found.commit(head, {})
    (found.path / "personal" / "0002" / "record.json").write_text("{")
    found.rollback("0001")
    return found


def test_the_page(bundle, capsys):
    assert main([str(bundle.path)]) == 0
    page = capsys.readouterr().out
    assert page.startswith("walk, version 0001, not signed\n")
    for line in (
        "labels      6: downstairs, upstairs, walking, jogging, sitting, standing",
        "signal      acc (x, y, z) in m/s^2 at 50 Hz",
        "            gyro (x, y, z) in rad/s at 50 Hz",
        "window      128 samples = 2.56 s, every 64 = 1.28 s",
        "precisions  float32",
        "trains from layer 0, 1, 2, 3, 4",
        "licence     MIT (that of the upstream repository), citation requested",
    ):
        assert f"\n{line}\n" in f"{page}\n"
    assert "macro-F1" in page
    assert "0001     2023-11-1" in page  # the day depends on the zone
    assert "0.500 -> 0.750" in page
    assert "iPhone 6s in the front trouser pocket" in page
    assert "scores      macro-F1 0.963, accuracy 0.960 on 3413 windows of 4 people never seen (the base)" in page
    assert "damaged" in page


def test_the_json_has_it_all(bundle, capsys):
    assert main([str(bundle.path), "--json", "--version", "base"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["version"] == "base"
    assert facts["labels"] == [*bundle.manifest.labels]
    assert [modality["rate_hz"] for modality in facts["signal"]["modalities"]] == [50.0, 50.0]
    assert [version["version"] for version in facts["versions"]] == ["0001"]
    assert facts["versions"][0]["after"] == {"macro_f1": 0.75}
    assert [*facts["damaged"]] == ["0002"]
    assert facts["bytes"] == sum(spec.bytes for spec in bundle.manifest.files.values())
    assert facts["licence"].startswith("MIT")
    assert facts["trains_from"] == [0, 1, 2, 3, 4]


def test_what_is_no_bundle_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("provenance", [{}, {"data": 7, "licence": ["x"], "unseen_people": "good", "model": None}])
def test_of_what_nobody_said_there_is_nothing(bundle, monkeypatch, capsys, provenance):
    from dataclasses import replace

    other = replace(bundle, manifest=replace(bundle.manifest, provenance=provenance), version="base")
    monkeypatch.setattr("sdk.info.open_bundle", lambda *_, **__: other)
    assert facts_of(other)["licence"] is None
    assert main([str(bundle.path)]) == 0
    page = capsys.readouterr().out
    assert page.count("not told") == 3


def test_a_broken_choice_of_version_is_told(bundle, capsys):
    (bundle.path / "personal" / "current").write_text("../elsewhere")
    with pytest.raises(BundleError):
        Bundle.open(bundle.path)
    assert main([str(bundle.path), "--version", "base"]) == 0
    assert "personal/current" in capsys.readouterr().out
