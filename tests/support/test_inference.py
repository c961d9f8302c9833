"""The rule of all verdicts, beside textbook formulas and scipy's own tests."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from prunekit.support.inference import infer, units_of


def drawn(seed, *subsets, seeds=3, shift=0.0, between=1.0):
    """Tasks of so many training subsets each, with what subsets share."""
    random = np.random.default_rng(seed)
    return [random.normal(shift, between, (count, 1)) + random.normal(size=(count, seeds)) for count in subsets]


def test_one_task_of_several_subsets_is_the_nested_analysis_of_variance():
    (values,) = drawn(0, 5, shift=0.7)
    subsets, seeds = values.shape
    mean_square = seeds * ((values.mean(axis=1) - values.mean()) ** 2).sum() / (subsets - 1)
    error = (mean_square / values.size) ** 0.5
    inference = infer([values])
    assert (inference.estimate, inference.error, inference.freedom) == pytest.approx((values.mean(), error, 4))
    expected = stats.ttest_1samp(values.mean(axis=1), 0)
    assert inference.p == pytest.approx(expected.pvalue)
    assert inference.interval() == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert (inference.spread, inference.units) == ("subsets", 15)


def test_two_tasks_are_welchs_case():
    first, second = drawn(1, 4, 7)
    ours = infer([first, second])
    # the mean of two means is half the difference between the first and the negative of the second
    one, other = first.mean(axis=1), -second.mean(axis=1)
    welch = stats.ttest_ind(one, other, equal_var=False)
    assert (ours.p, ours.freedom) == pytest.approx((welch.pvalue, welch.df))
    assert ours.interval() == pytest.approx(tuple(np.array(welch.confidence_interval(0.95)) / 2))
    below = stats.ttest_ind(one - 3.0, other, equal_var=False, alternative="less").pvalue
    above = stats.ttest_ind(one + 3.0, other, equal_var=False, alternative="greater").pvalue
    assert ours.equivalence(1.5) == pytest.approx(max(below, above))


def test_seeds_of_one_subset_are_tested_by_all_their_flips_and_have_the_t_interval():
    seeds = np.random.default_rng(2).normal(0.4, 1, 7)
    ours = infer([[seeds]])
    flipped = [abs(np.mean(seeds * np.array(signs))) for signs in product((1, -1), repeat=7)]
    assert ours.p == np.mean(np.array(flipped) >= abs(seeds.mean()) - 1e-12)
    assert ours.interval() == pytest.approx(tuple(stats.ttest_1samp(seeds, 0).confidence_interval(0.95)))
    assert ours.spread == "seeds"


def test_tasks_of_one_subset_each_have_the_spread_of_their_seeds():
    tasks = drawn(3, 1, 1, seeds=8)
    ours = infer(tasks)
    parts = [values.var(ddof=1) / 8 for values in tasks]
    assert ours.error == pytest.approx(sum(parts) ** 0.5 / 2)
    assert ours.freedom == pytest.approx(sum(parts) ** 2 / sum(part**2 / 7 for part in parts))
    assert ours.spread == "seeds"
    mixed = infer([tasks[0], *drawn(4, 3)])
    assert mixed.spread == "subsets, or seeds where a task has one subset"


def test_more_seeds_of_the_same_subsets_make_nothing_surer():
    tasks = drawn(5, 4, 6)
    often = infer([np.repeat(values, 50, axis=1) for values in tasks])
    once = infer(tasks)
    assert (often.p, *often.interval()) == pytest.approx((once.p, *once.interval()))


def test_tasks_that_differ_are_no_spread_and_a_shift_of_all_is_an_estimate():
    tasks = drawn(6, 4, 4)
    apart = infer([tasks[0] + 5, tasks[1] - 5])
    plain = infer(tasks)
    assert (apart.estimate, apart.p) == pytest.approx((plain.estimate, plain.p))
    assert plain.alike(5.0)
    assert not apart.alike(5.0)
    assert infer([values + 2 for values in tasks]).estimate == pytest.approx(plain.estimate + 2)


@pytest.mark.parametrize("shift", np.linspace(-1.5, 1.5, 7))
@pytest.mark.parametrize("margin", [0.5, 2.0])
def test_test_and_equivalence_say_what_the_interval_says(shift, margin):
    ours = infer(drawn(7, 5, 3, 4, shift=shift))
    low, high = ours.interval()
    assert (ours.p < 0.05) == (low > 0 or high < 0)
    assert (ours.equivalence(margin) < 0.025) == (-margin < low and high < margin)


@pytest.mark.parametrize(("units", "margin", "expected"), [(6, 0.2, 2**-6), (6, 0.05, 1.0), (3, 0.2, 2**-3)])
def test_units_that_agree_are_no_certainty(units, margin, expected):
    ours = infer([[np.full(units, 0.1)]])
    assert np.isnan(ours.interval()).all()
    assert ours.equivalence(margin) == expected
    assert ours.p == 2 / 2**units
    # whose means agree but for rounding, subsets are the units
    of_subsets = infer([np.array([[0.1, 0.3], [0.3, 0.1], [0.2, 0.2]])])
    assert of_subsets.equivalence(0.5) == 2**-3


@pytest.mark.parametrize("tasks", [[], [[np.array([0.5])]], [[np.array([0.5])], [np.array([0.1, 0.2])]]])
def test_without_a_second_unit_nothing_is_sure(tasks):
    ours = infer(tasks)
    assert (ours.p, ours.equivalence(10.0)) == (1.0, 1.0)
    assert np.isnan(ours.interval()).all()


def test_what_is_empty_is_left_out():
    tasks = drawn(8, 3)
    none = np.zeros(0)
    assert infer([*tasks, [none]]) == infer([[*tasks[0], none]]) == infer(tasks)


def test_all_equal_is_said_of_every_seed():
    assert infer([np.zeros((3, 2))]).all_equal
    assert not infer([np.array([[0.1, -0.1], [0.1, -0.1]])]).all_equal  # the subsets' means are 0
    assert list(units_of(np.array([[0.1, -0.1], [0.2, 0.4]]))) == pytest.approx([0.0, 0.3])
