"""A short day of `make soak`, and that it tells what is flat from what is not."""

import json
import sys

import pytest

from tests import soak
from tests.soak import LIMITS, SLOPE_KB_PER_HOUR, judged


def readings(hours=24.0, **growth):
    """Two lives of a day, each with a warm-up; what grows does so by so much per hour, beginning with the second."""
    made = []
    for life in range(2):
        made.append([])
        for i in range(48):
            hour = (life * 48 + i + 1) * hours / 96
            one = {"hour": hour, "tuned": i // 4, **dict.fromkeys(LIMITS, 10.0)}
            if one["tuned"] < 3:
                one["memory_mb"] = 1.0
            made[-1].append(one | {name: 10.0 + per_hour * hour for name, per_hour in growth.items()})
    return made


def test_what_does_not_grow_is_flat_whatever_the_warm_up_takes():
    found = judged(readings(), 24)
    assert all(one["flat"] for one in found.values())
    assert found["memory_mb"]["slope_kb_per_hour"] == 0
    assert found["memory_mb"]["first_half"] == found["memory_mb"]["last_half"] == 10


@pytest.mark.parametrize("name", LIMITS)
def test_what_grows_by_more_than_its_limit_is_not(name):
    apart = 12  # hours between the middles of the halves, nearly
    for factor, flat in ((0.8, True), (1.3, False)):
        found = judged(readings(**{name: factor * LIMITS[name] / apart}), 1)
        assert {other: one["flat"] for other, one in found.items()} == dict.fromkeys(LIMITS, True) | {name: flat}


def test_memory_that_grows_slowly_is_not_flat_over_a_day():
    for factor, flat in ((0.9, True), (1.1, False)):
        found = judged(readings(memory_mb=factor * SLOPE_KB_PER_HOUR / 1000), 24)["memory_mb"]
        assert found["slope_kb_per_hour"] == pytest.approx(factor * SLOPE_KB_PER_HOUR)
        assert found["flat"] is flat


def test_a_short_day(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["soak", "--hours", "0.5", "--kills", "1", "--tunes", "10", "--json"])
    assert soak.main() in (0, 1)  # a store that is not full yet is not flat
    told = json.loads(capsys.readouterr().out)
    assert told["flat"] == all(told[name]["flat"] for name in LIMITS)
    assert (told["threads"]["flat"], told["descriptors"]["flat"]) == (True, True)
    counters, happened = told["counters"], told["happened"]
    assert counters["windows"] > 1000
    assert min(counters[name] for name in ("not_finite", "duplicates", "gaps", "clock_back", "windows_not_finite")) > 3
    assert happened.get("labels 0", 0) + happened.get("labels 3", 0) > 5
    assert happened["marks"] > 5
    assert list(tmp_path.iterdir()) == []
