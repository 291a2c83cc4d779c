import json
import shutil
import stat
import time
from datetime import datetime

import numpy as np
import pytest

from runtime import Bundle, InputError, RecordedStream, Recorder, Recording, Store
from runtime.recorder import days_of, labelled_recording
from sdk.finetune import finetune, read_labels, read_store
from sdk.finetune.plan import FinetunePlan
from sdk.label import instant, main
from tests.commands.tools import copy_bundle, environment, python
from tests.recorder_tools import BUNDLE, HOP_S, WINDOW_S, pair, walk
from tests.taken import take_all

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
NOON = "2026-11-20T12:00:00"


@pytest.fixture(autouse=True)
def _berlin(monkeypatch):
    monkeypatch.setenv("TZ", BERLIN)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Person 6 of the demo, as if recorded from noon on."""
    path, bundle = tmp_path_factory.mktemp("recorded") / "me.db", walk()
    recording = Recording.load(BUNDLE.parent / "person_6.npz").fit(bundle.manifest.signal)
    noon_s = datetime.fromisoformat(NOON + "+01:00").timestamp()
    with Recorder(path, bundle, epoch=noon_s - float(recording.t[0])) as recorder:
        RecordedStream(recorder).push(recording.samples, recording.t)
    return path, recording, noon_s


@pytest.fixture
def store(recorded, tmp_path):
    return shutil.copy(recorded[0], tmp_path / "me.db")


def label(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


# What person 6 did in the first minutes, from the labels of the recording: 20-40 s downstairs, and so on.
SPANS = (
    ("12:00:20-12:00:40", "downstairs"),
    ("12:02:00-12:02:20", "jogging"),
    ("12:03:40-12:04:00", "sitting"),
    ("12:05:10-12:05:30", "standing"),
    ("12:06:40-12:07:00", "upstairs"),
    ("12:08:30-12:08:50", "walking"),
)


def test_labels_by_time_range_are_judged_in_one_command(store, tmp_path, capsys):
    for span, name in SPANS:
        assert label(capsys, store, "mark", span, name, "--date", "2026-11-20")[0] == 0
    bundle = copy_bundle(tmp_path)
    done = python("-m", "sdk.finetune", bundle, "--labels", store, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 3, done.stderr  # the model knows this person: nothing more can be right
    assert "too little is gained" in report["reason"]
    assert all(5 <= n <= 16 for n in report["windows_per_label"].values())
    assert report["after"]["log_loss"] < report["before"]["log_loss"]
    assert Bundle.open(bundle).version == "base"


def test_windows_from_a_store_are_those_from_the_recording(store, recorded, tmp_path, capsys):
    """The same spans as a .csv beside the recording give the same windows, bit for bit."""
    _, recording, noon_s = recorded
    rows = ["start_s,end_s,label"]
    first_s = float(recording.t[0])
    for span, name in SPANS:
        label(capsys, store, "mark", span, name, "--date", "2026-11-20")
        ends = [instant(f"2026-11-20 {clock}") - noon_s + first_s for clock in span.split("-")]
        rows.append(f"{ends[0]},{ends[1]},{name}")
    (tmp_path / "mine.csv").write_text("\n".join(rows))
    recording.save(tmp_path / "today.npz")
    expected = read_labels(tmp_path / "mine.csv", walk().manifest, tmp_path / "today.npz")
    found = read_store(store, walk())
    assert found.windows.tobytes() == expected.windows.tobytes()
    assert found.labels.tolist() == expected.labels.tolist()
    assert found.sha256 == expected.sha256
    # and so does the export, as far as whole windows of it carry one label
    out = tmp_path / "mine.npz"
    assert label(capsys, store, "export", out)[0] == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    exported = read_labels(out, walk().manifest)
    assert exported.windows.tobytes() == expected.windows.tobytes()
    assert exported.labels.tolist() == expected.labels.tolist()


def test_marking_again_replaces_unmarking_removes_undo_goes_back(store, capsys):
    day = ("--date", "2026-11-20")
    code, out, _ = label(capsys, store, "mark", "12:00:00-12:00:40", "walking", *day)
    assert code == 0
    assert "it counts over" not in out
    with Store(store) as read:
        starts = np.array([row.start_s for row in read.predictions(*read.span_s)])
        begin = instant("2026-11-20 12:00")
        inside = np.sum((starts >= begin - 1e-6) & (starts + WINDOW_S <= begin + 40 + 1e-6))
        cut = np.sum((starts + WINDOW_S > begin + 1e-6) & (starts < begin + 40 - 1e-6)) - inside
        assert f"walking: {inside} windows" in out
        assert f"{cut} that the ends cut" in out
        one = read.spans()
        _, out, _ = label(capsys, store, "mark", "12:00:10 to 12:00:20", "sitting", *day)
        assert "it counts over what was marked before: 10 s of walking; undo takes it back" in out
        two = read.spans()
        assert [span.label for span in two] == ["walking", "sitting", "walking"]
        assert label(capsys, store, "unmark", "2026-11-20 12:00:15-12:00:30")[0] == 0
        assert [span.end_s - span.start_s for span in read.spans()] == pytest.approx([10, 5, 10])
        assert "taken back: unmark" in label(capsys, store, "undo")[1]
        assert read.spans() == two
        label(capsys, store, "undo")
        assert read.spans() == one
        label(capsys, store, "undo")
        assert read.spans() == []
    code, _, err = label(capsys, store, "undo")
    assert (code, "expected a mark to take back, got none" in err) == (2, True)


def test_the_list_counts_and_draws(store, capsys):
    label(capsys, store, "mark", "12:00:00-12:05:00", "walking", "--date", "2026-11-20")
    code, out, _ = label(capsys, store, "list", "--json")
    told = json.loads(out)
    assert code == 0
    (day,) = told["days"]
    with Store(store) as read:
        rows = list(read.predictions(*read.span_s))
        inside = read.inside(instant("2026-11-20 12:00"), instant("2026-11-20 12:05")).inside
    assert day["date"] == "2026-11-20"
    assert day["windows"] == len(rows) == 357
    assert day["predicted"] == {name: sum(r.label == name for r in rows) for name in {r.label for r in rows}}
    assert day["labelled"] == {"walking": inside}
    assert told["spans"][0]["label"] == "walking"
    lines = label(capsys, store, "list")[1].splitlines()
    ruler, predicted, labelled = (line[11:] for line in lines[3:6])
    assert ruler.rstrip() == "00    03    06    09    12    15    18    21"
    assert labelled == "·" * 24 + "w" + "·" * 23
    assert predicted.count("·") == 47
    assert predicted[24] != "·"


def test_days_are_local_ones_also_when_the_clocks_change(tmp_path, capsys):
    """One prediction per 1.28 s through the day on which summer time begins, whose 23 hours have 46 half hours."""
    path, bundle = tmp_path / "me.db", walk()
    begin_s = datetime.fromisoformat("2026-03-28T22:00:00+01:00").timestamp()
    with Recorder(path, bundle, epoch=begin_s, keep="predictions") as recorder:
        for k in range(0, int(27 * 3600 / HOP_S), 25):
            recorder.write(pair(k, bundle.manifest.labels)[0])
    with Store(path) as store:
        days = list(days_of(store, 31))
        starts = [row.start_s for row in store.predictions(*store.span_s)]
    assert [day["date"] for day in days] == ["2026-03-28", "2026-03-29", "2026-03-30"]
    edges = [datetime.fromisoformat(text).timestamp() for text in ("2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00")]
    expected = np.bincount(np.searchsorted(edges, starts, side="right")).tolist()
    assert [day["windows"] for day in days] == expected
    lines = label(capsys, path, "list")[1].splitlines()
    assert len(lines[9]) == 11 + 46
    assert lines[8].split() == ["00", "03", "06", "09", "12", "15", "18", "21"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20 12:00", "2026-11-20T11:00:00+00:00"),
        ("2026-07-20T12:00:30.5", "2026-07-20T10:00:30.500+00:00"),
        ("2026-07-20 9:05", "2026-07-20T07:05:00+00:00"),
        ("2026-07-20T12:00:00Z", "2026-07-20T12:00:00+00:00"),
        ("2026-10-25 02:30+02:00", "2026-10-25T00:30:00+00:00"),
        ("2026-10-25 02:30+01:00", "2026-10-25T01:30:00+00:00"),
        ("2026-03-29 03:00", "2026-03-29T01:00:00+00:00"),
    ],
)
def test_instants(text, expected):
    assert instant(text) == datetime.fromisoformat(expected).timestamp()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-03-29 02:30", "a time that the clocks show, got 2026-03-29 02:30, which they skip"),
        ("2026-10-25 02:30", r"2026-10-25 02:30\+02:00 or 2026-10-25 02:30\+01:00, got .* show twice"),
        ("2026-13-01 02:30", "expected a date and a time"),
        ("2026-11-20 25:00", "expected a date and a time"),
    ],
)
def test_times_that_are_none(text, message):
    with pytest.raises(InputError, match=message):
        instant(text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mark", "12:00-12:05", "waking", "--date", "2026-11-20"], "got 'waking'. Did you mean walking?"),
        (["mark", "12:00-12:05", "eating", "--date", "2026-11-20"], "Add --new for one that the model is to learn"),
        (["mark", "13:00-13:05", "walking", "--date", "2026-11-20"], "got none that lies inside, 0 that it cuts"),
        (["mark", "walking"], 'expected two times such as "12:00-12:30"'),
        (["mark", "12:00-12:05", "--date", "2026-11-20"], "expected a span and one label"),
        (["mark", "--from", "2026-11-20 12:00", "walking"], "expected --from and --to"),
        (["mark", "--from", "2026-11-20 12:05", "--to", "2026-11-20 12:00", "walking"], "expected a time after"),
        (["mark", "12:00-12:05", "walking", "--date", "today"], "expected a date and a time"),
        (["unmark", "12:00-12:05", "walking", "--date", "2026-11-20"], "expected a span and no label"),
        (["mark", "--new", "12:00-12:05", " ", "--date", "2026-11-20"], "label: expected a name, got ''"),
        (["mark", "--new", "12:00-12:05", "\udcff", "--date", "2026-11-20"], "label: expected a name"),
        (["mark", "--from", "0001-01-01 00:00", "--to", "9999-12-31 23:59", "walking"], "expected a date and a time"),
        (["mark", "23:00-22:00", "walking", "--date", "9999-12-31"], "expected a date and a time"),
        (["export", "no/such/mine.npz"], "expected a folder that exists"),
        (["export", "mine.csv"], "a name that ends in .npz"),
        (["export", "mine.npz"], "got 0 marked spans without"),
    ],
)
def test_errors_are_one_line_and_change_nothing(store, capsys, words, message):
    code, out, err = label(capsys, store, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    with Store(store) as read:
        assert read.spans() == []


def test_any_number_of_days(store, capsys):
    assert label(capsys, store, "list", "--days", 10**9) == label(capsys, store, "list")


def test_no_store(tmp_path, capsys):
    code, _, err = label(capsys, tmp_path / "none.db", "list")
    assert (code, "expected a store, got no such file" in err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_span_over_midnight(tmp_path, capsys):
    path, bundle = tmp_path / "me.db", walk()
    begin_s = datetime.fromisoformat("2026-11-20T23:00:00+01:00").timestamp()
    with Recorder(path, bundle, epoch=begin_s, keep="predictions") as recorder:
        for k in range(0, int(7200 / HOP_S), 5):
            recorder.write(pair(k, bundle.manifest.labels)[0])
    assert label(capsys, path, "mark", "23:30-00:15", "sitting", "--date", "2026-11-20")[0] == 0
    with Store(path) as store:
        (span,) = store.spans()
        assert (span.start_s, span.end_s) == (begin_s + 1800, begin_s + 4500)


def test_a_label_that_the_model_does_not_know(store, tmp_path, capsys):
    assert label(capsys, store, "mark", "12:00-12:05", "eating", "--new", "--date", "2026-11-20")[0] == 0
    path = copy_bundle(tmp_path)
    done = python("-m", "sdk.finetune", path, "--labels", store)
    assert (done.returncode, done.stderr) == (0, "")
    assert Bundle.open(path).manifest.labels == (*walk().manifest.labels, "eating")
    for span, name in SPANS:
        label(capsys, store, "mark", span, name, "--date", "2026-11-20")
    bundle = walk()
    assert read_store(store, bundle).names[-1] == "eating"
    found = read_store(store, bundle, leave_out=("eating",))
    assert found.notes == ("labels are left out as asked: eating",)
    assert set(found.labels.tolist()) == set(range(6))


def test_a_store_without_marks_and_one_with_a_recording(store, tmp_path):
    bundle = copy_bundle(tmp_path)
    done = python("-m", "sdk.finetune", bundle, "--labels", store)
    assert (done.returncode, "got no mark. Mark what was recorded" in done.stderr) == (2, True)
    done = python("-m", "sdk.finetune", bundle, "--labels", store, "--recording", "x.npz")
    assert (done.returncode, "expected none beside a store" in done.stderr) == (2, True)


def test_a_head_trains_from_features_as_from_windows(recorded, tmp_path, monkeypatch):
    take_all(monkeypatch)
    _, recording, _ = recorded
    bundles = {keep: Bundle.open(copy_bundle(_folder(tmp_path, keep))) for keep in ("windows", "features")}
    found = {}
    for keep, bundle in bundles.items():
        path = tmp_path / f"{keep}.db"
        with Recorder(path, bundle, epoch=0.0, keep=keep) as recorder:
            RecordedStream(recorder).push(recording.samples, recording.t)
        with Store(path) as store:
            for start_s, name in ((20, "downstairs"), (120, "jogging"), (220, "sitting")):
                store.mark(start_s, start_s + 20, name, 0.0)
        data = read_store(path, bundle)
        adapted, report = finetune(bundle, data, FinetunePlan(l2=0.1))
        assert report.accepted
        found[keep] = adapted.tensor(bundle.manifest.head.weight)
    assert (data.features is not None, len(data.windows)) == (True, 0)
    np.testing.assert_allclose(found["features"], found["windows"], atol=1e-5)
    with pytest.raises(InputError, match="expected windows, or method head"):
        finetune(bundle, data, FinetunePlan("layers"))


def _folder(path, name):
    (path / name).mkdir()
    return path / name


def test_an_export_keeps_apart_what_was_recorded_at_one_time(tmp_path):
    """The clock was set back: two stretches have the same times, and no window may hold samples of both."""
    path, bundle = tmp_path / "me.db", walk()
    labels, start_s = bundle.manifest.labels, 1_700_000_000.0
    for first, epoch in ((0, start_s), (100, start_s + 20 - 100 * HOP_S)):
        with Recorder(path, bundle, epoch=epoch) as recorder:
            for k in range(first, first + 40):
                recorder.write(*pair(k, labels))
    with Store(path) as store:
        store.mark(start_s, start_s + 30, "walking", 0.0)
        store.mark(start_s + 30, start_s + 60, "sitting", 0.0)
        exported = labelled_recording(store)
    exported.save(tmp_path / "out.npz")
    for window in read_labels(tmp_path / "out.npz", bundle.manifest).windows:
        steps = np.diff(window[:, 0])
        assert (steps == 1).all()


def test_an_export_needs_samples(tmp_path):
    with Recorder(tmp_path / "p.db", walk(), epoch=0.0, keep="predictions") as recorder:
        for k in range(20):
            recorder.write(pair(k, walk().manifest.labels)[0])
    with Store(tmp_path / "p.db") as store:
        store.mark(0, 20, "walking", 0.0)
        with pytest.raises(InputError, match="the samples of windows of one rate, got 1 marked spans without"):
            labelled_recording(store)
    with pytest.raises(InputError, match="their samples, got 1 spans without"):
        read_store(tmp_path / "p.db", walk())


def test_it_works_in_a_process_of_its_own(store):
    done = python("-m", "sdk.cli", "label", store, "list", env=environment(TZ=BERLIN))
    assert (done.returncode, done.stderr) == (0, "")
    assert "2026-11-20 Fri  357 windows, 0.0% labelled; " in done.stdout
