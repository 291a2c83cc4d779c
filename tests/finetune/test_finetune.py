import hashlib
import json
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from threadpoolctl import threadpool_limits

import sdk.demo
from runtime import Bundle, InputError, Manifest, Modality, Recording, Signal, WindowSpec, labelled_windows, open_engine
from runtime.specs import Normalise
from sdk.finetune import FinetunePlan, LabelledSet, finetune, read_labels, set_apart
from sdk.finetune.candidate import L2_GRID
from sdk.finetune.judge import _chance
from sdk.scores import score_bundle

DATA = Path(sdk.demo.__file__).parent / "data"
RATE_HZ, LENGTH, HOP = 10.0, 8, 3
MANIFEST = Manifest(
    name="toy",
    signal=Signal((Modality("acc", "m/s^2", ("x", "y"), RATE_HZ),)),
    window=WindowSpec(LENGTH, HOP),
    labels=("sit", "walk", "run"),
    normalise=Normalise((0.0, 0.0), (1.0, 1.0)),
)


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):
        yield


def save(path, n=100, t=None, labels=None, label_names=(), seed=0):
    samples = np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)
    recording = Recording(samples, ("acc_x", "acc_y"), RATE_HZ, t=t, labels=labels, label_names=label_names)
    recording.save(path)
    return recording


def write_spans(path, *lines, header="start_s,end_s,label"):
    path.write_text("\n".join((header, *lines)) + "\n")
    return path


def naive(recording, spans):
    """Windows all of whose instants have one label and weight, the last span's of those that hold the instant."""
    times = np.arange(len(recording.samples)) / RATE_HZ if recording.t is None else recording.t
    found, begin = [], 0
    while begin + LENGTH <= len(times):
        stretch = times[begin : begin + LENGTH]
        gaps = np.flatnonzero(np.diff(stretch) > 1.5 / RATE_HZ)
        if len(gaps):  # a new segment starts after the gap
            begin += int(gaps[0]) + 1
            continue
        first, last = stretch[0], stretch[-1] + 1 / RATE_HZ
        edges = sorted({first, last, *(edge for s in spans for edge in s[:2] if first < edge < last)})
        middles = [(a + b) / 2 for a, b in pairwise(edges) if b - a > 2e-6]
        said = {([None] + [s[2:] for s in spans if s[0] <= at <= s[1]])[-1] for at in middles}
        if len(said) == 1 and None not in said:
            found.append((recording.samples[begin : begin + LENGTH], *said.pop()))
        begin += HOP
    return found


def check(found, expected):
    assert len(expected) > 0
    np.testing.assert_array_equal(found.windows, np.stack([window for window, _, _ in expected]))
    assert [MANIFEST.labels[label] for label in found.labels] == [label for _, label, _ in expected]
    assert found.weights.tolist() == [weight for _, _, weight in expected]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("clock", ["none", "offset", "gap"])
def test_windows_inside_spans(tmp_path, seed, clock):
    rng = np.random.default_rng(seed)
    t = {"none": None, "offset": 70 + np.arange(100) / RATE_HZ, "gap": np.arange(100) / RATE_HZ}[clock]
    if clock == "gap":
        t[40:] += 1.0
    recording = save(tmp_path / "r.npz", t=t, seed=seed)
    first, last = (0.0, 10.0) if t is None else (float(t[0]), float(t[-1]) + 1 / RATE_HZ)
    spans = []
    for _ in range(6):
        start, end = sorted(rng.uniform(first, last, 2).round(rng.integers(1, 4)).tolist())
        if end > start:
            spans.append((start, end, str(rng.choice(MANIFEST.labels)), round(rng.uniform(0.5, 2), 2)))
    spans.append((first, first + 2.0, "sit", 1.5))  # edges that fall on samples
    lines = [f"{start},{end},{label},{weight}" for start, end, label, weight in spans]
    path = write_spans(tmp_path / "l.csv", *lines, header="start_s,end_s,label,weight")
    check(read_labels(path, MANIFEST, tmp_path / "r.npz"), naive(recording, spans))


def test_column_recording_is_relative_to_the_file(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    one, two = (save(tmp_path / "sub" / f"{name}.npz", seed=i) for i, name in enumerate("ab"))
    path = write_spans(
        tmp_path / "sub" / "l.csv",
        "0,2,sit,,a.npz",
        "1,3,walk,2,b.npz",
        "5,6,run,,a.npz",
        header="start_s,end_s,label,weight,recording",
    )
    monkeypatch.chdir(tmp_path)
    check(
        read_labels(path, MANIFEST),
        naive(one, [(0, 2, "sit", 1.0), (5, 6, "run", 1.0)]) + naive(two, [(1, 3, "walk", 2.0)]),
    )


def test_spaces_and_a_byte_order_mark_do_not_matter(tmp_path):
    recording = save(tmp_path / "r.npz")
    path = tmp_path / "l.csv"
    path.write_text("start_s, end_s, label\n0, 4, walk \n", encoding="utf-8-sig")
    check(read_labels(path, MANIFEST, tmp_path / "r.npz"), naive(recording, [(0, 4, "walk", 1.0)]))


CONFLICTS = {  # lines, windows of sit and walk, what is said; windows of 0.8 s begin every 0.3 s of 10 s
    "wrong line first": (("0,10,walk", "0,5,sit", "5,10,walk"), (15, 14), "5 s of .* two labels, first at 0 s"),
    "wrong line last": (("0,5,sit", "5,10,walk", "0,10,walk"), (0, 31), "5 s of .* two labels, first at 0 s"),
    "in part": (("0,5,sit", "4,10,walk"), (11, 17), "1 s of .* two labels, first at 4 s; the later line counts"),
    "three": (("0,10,sit", "4,6,walk", "0,10,sit"), (31, 0), "2 s of .* two labels, first at 4 s"),
    "none": (("0,5,sit", "5,10,sit", "2,3,sit"), (31, 0), None),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_of_two_lines_the_later_one_counts(tmp_path, name):
    lines, expected, said = CONFLICTS[name]
    save(tmp_path / "r.npz")
    found = read_labels(write_spans(tmp_path / "l.csv", *lines), MANIFEST, tmp_path / "r.npz")
    assert tuple(np.bincount(found.labels, minlength=3)[:2]) == expected
    assert len(found.notes) == (said is not None)
    assert said is None or re.search(said, found.notes[0])


def test_names_in_another_spelling_are_taken_and_said(tmp_path):
    recording = save(tmp_path / "r.npz")
    path = write_spans(tmp_path / "l.csv", "0,4,Walk", "4,8,SIT ", "8,10,run")
    found = read_labels(path, MANIFEST, tmp_path / "r.npz")
    check(found, naive(recording, [(0, 4, "walk", 1.0), (4, 8, "sit", 1.0), (8, 10, "run", 1.0)]))
    assert found.notes == ("labels are taken for the model's of another spelling: 'Walk' is walk, 'SIT' is sit",)
    both = replace(MANIFEST, labels=("walk", "Walk", "WALK"))
    assert set(read_labels(write_spans(path, "0,4,Walk"), both, tmp_path / "r.npz").labels) == {1}
    with pytest.raises(InputError, match=r"got 'wAlK'\. .* leave it out with --leave-out wAlK\."):
        read_labels(write_spans(path, "0,4,wAlK"), both, tmp_path / "r.npz")


def test_labels_that_are_left_out(tmp_path):
    """One that is left out takes labels away, as a later line does."""
    recording = save(tmp_path / "r.npz")
    path = write_spans(tmp_path / "l.csv", "0,10,walk", "4,5,none", ",,", "8,10,waving")
    plain = read_labels(path, MANIFEST, tmp_path / "r.npz")
    assert [re.search(r"'\w+'", note).group() for note in plain.notes] == ["'none'", "'waving'"]
    found = read_labels(path, MANIFEST, tmp_path / "r.npz", leave_out=("none", "waving"))
    check(found, naive(recording, [(0, 4, "walk", 1.0), (5, 8, "walk", 1.0)]))
    assert found.notes == ("labels are left out as asked: none, waving",)


def test_recordings_without_a_window_are_counted(tmp_path):
    for i, name in enumerate("ab"):
        save(tmp_path / f"{name}.npz", seed=i)
    save(tmp_path / "c.npz", n=7)
    save(tmp_path / "d.npz", t=np.cumsum(np.tile((0.1, 0.1, 0.9, 0.1), 25)))
    lines = ["0,4,walk,a.npz", "0,0.5,walk,b.npz", "0,0.7,walk,c.npz", "0.2,29,walk,d.npz"]
    path = write_spans(tmp_path / "l.csv", *lines, header="start_s,end_s,label,recording")
    (told,) = read_labels(path, MANIFEST).notes
    assert told.startswith("3 of 4 recordings gave no window, because ")
    for reason in ("1 have no window inside a span", "1 are shorter than a window of 0.8 s", "1 have time stamps that"):
        assert reason in told


def test_spans_have_the_times_of_a_clock(tmp_path):
    recording = save(tmp_path / "r.npz")
    path = write_spans(tmp_path / "l.csv", "00:00:01,00:00:04,sit", "0:00:05.5,00:00:09,walk")
    elapsed = read_labels(path, MANIFEST, tmp_path / "r.npz")
    check(elapsed, naive(recording, [(1, 4, "sit", 1.0), (5.5, 9, "walk", 1.0)]))
    save(tmp_path / "e.npz", t=1717405200 + np.arange(100) / 10)  # 2024-06-03, 9 o'clock in Greenwich
    lines = "2024-06-03T09:00:01Z,2024-06-03 09:00:04,sit", "2024-06-03T11:00:05.5+02:00,2024-06-03T09:00:09,walk"
    found = read_labels(write_spans(path, *lines), MANIFEST, tmp_path / "e.npz")
    np.testing.assert_array_equal(found.labels, elapsed.labels)
    np.testing.assert_array_equal(found.windows, elapsed.windows)
    with pytest.raises(InputError, match=r"got 32401 to 32404. Write the date before the time of day\."):
        read_labels(write_spans(path, "09:00:01,09:00:04,sit"), MANIFEST, tmp_path / "e.npz")
    with pytest.raises(InputError, match=r"times do not count from 1970: give seconds of its own, or hh:mm:ss\."):
        read_labels(write_spans(path, *lines), MANIFEST, tmp_path / "r.npz")


def test_windows_that_are_mostly_made_up_are_told(tmp_path):
    save(tmp_path / "r.npz", t=np.arange(100) / 2.0)
    found = read_labels(write_spans(tmp_path / "l.csv", "0,40,sit"), MANIFEST, tmp_path / "r.npz")
    (note,) = found.notes
    n = len(found.labels)
    assert note.startswith(f"{n} of {n} windows are mostly made up between samples: there are 2 samples per second, ")


def test_start_and_end_without_a_unit_are_named(tmp_path):
    path = write_spans(tmp_path / "l.csv", "r.npz,sit,0,4", header="video,label,start,end")
    with pytest.raises(InputError, match=r"line 1: expected the columns .* got start and end, without a unit"):
        read_labels(path, MANIFEST, tmp_path / "r.npz")


def test_labelled_npz(tmp_path):
    labels = np.repeat([0, 1, -1, 0, 1], [20, 30, 10, 7, 33]).astype(np.int16)
    recording = save(tmp_path / "r.npz", labels=labels, label_names=("walk", "sit"))
    check(
        read_labels(tmp_path / "r.npz", MANIFEST),
        naive(recording, [(0, 2, "walk", 1.0), (2, 5, "sit", 1.0), (6, 6.7, "walk", 1.0), (6.7, 10, "sit", 1.0)]),
    )


def test_labelled_csv(tmp_path):
    samples = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    words = ["run"] * 25 + [""] * 5 + ["sit"] * 30
    rows = [f"{y!r},{x!r},{word}" for (x, y), word in zip(samples.tolist(), words, strict=True)]
    path = tmp_path / "r.csv"
    path.write_text("\n".join(["acc_y,acc_x,label", *rows]) + "\n")
    recording = Recording(samples, ("acc_x", "acc_y"), RATE_HZ)
    check(read_labels(path, MANIFEST), naive(recording, [(0, 2.5, "run", 1.0), (3, 6, "sit", 1.0)]))


def test_hash_tells_labels_and_samples_apart(tmp_path):
    save(tmp_path / "a.npz")
    save(tmp_path / "b.npz", seed=1)
    lines = {"sit": write_spans(tmp_path / "1.csv", "0,4,sit"), "run": write_spans(tmp_path / "2.csv", "0,4,run")}
    hashes = [
        read_labels(lines[label], MANIFEST, tmp_path / name).sha256
        for label, name in (("sit", "a.npz"), ("run", "a.npz"), ("sit", "b.npz"), ("sit", "a.npz"))
    ]
    assert len(set(hashes)) == 3
    assert hashes[0] == hashes[3]


WRONG_SPANS = {
    "unknown label": ("0,4,swim", "line 2: expected a label of the model: sit, walk, run, got 'swim'. Use"),
    "no label": ("0,4", "line 2: expected a label of the model: sit, walk, run, got ''"),
    "after the end": ("0,10.5,sit", "line 2: expected start_s before end_s, both between 0 and 10 s of "),
    "before the start": ("-1,4,sit", "got -1 to 4. Correct the times."),
    "end before start": ("4,3,sit", "got 4 to 3. Correct the times."),
    "empty span": ("4,4,sit", "got 4 to 4. Correct the times."),
    "nan": ("nan,4,sit", "got nan to 4. Correct the times."),
    "missing": (",4,sit", "got nan to 4. Correct the times."),
    "infinite": ("0,inf,sit", "got 0 to inf. Correct the times."),
    "word": (
        "zero,4,sit",
        "line 2: expected seconds, ISO 8601 or hh:mm:ss, got could not convert string to float: 'zero'",
    ),
    "weight 0": ("0,4,sit,0", "line 2: expected a weight above 0, got 0.0. Drop the line"),
    "weight below 0": ("0,4,sit,-1", "line 2: expected a weight above 0, got -1.0"),
    "weight nan": ("0,4,sit,nan", "line 2: expected a weight above 0, got nan"),
    "weight word": (
        "0,4,sit,heavy",
        "line 2: expected seconds, ISO 8601 or hh:mm:ss, got could not convert string to float",
    ),
    "too short": ("0,0.7,sit", "expected spans of at least 0.8 s, the length of a window, got no window that lies"),
    "no rows": ("", "expected spans of at least 0.8 s, the length of a window, got no window that lies inside"),
}


@pytest.mark.parametrize("name", WRONG_SPANS)
def test_wrong_spans(tmp_path, name):
    line, message = WRONG_SPANS[name]
    save(tmp_path / "r.npz")
    path = write_spans(tmp_path / "l.csv", line, header="start_s,end_s,label,weight")
    with pytest.raises(InputError) as caught:
        read_labels(path, MANIFEST, tmp_path / "r.npz")
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_name_that_the_model_does_not_know_hides_no_other(tmp_path):
    save(tmp_path / "r.npz")
    path = write_spans(tmp_path / "l.csv", "0,4,sit", "4,8,crawl")
    found = read_labels(path, MANIFEST, tmp_path / "r.npz")
    assert set(found.labels) == {0}
    assert re.search(r"l\.csv: line 3: 'crawl' is left out \(once\), as the model does not know it", found.notes[0])
    taught = read_labels(path, MANIFEST, tmp_path / "r.npz", ["crawl"])
    assert taught.names == (*MANIFEST.labels, "crawl")
    assert set(taught.labels) == {0, 3}
    assert taught.notes == ()


def test_no_recording_named(tmp_path):
    path = write_spans(tmp_path / "l.csv", "0,4,sit")
    with pytest.raises(InputError, match=r"line 2: expected a column recording, got none\. .*--recording"):
        read_labels(path, MANIFEST)


def test_recording_missing(tmp_path):
    path = write_spans(tmp_path / "l.csv", "0,4,sit")
    with pytest.raises(InputError, match=r"gone\.npz: expected a file that can be read, got No such file"):
        read_labels(path, MANIFEST, tmp_path / "gone.npz")


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_labels_missing(tmp_path, suffix):
    with pytest.raises(InputError, match=rf"gone\.{suffix}: expected .* file that can be read, got .*No such file"):
        read_labels(tmp_path / f"gone.{suffix}", MANIFEST, tmp_path / "r.npz")


def test_another_format(tmp_path):
    (tmp_path / "l.json").write_text("[]")
    with pytest.raises(InputError, match=r"l\.json: expected a \.csv or \.npz file, got \.json"):
        read_labels(tmp_path / "l.json", MANIFEST)


def test_empty_file(tmp_path):
    (tmp_path / "l.csv").write_text("")
    with pytest.raises(InputError, match=r"l\.csv: expected .* got "):
        read_labels(tmp_path / "l.csv", MANIFEST, tmp_path / "r.npz")


@pytest.mark.parametrize("seed", range(8))
def test_garbage_with_a_csv_suffix(tmp_path, seed):
    path = tmp_path / "l.csv"
    path.write_bytes(b"\x00\xff\xfe" * (seed % 2) + np.random.default_rng(seed).bytes(500))
    with pytest.raises(InputError, match=r"l\.csv.*: expected .* got "):
        read_labels(path, MANIFEST, tmp_path / "r.npz")


def test_header_without_a_column(tmp_path):
    path = write_spans(tmp_path / "l.csv", "0,4,sit", header="start_s,end_s,activity")
    with pytest.raises(InputError, match="line 1: expected the columns start_s, end_s, label, got start_s, end_s only"):
        read_labels(path, MANIFEST, tmp_path / "r.npz")


def test_a_recording_without_labels_is_no_file_of_labels(tmp_path):
    save(tmp_path / "r.npz")
    with pytest.raises(InputError, match=r"expected the columns start_s, end_s, label, or a recording .* got neither"):
        read_labels(tmp_path / "r.npz", MANIFEST)


def test_a_recording_with_an_unknown_label(tmp_path):
    save(tmp_path / "r.npz", labels=np.zeros(100, np.int16), label_names=("swim",))
    with pytest.raises(InputError, match=r"r\.npz: expected a label of the model: sit, walk, run, got 'swim'"):
        read_labels(tmp_path / "r.npz", MANIFEST)


def test_an_empty_recording_with_times(tmp_path):
    save(tmp_path / "r.npz", n=0, t=np.zeros(0))
    path = write_spans(tmp_path / "l.csv", "0,4,sit")
    with pytest.raises(InputError, match="both between 0 and 0 s"):
        read_labels(path, MANIFEST, tmp_path / "r.npz")


# ---- a run on a real person


@pytest.fixture
def bundle(tmp_path):
    return Bundle.open(shutil.copytree(DATA / "walk.bundle", tmp_path / "walk.bundle"))


@pytest.fixture(scope="module")
def person():
    """Every eighth labelled window of person 6, worn upside down: the model is wrong, and often sure."""
    manifest = Bundle.open(DATA / "walk.bundle").manifest
    found = labelled_windows([Recording.load(DATA / "person_6.npz")], manifest.signal, manifest.window, manifest.labels)
    samples, labels = found.samples[::8] * np.float32([1, -1, -1, 1, -1, -1]), found.labels[::8]
    return LabelledSet(samples, labels, np.ones(len(labels)))


def digest_of(folder):
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


SURE = FinetunePlan(sure=True)


def wrong(data, seed=0):
    """The same windows with labels that mean nothing."""
    labels = np.random.default_rng(seed).permutation(data.labels)
    return LabelledSet(data.windows, labels, data.weights)


def test_accepted(bundle, person):
    seen = []
    adapted, report = finetune(
        bundle, person, SURE, progress=lambda done, total, text: seen.append((done, total, text))
    )
    assert report.accepted
    assert report.version == adapted.version == Bundle.open(bundle.path).version == "0001"
    assert report.after.log_loss <= report.before.log_loss
    assert report.after.macro_f1 >= report.before.macro_f1
    assert report.l2 in L2_GRID
    assert report.reason == "accepted: no worse on held-out labels"
    assert sum(report.windows_per_label.values()) == len(person.labels)
    assert report.windows_per_label["walking"] == int((person.labels == 2).sum())
    assert set(adapted.personal_tensors) == {"head.weight", "head.bias"}
    assert seen[-1][0] == seen[-1][1]
    assert seen[-1][2] == "head fitted to all labels"
    assert all(0 < done <= total for done, total, _ in seen)


def test_the_committed_head_is_what_the_engine_runs(bundle, person):
    adapted, _ = finetune(bundle, person, SURE)
    engine = open_engine(adapted)
    features, logits = engine.run(person.windows, "features"), engine.run(person.windows)
    expected = features @ adapted.tensor("head.weight").T + adapted.tensor("head.bias")
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
    base = open_engine(bundle)
    np.testing.assert_array_equal(base.run(person.windows, "features"), features)
    assert np.abs(base.run(person.windows) - logits).max() > 1e-3


@pytest.mark.parametrize(
    ("plan", "labels"),
    [
        (FinetunePlan(), "wrong"),
        (FinetunePlan(anchor="zero", l2=0.001, sure=True), "wrong"),
    ],
    ids=["wrong labels", "and a head from nothing"],
)
def test_refused(bundle, person, plan, labels):
    before = digest_of(bundle.path)
    kept, report = finetune(bundle, person if labels == "right" else wrong(person), plan)
    assert not report.accepted
    assert report.reason.startswith("not accepted, nothing was changed: ")
    assert report.version == "base"
    assert kept is bundle
    assert digest_of(bundle.path) == before


def test_labels_at_random_are_refused(bundle, person):
    """They differ wildly from what the base says, so that nearly any head is better than it is on them."""
    n_classes, accepted = len(bundle.manifest.labels), 0
    for seed in range(20):
        labels = np.random.default_rng(seed).integers(n_classes, size=len(person.labels))
        data = LabelledSet(person.windows, labels, person.weights)
        accepted += finetune(bundle, data, FinetunePlan(l2=0.001, sure=True))[1].accepted
        bundle.rollback()
    assert accepted <= 3  # 1 is expected: the rule lets 5 % of guesses pass


@pytest.mark.parametrize(("right", "n", "n_classes"), [(0, 30, 6), (9, 30, 6), (30, 30, 6), (2, 2, 6), (5, 12, 2)])
def test_guessing_is_scipys_binomial_tail(right, n, n_classes):
    expected = scipy.stats.binom.sf(right - 1, n, 1 / n_classes)
    assert _chance(right, n, 1 / n_classes) == pytest.approx(expected, rel=1e-12)


def test_report_is_json(bundle, person):
    _, report = finetune(bundle, person, FinetunePlan(l2=0.001, sure=True))
    text = json.dumps(report.to_dict(), allow_nan=False)
    again = json.loads(text)
    assert again["before"]["macro_f1"] == report.before.macro_f1
    assert again["plan"] == report.plan.to_dict()
    assert again["cost"]["energy"]["joules"] is None
    assert again["cost"]["seconds"] > 0


def test_record_is_complete(bundle, person):
    adapted, report = finetune(bundle, person, FinetunePlan(l2=0.001, sure=True))
    record = json.loads((bundle.path / "personal" / "0001" / "record.json").read_text())
    assert record == adapted.record("0001")
    expected = report.to_dict()
    del expected["version"], expected["cost"], expected["phases"]["commit"]  # it was written before its own commit
    assert record["cost"]["seconds"] < report.cost.seconds
    assert {key: record[key] for key in expected} == expected
    assert record["parent"] == "base"
    assert record["data_sha256"] == person.sha256
    for key, path in (("model_sha256", "model.onnx"), ("weights_sha256", "personal/0001/weights.safetensors")):
        assert record[key] == hashlib.sha256((bundle.path / path).read_bytes()).hexdigest()


def test_tensors_of_an_earlier_version_are_kept(bundle, person):
    name = "encoder.blocks.0.0.bias"
    first = bundle.commit({name: bundle.tensor(name) + np.float32(1e-3)}, {"by": "a test"})
    second, report = finetune(first, person, FinetunePlan(l2=0.001, sure=True))
    assert report.accepted
    assert second.version == "0002"
    assert second.record("0002")["parent"] == "0001"
    assert set(second.personal_tensors) == {name, "head.weight", "head.bias"}
    np.testing.assert_array_equal(second.tensor(name), first.tensor(name))


def test_a_second_run_starts_from_the_first(bundle, person):
    first, once = finetune(bundle, person, SURE)
    second, twice = finetune(first, person, SURE)
    assert twice.before.log_loss < once.after.log_loss  # it was fitted to all of these labels
    assert twice.before.accuracy > once.before.accuracy
    assert second is first
    assert "too little is gained: of 45.0 stretches of time that have labels, 0.0 more would be right" in twice.reason


def test_the_same_labels_give_the_same_bytes(bundle, person, tmp_path):
    other = Bundle.open(shutil.copytree(bundle.path, tmp_path / "other.bundle"))
    weights = [
        (
            finetune(b, person, FinetunePlan(l2=0.001, sure=True))[0].path / "personal/0001/weights.safetensors"
        ).read_bytes()
        for b in (bundle, other)
    ]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_windows(bundle, person, n):
    few = LabelledSet(person.windows[:n], person.labels[:n], person.weights[:n])
    with pytest.raises(InputError, match=f"labels: expected at least 2 labelled windows, got {n}"):
        finetune(bundle, few)


def test_one_window_per_class_is_enough(bundle, person):
    rows = [int(np.flatnonzero(person.labels == label)[0]) for label in range(6)]
    few = LabelledSet(person.windows[rows], person.labels[rows], person.weights[rows])
    _, report = finetune(bundle, few)
    assert set(report.windows_per_label.values()) == {1}
    assert np.isfinite([report.after.log_loss, report.after.macro_f1, report.before.log_loss]).all()


def test_set_apart_shares_no_sample(bundle):
    manifest = bundle.manifest
    recordings = [Recording.load(DATA / f"person_{person}.npz") for person in (6, 12)]
    windows = labelled_windows(recordings, manifest.signal, manifest.window, manifest.labels)
    chosen = np.array([0, 5, 200, 400])
    labelled, rest = set_apart(windows, chosen, manifest.window_s)
    assert np.array_equal(labelled.windows, windows.samples[chosen])
    assert np.array_equal(labelled.labels, windows.labels[chosen])

    def samples_of(source, start_s):
        return {(int(source), round(start_s * 50) + i) for i in range(128)}

    taken = set().union(*(samples_of(windows.source[i], windows.start_s[i]) for i in chosen))
    free = [i for i in range(len(windows.labels)) if not taken & samples_of(windows.source[i], windows.start_s[i])]
    assert np.array_equal(rest.samples, windows.samples[free])
    assert np.array_equal(rest.labels, windows.labels[free])
    assert score_bundle(bundle, rest).n == len(free)
    nothing = type(rest)(*(column[:0] for column in rest))
    assert score_bundle(bundle, nothing).accuracy is None
