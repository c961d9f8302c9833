"""The statistics against naive enumeration, scipy, figures worked out by hand, and what they promise in repetition."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from prunekit.support import statistics

NAN = float("nan")


def draws(seed, *sizes, shift=0.0):
    generator = np.random.default_rng(seed)
    return [shift + generator.normal(size=size) for size in sizes]


def naive_sign_flip(strata):
    """Every flip of every unit, the mean of the means each time."""
    sizes = [len(one) for one in strata]
    values = np.concatenate(strata)

    def mean_of_means(flat):
        return np.mean([part.mean() for part in np.split(flat, np.cumsum(sizes)[:-1])])

    reached = abs(mean_of_means(values))
    flips = [mean_of_means(values * np.array(signs)) for signs in product((1, -1), repeat=len(values))]
    return np.mean([abs(one) >= reached - 1e-12 for one in flips])


@pytest.mark.parametrize("sizes", [(1,), (2,), (6,), (9,), (3, 4), (2, 6), (1, 3, 2)])
@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_the_sign_flip_p_is_that_of_a_naive_enumeration(sizes, shift):
    strata = draws(len(sizes), *sizes, shift=shift)
    assert statistics.sign_flip(strata) == pytest.approx(naive_sign_flip(strata), abs=1e-12)


def test_strata_of_unlike_size_are_not_pooled():
    strata = [np.array([1.0, 1.0]), np.array([-0.4, -0.4, -0.4, -0.4, -0.4, 0.5])]
    assert statistics.sign_flip(strata) == pytest.approx(naive_sign_flip(strata))
    assert statistics.sign_flip(strata) != pytest.approx(statistics.sign_flip([np.concatenate(strata)]))
    assert statistics.estimate(strata) == pytest.approx((1.0 - 0.25) / 2)


def test_equal_differences_tie_whatever_the_rounding():
    strata = [np.array([0.1, 0.1, 0.1, 0.0])]
    assert statistics.sign_flip(strata) == 2 * 2 / 16  # all three up or down, the zero either way
    strata = [np.array([0.1, 0.2, -0.3, 0.1])]  # |sum| 0.1 is the least that there is: every flip reaches it
    assert statistics.sign_flip(strata) == 1.0


def test_sign_flip_without_differences_or_units_is_one():
    assert statistics.sign_flip([np.zeros(6)]) == 1.0
    assert statistics.sign_flip([np.zeros(20)]) == 1.0
    assert statistics.sign_flip([np.array([0.3])]) == 1.0
    assert statistics.sign_flip([]) == 1.0


@pytest.mark.parametrize("shift", [0.1, 0.3, 0.5])
def test_random_flips_agree_with_all_flips(monkeypatch, shift):
    strata = draws(3, 8, 8, shift=shift)
    exact = statistics.sign_flip(strata)
    monkeypatch.setattr(statistics, "EXACT_UNITS", 15)
    sampled = statistics.sign_flip(strata, seed=1)
    assert sampled != exact
    assert sampled == pytest.approx(exact, abs=5 * (exact * (1 - exact) / 99_999) ** 0.5)
    assert sampled == statistics.sign_flip(strata, seed=1)


@pytest.mark.parametrize("units", [1, 2, 3, 6, 16, 17, 40])
def test_the_smallest_p_is_reached_by_units_that_all_agree(units):
    reached = statistics.sign_flip([np.linspace(1, 2, units)])
    assert reached >= statistics.smallest_p(units)
    # 17 units: two of 131,072 flips, of which 99,999 random ones hold one or two
    assert reached == pytest.approx(statistics.smallest_p(units), rel=3 if units == 17 else 1e-12)


def test_smallest_p():
    assert [statistics.smallest_p(units) for units in (0, 1, 2, 5, 6)] == [1, 1, 0.5, 0.0625, 0.03125]
    assert statistics.smallest_p(100) == 1e-5


@pytest.mark.parametrize(("comparisons", "needed"), [(1, 6), (2, 7), (8, 9), (20, 10)])
def test_units_needed_are_those_of_the_design(comparisons, needed):
    assert statistics.units_needed(comparisons, 0.05) == needed == int(np.ceil(1 + np.log2(20 * comparisons)))
    assert comparisons * statistics.smallest_p(needed) < 0.05 <= comparisons * statistics.smallest_p(needed - 1)


def test_units_needed_where_alpha_is_met_exactly_go_below_it():
    assert statistics.units_needed(1, 0.0625) == 6  # 5 units reach 0.0625, which is not below it


def test_holm_by_hand():
    # ordered: 4 * 0.01, 3 * 0.02, 2 * 0.03 (= 0.06, not below the one before), 1 * 0.2
    assert statistics.holm(np.array([0.03, 0.01, 0.2, 0.02])) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    # 3 * 0.01, then 2 * 0.04 = 0.08 holds 0.05 up
    assert statistics.holm(np.array([0.05, 0.04, 0.01])) == pytest.approx([0.08, 0.08, 0.03])
    assert statistics.holm(np.array([0.6, 0.5])) == pytest.approx([1.0, 1.0])
    assert statistics.holm(np.zeros(0)).size == 0


def test_t_interval_of_one_stratum_is_the_textbook_one():
    (values,) = draws(4, 5)
    expected = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    assert statistics.t_interval([values], 0.95) == pytest.approx(expected)


@pytest.mark.parametrize("strata", [[], [np.array([0.5])], [np.array([0.1, 0.2]), np.array([0.3])]])
def test_too_few_units_give_no_interval(strata):
    assert np.isnan(statistics.t_interval(strata, 0.95)).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 0.7])
def test_units_without_spread(value):
    strata = [np.full(3, value), np.full(7, value)]
    assert statistics.t_interval(strata, 0.95) == pytest.approx((value, value))
    assert statistics.standard_error(strata) == (0.0, 1.0)


def test_one_stratum_without_spread_leaves_that_of_the_other():
    flat, spread = np.full(4, 0.7), np.array([0.1, 0.3, 0.2])
    low, high = statistics.t_interval([flat, spread], 0.95)
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 2) * stats.sem(spread) / 2)


def family(generator, sizes, controls):
    """p of each control against the same ticket, all of one distribution, tasks of unlike spread."""
    scales = np.linspace(1, 5, len(sizes))
    ticket = [scale * generator.standard_t(3, size) for scale, size in zip(scales, sizes, strict=True)]
    others = [
        [scale * generator.standard_t(3, size) for scale, size in zip(scales, sizes, strict=True)]
        for _ in range(controls)
    ]
    strata = [[mine - its for mine, its in zip(ticket, other, strict=True)] for other in others]
    return np.array([statistics.sign_flip(one) for one in strata])


@pytest.mark.parametrize("sizes", [(10,), (4, 6)])
def test_a_family_without_any_difference_is_rarely_given_one(sizes):
    generator = np.random.default_rng(0)
    cases = [family(generator, sizes, 8) for _ in range(400)]
    false = np.mean([statistics.holm(p).min() < 0.05 for p in cases])
    assert false <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5
    assert np.mean([p.min() < 0.05 for p in cases]) > 0.15  # the same cases without the correction
    single = np.mean([p[0] < 0.05 for p in cases])  # what the one primary comparison does
    assert 0.015 < single <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5


def test_a_family_with_a_difference_is_given_it():
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(50):
        p = np.append(family(generator, (10,), 7), statistics.sign_flip([generator.normal(1.5, 0.5, size=10)]))
        found += statistics.holm(p)[-1] < 0.05
    assert found == 50


@pytest.mark.parametrize(("one", "other"), [(0, 3), (1, 9), (12, 4), (5, 5), (1, 0), (400, 300)])
def test_mcnemar_is_the_binomial_test_of_the_disagreements(one, other):
    assert statistics.mcnemar(one, other) == pytest.approx(stats.binomtest(one, one + other, 0.5).pvalue)
    assert statistics.mcnemar(one, other) == pytest.approx(
        min(1, 2 * stats.binom.cdf(min(one, other), one + other, 0.5))
    )


def test_mcnemar_by_hand():
    assert statistics.mcnemar(0, 3) == pytest.approx(2 / 8)
    assert statistics.mcnemar(1, 4) == pytest.approx(2 * (1 + 5) / 32)
    assert statistics.mcnemar(0, 0) == 1.0


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_clustered_interval_is_that_of_a_naive_loop(seeds):
    generator = np.random.default_rng(0)
    # an example is easy or hard for all seeds alike, so that drawing answers one by one would be too narrow
    differences = generator.choice([-1, 0, 1], p=[0.1, 0.6, 0.3], size=(60, 1)).repeat(seeds, axis=1)
    differences[:5] = 0
    differences[:5, 0] = 1
    means = [differences[generator.integers(0, 60, 60)].mean() for _ in range(20_000)]
    found = statistics.clustered_interval(differences, 0.9, 20_000, seed=1)
    assert found == pytest.approx(np.quantile(means, [0.05, 0.95]), abs=0.006)
    alone = statistics.clustered_interval(differences.reshape(-1, 1), 0.9, 20_000, seed=1)
    if seeds > 1:
        assert alone[1] - alone[0] < 0.7 * (found[1] - found[0])


def test_the_clustered_interval_without_differences_or_examples():
    assert statistics.clustered_interval(np.zeros((9, 2), dtype=np.int64), 0.95, 99, 0) == (0.0, 0.0)
    assert np.isnan(statistics.clustered_interval(np.zeros((0, 2), dtype=np.int64), 0.95, 99, 0)).all()


def test_all_equal_is_said_of_every_unit_alone():
    assert statistics.all_equal([np.zeros(3), np.zeros(1)])
    assert not statistics.all_equal([np.zeros(3), np.array([1e-9])])
    assert not statistics.all_equal([np.array([0.1, -0.1])])  # their mean is 0
    assert not statistics.all_equal([])


def test_an_interval_is_cut_at_what_can_be():
    assert statistics.cut((-0.2, 1.2), (0.0, 1.0)) == (0.0, 1.0)
    assert statistics.cut((0.2, 0.8), (0.0, 1.0)) == (0.2, 0.8)
    assert statistics.cut((-3.0, 0.5), (-1.0, 1.0)) == (-1.0, 0.5)
    assert all(np.isnan(statistics.cut((np.nan, np.nan), (0.0, 1.0))))
