"""sdk.optimize: keeps what is faster and as good, and nothing else."""

import json
import shutil

import numpy as np
import pytest

from exporters.fp16 import to_fp16
from exporters.int8 import Int8Options, to_int8
from exporters.variants import add_variant
from runtime.bundle import Bundle
from runtime.engine import EngineKind, open_engine
from runtime.engine.auto import choice as choices
from runtime.errors import InputError
from runtime.window import LabelledWindows
from sdk.meters import NoMeter
from sdk.optimize import Limits, optimize
from sdk.optimize import run as module
from sdk.optimize.__main__ import main
from tests.bundles_small import small_windows


@pytest.fixture(scope="module")
def with_variants(exported, tmp_path_factory):
    """A folder with float32, fp16 and int8-weights, not to be written to."""
    path = shutil.copytree(exported("fcn").path, tmp_path_factory.mktemp("optimize") / "small.bundle")
    shipped = Bundle.open(path)
    add_variant(path, to_fp16(shipped.model(), shipped.manifest))
    add_variant(path, to_int8(shipped.model(), shipped.manifest, small_windows(32), Int8Options(weights_only=True)))
    return path


@pytest.fixture
def bundle(with_variants, tmp_path, monkeypatch):
    monkeypatch.setenv("SENSEDGE_CACHE", str(tmp_path / "cache"))
    return Bundle.open(shutil.copytree(with_variants, tmp_path / "small.bundle"))


class Paced:
    """A stand-in for an engine: float32 whatever it is asked for, right or not."""

    wrong, none = (), ()

    def __init__(self, bundle, *, threads=1, precision="float32"):
        self.name, self.threads, self.precision, self.reason = "paced", threads, precision, ""
        self._engine = open_engine(bundle)
        self.logits, self.close = self._engine.logits, self._engine.close

    def run(self, windows, output="logits"):
        found = self._engine.run(windows, output)
        if self.precision in self.none:
            found[0, 0] = np.nan  # of which argmax makes the first class
        return -found if self.precision in self.wrong else found

    def warm_up(self):
        pass


@pytest.fixture
def paced(monkeypatch):
    """paced(pace_s, wrong): optimize with Paced as the only engine, in this process; a race with a drift and noise."""
    table = {"paced": EngineKind(__name__, "Paced", "numpy", "", on_gpu=True)}
    monkeypatch.setattr(module, "measure_apart", choices.measure_candidates)
    monkeypatch.setattr(module, "candidates_here", lambda table: (choices.Candidate("paced"),))

    def run(bundle, pace_s, wrong=(), windows=None, meter=None):
        def raced(calls, base, budget_s):
            rng = np.random.default_rng(0)
            drift = 1 + np.arange(31) / 10
            paces = {name: next((s for key, s in pace_s.items() if f" {key} " in name), NORMAL) for name in calls}
            return {name: (pace * drift * rng.lognormal(0, 0.1, 31)).tolist() for name, pace in paces.items()}

        monkeypatch.setattr(module, "race", raced)
        monkeypatch.setattr(Paced, "wrong", wrong)
        return optimize(bundle, windows, limits=Limits(budget_s=0.2), meter=meter, table=table)

    return run


FAST, NORMAL, SLOW = 5e-4, 1e-3, 2e-3


def test_the_fastest_of_those_that_are_good_is_kept(bundle, paced):
    found = paced(bundle, {"fp16": FAST, "int8-weights": FAST / 2})
    assert found.chosen.precision == "int8-weights"
    assert [one.accepted for one in found.verdicts] == [False, True, True]
    assert all(one.interval[1] < 1 for one in found.verdicts[1:])
    assert "100.0% of the labels" in found.reason
    kept = choices.recall(bundle, table={"paced": None})
    assert kept.candidate == found.chosen  # engine="auto" finds it
    assert json.dumps(found.to_dict())


def test_slower_is_never_kept(bundle, paced):
    found = paced(bundle, {"fp16": SLOW, "int8-weights": SLOW})
    assert found.chosen.precision == "float32"
    assert [one.why for one in found.verdicts] == ["the float32 baseline", "slower", "slower"]


def test_equal_is_not_faster(bundle, paced):
    found = paced(bundle, {})
    assert found.chosen.precision == "float32"
    assert [one.why for one in found.verdicts[1:]] == ["not faster beyond doubt"] * 2


def test_fast_and_wrong_is_never_kept(bundle, paced):
    found = paced(bundle, {"fp16": FAST, "int8-weights": FAST}, wrong=("fp16", "int8-weights"))
    assert found.chosen.precision == "float32"
    assert "of the labels agree, asked are 99.0%" in found.verdicts[1].why


@pytest.mark.parametrize("labelled", [True, False])
def test_an_answer_that_is_no_number_is_counted_and_never_kept(bundle, paced, monkeypatch, labelled):
    samples = small_windows(30, seed=7)
    labels = open_engine(bundle).run(samples).argmax(1)
    windows = LabelledWindows(samples, labels, np.zeros(30), np.zeros(30, np.int64)) if labelled else samples
    monkeypatch.setattr(module, "measure_apart", lambda bundle, candidates, **_: [
        choices.Measured(one, NORMAL, relative_error=0.0) for one in candidates
    ])  # fmt: skip
    monkeypatch.setattr(module, "best", lambda measured: measured[0])
    monkeypatch.setattr(Paced, "none", ("fp16", "int8-weights"))
    found = paced(bundle, {"fp16": FAST, "int8-weights": FAST}, windows=windows)
    assert found.chosen.precision == "float32"
    assert [one.not_finite for one in found.verdicts] == [0, 1, 1]
    assert all(one.why.startswith("1 answers are not finite numbers") for one in found.verdicts[1:])
    assert found.verdicts[1].agreement == pytest.approx(29 / 30)
    monkeypatch.setattr(Paced, "none", ("float32",))
    with pytest.raises(InputError, match="1 of 30 windows for which they are not"):
        paced(bundle, {"fp16": FAST}, windows=windows)


def test_labels_decide_where_there_are_some(bundle, paced):
    """True labels = what the float32 model says: its macro-F1 is 1, and that of the wrong one much lower."""
    samples = small_windows(30, seed=7)
    labels = open_engine(bundle).run(samples).argmax(1)
    windows = LabelledWindows(samples, labels, np.zeros(30), np.zeros(30, np.int64))
    found = paced(bundle, {"fp16": FAST, "int8-weights": FAST}, wrong=("fp16",), windows=windows)
    assert found.judged_by == "macro-F1"
    assert found.verdicts[0].macro_f1 == found.verdicts[2].macro_f1 == 1
    assert "macro-F1 lower by" in found.verdicts[1].why
    assert found.chosen.precision == "int8-weights"


def test_joules_are_none_without_a_meter(bundle, paced):
    found = paced(bundle, {})
    assert [one.joules for one in found.verdicts] == [None] * 3
    assert found.energy == "not measured (no meter was given)"


def test_why_there_are_no_joules(bundle, paced):
    found = paced(bundle, {}, meter=NoMeter("nobody plugged one in"))
    assert [one.joules for one in found.verdicts] == [None] * 3
    assert found.energy == "not measured (no meter: nobody plugged one in)"


def test_wrong_use(bundle):
    with pytest.raises(InputError, match="windows: expected windows of the labels"):
        optimize(bundle, small_windows(0))
    with pytest.raises(InputError, match="limits"):
        Limits(max_f1_loss=-1)


def test_the_command(bundle, capsys):
    assert main([str(bundle.path), "--seconds", "0.2"]) == 0
    printed = capsys.readouterr().out
    assert "KEPT: " in printed
    assert "onnxruntime in fp16" in printed
    assert "judged by agreement on 4 windows" in printed
    assert "4 windows are too few to see 1% of wrong labels: give --labels or --recording" in printed
