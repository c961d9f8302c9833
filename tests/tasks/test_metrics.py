"""Metrics against figures worked out by hand."""

import numpy as np
import pytest

from prunekit.support.errors import DataError
from prunekit.tasks import METRICS, Example
from prunekit.tasks.metrics import (
    accuracy,
    bounds,
    exact_match,
    f1,
    macro_f1,
    record_exact_match,
    record_f1,
)


def rows(golds, choices=("no", "yes"), groups=None):
    groups = groups or [""] * len(golds)
    pairs = enumerate(zip(golds, groups, strict=True))
    return [Example(i, "{x}", {"x": "t"}, tuple(choices), (gold,), group) for i, (gold, group) in pairs]


def test_multirc_over_two_questions():
    examples = rows([1, 0, 1, 0, 1], groups=["q1", "q1", "q1", "q2", "q2"])
    chosen = [1, 1, 0, 0, 1]  # q1: one right yes, one wrong yes, one missed; q2: both right
    # true positives 2, false positives 1, false negatives 1: precision 2/3, recall 2/3
    assert METRICS["f1a"](examples, chosen) == pytest.approx(2 / 3)
    assert exact_match(examples, chosen) == 1 / 2
    assert accuracy(examples, chosen) == 3 / 5


def test_exact_match_without_groups_is_accuracy():
    assert exact_match(rows([1, 0, 1, 1]), [1, 1, 1, 1]) == 3 / 4


def test_cb_macro_f1_leaves_out_a_class_that_is_absent_everywhere():
    examples = rows([0, 0, 1, 1], choices=("yes", "no", "maybe"))
    # yes: precision 1, recall 1/2, F1 2/3; no: precision 2/3, recall 1, F1 4/5; maybe: nowhere
    assert macro_f1(examples, [0, 1, 1, 1]) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_cb_macro_f1_counts_a_class_that_only_gold_or_only_answers_have_as_zero():
    examples = rows([0, 0, 1, 2], choices=("yes", "no", "maybe"))
    # yes: precision 2/3, recall 1, F1 4/5; no: F1 1; maybe: never answered, F1 0
    assert macro_f1(examples, [0, 0, 1, 0]) == pytest.approx((4 / 5 + 1 + 0) / 3)
    examples = rows([0, 0, 1, 1], choices=("yes", "no", "maybe"))
    # yes: F1 2/3; no: F1 1; maybe: answered but never gold, F1 0
    assert macro_f1(examples, [0, 2, 1, 1]) == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_f1_is_zero_without_any_yes():
    assert f1(rows([0, 0]), [0, 0]) == 0.0
    assert f1(rows([0, 1]), [0, 0]) == 0.0
    assert f1(rows([1, 1]), [1, 1]) == 1.0


def record(choices, gold):
    return Example(0, "{x}", {"x": "t"}, tuple(choices), tuple(gold))


def test_record_takes_the_best_of_several_golds():
    choices = ["Barack Obama", "Obama", "President Barack Obama", "Chelsea", "the Chelsea!"]
    several = record(choices, [0, 1])
    # three words against {barack obama} share two: 2*2/(3+2) = 4/5; against {obama} 2*1/(3+1) = 1/2
    assert record_f1([several], [2]) == pytest.approx(4 / 5)
    assert record_exact_match([several], [2]) == 0.0
    assert record_f1([several], [1]) == record_exact_match([several], [1]) == 1.0
    assert record_f1([several], [3]) == record_exact_match([several], [3]) == 0.0
    other = record(choices, [3])
    assert record_exact_match([other], [4]) == 1.0, "article, case and punctuation do not count"
    assert record_f1([several, other], [2, 4]) == pytest.approx((4 / 5 + 1) / 2)
    assert record_exact_match([several, other], [2, 4]) == 1 / 2


def test_accuracy_accepts_any_of_several_golds():
    assert accuracy([record("abc", [0, 2]), record("abc", [1])], [2, 0]) == 1 / 2


def test_matthews_is_a_correlation_and_nothing_where_one_side_is_constant():
    examples = rows([0, 0, 1, 1])
    assert METRICS["matthews"](examples, [0, 0, 1, 1]) == 1.0
    assert METRICS["matthews"](examples, [1, 1, 0, 0]) == -1.0
    assert METRICS["matthews"](examples, [0, 0, 0, 0]) == 0.0


def test_correlations_are_of_the_answers_as_numbers_and_nothing_where_one_side_is_constant():
    choices = ["0.0", "1.0", "4.0", "5.0"]
    examples = rows([0, 1, 2, 3], choices=choices)
    answers, labels = np.array([1.0, 0.0, 5.0, 4.0]), np.array([0.0, 1.0, 4.0, 5.0])
    assert METRICS["pearson"](examples, [1, 0, 3, 2]) == pytest.approx(np.corrcoef(answers, labels)[0, 1])
    # ranks 2 1 4 3 and 1 2 3 4: one less 6 times the sum of squared differences, 4, over 4 (16 - 1)
    assert METRICS["spearman"](examples, [1, 0, 3, 2]) == pytest.approx(1 - 6 * 4 / 60)
    for name in ("pearson", "spearman"):
        assert METRICS[name](examples, [0, 1, 2, 3]) == pytest.approx(1.0)
        assert METRICS[name](examples, [2, 2, 2, 2]) == METRICS[name](examples[:1], [1]) == 0.0
        with pytest.raises(DataError, match=rf'^the metric "{name}" needs answers that are numbers: .*\'no\''):
            METRICS[name](rows([0, 1]), [0, 1])


def test_every_metric_says_what_it_can_be():
    assert {name: bounds(name) for name in METRICS} == {
        name: ((-1.0, 1.0) if name in ("matthews", "pearson", "spearman") else (0.0, 1.0)) for name in METRICS
    }
    assert bounds("accuracy", "matthews") == (-1.0, 1.0)
    assert bounds() == (float("-inf"), float("inf"))
