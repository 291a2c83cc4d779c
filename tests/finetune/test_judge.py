"""What is said for and against a new version: each rule on both sides of its edge."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from runtime.errors import InputError
from sdk.finetune.judge import (
    GUESSING,
    Evidence,
    HeldOut,
    TrainingReport,
    blocks,
    doubt,
    golden_agreement,
    judge,
    kept_weights,
    weigh,
)
from sdk.finetune.labels import LabelledSet, worth

GOOD = HeldOut(1.0, 1.0, 0.1)
THREE = np.arange(30) % 3


def logits_of(labels, n_classes=2):
    return 3.0 * np.eye(n_classes)[np.asarray(labels)]


def test_a_version_that_has_everything_wrong_scores_nothing():
    labels = np.array([0, 1, 0, 1])
    wrong = judge(logits_of(1 - labels), labels, np.ones(4))
    assert (wrong.accuracy, wrong.macro_f1) == (0.0, 0.0)
    assert wrong.log_loss == pytest.approx(3 + np.log1p(np.exp(-3)))


def test_weights_count_for_the_log_loss_alone():
    labels = np.array([0, 0, 1, 1])
    found = [judge(logits_of([0, 0, 1, 0]), labels, np.array(w, float)) for w in ((1, 1, 1, 1), (1, 1, 1, 9))]
    assert found[0].accuracy == found[1].accuracy == 0.75
    assert found[0].macro_f1 == found[1].macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
    right = np.log1p(np.exp(-3))
    assert [one.log_loss for one in found] == pytest.approx([right + 3 / 4, right + 3 * 9 / 12])


@pytest.mark.parametrize(
    ("right", "labels", "refused"),
    [(8, [0, 1] * 5, True), (9, [0, 1] * 5, False), (19, [0] * 19 + [1], True), (20, [0] * 19 + [1], True)],
)
def test_no_better_than_one_answer_for_all_is_one_in_twenty(right, labels, refused):
    """8 of 10 right of two classes is what one answer gives with 0.0547, 9 of 10 with 0.0107."""
    n, most = len(labels), max(labels.count(0), labels.count(1)) / len(labels)
    chance = scipy.stats.binom.sf(right - 1, n, most)
    assert (chance > 0.05) == refused
    said = doubt(replace(GOOD, accuracy=0), replace(GOOD, accuracy=right / n), np.array(labels))
    assert bool(said) == refused
    assert not refused or f"one answer for all of them gives too ({most:.0%}; probability {chance:.2f})" in said
    assert GUESSING == 0.05


def test_as_good_as_before_is_good_enough_and_one_figure_that_is_worse_is_not():
    assert doubt(GOOD, GOOD, THREE) == ""
    assert "macro-F1 on held-out labels would fall from 1.000 to 0.999" in doubt(
        GOOD, replace(GOOD, macro_f1=0.999), THREE
    )
    assert "log-loss on held-out labels would rise from 0.100 to 0.101" in doubt(
        GOOD, replace(GOOD, log_loss=0.101), THREE
    )


def test_a_rare_class_takes_no_folds_from_the_others():
    folds = blocks(np.array([0] * 20 + [1]), 5)
    assert sorted(set(folds.tolist())) == [0, 1, 2, 3, 4]
    assert np.bincount(folds[:20]).tolist() == [4] * 5


@pytest.mark.parametrize(("labels", "n_folds", "expected"), [([0, 1], 5, 2), ([0, 0, 0, 1], 5, 3), ([0] * 9, 2, 2)])
def test_no_more_folds_than_the_largest_class_has_windows_and_never_one(labels, n_folds, expected):
    assert len(set(blocks(np.array(labels), n_folds).tolist())) == expected


def test_a_fold_is_a_block_of_time_and_classes_of_one_window_are_apart():
    assert blocks(np.array([0] * 10), 5).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert blocks(np.array([0] * 3 + [1] * 3), 3).tolist() == [0, 1, 2, 1, 2, 0]
    assert blocks(np.array([0] * 4 + [1]), 4).tolist() == [0, 1, 2, 3, 1]
    assert blocks(np.array([], int), 5).tolist() == []


def test_a_kept_class_weighs_what_a_labelled_one_does_in_the_mean():
    labels, weights = np.array([0, 0, 1]), np.array([1.0, 2.0, 3.0])
    assert kept_weights(labels, weights, np.array([2, 2, 2, 3])).tolist() == [1.0, 1.0, 1.0, 3.0]
    assert kept_weights(labels, weights, np.array([], int)).tolist() == []


def test_golden_agreement_is_averaged_over_classes():
    base = logits_of([0] * 8 + [1] * 2)
    assert golden_agreement(base, base) == 1.0
    assert golden_agreement(base, logits_of([0] * 10)) == 0.5  # not 0.8
    assert golden_agreement(base, logits_of([0] * 8 + [1, 0])) == 0.75


def spans(*stretches):
    """A set with windows of 2.56 s every 1.28 s: (start, windows, label) of each stretch."""
    rows = [(begin + 1.28 * k, label) for begin, n, label in stretches for k in range(n)]
    at, labels = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    return LabelledSet(np.zeros((n, 1, 1), np.float32), labels, np.ones(n), spans_s=np.stack([at, at + 2.56], axis=1))


def test_a_stretch_counts_once_and_a_long_one_once_for_every_ten_seconds():
    data = spans((0, 1, 0), (100, 4, 0), (200, 1, 1), (200 + 1.28, 15, 0))
    counted = worth(data)
    assert counted[0] == counted[5] == 1
    assert counted[1:5] == pytest.approx([1 / 4] * 4)
    assert counted[6:].sum() == pytest.approx((14 * 1.28 + 2.56) / 10)
    assert worth(replace(data, spans_s=None)).tolist() == [1] * 21


def evidence(data, right_before, right_after, n_classes=3):
    """Whether each window is right before and after; a wrong one is called by the next class."""
    wrong = (data.labels + 1) % n_classes
    before, after = (logits_of(np.where(right, data.labels, wrong), n_classes) for right in (right_before, right_after))
    none = np.zeros(0, np.int64), np.zeros((0, n_classes)), np.zeros((0, n_classes))
    return Evidence(data.labels, data.weights, before, after, *none, worth=worth(data))


@pytest.mark.parametrize(("fixed", "refused"), [(1, True), (2, False)])
def test_two_stretches_of_time_more_must_be_right_however_many_windows_they_have(fixed, refused):
    data = spans(*((100 * i, 7, i % 3) for i in range(12)))
    right = np.ones(84, bool)
    right[: 7 * fixed] = False
    told = weigh(evidence(data, right, np.ones(84, bool)), "abc")
    assert bool(told.doubt) == refused
    assert not refused or "of 12.3 stretches of time that have labels, 1.0 more would be right, 2.0 must" in told.doubt


def test_of_few_stretches_a_quarter_is_enough():
    data = spans(*((100 * i, 7, i) for i in range(3)))
    right = np.ones(21, bool)
    right[:5] = False  # 5/7 of one stretch of three
    assert "0.7 more would be right, 0.8 must" in weigh(evidence(data, right, np.ones(21, bool)), "abc").doubt
    right[:6] = False
    assert weigh(evidence(data, right, np.ones(21, bool)), "abc").doubt == ""


def test_what_is_lost_counts_against_what_is_gained():
    data = spans(*((100 * i, 7, i % 3) for i in range(12)))
    before, after = np.ones(84, bool), np.ones(84, bool)
    before[:21] = False  # three stretches are gained
    after[-14:] = False  # and two lost
    assert "1.0 more would be right" in weigh(evidence(data, before, after), "abc").doubt


def test_a_new_class_may_take_few_of_the_kept_answers_and_they_may_move_among_themselves():
    data = LabelledSet(np.zeros((10, 1, 1), np.float32), np.full(10, 2), np.ones(10))
    kept = np.repeat([0, 1], 20)
    found = kept.copy()
    found[:2] = 2  # a tenth of the first class is taken
    found[20:24] = 0  # the version in use was unsure of these

    def told(found):
        before, after = logits_of(np.zeros(10, int), 3), logits_of(data.labels, 3)
        known = Evidence(data.labels, data.weights, before, after, kept, logits_of(kept, 3), logits_of(found, 3))
        return weigh(known, ("walking", "sitting", "waving"), 1).doubt

    assert told(found) == ""
    found[2] = 2
    assert "it would forget walking (85% would be left)" in told(found)


@pytest.mark.parametrize(("right", "refused"), [(3, False), (4, True)])
def test_one_label_of_each_is_enough_where_half_of_them_are_wrong(right, refused):
    labels = np.arange(6)
    before = logits_of(np.where(labels < right, labels, (labels + 1) % 6), 6)
    none = np.zeros(0, np.int64), np.zeros((0, 6)), np.zeros((0, 6))
    known = Evidence(labels, np.ones(6), before, logits_of((labels + 1) % 6, 6), *none)
    told = weigh(replace(known, single=True), "abcdef")
    assert bool(told.doubt) == refused
    assert (
        not refused or "4 of 6 labels are right already, and with one of each activity none can be held" in told.doubt
    )
    assert told.grounds == "the version in use has at most half of the labels right"
    assert weigh(known, "abcdef").doubt  # what is held back has a say elsewhere


# ---- the whole of it: four activities, ten windows of each labelled one


NAMES = ("sit", "stand", "walk", "run")


def case(labels, before, after, kept=(), kept_after=None, n=4):
    kept_after = kept if kept_after is None else kept_after
    return Evidence(
        np.array(labels), np.ones(len(labels)), logits_of(before, n), logits_of(after, n), np.array(kept, int),
        logits_of(np.array(kept, int), n), logits_of(np.array(kept_after, int), n),
    )  # fmt: skip


ALL = [0] * 10 + [1] * 10 + [2] * 10 + [3] * 10
WRONG_BY_TEN = [1] * 10 + ALL[10:]


def test_what_is_judged_is_told():
    found = weigh(case(ALL, WRONG_BY_TEN, [*ALL[:-1], 2]), NAMES)
    assert (found.doubt, found.fixed, found.broken, found.kept, found.notes) == ("", 10, 1, None, ())
    assert (found.before.accuracy, found.after.accuracy) == (0.75, 0.975)
    with pytest.raises(InputError, match="finite"):
        weigh(replace(case(ALL, WRONG_BY_TEN, ALL), after=np.full((40, 4), np.nan)), NAMES)


def first(n_classes):
    """The first labels only; the candidate mends ten windows of the first activity."""
    return ALL[: 10 * n_classes], WRONG_BY_TEN[: 10 * n_classes], ALL[: 10 * n_classes]


def test_six_of_ten_activities_need_labels():
    """0.6 * 4 = 2.4: three; 0.6 * 5 = 3: three."""
    said = weigh(case(*first(2)), NAMES).doubt
    assert said == "2 of 4 activities have labels, 3 must; labels of 2 of 4 activities: mark walk and run too"
    assert weigh(case(*first(3)), NAMES).doubt == ""
    five = (*NAMES, "wave")
    assert weigh(case(*first(2), n=5), five).doubt.startswith("2 of 5 activities have labels, 3 must")
    assert weigh(case(*first(3), n=5), five).doubt == ""


def test_labels_of_new_activities_alone_need_no_others():
    labels = [3] * 10
    assert weigh(case(labels, [0] * 10, labels), NAMES, n_new=1).doubt.startswith("100% of 10 held-out windows")
    labels = [2] * 10 + [3] * 10
    assert weigh(case(labels, [0] * 20, labels), NAMES, n_new=2).doubt == ""
    mixed = [0] * 10 + [3] * 10
    assert weigh(case(mixed, [1] * 20, mixed), NAMES, n_new=1).doubt == ""


def test_activities_without_labels_are_named_those_first_that_are_seen_most():
    kept = [2] * 3 + [3] * 9
    found = weigh(case(*first(2), kept), NAMES)
    assert found.notes == ("labels of 2 of 4 activities: mark run and walk too",)
    assert weigh(case(*first(1)), NAMES).notes == ("labels of 1 of 4 activities: mark stand and walk too",)
    found = weigh(case(*first(3), [0] * 9), NAMES)
    assert (found.doubt, found.notes) == ("", ("labels of 3 of 4 activities: mark run too",))
    nothing = weigh(case(ALL, ALL, ALL), NAMES)
    told = "too little is gained: of 40.0 stretches of time that have labels, 0.0 more would be right, 2.0 must"
    assert (nothing.doubt, nothing.notes) == (f"{told}; mark more, at other times", ())


def test_nine_of_ten_kept_answers_of_each_class_have_to_stay():
    kept = [3] * 10 + [2] * 30
    labels = first(3)
    good = weigh(case(*labels, kept, [0, *kept[1:]]), NAMES)
    assert (good.doubt, good.kept, good.fixed, good.broken) == ("", pytest.approx(0.95), 10, 1)
    bad = weigh(case(*labels, kept, [0, 0, *kept[2:]]), NAMES)
    assert bad.doubt.startswith("it would forget run (80% would be left); mark that too; labels of 3 of 4")
    both = weigh(case(*labels, kept, [0, 0, *kept[2:-5], *[0] * 5]), NAMES).doubt
    assert "it would forget walk (83% would be left), run (80% would be left); mark" in both


def test_what_is_mended_counts_less_what_is_broken():
    labels, before, after = [0] * 20 + [1] * 20, [0] * 19 + [1] * 21, [0] * 20 + [1] * 19 + [0]
    found = weigh(case(labels, before, after, n=2), NAMES[:2])
    assert (found.fixed, found.broken) == (1, 1)
    assert "0.0 more would be right, 2.0 must" in found.doubt


def test_a_report_of_a_training_is_json():
    report = TrainingReport((1, 2), 9, 4, 3, 1.5, 6, (0.5, 0.25), 100, 1.0, "")
    plain = report.to_dict()
    assert (plain["layers"], plain["losses"], plain["stopped_by"], plain["epochs"]) == ([1, 2], [0.5, 0.25], "", 1.5)


def test_what_cannot_be_held_back_counts_for_neither():
    """The last two labels are the only ones of their class: whatever held-out heads say of them, it is no evidence."""
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 3])
    before = np.eye(4)[[0, 1, 1, 1, 0, 1, 2, 3]] * 5
    none = np.zeros((0, 4))
    evidence = Evidence(
        labels, np.ones(8), before, np.eye(4)[[0, 0, 0, 1, 1, 1, 0, 0]] * 5, np.zeros(0, int), none, none
    )
    names = tuple("abcd")
    assert "macro-F1" in weigh(evidence, names).doubt
    scored = replace(evidence, scored=np.arange(8) < 6)
    assert weigh(scored, names).doubt == ""
    good = replace(scored, before=np.eye(4)[[0, 0, 0, 1, 0, 1, 2, 3]] * 5)
    assert "of 6.0 stretches of time that have labels, 1.0 more would be right" in weigh(good, names).doubt


def test_labels_alone_show_that_nobody_guesses_where_one_kept_class_outnumbers_them():
    labels, kept = np.repeat([0, 1, 2], 3), np.full(60, 2)
    held = HeldOut(66 / 69, 0.9, 0.1)
    everything = np.concatenate([labels, kept])
    assert "what one answer for all of them gives too" in doubt(replace(held, accuracy=0.5), held, everything)
    assert doubt(replace(held, accuracy=0.5), held, everything, (7, labels)) == ""
    assert "what one answer" in doubt(replace(held, accuracy=0.5), held, everything, (4, labels))


@pytest.mark.parametrize(("wrong", "accepted"), [(1, False), (2, True)])
def test_a_gain_of_just_what_must_be_gained_is_enough(wrong, accepted):
    labels, none = np.repeat([0, 1], 4), np.zeros((0, 2))
    before = 5.0 * np.eye(2)[np.where(np.arange(8) < wrong, 1 - labels, labels)]
    given = Evidence(labels, np.ones(8), before, 5.0 * np.eye(2)[labels], np.zeros(0, int), none, none)
    found = weigh(given, ("a", "b"))
    assert (found.doubt == "") is accepted
    assert (found.fixed, found.broken, found.notes) == (wrong, 0, ())
