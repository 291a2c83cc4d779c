"""What a fine-tuning run costs: the plan that is named, the phases, the price of a point."""

import json
import math

import pytest

from runtime import Bundle
from runtime.errors import InputError
from sdk.demo.__main__ import DATA
from sdk.finetune import FinetunePlan, read_labels
from sdk.meters import Idle, open_meter
from sdk.profile.__main__ import main
from sdk.profile.finetune import profile_finetune, read_plan, summary
from tests.taken import take_all

LABELS = "start_s,end_s,label\n20,40,downstairs\n120,140,jogging\n220,240,sitting\n310,330,standing\n400,420,upstairs\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "mine.csv"
    path.write_text(LABELS + "510,530,walking\n")
    return path


@pytest.fixture
def any_gain(monkeypatch):
    """The person is known to the model, so that nothing more can be right; that is not what is measured here."""
    take_all(monkeypatch)


@pytest.mark.usefixtures("any_gain")
def test_the_command_profiles_a_fine_tuning_run_and_changes_nothing(data, capsys):
    before = sorted(path.name for path in (DATA / "walk.bundle").iterdir())
    files = ["--labels", str(data), "--recording", str(DATA / "person_6.npz")]
    assert main([str(DATA / "walk.bundle"), "--windows", "5", "--finetune", "head", *files, "--json"]) == 0
    tuned = json.loads(capsys.readouterr().out)["finetune"]
    assert tuned["accepted"]
    assert [phase["name"] for phase in tuned["phases"]] == ["prefix", "judging", "training", "commit"]
    assert tuned["seconds"] == pytest.approx(sum(phase["seconds"] for phase in tuned["phases"]))
    assert tuned["seconds_per_point"] == pytest.approx(tuned["seconds"] / tuned["points"])
    assert tuned["joules_per_point"] is None or tuned["joules_per_point"] > 0
    assert tuned["labelled_windows"] > 50
    assert sorted(path.name for path in (DATA / "walk.bundle").iterdir()) == before


def test_the_price_of_a_point_by_hand(data):
    """10 J in 2 s, idle 1 W, macro-F1 from 0.5 to 0.75: 25 points, 0.4 J and 0.08 s each, 0.32 J above idle."""
    bundle = Bundle.open(DATA / "walk.bundle")
    labelled = read_labels(data, bundle.manifest, DATA / "person_6.npz")
    own = profile_finetune(
        *(bundle, labelled, FinetunePlan(l2=0.1)),
        meter=open_meter("none"),
        idle=None,
        progress=lambda done, total, text: None,
    )
    assert own.energy.joules is own.joules_per_point is None
    assert own.energy.reason == "switched off"

    class Report:
        pass

    from sdk.meters import Energy, Measurement, Memory

    cost = Measurement(2.0, 1.5, Energy(10.0, "x", seconds=2.0), Memory(1000, 5000, "VmHWM"))
    report = Report()
    score = type("Score", (), {})
    report.before, report.after = score(), score()
    report.before.macro_f1, report.after.macro_f1 = 0.5, 0.75
    report.cost, report.phases, report.plan = cost, {"training": cost}, FinetunePlan()
    report.accepted, report.reason, report.windows_per_label = True, "accepted", {"a": 3, "b": 4}
    found = summary(report, Idle(1.0))
    assert (found.points, found.seconds_per_point, found.joules_per_point) == (25.0, 0.08, 0.4)
    assert (found.net_joules_per_point, found.above_baseline_bytes, found.labelled_windows) == (0.32, 4000, 7)
    report.accepted = False
    refused = summary(report, None)
    assert refused.points is refused.seconds_per_point is refused.joules_per_point is None
    report.accepted, report.after = True, report.before
    assert summary(report, None).seconds_per_point is None  # accepted, and nothing gained


def test_plans(tmp_path):
    assert read_plan("full") == FinetunePlan(method="full")
    plan = FinetunePlan(method="layers", gamma=(math.inf, 1.0), augment=("jitter",), epochs=3)
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_dict()))
    assert read_plan(str(tmp_path / "plan.json")) == plan


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "one of head, layers, full, iterative, or a file of JSON, got No such file"),
        ("{", "or a file of JSON, got "),
        ("[]", "a JSON object, got list"),
        ('{"epoch": 3}', "fields among .*, got epoch"),
        ('{"epochs": 0}', "epochs: expected at least 1, got 0"),
        ('{"epochs": "many"}', "values as FinetunePlan takes them"),
    ],
)
def test_plans_that_are_none(tmp_path, text, message):
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_plan(str(path))
