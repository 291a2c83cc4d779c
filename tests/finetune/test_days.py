"""Days without labels: which methods can use them, and that the others say so before anything is trained."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sdk.demo
from runtime import Bundle, Recorder
from runtime.errors import InputError
from sdk.finetune import FinetunePlan, LabelledSet, finetune
from sdk.finetune.__main__ import main
from sdk.finetune.pool import Days

DATA = Path(sdk.demo.__file__).parent / "data"


def some(windows):
    """A few labels, and the windows between them as days."""
    rows = np.arange(0, len(windows.labels), 24)
    rest = np.setdiff1d(np.arange(len(windows.labels)), rows)[::3]
    data = LabelledSet(windows.samples[rows], windows.labels[rows], np.ones(len(rows)))
    return data, Days(windows.samples[rest], 1.28 * rest, len(rest))


@pytest.mark.parametrize("method", ["layers", "full", "iterative"])
def test_layers_refuse_days(bundle, windows, method):
    data, days = some(windows)
    with pytest.raises(InputError, match=f"days: expected method head, labels with windows, got method {method}"):
        finetune(bundle, data, FinetunePlan(method), days=days)
    assert Bundle.open(bundle.path).version == "base"


def test_labels_with_features_alone_refuse_days(bundle, windows):
    data, days = some(windows)
    features = np.zeros((len(data.labels), bundle.manifest.features), np.float32)
    with pytest.raises(InputError, match="got labels with features alone"):
        finetune(bundle, replace(data, windows=data.windows[:0], features=features), days=days)


def test_the_command_names_its_option(bundle, tmp_path, capsys):
    person, store = DATA / "person_6.npz", tmp_path / "me.db"
    with Recorder(store, bundle, max_mb=5):
        pass
    asked = (str(bundle.path), "--labels", str(person), "--unlabelled", str(store), "--method", "layers")
    assert main(asked) == 2
    assert "--unlabelled: expected method head, labels with windows" in capsys.readouterr().err
