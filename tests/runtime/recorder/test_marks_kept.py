"""What the watch says of a window is kept by the recorder, and stores of older recorders are read and continued."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

import sdk.demo
from runtime import Bundle, InputError, RecordedStream, Recorder, Recording, Store

DATA = Path(sdk.demo.__path__[0]) / "data"


@pytest.fixture(scope="module")
def bundle():
    return Bundle.open(DATA / "walk.bundle")


def record(path, bundle, samples, epoch=0.0):
    with Recorder(path, bundle, epoch=epoch) as recorder:
        return RecordedStream(recorder).push(np.float32(samples))


def kept(path):
    with Store(path) as store:
        return [(p.quality, p.unusual) for p in store.predictions(0, 1e6)]


def test_marks_and_distance_come_back(bundle, tmp_path):
    walk = Recording.load(DATA / "person_6.npz").samples[16000:18500] * np.float32([0.102] * 3 + [0] * 3)
    predictions = record(tmp_path / "me.db", bundle, walk)
    assert kept(tmp_path / "me.db") == [(p.quality, p.unusual) for p in predictions]
    assert predictions[-1].quality.frozen == ("gyro",)
    assert predictions[-1].quality.implausible == ("acc unit",)
    assert predictions[-1].unusual is not None


def test_a_store_of_an_older_recorder_is_read_and_continued(bundle, tmp_path):
    path = tmp_path / "me.db"
    before = record(path, bundle, np.zeros((320, 6)))
    with sqlite3.connect(path) as db:
        for name in ("unusual", "marks"):
            db.execute(f"ALTER TABLE predictions DROP COLUMN {name}")
    db.close()
    assert [quality.frozen for quality, _ in kept(path)] == [()] * len(before)
    after = record(path, bundle, np.zeros((320, 6)), epoch=1000.0)
    assert [quality.frozen for quality, _ in kept(path)] == [()] * len(before) + [("acc", "gyro")] * len(after)


@pytest.mark.parametrize("marks", ["[", "[[]]", '[["acc"], [1]]', "{}"])
def test_damaged_marks_are_one_line(bundle, tmp_path, marks):
    path = tmp_path / "me.db"
    record(path, bundle, np.zeros((320, 6)))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE predictions SET marks = ?", (marks,))
    db.close()
    with pytest.raises(InputError, match="the prediction at"):
        kept(path)
