"""What is said for and against a new version: each rule on both sides of its edge."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from sdk.finetune.judge import GUESSING, HeldOut, blocks, doubt, golden_agreement, judge

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


def test_golden_agreement_is_averaged_over_classes():
    base = logits_of([0] * 8 + [1] * 2)
    assert golden_agreement(base, base) == 1.0
    assert golden_agreement(base, logits_of([0] * 10)) == 0.5  # not 0.8
    assert golden_agreement(base, logits_of([0] * 8 + [1, 0])) == 0.75
