"""What is said of an engine's answers: by hand, with engines that answer from an array."""

import math
from dataclasses import replace

import numpy as np
import pytest

from exporters import parity
from exporters.parity import ParityReport, ParityRow, agreement_of, compare, parity_of_engines, random_windows
from runtime.bundle import Bundle
from tests.bundles_small import small_manifest

ROW = ParityRow("onnxruntime", "golden", 1, "logits", 1e-7, 1e-6, 1.0)


def row(relative):
    return replace(ROW, relative=relative)


class Answers:
    """An engine that knows each window's number."""

    name = "fake"

    def __init__(self, **answers):
        self.answers, self.batches, self.closed = answers, [], 0

    def run(self, windows, output="logits"):
        self.batches.append(len(windows))
        return self.answers[output][windows[:, 0].astype(int)]

    def close(self):
        self.closed += 1


def test_an_error_is_a_share_of_the_largest_answer():
    truth = {"features": np.full((9, 2), -0.01), "logits": np.zeros((9, 3))}
    engine = Answers(features=truth["features"] + [[0.0, 0.001]] * 9, logits=truth["logits"] + 1e-15)
    rows = list(compare(engine, "golden", np.arange(9.0)[:, None], truth))
    assert [(row.output, row.batch) for row in rows] == [(o, b) for o in ("features", "logits") for b in (1, 2, 7)]
    assert engine.batches == [*[1] * 9, 2, 2, 2, 2, 1, 7, 2] * 2
    for row in rows[:3]:
        assert (row.max_abs, row.relative, row.labels_agree) == (pytest.approx(1e-3), pytest.approx(0.1), None)
    for row in rows[3:]:
        assert (row.max_abs, row.relative, row.labels_agree) == (pytest.approx(1e-15), pytest.approx(1e-3), 1.0)
    assert {(row.engine, row.windows) for row in rows} == {("fake", "golden")}


def test_windows_agree_whose_logits_are_numbers_with_the_same_largest():
    expected = np.array([[1.0, 2], [2, 1], [1, 2], [1, 2]])
    assert agreement_of(expected, expected) == 1.0
    assert agreement_of(expected[:, ::-1], expected) == 0.0
    assert agreement_of(np.array([[1.0, 2], [2, 1], [2, 1], [1, 2]]), expected) == 0.75
    for found, truth in ((expected, expected.copy()), (expected.copy(), expected)):
        found[0, 0] = -np.inf  # the largest is where it was
        assert agreement_of(found, truth) == 0.75
        found[0, 0] = 1


@pytest.mark.parametrize(("precision", "good", "bad"), [("float32", 1e-4, 1.01e-4), ("fp16", 2e-2, 2.02e-2)])
def test_what_a_precision_may_be_off(precision, good, bad):
    tolerance = parity.TOLERANCES[precision]
    report = ParityReport(precision, tolerance, (row(good), row(bad)), {})
    assert report.off == (row(bad),)
    assert report.worst == {"features": pytest.approx(math.nan, nan_ok=True), "logits": bad}
    assert parity.TOLERANCES.get("int8") is None
    assert ParityReport("int8", None, (row(9.0), row(math.nan)), {}).off == ()


def test_a_report_in_json_has_no_number_that_is_none():
    plain = ParityReport("float32", 1e-4, (row(math.inf), row(1e-6)), {"openvino": "not here"}).to_dict()
    assert (plain["passed"], plain["worst"]) == (False, {"features": None, "logits": None})
    assert [one["relative"] for one in plain["rows"]] == [None, 1e-6]
    assert (plain["missing"], plain["tolerance"], plain["precision"]) == ({"openvino": "not here"}, 1e-4, "float32")
    assert ParityReport("float32", 1e-4, (row(1e-6),), {}).to_dict()["passed"]


def test_noise_is_as_each_channel_is():
    noise = random_windows(small_manifest())
    assert (noise.shape, noise.dtype) == ((7, 32, 3), np.float32)
    assert noise.mean((0, 1)) == pytest.approx([0.5, -1, 9], abs=1)
    assert noise.std((0, 1)) == pytest.approx([2, 3, 4], rel=0.2)
    assert np.array_equal(noise, random_windows(small_manifest()))


def test_engines_are_told_one_by_one_and_closed(small_bundle, monkeypatch):
    bundle = Bundle.open(small_bundle)
    truths, opened, seen = (
        {"golden": (np.zeros((1, 1)), dict.fromkeys(("features", "logits"), np.ones((1, 2))))},
        [],
        [],
    )

    def opens(bundle, name, *, precision):
        opened.append(Answers(features=np.ones((1, 2)), logits=np.ones((1, 2))))
        return opened[-1]

    monkeypatch.setattr(parity, "_truths", lambda bundle: truths)
    monkeypatch.setattr(parity, "open_engine", opens)
    report = parity_of_engines(bundle, ["a", "b"], progress=lambda *now: seen.append(now))
    assert seen == [(0, 2, "the reference"), (0, 2, "a"), (1, 2, "b"), (2, 2, "done")]
    assert [engine.closed for engine in opened] == [1, 1]
    assert (len(report.rows), report.missing, report.tolerance) == (12, {}, 1e-4)
    assert parity_of_engines(bundle, ["a"], precision="fp16").tolerance == 2e-2
    assert parity_of_engines(bundle, ["a"], precision="fp16", tolerance=0.5).tolerance == 0.5
