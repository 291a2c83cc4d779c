"""People of several data sets in one pool: called with the data set, and never half in the training."""

import numpy as np
import pytest

from runtime.errors import InputError
from runtime.recording import Recording
from sdk.datasets import split_by_subject, subject_of
from sdk.datasets._people import subjects_of


def recording(name, subject):
    return Recording(np.zeros((2, 1), np.float32), ("acc_x",), 50.0, subject=subject, name=name)


POOL = [
    recording("hapt/exp01_user01", "1"),
    recording("hapt/exp05_user03", "3"),
    recording("motionsense/dws_1/sub_1", "1"),
    recording("motionsense/dws_1/sub_24", "24"),
    recording("uci_har/train/7", "3"),
]


def names(recordings):
    return [recording.name for recording in recordings]


def test_a_person_is_called_with_the_data_set():
    assert [subject_of(r) for r in POOL] == ["hapt:1", "hapt:3", "motionsense:1", "motionsense:24", "hapt:3"]


@pytest.mark.parametrize("name", ["person_1.npz", "hapt_1.npz", "/data/hapt/1.npz", "mine/1.npz", ""])
def test_a_recording_of_no_data_set_has_the_name_alone(name):
    assert subject_of(recording(name, "1")) == "1"


def test_nobody_is_nobody():
    assert subject_of(recording("basicmotions/train/1", "")) == ""


@pytest.mark.parametrize(
    ("test", "held_out"),
    [
        ("hapt:1", [0]),
        (["motionsense:1", "24"], [2, 3]),  # only one data set has a person 24
        (24, [3]),
        ("hapt:3", [1, 4]),  # UCI-HAR's people are those of HAPT
        ("uci_har:3", [1, 4]),
        ("3", [1, 4]),
    ],
)
def test_a_pool_is_split(test, held_out):
    train, found = split_by_subject(POOL, test)
    assert names(found) == [POOL[i].name for i in held_out]
    assert names(train) == [r.name for i, r in enumerate(POOL) if i not in held_out]


def test_a_name_that_several_data_sets_have_is_refused():
    message = r"test: expected one of hapt:1, motionsense:1, got 1, which is each of them. Say whose."
    with pytest.raises(InputError, match=message):
        split_by_subject(POOL, ["24", "1"])


def test_an_unknown_person_of_a_pool():
    message = "test: expected subjects among hapt:1, hapt:3, motionsense:1, motionsense:24, got hapt:24. Name"
    with pytest.raises(InputError, match=message):
        split_by_subject(POOL, ["hapt:24"])


def test_everybody():
    assert subjects_of(POOL) == ["hapt:1", "hapt:3", "motionsense:1", "motionsense:24"]
    assert subjects_of(POOL[:2]) == ["1", "3"]
    assert subjects_of([POOL[1], POOL[4]]) == ["3"]
