"""Files of labels as people and annotation tools write them: all say the same, and the same labels come of them."""

import csv
import io
import json

import numpy as np
import pytest

from runtime.errors import InputError
from sdk.datasets import load_dataset
from sdk.datasets.own.spans import has_spans, read_spans
from tests.datasets.own_files import PART_S, TOML, lines, motion

BEGIN_S = 1717405200.0  # 2024-06-03T09:00:00Z
HALVES = [(0.0, PART_S, "sitting"), (PART_S, 2 * PART_S, "walking")]


def recordings(folder, begin_s=0.0, people=("anna", "ben")):
    for i, who in enumerate(people):
        t, acc, gyro = motion(i, begin_s=begin_s)
        (folder / f"{who}_1.csv").write_text(lines("t,ax,ay,az,gx,gy,gz", np.column_stack([t, acc, gyro])))


def loaded(folder, text, file="labels.csv", toml="", begin_s=0.0, people=("anna", "ben")):
    recordings(folder, begin_s, people)
    (folder / file).write_text(text)
    spans = file if "anna" not in file else file.replace("anna_1", "{stem}")
    if "anna" in file:
        for who in people:
            (folder / file.replace("anna", who)).write_text(text)
    (folder / "dataset.toml").write_text(
        TOML + f'[people]\npattern = "{{subject}}_*"\n[labels]\nspans = "{spans}"\n{toml}'
    )
    return load_dataset(str(folder))


def assert_halves(found):
    assert [r.label_names for r in found] == [("sitting", "walking")] * len(found)
    for recording in found:
        assert np.abs(np.bincount(recording.labels + 1, minlength=3) - [0, 400, 400]).max() <= 1
        assert recording.labels[399] == 0
        assert recording.labels[401] == 1


def table(header, row):
    return "\n".join([header, *(row(who, *span) for who in ("anna", "ben") for span in HALVES)]) + "\n"


def clock(seconds, day=True, begin=9):
    text = f"{begin:02}:00:{seconds:06.3f}"
    return f"2024-06-03T{text}" if day else text


@pytest.mark.parametrize(
    ("text", "begin_s"),
    [
        (table("recording,start_s,end_s,label", lambda who, s, e, k: f"{who}_1.csv,{s},{e},{k}"), 0.0),
        (table("file;begin;end;activity", lambda who, s, e, k: f"{who}_1;{s:g};{e:g};{k.upper()}"), 0.0),
        (
            table("path,start_ms,end_ms,label", lambda who, s, e, k: f"./{who}_1.csv,{s * 1e3:.0f},{e * 1e3:.0f},{k}"),
            0.0,
        ),
        (table("recording,start,end,label", lambda who, s, e, k: f"{who}_1,{s * 1e3:.0f},{e * 1e3:.0f},{k}"), 0.0),
        (table("recording,start (s),duration (s),label", lambda who, s, e, k: f"{who}_1,{s},{e - s},{k}"), 0.0),
        (table("video,label,start,end", lambda who, s, e, k: f"{who}_1.csv,{k.title()},{s},{e}"), 0.0),
        (table("recording,start,end,label", lambda who, s, e, k: f"{who}_1,{s},{e},{k}"), BEGIN_S),
        (table("recording,start,end,label", lambda who, s, e, k: f"{who}_1,{BEGIN_S + s},{BEGIN_S + e},{k}"), BEGIN_S),
        (table("recording,start,end,label", lambda who, s, e, k: f"{who}_1,{clock(s)},{clock(e)},{k}"), BEGIN_S),
        (table("recording,start,end,label", lambda who, s, e, k: f"{who}_1,{clock(s)}Z,{clock(e)}Z,{k}"), BEGIN_S),
        (
            table("recording,start,end,label", lambda who, s, e, k: f"{who}_1,{clock(s, False)},{clock(e, False)},{k}"),
            BEGIN_S,
        ),
        (
            table(
                "recording,start,end,label",
                lambda who, s, e, k: f"{who}_1,{clock(s, False, 0)},{clock(e, False, 0)},{k}",
            ),
            BEGIN_S,
        ),
        (
            table(
                "recording,start,end,label",
                lambda who, s, e, k: f"{who}_1,{clock(s, False, 0)},{clock(e, False, 0)},{k}",
            ),
            0.0,
        ),
    ],
    ids=[
        "seconds",
        "semicolons",
        "ms-by-name",
        "ms-by-size",
        "duration",
        "create-ml",
        "since-the-start",
        "epoch",
        "iso",
        "iso-utc",
        "time-of-day",
        "stopwatch-of-an-epoch",
        "stopwatch",
    ],
)
def test_times_in_every_way(tmp_path, text, begin_s):
    assert_halves(loaded(tmp_path, text, begin_s=begin_s))


def test_a_clock_of_another_zone(tmp_path):
    text = table(
        "recording,start,end,label", lambda who, s, e, k: f"{who}_1,{clock(s, True, 11)},{clock(e, True, 11)},{k}"
    )
    with pytest.raises(InputError, match=r"0% of the spans lie in the recording: say labels.unit, .* labels.zone"):
        loaded(tmp_path, text, begin_s=BEGIN_S)
    assert_halves(loaded(tmp_path, text, begin_s=BEGIN_S, toml='zone = "+02:00"\n'))


def test_what_is_said_is_done(tmp_path):
    """0 to 8 and 8 to 16 ms lie in the recording as seconds, too."""
    text = table("recording,start,end,label", lambda who, s, e, k: f"{who}_1,{s:g},{e:g},{k}")
    found = loaded(tmp_path, text, toml='unit = "ms"\n')
    assert all((r.labels >= 0).sum() <= 1 for r in found)


STUDIO = {
    "anna": "/data/upload/3/1f3a9c52-anna_1.csv",
    "ben": "/data/upload/3/77ab01cd-ben_1.csv",
}


def values(scale=1.0):
    return [{"start": s * scale, "end": e * scale, "instant": False, "timeserieslabels": [k]} for s, e, k in HALVES]


def studio_json():
    return json.dumps(
        [
            {
                "id": i,
                "data": {"csv": file},
                "annotations": [
                    {
                        "id": 9,
                        "was_cancelled": False,
                        "result": [
                            {"value": v, "from_name": "label", "to_name": "ts", "type": "timeserieslabels"}
                            for v in values()
                        ],
                    }
                ],
            }
            for i, file in enumerate(STUDIO.values())
        ]
    )


def studio_min():
    return json.dumps([{"id": i, "csv": file, "label": values(1e3)} for i, file in enumerate(STUDIO.values())])


def studio_csv():
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["csv", "id", "label", "annotator", "annotation_id"])
    rows.writerows([file, i, json.dumps(values()), "a@b.c", 9] for i, file in enumerate(STUDIO.values()))
    return text.getvalue()


@pytest.mark.parametrize(
    ("file", "text"), [("project.json", studio_json()), ("min.json", studio_min()), ("project.csv", studio_csv())]
)
def test_label_studio(tmp_path, file, text):
    assert_halves(loaded(tmp_path, text, file))


def test_label_studio_without_times_counts_samples(tmp_path):
    tasks = [{"id": i, "csv": file, "label": values(50.0)} for i, file in enumerate(STUDIO.values())]
    assert_halves(loaded(tmp_path, json.dumps(tasks), "p.json", toml='unit = "samples"\n'))


def test_two_annotations_of_one_recording_are_asked_about(tmp_path):
    tasks = json.loads(studio_json())
    tasks[0]["annotations"] *= 2
    with pytest.raises(InputError, match="task 1: expected one annotation, got 2 annotations of one recording"):
        loaded(tmp_path, json.dumps(tasks), "p.json")


def elan(*parts):
    return "\n".join("\t".join(str(part) for part in row) for row in parts) + "\n"


def ms(seconds):
    return f"00:00:{seconds:06.3f}"


ELAN_PLAIN = elan(*(("act", "", ms(s), ms(e), ms(e - s), k) for s, e, k in HALVES))
ELAN_BOTH = elan(
    *(("act", "", ms(s), f"{s:.3f}", ms(e), f"{e:.3f}", ms(e - s), f"{e - s:.3f}", k) for s, e, k in HALVES)
)
HEADER = [f"{w} - {u}" for w in ("Begin Time", "End Time", "Duration") for u in ("hh:mm:ss.ms", "ss.msec")]
ELAN_TIERS = elan([*HEADER, "act"], *((ms(s), s, ms(e), e, ms(e - s), e - s, k) for s, e, k in HALVES))


@pytest.mark.parametrize("text", [ELAN_PLAIN, ELAN_BOTH, ELAN_TIERS])
def test_elan(tmp_path, text):
    assert_halves(loaded(tmp_path, text, "anna_1.txt"))


def test_a_tier_is_chosen(tmp_path):
    text = ELAN_PLAIN + elan(("who", "", ms(0), ms(16), ms(16), "somebody"))
    with pytest.raises(InputError, match=r"expected one tier, got act, who\. Say which"):
        loaded(tmp_path, text, "anna_1.txt")
    assert_halves(loaded(tmp_path, text, "anna_1.txt", toml='tier = "act"\n'))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("a.eaf", "In ELAN: File, Export As"),
        ("a.TextGrid", "In Praat"),
        ("a.xlsx", "Save the sheet as .csv"),
        ("a.srt", ""),
    ],
)
def test_other_files_are_refused_in_words(tmp_path, file, message):
    (tmp_path / file).write_bytes(b"x")
    with pytest.raises(InputError, match=f"expected labels as .csv, .txt or .json, got .*{message}"):
        read_spans(tmp_path / file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "recording,start,end,label\ncleo_1,0,8,walking\n",
            r"line 2: expected a recording among anna_1, ben_1, got cleo_1",
        ),
        ("start,end,label\n0,8,walking\n", "labels of 2 recordings: expected a column recording, got none"),
        ("recording,start,end,label\nanna_1,0,,walking\n", "line 2: expected a start and an end, got anna_1, 0"),
        ("a,b\n1,2\n", "expected a header with start, end and label, got a, b"),
    ],
)
def test_lines_that_do_not_fit(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        loaded(tmp_path, text)


def test_the_later_line_wins_and_what_lies_outside_is_said(tmp_path):
    text = "start,end,label\n0,16,walking\n0,8,sitting\n40,50,walking\n"
    with pytest.warns(UserWarning, match="anna_1: 1 of 3 spans lie outside of it, the first labels.csv: line 4"):
        assert_halves(loaded(tmp_path, text, people=("anna",)))


def test_which_files_are_labels(tmp_path):
    for name, text in {
        "a.csv": "start,end,label\n0,1,x\n",
        "b.csv": "t,ax,ay,az\n0,1,2,3\n",
        "c.txt": ELAN_PLAIN,
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "d.json").write_text(studio_json())
    assert [has_spans(path) for path in sorted(tmp_path.iterdir())] == [True, False, True, True]
