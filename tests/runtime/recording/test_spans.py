"""A file of spans is not taken for a recording."""

import pytest

from runtime import Recording, Replay
from runtime.errors import InputError
from tests.bundles_small import small_manifest

ROWS = "0,10,walking\n12,20,sitting\n20,31,walking\n"


@pytest.mark.parametrize(
    "header", ["begin,end,label", "start_s,end_s,label", "from , To,Activity", "start time,stop,label"]
)
def test_spans_are_refused_in_words(tmp_path, header):
    path = tmp_path / "spans.csv"
    path.write_text(f"{header}\n{ROWS}")
    expected = (
        r"spans\.csv: expected samples, with a column for each channel, got spans of labels: .*\. Call the columns"
    )
    for load in (
        lambda: Recording.load(path, 50.0),
        lambda: Recording.load(path, 50.0, signal=small_manifest().signal),
        lambda: Replay(path, small_manifest().signal),
    ):
        with pytest.raises(InputError, match=expected):
            load()


@pytest.mark.parametrize("header", ["_", "start,_,label", ",end,"])
def test_names_of_nothing_are_no_spans(tmp_path, header):
    (tmp_path / "a.csv").write_text(f"{header}\n{ROWS}")
    with pytest.raises(InputError) as caught:
        Recording.load(tmp_path / "a.csv", signal=small_manifest().signal)
    assert "spans" not in str(caught.value)


def test_a_recording_may_have_such_columns_beside_its_own(tmp_path):
    path = tmp_path / "walk.csv"
    rows = "".join(f"{i / 32},1,2,{i % 7},0,9,walking\n" for i in range(40))
    path.write_text("t,begin,end,acc_x,acc_y,acc_z,label\n" + rows)
    assert Recording.load(path, signal=small_manifest().signal).samples.shape == (40, 3)
    assert Recording.load(path).channels == ("begin", "end", "acc_x", "acc_y", "acc_z")
