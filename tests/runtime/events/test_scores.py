"""Scores of events against truths worked by hand."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sdk.demo
from runtime.bundle import Bundle
from runtime.errors import InputError
from runtime.events import Event, EventScores, EventTracker, Interval, found_intervals, score_events, true_intervals
from runtime.recording import Recording
from runtime.specs import EventRule
from runtime.stream import Prediction, Stream
from runtime.window import Quality
from tests.bundles_small import LABELS

TRUE = [
    Interval("walking", 0, 10),
    Interval("walking", 20, 30),
    Interval("running", 40, 50),
    Interval("walking", 60, 80),
]
FOUND = [
    Interval("walking", 2, 8, told_s=4),  # 6 of 10 s
    Interval("walking", 9, 10, 11),  # a fragment of the same
    Interval("running", 21, 30, 23),  # wrong label: a false alarm, and the second is missed
    Interval("running", 38, 48, 39),  # 8 of 12 s, told before it began
    Interval("walking", 79, 99, 81),  # 1 of 39 s
]


def test_by_hand():
    assert score_events(TRUE, FOUND, recorded_s=1800) == EventScores(
        true=4,
        found=5,
        hits=3,
        false_alarms=1,
        false_alarms_per_hour=2.0,
        precision=3 / 5,
        recall=3 / 4,
        delay_median_s=4.0,  # of -1, 4 and 21
        delay_p95_s=pytest.approx(4 + 0.9 * (21 - 4)),
    )
    scores = score_events(TRUE, FOUND, recorded_s=1800)
    assert (scores.misses, scores.fragments) == (1, 1)


@pytest.mark.parametrize(
    ("min_iou", "hits"), [(1 / 39, 3), (0.03, 2), (0.6, 2), (0.61, 1), (8 / 12, 1), (0.67, 0), (1, 0)]
)
def test_an_overlap_that_a_match_needs(min_iou, hits):
    scores = score_events(TRUE, FOUND, recorded_s=100, min_iou=min_iou)
    assert (scores.hits, scores.false_alarms, scores.misses) == (hits, 1, 4 - hits)
    assert scores.fragments == 4 - hits


def test_one_found_interval_is_one_hit_and_the_best_overlap_wins():
    true = [Interval("walking", 0, 10), Interval("walking", 12, 30)]
    found = [Interval("walking", 0, 30, 7)]
    scores = score_events(true, found, recorded_s=3600)
    assert (scores.hits, scores.misses, scores.false_alarms_per_hour) == (1, 1, 0)
    assert scores.delay_median_s == 7 - 12


def test_the_first_fragment_tells():
    true = [Interval("walking", 0, 30), Interval("walking", 40, 60)]
    found = [Interval("walking", 2, 5, 4), Interval("walking", 10, 29, 12), Interval("walking", 28, 55, 31)]
    scores = score_events(true, found, recorded_s=60)
    assert (scores.hits, scores.fragments) == (2, 1)
    assert scores.delay_median_s == (4 + (31 - 40)) / 2  # the third tells of its own match only


def test_what_only_touches_shares_no_time():
    scores = score_events([Interval("walking", 0, 10)], [Interval("walking", 10, 20, 12)], recorded_s=7200)
    assert (scores.hits, scores.false_alarms, scores.false_alarms_per_hour) == (0, 1, 0.5)
    assert (scores.delay_median_s, scores.delay_p95_s) == (None, None)


def test_nothing_is_none():
    assert score_events([], [], recorded_s=1) == EventScores(0, 0, 0, 0, 0.0, None, None, None, None)
    untold = score_events([Interval("a", 0, 1)], [Interval("a", 0, 1)], recorded_s=1)
    assert (untold.recall, untold.delay_median_s) == (1.0, None)
    for nothing in (0, -1, float("nan")):
        with pytest.raises(InputError, match=f"recorded_s: expected above 0 s, got {nothing}. Give the length"):
            score_events([], [], recorded_s=nothing)


INTERVALS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 50), st.integers(1, 9)).map(
        lambda parts: Interval(parts[0], parts[1], parts[1] + parts[2], parts[1] + 1.0)
    ),
    max_size=8,
)


@given(true=INTERVALS, found=INTERVALS, min_iou=st.sampled_from((0, 0.2, 0.5)))
def test_the_counts_add_up(true, found, min_iou):
    scores = score_events(true, found, recorded_s=60, min_iou=min_iou)
    assert scores.hits + scores.misses == len(true)
    assert scores.hits + scores.false_alarms + scores.fragments == len(found)
    assert min(scores.hits, scores.misses, scores.false_alarms, scores.fragments) >= 0
    perfect = score_events(true, true, recorded_s=60, min_iou=1)
    assert (perfect.hits, perfect.false_alarms) == (len(true), 0)


def test_intervals_of_events():
    events = [
        Event("walking", 1.0, None, 0.9, 2.5),
        Event("walking", 1.0, 6.0, 0.8, 1.5),
        Event("running", 7.0, None, 0.9, 1.0),
        Event("running", 7.0, 9.0, 0.9, 1.0),
        Event("walking", 10.0, None, 0.9, 1.0),
    ]
    assert found_intervals(events) == [Interval("walking", 1, 6, 3.5), Interval("running", 7, 9, 8)]


def recording(labels, t=None):
    n = len(labels)
    t = None if t is None else np.array(t, np.float64)
    return Recording(np.zeros((n, 1), np.float32), ("acc_x",), 2.0, t, np.array(labels, np.int16), LABELS)


def test_intervals_of_a_recording():
    labels = [-1, 0, 0, 0, 1, 1, -1, -1, 1, 2]
    assert true_intervals(recording(labels)) == [
        Interval("sitting", 0.5, 2.0),
        Interval("walking", 2.0, 3.0),
        Interval("walking", 4.0, 4.5),
        Interval("running", 4.5, 5.0),
    ]
    timed = recording([0, 0, 0, 1, 1], [100, 100.5, 190, 190.5, 10])
    after = [Interval("walking", 190.5, 191), Interval("walking", 10, 10.5)]
    assert true_intervals(timed) == [Interval("sitting", 100, 101), Interval("sitting", 190, 190.5), *after]
    assert true_intervals(timed, longest_hole_s=90) == [Interval("sitting", 100, 190.5), *after]
    assert true_intervals(recording([-1, -1])) == true_intervals(recording([])) == []
    assert true_intervals(Recording(np.zeros((4, 1), np.float32), ("acc_x",), 2.0)) == []


def test_from_labels_to_scores():
    """A model that shows what fills half a window, a rule of two windows: all is found, as late as the rule says."""
    hop_s, window_s, rule = 0.5, 2.0, EventRule(votes_needed=2, votes_of=2)
    truth = true_intervals(recording([0] * 20 + [1] * 20 + [0] * 21))
    tracker, events = EventTracker(rule, LABELS, hop_s), []
    for k in range(int((30.5 - window_s) / hop_s) + 1):
        middle_s = k * hop_s + window_s / 2
        walking = 10 <= middle_s < 20
        row = (0.1, 0.9, 0.0) if walking else (0.9, 0.1, 0.0)
        events += tracker.push(Prediction("", 0.9, row, k * hop_s, k * hop_s + window_s, Quality(), 0.0, 0.0, 0.0))
    scores = score_events(truth, found_intervals(events + tracker.flush()), recorded_s=30.5, min_iou=0.9)
    assert (scores.hits, scores.misses, scores.fragments, scores.false_alarms) == (3, 0, 0, 0)
    assert scores.delay_median_s == rule.delay(hop_s, window_s).typical_s - hop_s / 2  # the change is at phase 0


def test_what_a_rule_gains_on_people_never_seen():
    """The shipped bundle on the demo's recordings: far fewer false alarms, and no interval lost for it."""
    data = Path(sdk.demo.__file__).parent / "data"
    bundle = Bundle.open(data / "walk.bundle")
    rules = EventRule(), EventRule("mean", 3, enter=0.6, exit=0.4, min_duration_s=4.0)
    counts = {rule.smoothing: np.zeros(3, int) for rule in rules}
    for path in sorted(data.glob("person_*.npz")):
        recording = Recording.load(path).fit(bundle.manifest.signal)
        predictions = Stream(bundle).push(recording.samples, recording.t)
        for rule in rules:
            tracker = EventTracker.for_bundle(bundle, rule)
            events = [event for prediction in predictions for event in tracker.push(prediction)] + tracker.flush()
            scores = score_events(
                true_intervals(recording), found_intervals(events), recorded_s=recording.duration_s, min_iou=0.5
            )
            counts[rule.smoothing] += scores.true, scores.hits, scores.false_alarms
    assert counts["none"][0] == counts["mean"][0] == 51
    assert counts["mean"][1] >= counts["none"][1] >= 44
    assert counts["none"][2] >= 18
    assert counts["mean"][2] <= 3
