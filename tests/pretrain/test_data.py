"""Which device, clock and rate a study trains on, and what it says of recordings that gave nothing."""

import argparse
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from runtime import Bundle
from runtime.errors import InputError
from runtime.recording import Recording
from runtime.specs import ClockSpec, Signal, WindowSpec
from sdk.datasets import dataset_info
from sdk.pretrain import StudyTask, fit
from sdk.pretrain.__main__ import main
from sdk.pretrain.data import chosen, cut, fingerprint, modalities_at, placement_of, told
from sdk.pretrain.options import clock_of
from tests.pretrain.small import PLAN, batch, create_method, data
from tests.pretrain.small import TASK as WAVES

INFO = dataset_info("sp_sw_har")
TASK = StudyTask(INFO.signal, WindowSpec(128, 64), INFO.labels)
RNG = np.random.default_rng(0)


def steps(seconds, step_s=0.01):
    return np.arange(round(seconds / step_s)) * step_s


def recording(trial, person, place, t, label=0):
    """Noise of one activity at 100 Hz nominal."""
    samples = RNG.normal(label, 1, (len(t), 6)).astype(np.float32)
    return INFO.recording(f"{trial}/{place}", samples, label, str(person), t=t)


def bunches(seconds):
    """100 Hz as a phone stamps it: now and then a sample comes late, with the next one or after a while."""
    t = steps(seconds)
    n = np.arange(len(t))
    return np.where((n % 11 == 3) | (n % 37 < 3), np.roll(t, -1), t)[:-1]


def test_places_are_asked_for():
    message = r"--position: expected which of phone, watch to train on, got none. Say --position phone; or"
    with pytest.raises(InputError, match=message):
        modalities_at(INFO, ())
    with pytest.raises(InputError, match=r"--position: expected phone, watch, got nose"):
        modalities_at(INFO, ("phone", "nose"))
    with pytest.raises(InputError, match=r"--position: expected none: this data set has one place only, got wrist"):
        modalities_at(dataset_info("hapt"), ("wrist",))
    assert list(modalities_at(INFO, ("watch",))) == ["acc", "gyro"]
    assert list(modalities_at(dataset_info("hapt"), ())) == ["acc", "gyro"]


def test_places_that_are_columns_are_called_without_the_place():
    info = dataset_info("hugadb")
    assert len(modalities_at(info, ())) == 12
    found = modalities_at(info, ("right_thigh",))
    assert Signal(tuple(found.values())).channel_names == tuple(f"{m}_{a}" for m in ("acc", "gyro") for a in "xyz")
    walk = info.recording("various_01_00", np.arange(36.0)[None], 0, "1")
    (thigh,) = chosen([walk], ("right_thigh",))
    assert thigh.fit(Signal(tuple(found.values()))).samples.tolist() == [[12, 13, 14, 15, 16, 17]]
    two = chosen([walk], ("right_thigh", "left_foot"))
    assert [r.name for r in two] == ["hugadb/various_01_00/right_thigh", "hugadb/various_01_00/left_foot"]


def test_the_placement_is_that_of_what_was_used():
    assert placement_of(INFO, ["phone"]) == "a phone in the left front pocket"
    assert placement_of(INFO, ["phone", "watch"]) == INFO.placement
    assert placement_of(dataset_info("hugadb"), ["right_thigh"]) == "right thigh"
    assert placement_of(dataset_info("hapt"), []) == dataset_info("hapt").placement


def test_what_gave_no_window_is_counted_with_the_reason():
    lost = recording("e", 1, "phone", steps(5))
    lost.samples[:, 3:] = np.nan
    labels = np.where(np.arange(500) // 60 % 2, np.int16(0), np.int16(1))
    account = cut(
        [
            recording("a", 1, "phone", steps(5)),
            recording("b", 1, "phone", bunches(5)),
            recording("c", 1, "phone", bunches(5)),
            recording("d", 1, "phone", steps(1)),
            lost,
            replace(recording("f", 1, "phone", steps(5)), labels=labels),
            replace(recording("g", 1, "phone", steps(5)), labels=np.full(500, -1, np.int16)),
            recording("h", 1, "watch", steps(5)),
        ],
        TASK,
    )[1]
    assert account["phone"] | {"without": None} == {"recordings": 7, "windows": 6, "without": None}
    assert account["watch"] == {"recordings": 1, "windows": 6, "without": {}}
    phone, watch = told(account)
    assert phone == (
        "phone: 6 windows from 7 recordings; 6 of 7 recordings gave no window, because 2 have time stamps that repeat "
        "or leave gaps (--clock arrival evens them out, --clock hold bridges them), 1 are shorter than a window of "
        "1.28 s, 1 have samples that are missing (a sensor that failed), 1 have no window that lies wholly in one "
        "label, 1 have no sample with one of the labels"
    )
    assert watch == "watch: 6 windows from 1 recordings"


def test_a_device_without_a_window_is_no_success():
    """And the clock that is named mends it."""
    recordings = [recording("a", 1, "phone", bunches(5)), recording("b", 2, "watch", steps(5))]
    with pytest.raises(InputError, match=r"position phone: expected windows of 1.28 s .* 1 of 1 recordings gave no"):
        cut(recordings, TASK)
    account = cut(recordings, replace(TASK, clock=ClockSpec(stamps="arrival")))[1]
    assert account["phone"]["windows"] >= 5
    assert account["watch"]["windows"] == 6


def test_a_recording_is_cut_at_the_rate_of_its_own_times():
    """20 Hz nominal: 50 Hz is low-passed, and where the rate changes no slow step is a gap."""
    info = dataset_info("wisdm_2019")
    task = StudyTask(info.signal, WindowSpec(40, 40), info.labels)
    t = steps(60, 0.02)
    hum = np.repeat(np.sin(2 * np.pi * 19 * t)[:, None], 6, axis=1)  # 19 Hz seen at 20 Hz is 1 Hz
    fast = info.recording("1626_B/phone", hum, 1, "1626", t=t)
    mixed_t = np.concatenate([steps(40, 0.01), 40 + steps(40, 0.05)])
    mixed = info.recording("1608_J/watch", np.zeros((len(mixed_t), 6)), 1, "1608", t=mixed_t)
    assert cut([fast], task)[0].samples[1:-1].std() < 0.05
    assert len(cut([mixed], task)[0].labels) >= 36


def test_a_rate_is_told_to_recordings_without_times():
    info = dataset_info("hapt")
    still = info.recording("exp01_user01", np.zeros((1000, 6)), 0, "1")
    timed = info.recording("exp02_user01", np.zeros((1000, 6)), 0, "1", t=steps(20, 0.02))
    assert [r.rate_hz for r in chosen([still, timed], (), 100.0)] == [100.0, 50.0]
    task = StudyTask(info.signal, WindowSpec(100, 100), info.labels)
    assert [len(cut(chosen([still], (), hz), task)[0].labels) for hz in (None, 100.0)] == [10, 5]


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("arrival", ClockSpec(stamps="arrival")),
        ("hold", ClockSpec(gap="hold")),
        ("arrival,mark", ClockSpec(stamps="arrival", gap="mark")),
        ("gap=hold,gap_s=0.2", ClockSpec(gap="hold", gap_s=0.2)),
        ("stamps=arrival,unit=ns", ClockSpec(stamps="arrival", unit="ns")),
    ],
)
def test_a_clock_in_words(text, clock):
    assert clock_of(text) == clock


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("late", "expected measured, arrival, split, hold, mark or FIELD=VALUE, got 'late'"),
        ("gaps=hold", "got 'gaps=hold'"),
        ("gap_s", "got 'gap_s'"),
        ("gap_s=soon", "expected a number of gap_s, got 'soon'"),
        ("gap=leap", "expected gap as one of split, hold, mark, got gap leap"),
        ("gap_s=-1", "times of at least 0 seconds"),
    ],
)
def test_a_clock_that_makes_no_sense(text, message):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        clock_of(text)
    assert message in str(caught.value)


def test_the_command_keeps_device_and_clock_in_the_bundle(tmp_path, monkeypatch, capsys):
    """A phone whose stamps come in bunches: refused by the default clock, trained by another."""
    recordings = [
        recording(f"s{person:02}_{label}", person, place, bunches(8) if place == "phone" else steps(8), label)
        for person in (1, 2, 3)
        for label in (0, 2)
        for place in ("phone", "watch")
    ]
    monkeypatch.setattr("sdk.pretrain.__main__.load_dataset", lambda name, folder: recordings)
    base = ["sp_sw_har", "--out", str(tmp_path / "runs"), "--test", "3", "--labels", "sitting,walking"]
    base += ["--epochs", "1", "--threads", str(torch.get_num_threads()), "--encoder", "fcn-stride4"]
    assert main(base) == 2
    assert "--position: expected which of phone, watch" in capsys.readouterr().err
    assert main([*base, "--position", "phone"]) == 2
    assert "6 of 6 recordings gave no window" in capsys.readouterr().err
    bundle = str(tmp_path / "p.bundle")
    assert main([*base, "--position", "phone", "--clock", "arrival", "--bundle", bundle, "--json"]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    windows = report["data"]["phone"]["windows"]
    assert windows >= 6 * 9
    assert f"phone: {windows} windows from 6 recordings" in printed.err
    assert "over 2 of 2 classes" in printed.err
    manifest = Bundle.open(bundle).manifest
    assert manifest.clock == ClockSpec(stamps="arrival")
    assert manifest.provenance["placement"] == "a phone in the left front pocket"
    assert manifest.provenance["windows"] == {"phone": windows}
    assert manifest.provenance["unseen_people"]["macro_f1_classes"] == 2
    # the same plan in the same folder on other data is not the same run
    assert main([*base, "--position", "watch"]) == 2
    assert "expected windows as it was trained on, got others" in capsys.readouterr().err


def test_a_checkpoint_of_other_data_is_refused(tmp_path):
    path, windows = tmp_path / "a.safetensors", data()
    mark = fingerprint(windows.samples, windows.labels)
    fit(create_method(PLAN, WAVES), batch(windows), PLAN, checkpoint=path, data=mark)
    fit(create_method(PLAN, WAVES), batch(windows), PLAN, checkpoint=path, data=mark)
    fit(create_method(PLAN, WAVES), batch(windows), PLAN, checkpoint=path)  # who does not say is not asked
    other = fingerprint(windows.samples + 1, windows.labels)
    with pytest.raises(InputError, match=r"a.safetensors: expected windows as it was trained on, got others"):
        fit(create_method(PLAN, WAVES), batch(windows), PLAN, checkpoint=path, data=other)


def test_folds_of_a_pool_keep_a_person_in_one():
    from sdk.pretrain import subject_folds

    def of(name, person):
        return Recording(np.zeros((1, 1), np.float32), ("x",), 1.0, subject=str(person), name=name)

    pool = [of("hapt/a", 1), of("uci_har/train/1", 1), of("motionsense/b", 1), of("motionsense/c", 2)]
    subjects = [subject for fold in subject_folds(pool, 3) for subject in fold.test_subjects]
    assert sorted(subjects) == ["hapt:1", "motionsense:1", "motionsense:2"]
