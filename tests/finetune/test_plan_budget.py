import argparse
import json
import math
import time

import pytest

from runtime import InputError
from sdk.finetune import Budget, FinetunePlan
from sdk.finetune.__main__ import add_arguments, plan_of
from sdk.finetune.budget import Ledger, RunningMeter
from sdk.meters import Energy, NoMeter

INF = math.inf


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"method": "layers"}, [INF, INF, INF, 1, 1]),
        ({"method": "layers", "from_layer": 2}, [INF, INF, 1, 1, 1]),
        ({"method": "layers", "from_layer": 4}, [INF, INF, INF, INF, 1]),
        ({"method": "full"}, [1, 1, 1, 1, 1]),
        ({"method": "iterative", "gamma": 3.0}, [3, 3, 3, 3, 1]),
        ({"method": "full", "gamma": 2.0, "gamma_ratio": 3.0}, [54, 18, 6, 2, 1]),
        ({"method": "full", "gamma_ratio": 0.5, "from_layer": 1}, [INF, 0.25, 0.5, 1, 1]),
        ({"method": "full", "gamma": (5.0, INF, 0.0, 1.0)}, [5, INF, 0, 1, 1]),
        ({"method": "full", "gamma": (5.0, INF, 0.0, 1.0), "from_layer": 1}, [INF, INF, 0, 1, 1]),
    ],
)
def test_gamma_of_each_layer(fields, expected):
    assert FinetunePlan(**fields).layer_gammas(4) == tuple(expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"from_layer": 5}, "from_layer: expected 0 to 4, the head's, got 5"),
        ({"from_layer": -1}, "from_layer: expected 0 to 4, the head's, got -1"),
        ({"gamma": (1.0, 1.0)}, "gamma: expected one number, or 4: one per layer of the encoder, got 2"),
    ],
)
def test_a_plan_that_does_not_fit_the_bundle(fields, message):
    with pytest.raises(InputError, match=message):
        FinetunePlan("layers", **fields).layer_gammas(4)


WRONG = {
    "method": "deep",
    "anchor": "top",
    "l2": -1.0,
    "folds": 1,
    "gamma": (1.0, -2.0),
    "gamma_ratio": 0.0,
    "optimiser": "adam",
    "learning_rate": INF,
    "weight_decay": -0.1,
    "momentum": 1.0,
    "schedule": "step",
    "warmup": 1.5,
    "epochs": 0,
    "batch": 0,
    "augment": ("jitter", "shear"),
    "replay": math.nan,
    "turn_epochs": 0,
    "judge": "all",
    "keep": 1.1,
    "seed": -1,
}


@pytest.mark.parametrize("name", WRONG)
def test_values_that_make_no_sense(name):
    with pytest.raises(InputError) as caught:
        FinetunePlan(**{"method": "full", name: WRONG[name]})
    assert caught.value.where == name
    assert str(WRONG[name]) in str(caught.value)


TINY = 5e-324  # the smallest number above 0
EDGES = {  # the last values that are taken, and the first beyond that are not
    "l2": ((0.0, 1e300), (-TINY, INF, math.nan)),
    "folds": ((2,), (1,)),
    "gamma": ((0.0, INF, (0.0, INF)), (-TINY, math.nan, (1.0, -TINY), (math.nan, 1.0))),
    "gamma_ratio": ((TINY,), (0.0, INF, math.nan)),
    "learning_rate": ((TINY,), (0.0, INF, math.nan)),
    "weight_decay": ((0.0,), (-TINY, INF, math.nan)),
    "momentum": ((0.0, math.nextafter(1, 0)), (-TINY, 1.0, math.nan)),
    "warmup": ((0.0, 1.0), (-TINY, math.nextafter(1, 2), math.nan)),
    "epochs": ((1,), (0,)),
    "batch": ((1,), (0,)),
    "augment": (((), ("jitter",)), (("shear",), ("jitter", "shear"))),
    "replay": ((0.0,), (-TINY, INF, math.nan)),
    "turn_epochs": ((1,), (0,)),
    "keep": ((0.0, 1.0), (-TINY, math.nextafter(1, 2), math.nan)),
    "seed": ((0,), (-1,)),
}


@pytest.mark.parametrize("name", EDGES)
def test_both_sides_of_every_bound(name):
    for value in EDGES[name][0]:
        assert getattr(FinetunePlan(**{"method": "full", name: value}), name) == value
    for value in EDGES[name][1]:
        with pytest.raises(InputError, match=f"^{name}: expected"):
            FinetunePlan(**{"method": "full", name: value})


def test_only_a_head_needs_a_pull():
    assert FinetunePlan("head", l2=TINY).l2 == TINY
    with pytest.raises(InputError, match=r"^l2: expected a finite number above 0, got 0"):
        FinetunePlan("head", l2=0.0)


def test_wrong_values_cover_the_plan():
    assert {*WRONG, "from_layer", "balanced", "budget", "sure", "merge", "drop", "null", "space"} == set(
        FinetunePlan.__dataclass_fields__
    )


@pytest.mark.parametrize("name", ["seconds", "joules", "megabytes"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_budgets_are_above_zero(name, value):
    with pytest.raises(InputError, match=rf"budget\.{name}: expected a number above 0, got"):
        FinetunePlan("full", budget=Budget(**{name: value}))


def test_plan_is_json():
    plain = {"method": "head", "anchor": "pretrained", "l2": None, "folds": 5, "sure": False}
    assert FinetunePlan().to_dict() == plain | {"merge": [], "drop": [], "null": "", "space": "hand"}
    named = FinetunePlan(merge=(("up", "stairs"), ("down", "stairs")), drop=("run",)).to_dict()
    assert (named["merge"], named["drop"]) == ([["up", "stairs"], ["down", "stairs"]], ["run"])
    plan = FinetunePlan("full", gamma=(INF, 1.0), augment=("jitter",), budget=Budget(seconds=3))
    again = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
    assert again["gamma"] == ["inf", 1.0]
    assert again["augment"] == ["jitter"]
    assert again["budget"] == {"seconds": 3, "joules": None, "megabytes": None}
    assert FinetunePlan("full", gamma=INF).to_dict()["gamma"] == "inf"


# ---- the command line


def parsed(*options):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return plan_of(parser.parse_args(["b", "--labels", "l.csv", *options]))


def test_no_option_is_the_default_plan():
    assert parsed() == FinetunePlan()
    assert parsed("--method", "full") == FinetunePlan("full")


def test_every_option_reaches_the_plan():
    found = parsed(
        *("--method", "iterative", "--anchor", "zero", "--l2", "0.5", "--folds", "3", "--from-layer", "1"),
        *("--gamma", "1,inf,2", "--gamma-ratio", "4", "--turn-epochs", "2", "--epochs", "7", "--batch", "5"),
        *("--learning-rate", "0.1", "--optimiser", "sgd", "--weight-decay", "0.2", "--momentum", "0.3"),
        *("--schedule", "cosine", "--warmup", "0.4", "--unbalanced", "--augment", "jitter,scale", "--replay", "0.6"),
        *("--judge", "one", "--keep", "0.7", "--seed", "8"),
        *("--budget-seconds", "1", "--budget-joules", "2", "--budget-mb", "3"),
    )
    expected = FinetunePlan(
        *("iterative", "zero", 0.5, 3, 1, (1.0, INF, 2.0), 4.0, "sgd", 0.1, 0.2, 0.3, "cosine", 0.4, 7, 5, False),
        *(("jitter", "scale"), 0.6, 2, "one", 0.7, 8, Budget(1, 2, 3)),
    )
    assert found == expected
    given = ("--sure", "--merge", "up,down=stairs", "--drop", "run,jump", "--null", "none", "--space", "both")
    head = parsed(*given)
    merged = (("up", "stairs"), ("down", "stairs"))
    assert head == FinetunePlan(sure=True, merge=merged, drop=("run", "jump"), null="none", space="both")
    own = {"sure", "merge", "drop", "null", "space"}
    for name in FinetunePlan.__dataclass_fields__:
        assert getattr(head if name in own else found, name) != getattr(FinetunePlan(), name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--epochs", "3"), "--epochs: expected one of the methods layers, full and iterative, got head, which"),
        (("--method", "head", "--from-layer", "3"), "--from-layer: expected one of the methods"),
        (("--method", "full", "--learning-rate", "nan"), "--learning-rate: expected a finite number above 0, got nan"),
        (("--method", "full", "--augment", "blur"), "--augment: expected names among jitter, scale"),
        (("--budget-mb", "0"), "--budget-mb: expected a number above 0, got 0"),
        (("--budget-joules", "-1"), "--budget-joules: expected a number above 0, got -1"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(InputError) as caught:
        parsed(*options)
    assert str(caught.value).startswith(message)


# ---- budgets


class Clockwork:
    """A meter that counts so many joules per second of a clock that tests turn."""

    name = "clockwork"

    def __init__(self, watts=2.0):
        self.now_s, self.watts, self.began_s = 0.0, watts, None

    def start(self):
        assert self.began_s is None
        self.began_s = self.now_s

    def stop(self):
        seconds, self.began_s = self.now_s - self.began_s, None
        return Energy(self.watts * seconds, self.name, ("all",), "counter", seconds=seconds, n_samples=2)


def test_a_running_meter_loses_nothing():
    meter = Clockwork()
    running = RunningMeter(meter)
    running.start()
    found = []
    for _ in range(3):
        meter.now_s += 1.5
        found.append(running.so_far().joules)
    meter.now_s += 0.5
    last = running.stop()
    assert found == [3, 6, 9]
    assert (last.joules, last.seconds, last.n_samples, last.rails) == (10, 5, 8, ("all",))
    running.start()
    assert running.stop().joules == 0


def test_joules_without_a_meter_are_refused():
    for meter, text in ((None, "got none"), (NoMeter("nothing under /sys"), "got none: nothing under /sys")):
        with pytest.raises(InputError, match=f"budget.joules: expected a meter of energy, {text}"):
            Ledger(Budget(joules=5), meter)


def test_phases_are_added(tmp_path):
    meter = Clockwork()
    ledger = Ledger(Budget(), meter)
    for name, seconds in (("prefix", 1), ("training", 2), ("training", 4)):
        with ledger.phase(name):
            meter.now_s += seconds
    assert list(ledger.phases) == ["prefix", "training"]
    assert ledger.phases["training"].energy.joules == 12
    total = ledger.total()
    assert total.energy.joules == 14
    assert total.seconds == sum(phase.seconds for phase in ledger.phases.values())
    assert total.memory.baseline_bytes == ledger.phases["prefix"].memory.baseline_bytes
    assert total.memory.peak_bytes == max(phase.memory.peak_bytes for phase in ledger.phases.values())


def test_what_was_not_measured_stays_so():
    ledger = Ledger(Budget(), NoMeter("no rail"))
    with ledger.phase("a"):
        pass
    assert ledger.total().energy.joules is None
    assert ledger.total().energy.reason == "no rail"


def test_a_share_of_the_seconds(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    ledger = Ledger(Budget(seconds=9), None)
    now[0] = 103.0  # 6 s are left: 2 for each of three
    over = ledger.share(3)
    now[0] = 104.9
    assert over() == ""
    now[0] = 105.1
    assert over() == "the budget of 9 s"
    assert ledger.share(1)() == ""
    now[0] = 109.0
    assert ledger.share(1)() == "the budget of 9 s"
    assert Ledger(Budget(), None).share(1)() == ""


def test_a_share_of_the_joules(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    meter = Clockwork()
    ledger = Ledger(Budget(joules=10), meter)
    with ledger.phase("prefix"):
        meter.now_s += 1  # 2 J; 8 are left: 4 for each of two
    with ledger.phase("judging"):
        over = ledger.share(2)
        for step, expected in enumerate(("", "", "the budget of 10 J")):
            meter.now_s += 0.8
            now[0] += 1
            assert over() == expected, step
        over = ledger.share(1)  # 2 + 4.8 are used
        meter.now_s += 1.5
        now[0] += 1
        assert over() == ""
        meter.now_s += 0.2
        assert over() == ""  # asked again too soon
        now[0] += 1
        assert over() == "the budget of 10 J"
    assert ledger.total().energy.joules == pytest.approx(10.2)


def test_what_went_beyond_a_budget_is_said():
    meter = Clockwork()
    ledger = Ledger(Budget(seconds=1e-9, joules=3, megabytes=1e9), meter)
    with ledger.phase("a"):
        meter.now_s += 2
    assert "of 1e-09 s, 4 of 3 J" in ledger.exceeded()
    assert "MB" not in ledger.exceeded()
