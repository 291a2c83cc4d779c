"""New, merged and dropped activities: a version with labels of its own, and everyone who reads them."""

import json
from pathlib import Path

import numpy as np
import pytest

import sdk.demo
from runtime import Bundle, Stream, open_engine
from runtime.bundle.versions import MOST_LABELS
from runtime.errors import BundleError, InputError
from sdk.finetune import FinetunePlan, LabelledSet, finetune
from sdk.finetune.__main__ import main
from sdk.finetune.contradictions import Contradiction, contradictions, worth_asking

DATA = Path(sdk.demo.__file__).parent / "data"


def shaken(windows, n=10):
    """What the model never saw: a fast shaking of a resting person."""
    still = windows.samples[windows.labels == 5][:n].copy()
    still += 12 * np.sin(2 * np.pi * 9 * np.arange(still.shape[1]) / 50)[None, :, None].astype(np.float32)
    return still


def with_new(windows, bundle):
    labels = bundle.manifest.labels
    return LabelledSet(
        shaken(windows), np.full(10, 6), np.ones(10), names=(*labels, "waving"), rest=windows.samples[::4]
    )


def test_a_new_activity_is_learnt_and_the_others_stay(bundle, windows):
    shipped = {path.name: path.read_bytes() for path in bundle.path.iterdir() if path.is_file()}
    adapted, report = finetune(bundle, with_new(windows, bundle))
    assert report.accepted, report.reason
    assert adapted.manifest.labels == (*bundle.manifest.labels, "waving")
    assert Bundle.open(bundle.path).manifest.labels[-1] == "waving"
    logits = open_engine(adapted).run(np.concatenate([shaken(windows, 20), windows.samples]))
    assert np.mean(logits[:20].argmax(1) == 6) > 0.9
    was = open_engine(bundle).run(windows.samples).argmax(1) == windows.labels
    now = logits[20:].argmax(1) == windows.labels
    assert now.mean() > was.mean() - 0.02
    assert {path.name: path.read_bytes() for path in bundle.path.iterdir() if path.is_file()} == shipped
    assert bundle.rollback().manifest.labels == bundle.manifest.labels


def test_streams_and_variants_follow_or_say_so(bundle, windows):
    adapted, _ = finetune(bundle, with_new(windows, bundle))
    stream = Stream(adapted)
    found = stream.push(np.concatenate(shaken(windows)))
    assert {one.label for one in found} == {"waving"}
    assert len(found[0].probabilities) == 7
    assert adapted.precisions == ("float32",)
    with pytest.raises(BundleError, match="Version 0001 has labels of its own: float32 alone can give them"):
        adapted.model("int8")
    data = LabelledSet(windows.samples[:12], windows.labels[:12], np.ones(12))
    with pytest.raises(InputError, match="without training graphs"):
        finetune(adapted, data, FinetunePlan("layers", sure=True))


def test_activities_are_merged_and_dropped(bundle, windows):
    rows = np.arange(0, len(windows.labels), 6)
    data = LabelledSet(windows.samples[rows], windows.labels[rows], np.ones(len(rows)))
    plan = FinetunePlan(merge=(("upstairs", "stairs"), ("downstairs", "stairs")), drop=("jogging",), sure=True)
    _, report = finetune(bundle, data, plan)
    assert set(report.windows_per_label) == {"stairs", "walking", "sitting", "standing"}
    assert report.after.macro_f1 > 0.9
    with pytest.raises(InputError, match=r"merge, drop: expected activities of the model.* got flying"):
        finetune(bundle, data, FinetunePlan(drop=("flying",)))


@pytest.mark.parametrize(
    "labels", [None, "abc", ["a"], ["a", "a"], ["a", 1], ["a", "b\n"], ["a", " b"], [""] * 7, ["x"] * 9, [{}] * 7]
)
def test_labels_of_a_record_are_not_believed(bundle, windows, labels):
    adapted, _ = finetune(bundle, with_new(windows, bundle))
    path = bundle.path / "personal" / adapted.version / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"labels": labels}))
    with pytest.raises(BundleError, match=f"labels: expected 2 to {MOST_LABELS} names that differ"):
        Bundle.open(bundle.path)
    assert Bundle.open(bundle.path, "base").manifest.labels == bundle.manifest.labels


def test_more_labels_than_rows_are_refused(bundle, windows):
    adapted, _ = finetune(bundle, with_new(windows, bundle))
    path = bundle.path / "personal" / adapted.version / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"labels": [f"n{i}" for i in range(9)]}))
    with pytest.raises(BundleError, match=r"expected a finite tensor of shape \(9"):
        Bundle.open(bundle.path)


def test_walking_marked_as_sitting_is_asked_about(bundle, windows):
    rows = np.flatnonzero(windows.labels == 2)[:30]
    spans = np.stack([windows.start_s[rows], windows.start_s[rows] + 2.56], axis=1)
    data = LabelledSet(windows.samples[rows], np.full(30, 4), np.ones(30), spans_s=spans)
    kept, report = finetune(bundle, data)
    assert kept is bundle
    assert not report.accepted
    assert "you say sitting" in report.contradictions[0]
    assert "it looks like walking, p 1.00" in report.contradictions[0]
    again, insisted = finetune(bundle, data, FinetunePlan(sure=True))
    assert again is bundle
    assert "1 of 6 activities have labels, 4 must; labels of 1 of 6 activities: mark " in insisted.reason


def test_a_stretch_is_told_once_and_a_slip_is_not_asked_about():
    labels, logits = np.array([0] * 40 + [1] * 40), np.repeat(8.0 * np.eye(2), 40, axis=0)
    spans = np.stack([np.arange(80.0), np.arange(80.0) + 2], axis=1)
    assert contradictions(logits, labels, "ab", spans) == []
    slip = labels.copy()
    slip[3] = 1
    told = contradictions(logits, slip, "ab", spans)
    assert [str(one) for one in told] == ["you say b 3 s to 5 s (1 window); it looks like a, p 1.00"]
    assert not worth_asking(told, 80)
    slip[10:15] = 1
    told = contradictions(logits, slip, "ab", spans)
    assert told[1] == Contradiction("b", "a", pytest.approx(0.9997, abs=1e-3), 5, 10.0, 16.0)
    assert worth_asking(told, 80)
    assert contradictions(logits, slip, "ab", spans, np.array([0])) == []  # b is new


def test_the_list_tells_how_versions_came_to_be(bundle, windows, capsys):
    finetune(bundle, with_new(windows, bundle))
    broken = bundle.path / "personal" / "0007"
    broken.mkdir()
    (broken / "record.json").write_text('{"made_s": ')
    assert main([str(bundle.path), "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["version", "made", "method"]
    assert "10 waving; its own: downstairs, " in lines[3]
    assert "in use" in lines[3]
    assert "damaged" in lines[4]
