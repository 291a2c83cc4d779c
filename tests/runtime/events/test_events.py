"""Smoothing against SciPy, the tracker against a slow one that looks at whole arrays, delays against simulation."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import scipy.signal
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runtime.bundle import Bundle, Manifest
from runtime.errors import BundleError
from runtime.events import Event, EventTracker
from runtime.events.tracker import smoother
from runtime.specs import EventRule
from tests.bundles_small import LABELS, small_manifest

WINDOW_S, HOP_S = 2.0, 0.5


class Prediction(NamedTuple):
    """What a tracker reads of a prediction."""

    probabilities: tuple
    start_s: float
    end_s: float


def predictions(rows, first_s=0.0, hop_s=HOP_S, window_s=WINDOW_S):
    starts = [first_s + i * hop_s for i in range(len(rows))]
    return [Prediction(tuple(row), start, start + window_s) for row, start in zip(rows, starts, strict=True)]


def of_walking(*values):
    """Rows in which walking has the given probability and nothing else has much."""
    return [((1 - value) / 2, value, (1 - value) / 2) for value in values]


def track(rule, rows, hop_s=HOP_S, labels=LABELS, **timing):
    """(index of the prediction that brought it, event) of all events; the index of the flush is len(rows)."""
    tracker = EventTracker(rule, labels, hop_s)
    found = [
        (k, event)
        for k, prediction in enumerate(predictions(rows, hop_s=hop_s, **timing))
        for event in tracker.push(prediction)
    ]
    return [*found, *((len(rows), event) for event in tracker.flush())]


def told(rule, rows, **timing):
    return [(k, e.kind, e.label) for k, e in track(rule, rows, **timing)]


# ---- by hand


def test_the_default_takes_every_prediction_at_its_word():
    rows = of_walking(0.1, 0.9, 0.9, 0.1, 0.6)
    assert track(EventRule(), rows) == [
        # window 1 spans 0.5 to 2.5 s: its middle is at 1.5 s and it speaks for 1.25 to 1.75 s
        (1, Event("walking", 1.25, None, 0.9, 1.25)),
        (3, Event("walking", 1.25, 2.25, 0.9, 3.5 - 2.25)),
        (4, Event("walking", 2.75, None, 0.6, 1.25)),
        (5, Event("walking", 2.75, 3.25, 0.6, 4.0 - 3.25)),
    ]


def test_hysteresis():
    rule = EventRule(enter=0.7, exit=0.3)
    assert told(rule, of_walking(0.69, 0.7, 0.31, 0.3, 0.69, 0.29, 0.69, 0.8)) == [
        (1, "start", "walking"),
        (5, "end", "walking"),
        (7, "start", "walking"),
        (8, "end", "walking"),
    ]


def test_thresholds_of_one_class():
    rule = EventRule(enter=0.8, exit=0.7, enter_by_label={"walking": 0.3}, exit_by_label={"walking": 0.2})
    rows = [(0.75, 0.05, 0.2), (0.65, 0.35, 0), (0.75, 0.25, 0), (0.8, 0.2, 0), (0.9, 0.1, 0), (0.71, 0.29, 0)]
    assert told(rule, rows) == [
        (1, "start", "walking"),
        (4, "end", "walking"),
        (4, "start", "sitting"),
        (6, "end", "sitting"),
    ]


def test_votes_two_of_three():
    rule = EventRule(votes_needed=2, votes_of=3)
    events = track(rule, of_walking(0.9, 0.1, 0.1, 0.9, 0.1, 0.7, 0.1, 0.9, 0.1, 0.1))
    assert [(k, e.kind) for k, e in events] == [(5, "start"), (8, "end")]
    start, end = (e for _, e in events)
    assert start.start_s == 3 * HOP_S + WINDOW_S / 2 - HOP_S / 2  # from the first of the two votes
    assert end.end_s == 7 * HOP_S + WINDOW_S / 2 + HOP_S / 2  # to the last window that held it
    assert (start.confidence, end.confidence) == (pytest.approx(0.8), pytest.approx((0.9 + 0.7 + 0.9) / 3))


def test_votes_are_used_up_by_the_event_that_they_made():
    rule = EventRule(votes_needed=2, votes_of=4)
    assert told(rule, of_walking(0.9, 0.9, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1))[:2] == [
        (1, "start", "walking"),
        (3, "end", "walking"),
    ]
    assert len(track(rule, of_walking(0.9, 0.9, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1))) == 2


def test_a_minimum_duration_delays_the_start_and_drops_what_is_shorter():
    rule = EventRule(min_duration_s=3 * HOP_S)
    events = track(rule, of_walking(0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9, 0.1))
    assert [(k, e.kind, e.start_s) for k, e in events] == [(5, "start", 2.25), (7, "end", 2.25)]
    assert events[-1][1].end_s - events[-1][1].start_s == 4 * HOP_S


def test_a_refractory_time_is_of_one_class():
    rule = EventRule(refractory_s=2 * HOP_S)
    walk, run, none = (0, 1, 0), (0, 0, 1), (0.4, 0.3, 0.3)
    assert told(rule, [walk, run, walk, walk, walk, none]) == [
        (0, "start", "walking"),
        (1, "end", "walking"),
        (1, "start", "running"),
        (2, "end", "running"),
        (3, "start", "walking"),  # walking ended where window 1 begins to speak; window 3 begins two hops later
        (5, "end", "walking"),
    ]


def test_a_window_below_the_confidence_speaks_for_no_class():
    rows = [(0.1, 0.7, 0.2), (0.25, 0.55, 0.2)]
    rule = EventRule(smoothing="mean", smoothing_windows=2, enter=0.6, exit=0.3)
    assert [e.confidence for _, e in track(rule, rows)][1] == pytest.approx((0.7 + (0.7 + 0.55) / 2) / 2)
    unsure = replace(rule, unknown_below=0.6)
    assert [e.confidence for _, e in track(unsure, rows)][1] == pytest.approx((0.7 + 0.35) / 2)


def test_as_sure_as_is_asked_for_is_sure():
    assert told(EventRule(unknown_below=0.6), of_walking(0.6, 0.59)) == [(0, "start", "walking"), (1, "end", "walking")]


def test_after_a_flush_nobody_has_voted():
    tracker = EventTracker(EventRule(votes_needed=2, votes_of=3), LABELS, HOP_S)
    first, second, third = predictions(of_walking(0.9, 0.9, 0.9))
    assert tracker.push(first) + tracker.flush() + tracker.push(second) == []
    assert [event.label for event in tracker.push(third)] == ["walking"]


def test_a_refractory_time_is_as_long_at_any_hop():
    hop_s, walk, run = 0.01, (0, 1, 0), (0, 0, 1)
    events = track(EventRule(refractory_s=50 * hop_s), [walk, run, *[walk] * 60], hop_s=hop_s)
    assert [k for k, e in events if (e.kind, e.label) == ("start", "walking")] == [0, 51]


def test_a_tie_is_no_vote():
    assert told(EventRule(enter=0.4, exit=0.4), [(0.45, 0.45, 0.1), (0.2, 0.4, 0.4), (0.4, 0.4, 0.2)]) == []
    assert told(EventRule(enter=0.2, exit=0.2), [(0.25, 0.25, 0.5)])[0] == (0, "start", "running")


@pytest.mark.parametrize(
    ("step_s", "ends"),
    [(HOP_S, False), (0.75, False), (0.1, False), (0.76, True), (90.0, True), (0.0, True), (-0.1, True), (-90, True)],
)
def test_a_hole_ends_the_open_event_and_begins_anew(step_s, ends):
    rule = EventRule(smoothing="mean", smoothing_windows=3, votes_needed=2, votes_of=2)
    tracker = EventTracker(rule, LABELS, HOP_S)
    first = predictions(of_walking(1, 1, 1), first_s=100)
    events = [event for prediction in first for event in tracker.push(prediction)]
    assert [e.kind for e in events] == ["start"]
    assert tracker.current == "walking"
    later = predictions(of_walking(1, 1), first_s=first[-1].start_s + step_s)
    after = [tracker.push(prediction) for prediction in later]
    if not ends:
        assert after == [[], []]
        assert tracker.current == "walking"
        return
    ((end,), (start,)) = after
    assert (end.kind, end.end_s, end.delay_s) == ("end", 102.25, 0.75)
    # Ahead, what the new segment tells does not reach back into what was told; on another clock it may.
    assert start.start_s == (max(later[0].start_s + 0.75, 102.25) if step_s > 0 else later[0].start_s + 0.75)


def test_another_clock_knows_no_refractory_time():
    tracker = EventTracker(EventRule(refractory_s=60), LABELS, HOP_S)
    walk, rest = of_walking(1, 0)
    (a, b), (c,), (d,) = predictions([walk, rest], 100), predictions([walk], 103), predictions([walk], 0)
    assert [[e.kind for e in tracker.push(p)] for p in (a, b, c, d)] == [["start"], ["end"], [], ["start"]]


def test_flush_ends_and_reset_forgets():
    tracker = EventTracker(EventRule(), LABELS, HOP_S)
    (walk,) = predictions(of_walking(1))
    assert tracker.flush() == []
    tracker.push(walk)
    assert [(e.kind, e.end_s) for e in tracker.flush()] == [("end", 1.25)]
    assert (tracker.flush(), tracker.current) == ([], None)
    tracker.push(walk)
    tracker.reset()
    assert (tracker.flush(), tracker.current) == ([], None)


# ---- against SciPy


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=40),
    n=st.integers(1, 12),
)
def test_smoothing(rows, n):
    array = np.array(rows)
    mean = smoother(EventRule("mean", n))
    found = np.array([list(mean(row)) for row in rows])
    seen = np.minimum(np.arange(1, len(rows) + 1), n)
    for column in range(3):
        sums = np.convolve(array[:, column], np.ones(n))[: len(rows)]
        assert found[:, column] == pytest.approx(sums / seen, abs=1e-12)
    exponential = smoother(EventRule("exponential", n))
    found = np.array([list(exponential(row)) for row in rows])
    keep = math.exp(-1 / n)
    truth, _ = scipy.signal.lfilter([1 - keep], [1, -keep], array, axis=0, zi=keep * array[:1])
    assert found == pytest.approx(truth, abs=1e-12)
    plain = smoother(EventRule())
    assert [plain(row) for row in rows] == rows


def test_a_mean_does_not_drift():
    mean = smoother(EventRule("mean", 3))
    for value in (1e15, 1.0, 0.1, 0.1, 0.1):
        last = mean((value,))
    assert list(last) == [(0.1 + 0.1 + 0.1) / 3]


# ---- against a slow tracker

THRESHOLDS = st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)).map(lambda pair: sorted(pair, reverse=True))


@st.composite
def rules(draw, *, refractory=True, unknown=True):
    votes_of = draw(st.integers(1, 5))
    enter, leave = draw(THRESHOLDS)
    own = draw(st.dictionaries(st.sampled_from(LABELS), THRESHOLDS, max_size=3))
    return EventRule(
        smoothing=draw(st.sampled_from(("none", "mean", "exponential"))),
        smoothing_windows=draw(st.integers(1, 5)),
        votes_needed=draw(st.integers(1, votes_of)),
        votes_of=votes_of,
        enter=enter,
        exit=leave,
        enter_by_label={label: pair[0] for label, pair in own.items()},
        exit_by_label={label: pair[1] for label, pair in own.items()},
        min_duration_s=draw(st.sampled_from((0, 0.5, 0.7, 1.0, 2.0))),
        refractory_s=draw(st.sampled_from((0, 0.5, 0.9, 3.0))) if refractory else 0,
        unknown_below=draw(st.sampled_from((0, 0.5, 0.8))) if unknown else 0,
    )


@st.composite
def timelines(draw):
    """Rows of probabilities that stay with a class for a while, as those of activities do."""
    rows = []
    for _ in range(draw(st.integers(1, 8))):
        favourite, confidence = draw(st.integers(0, 2)), draw(st.sampled_from((0.4, 0.55, 0.7, 0.9, 1.0)))
        for _ in range(draw(st.integers(1, 7))):
            value = min(1.0, max(1 / 3, confidence + draw(st.floats(-0.3, 0.3))))
            split = draw(st.floats(0, 1))
            others = [(1 - value) * split, (1 - value) * (1 - split)]
            rows.append((*others[:favourite], value, *others[favourite:]))
    return rows


def smoothed_rows(rule, rows):
    smooth = smoother(rule)
    return [list(smooth(row if max(row) >= rule.unknown_below else (0.0,) * 3)) for row in rows]


def slow_tracker(rule, rows):
    """The told events as (label, told at start, start_s, told at end, end_s), from slices of whole lists."""
    smoothed = smoothed_rows(rule, rows)
    begins = [k * HOP_S + WINDOW_S / 2 - HOP_S / 2 for k in range(len(rows))]
    tolerance = 1e-3 * HOP_S
    done, k_free = [], {}  # told events; per class the first window whose vote is not used up
    latest_end = {}
    votes, event = [], None

    def close(k):
        k_free[event["label"]] = k + 1
        held = [h for h in range(event["first"], k) if smoothed[h][event["label"]] >= event["exit"]]
        end_s = begins[max([event["opened"], *[h for h in held if h > event["opened"]]])] + HOP_S
        if event["told"] is not None:
            latest_end[event["label"]] = end_s
            done.append((LABELS[event["label"]], event["told"], event["start_s"], k, end_s))

    for k, row in enumerate(smoothed):
        able = [i for i in range(3) if row[i] >= rule.thresholds(LABELS[i])[0]]
        top = [i for i in able if row[i] == max(row[i] for i in able)]
        vote = top[0] if len(top) == 1 else None
        if vote in latest_end and begins[k] < latest_end[vote] + rule.refractory_s - tolerance:
            vote = None
        votes.append(vote)
        if event is not None:
            since = range(max(event["opened"] + 1, k - rule.votes_of + 1), k + 1)
            against = [h for h in since if smoothed[h][event["label"]] < event["exit"]]
            if k in against and len(against) >= rule.votes_needed:
                close(k)
                event = None
        if event is None and vote is not None:
            mine = [
                h for h in range(max(k - rule.votes_of + 1, k_free.get(vote, 0)), k + 1) if h >= 0 and votes[h] == vote
            ]
            if len(mine) >= rule.votes_needed:
                start_s = max([begins[mine[0]], *latest_end.values()])
                event = {"label": vote, "first": mine[0], "opened": k, "start_s": start_s, "told": None}
                event["exit"] = rule.thresholds(LABELS[vote])[1]
        if event is not None and event["told"] is None:
            holds = k == event["opened"] or row[event["label"]] >= event["exit"]
            if holds and begins[k] + HOP_S - event["start_s"] >= rule.min_duration_s - tolerance:
                event["told"] = k
    if event is not None:
        close(len(rows))
    return done


@settings(max_examples=200, deadline=None)
@given(rule=rules(), rows=timelines())
def test_as_the_slow_tracker(rule, rows):
    found = track(rule, rows)
    pairs = list(zip(found[::2], found[1::2], strict=True))
    assert [(s.label, a, s.start_s, b, e.end_s) for (a, s), (b, e) in pairs] == slow_tracker(rule, rows)


@settings(max_examples=150, deadline=None)
@given(rule=rules(), rows=timelines())
def test_what_always_holds(rule, rows):
    smoothed = smoothed_rows(rule, rows)
    events = track(rule, rows)
    assert [e.kind for _, e in events] == ["start", "end"] * (len(events) // 2)  # one open event, entered before left
    latest = {}
    previous_s = -math.inf
    for (told_start, start), (told_end, end) in zip(events[::2], events[1::2], strict=True):
        i = LABELS.index(start.label)
        assert (end.label, end.start_s) == (start.label, start.start_s)
        assert told_start < told_end
        assert previous_s <= start.start_s < end.end_s
        assert end.end_s - start.start_s >= rule.min_duration_s - 1e-3
        assert start.start_s >= latest.get(i, -math.inf) + rule.refractory_s - 1e-3
        assert rule.thresholds(start.label)[1] <= min(start.confidence, end.confidence) <= 1
        assert start.start_s + start.delay_s == pytest.approx(told_start * HOP_S + WINDOW_S)
        assert end.end_s + end.delay_s == pytest.approx(min(told_end, len(rows) - 1) * HOP_S + WINDOW_S)
        if told_end < len(rows):
            assert smoothed[told_end][i] < rule.thresholds(start.label)[1]
        previous_s = latest[i] = end.end_s


@settings(max_examples=100, deadline=None)
@given(rule=rules(unknown=False), values=st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_between_the_thresholds_nothing_flickers(rule, values):
    """Walking stays between its exit and its enter: no start without an event, no end with one."""
    enter, leave = rule.thresholds("walking")
    assume(enter - leave > 1e-6)
    low, high = leave + 1e-7, enter - 1e-7
    rows = [(0.0, low + value * (high - low), 0.0) for value in values]
    assert told(rule, rows) == []
    bare = replace(rule, min_duration_s=0)
    start = [(0.0, 1.0, 0.0)] * rule.votes_needed
    found = told(bare, [*start, *rows])
    assert [kind for _, kind, _ in found] == ["start", "end"]
    assert found[-1][0] == len(start) + len(rows)  # only the flush ends it


@settings(max_examples=60, deadline=None)
@given(rule=rules(), rows=timelines(), hole=st.integers(0, 40), step_s=st.sampled_from((0.8, 5.0, 1000.0, -1.0, 0.0)))
def test_a_hole_at_any_place_keeps_the_promises(rule, rows, hole, step_s):
    tracker = EventTracker(rule, LABELS, HOP_S)
    first = predictions(rows[:hole], 100)
    second = predictions(rows[hole:], first[-1].start_s + step_s if first else 100)
    before = [e for p in first for e in tracker.push(p)]
    joint = [e for p in second for e in tracker.push(p)] + tracker.flush()
    assert [e.kind for e in before + joint] == ["start", "end"] * (len(before + joint) // 2)
    if len(before) % 2 and second:
        assert joint[0].end_s <= first[-1].end_s
    for start, end in zip((before + joint)[::2], (before + joint)[1::2], strict=True):
        assert start.start_s < end.end_s
    if step_s > 0:
        assert all(a.end_s <= b.start_s for a, b in pairwise(e for e in before + joint) if a.kind == "end")


# ---- delays


@settings(max_examples=200, deadline=None)
@given(rule=rules(refractory=False), hop_s=st.sampled_from((0.1, 0.5, 1.28)), pair=st.permutations((0, 1, 2)))
def test_the_delay_is_that_of_a_simulated_step(rule, hop_s, pair):
    rule = replace(rule, enter_by_label={}, exit_by_label={})
    old, new = np.eye(3)[list(pair[:2])].tolist()
    n = 80 + rule.votes_of
    assume(not borders(rule))
    events = track(rule, [old] * n + [new] * n, hop_s=hop_s)
    delay = rule.delay(hop_s, WINDOW_S)
    assert [(e.label, e.kind) for _, e in events] == [
        (LABELS[pair[0]], "start"),
        (LABELS[pair[0]], "end"),
        (LABELS[pair[1]], "start"),
        (LABELS[pair[1]], "end"),
    ]
    assert (events[1][0] - n) * hop_s == pytest.approx(delay.end_s)
    assert (events[2][0] - n) * hop_s == pytest.approx(delay.start_s)


def borders(rule):
    """Whether a threshold lies where rounding decides."""
    n = rule.smoothing_windows
    steps = [math.exp(-j / n) for j in range(1, 40)]
    return rule.smoothing == "exponential" and any(
        abs(value - step) < 1e-9 for step in steps for value in (1 - rule.enter, rule.exit)
    )


@settings(max_examples=100, deadline=None)
@given(rule=rules(refractory=False), pair=st.permutations((0, 1, 2)))
def test_no_pair_of_classes_is_slower_than_the_delay(rule, pair):
    assume(not borders(rule))
    old, new = np.eye(3)[list(pair[:2])].tolist()
    events = track(rule, [old] * 90 + [new] * 90)
    delay = rule.delay(HOP_S, WINDOW_S)
    assert (events[1][0] - 90) * HOP_S <= delay.end_s + 1e-9
    assert (events[2][0] - 90) * HOP_S <= delay.start_s + 1e-9


@pytest.mark.parametrize(
    ("rule", "start_s", "end_s"),
    [  # windows until told, by hand, times the hop of 0.5 s
        (EventRule(), 0, 0),
        (EventRule("mean", 5), 1.0, 1.0),  # 1/5, 2/5, 3/5 >= 0.5: the third; 4/5, 3/5, 2/5 < 0.5: the third
        (EventRule("mean", 5, enter=0.8, exit=0.5), 1.5, 1.0),
        (EventRule("mean", 5, enter=0.8, exit=0.1), 2.0, 2.0),  # the old one is left at the fifth
        (EventRule(votes_needed=3, votes_of=4), 1.0, 1.0),
        (EventRule(votes_needed=2, votes_of=4, min_duration_s=2.0), 1.5, 0.5),  # four windows
        (EventRule("exponential", 2), 0.5, 0.5),  # 1 - exp(-1/2) = 0.39, 1 - exp(-1) = 0.63
        (EventRule("exponential", 2, votes_needed=2, votes_of=2, enter=0.7, exit=0.3), 1.5, 1.5),  # 0.78 at the third
    ],
)
def test_delays_by_hand(rule, start_s, end_s):
    delay = rule.delay(HOP_S, WINDOW_S)
    assert (delay.start_s, delay.end_s) == (start_s, end_s)
    assert (delay.typical_s, delay.worst_s) == (1.25 + start_s, 2.5 + start_s)


@pytest.mark.parametrize("rule", [EventRule(), EventRule("mean", 4, votes_needed=2, votes_of=3, enter=0.6, exit=0.4)])
def test_typical_and_worst_delay_from_the_change_itself(rule):
    """A change at 500 phases against the windows; the model sees the class that fills half, or all, of a window."""
    delay, hop_s, window_s = rule.delay(0.5, 2.0), 0.5, 2.0
    late = {"half": [], "full": []}
    for phase in (np.arange(500) + 0.5) / 500:
        changed_s = (40 + phase) * hop_s
        for model, share in (("half", 0.5), ("full", 1.0)):
            seen = [k * hop_s + window_s * (1 - share) >= changed_s - 1e-9 for k in range(120)]
            events = track(rule, [(0.0, 1.0, 0.0) if new else (1.0, 0.0, 0.0) for new in seen])
            (told_at,) = [k * hop_s + window_s for k, e in events if (e.kind, e.label) == ("start", "walking")]
            late[model].append(told_at - changed_s)
    assert np.mean(late["half"]) == pytest.approx(delay.typical_s, abs=1e-6)
    assert delay.worst_s - 0.002 < max(late["full"]) <= delay.worst_s


# ---- in a manifest

RULE = EventRule(
    "exponential", 3, 2, 5, 0.7, 0.4, {"walking": 0.8}, {"walking": 0.3}, min_duration_s=1.5, refractory_s=2.0
)


def test_a_manifest_with_a_rule():
    manifest = small_manifest(events=RULE)
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert "events" not in json.loads(small_manifest().to_json())
    document = json.loads(small_manifest().to_json())
    assert Manifest.from_json(json.dumps(document)).events is None
    document["events"] = {"smoothing": "mean", "smoothing_windows": 4}
    assert Manifest.from_json(json.dumps(document)).events == EventRule("mean", 4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"smoothing": "median"}, "m.json: events: smoothing: expected none or mean or exponential, got 'median'"),
        ({"smoothing": 1}, "m.json: events: smoothing: expected .*, got 1"),
        ({"votes_of": 1.5}, "m.json: events: votes_of: expected int, got 1.5"),
        ({"colour": 1}, "m.json: events: expected the fields smoothing, .*, got missing or unknown: colour"),
        ({"enter_by_label": {"walking": "0.5"}}, "m.json: events: enter_by_label: walking: expected float, got '0.5'"),
        ({"enter_by_label": {"flying": 0.6}}, "events: expected thresholds for sitting, .*, got some for flying. Name"),
        ({"smoothing_windows": 0}, "m.json: events: events: smoothing_windows: expected at least 1, got 0. Correct"),
        ({"votes_needed": 2}, "events: votes_needed: expected from 1 to votes_of, got 2 of 1"),
        ({"votes_needed": 0}, "events: votes_needed: expected from 1 to votes_of, got 0 of 1"),
        ({"enter": 0.4}, "events: enter and exit: expected 0 < exit <= enter < 1, got enter 0.4, exit 0.5"),
        ({"exit": 0}, "events: enter and exit: .*, got enter 0.5, exit 0"),
        ({"enter": 1}, "events: enter and exit: .*, got enter 1"),
        ({"exit_by_label": {"walking": 0.6}}, "events: enter and exit: .*, got enter 0.5, exit 0.6"),
        ({"min_duration_s": -1}, "events: min_duration_s: expected seconds, at least 0, got -1"),
        ({"refractory_s": -0.1}, "events: refractory_s: expected seconds, at least 0, got -0.1"),
        ({"unknown_below": 1.1}, "events: unknown_below: expected from 0 to 1, got 1.1"),
    ],
)
def test_a_rule_that_a_manifest_may_not_hold(fields, message):
    document = json.loads(small_manifest().to_json())
    document["events"] = fields
    with pytest.raises(BundleError, match=message) as caught:
        Manifest.from_json(json.dumps(document), "m.json")
    assert str(caught.value).startswith("m.json: ")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [3, "mean", [], True])
def test_events_that_are_no_rule(value):
    document = json.loads(small_manifest().to_json())
    document["events"] = value
    with pytest.raises(BundleError, match=r"m.json: events: expected EventRule, got"):
        Manifest.from_json(json.dumps(document), "m.json")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_times_that_are_not_finite(value):
    with pytest.raises(BundleError, match="refractory_s"):
        EventRule(refractory_s=value)
    with pytest.raises(BundleError, match="enter and exit"):
        EventRule(enter=value)


TINY, BELOW_1, ABOVE_1 = 5e-324, math.nextafter(1, 0), math.nextafter(1, 2)


@pytest.mark.parametrize(
    ("good", "bad", "where"),
    [
        ({"smoothing_windows": 1}, {"smoothing_windows": 0}, "smoothing_windows"),
        ({"votes_needed": 1, "votes_of": 2}, {"votes_needed": 0, "votes_of": 2}, "votes_needed"),
        ({"votes_needed": 2, "votes_of": 2}, {"votes_needed": 3, "votes_of": 2}, "votes_needed"),
        ({"exit": TINY}, {"exit": 0.0}, "enter and exit"),
        ({"enter": 0.5, "exit": 0.5}, {"enter": math.nextafter(0.5, 0), "exit": 0.5}, "enter and exit"),
        ({"enter": BELOW_1}, {"enter": 1.0}, "enter and exit"),
        ({"enter_by_label": {"running": BELOW_1}}, {"enter_by_label": {"running": 1.0}}, "enter and exit"),
        ({"exit_by_label": {"running": TINY}}, {"exit_by_label": {"walking": 0.4, "running": 0.0}}, "enter and exit"),
        ({"min_duration_s": 0.0}, {"min_duration_s": -TINY}, "min_duration_s"),
        ({"refractory_s": 0.0}, {"refractory_s": -TINY}, "refractory_s"),
        ({"min_duration_s": 1e300}, {"min_duration_s": math.inf}, "min_duration_s"),
        ({"unknown_below": 0.0}, {"unknown_below": -TINY}, "unknown_below"),
        ({"unknown_below": 1.0}, {"unknown_below": ABOVE_1}, "unknown_below"),
    ],
)
def test_both_sides_of_every_bound(good, bad, where):
    EventRule(**good)
    with pytest.raises(BundleError, match=f"^events: {where}: expected"):
        EventRule(**bad)


def test_a_tracker_for_a_bundle(small_bundle):
    bundle = Bundle.open(small_bundle)
    tracker = EventTracker.for_bundle(bundle)
    assert (tracker.rule, tracker.labels, tracker.hop_s) == (EventRule(), LABELS, 12 / 32)
    assert EventTracker.for_bundle(bundle, RULE).rule == RULE
    with_rule = replace(bundle, manifest=replace(bundle.manifest, events=RULE))
    assert EventTracker.for_bundle(with_rule).rule == RULE
    with pytest.raises(BundleError, match="got some for flying"):
        EventTracker.for_bundle(bundle, EventRule(enter_by_label={"flying": 0.6}))
