import subprocess
import sys

import numpy as np
import pytest

import sdk.datasets
from runtime.errors import InputError
from runtime.recording import Recording
from sdk.datasets import dataset_info, list_datasets, load_dataset, split_by_subject

SHARED_NAMES = {"walking", "upstairs", "downstairs", "sitting", "standing"}


def recording(subject):
    return Recording(np.zeros((2, 1), np.float32), ("acc_x",), 50.0, subject=subject)


def test_the_import_is_light():
    foreign = ("torch", "scipy", "pooch", "onnx", "onnxruntime", "tqdm", "requests", "sdk.datasets._archive")
    code = f"import sys, sdk.datasets; print([name for name in {foreign} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_no_reader_needs_more_than_the_base_install():
    code = (
        "import sys\n"
        "for name in ('torch', 'scipy', 'pooch', 'onnx', 'tqdm', 'requests'): sys.modules[name] = None\n"
        "from sdk.datasets import dataset_info, list_datasets\n"
        "print([dataset_info(name).name for name in list_datasets()])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(list_datasets())


def test_all_is_sorted_and_true():
    assert sdk.datasets.__all__ == sorted(sdk.datasets.__all__)
    assert all(hasattr(sdk.datasets, name) for name in sdk.datasets.__all__)


@pytest.mark.parametrize("name", ["hapt", "motionsense", "uci_har"])
def test_shared_names(name):
    assert set(dataset_info(name).labels) >= SHARED_NAMES


def test_an_unknown_name_answers_with_the_near_one():
    with pytest.raises(
        InputError, match=r"expected one of basicmotions, .*, got 'motion_sense'. Did you mean motionsense?"
    ):
        load_dataset("motion_sense", ".")


@pytest.mark.parametrize("test", [["2", "10"], [2, 10], ("2", "10"), {2, 10}])
def test_split_by_subject(test):
    recordings = [recording(subject) for subject in ("1", "2", "10", "2", "3")]
    train, held_out = split_by_subject(recordings, test)
    assert [r.subject for r in train] == ["1", "3"]
    assert [r.subject for r in held_out] == ["2", "10", "2"]
    assert len(recordings) == 5


def test_split_by_one_subject():
    train, test = split_by_subject(iter([recording("12"), recording("1"), recording("2")]), "12")
    assert [r.subject for r in train] == ["1", "2"]
    assert [r.subject for r in test] == ["12"]


def test_split_by_an_unknown_subject_names_the_known():
    recordings = [recording(subject) for subject in ("10", "2", "b", "a")]
    with pytest.raises(InputError, match="test: expected subjects among 2, 10, a, b, got 3, 31"):
        split_by_subject(recordings, ["2", "31", "3"])
    with pytest.raises(InputError, match="there are no recordings"):
        split_by_subject([], ["1"])
