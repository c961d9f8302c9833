"""Power that is simulated: against what is known of the t test, and its own edges."""

import numpy as np
import pytest
from scipy import stats

from prunekit.analysis import power
from prunekit.analysis.stratum import Stratum, strata_of


def known(units, effect, deviation):
    """Power of a two-sided one-sample t test, from the noncentral t distribution."""
    reach = stats.t.ppf(0.975, units - 1)
    shift = effect / deviation * units**0.5
    return stats.nct.sf(reach, units - 1, shift) + stats.nct.cdf(-reach, units - 1, shift)


@pytest.mark.parametrize("effect", [0.3, 0.6, 1.0])
def test_it_is_that_of_the_t_test_for_normal_differences(effect):
    found = power.simulate([Stratum(1.0)], 14, effect, draws=600)
    assert found.difference == pytest.approx(known(14, effect, 1.0), abs=0.06)


def test_nothing_is_found_more_often_than_alpha_where_there_is_nothing():
    found = power.simulate([Stratum(1.0), Stratum(2.0)], 7, 0.5, draws=600)
    assert found.false < 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5


def test_strata_of_little_spread_are_surely_equivalent_and_sure_to_differ():
    found = power.simulate([Stratum(0.01)] * 2, 6, 0.1, draws=50)
    assert (found.difference, found.equivalence) == (1.0, 1.0)


def test_six_units_cannot_pass_a_family_of_ten():
    assert power.simulate([Stratum(0.01)], 6, 0.1, comparisons=10, draws=20).difference == 0.0


def test_more_units_give_more_power():
    few, many = (power.simulate([Stratum(0.3)], units, 0.1, draws=200) for units in (6, 60))
    assert few.difference < many.difference
    assert few.equivalence < many.equivalence


def test_the_units_that_are_asked_for_are_the_fewest():
    needed = power.seeds_for([Stratum(1.0)], 1.0)
    exact = next(n for n in range(2, 50) if known(n, 1.0, 1.0) >= 0.8)
    assert abs(needed - exact) <= 6  # equivalence within one deviation takes a few more


def test_with_fewer_units_than_a_verdict_takes_there_is_no_power():
    few, enough = (power.simulate([Stratum(0.001)] * 2, seeds, 0.01) for seeds in (2, 3))
    assert (few.difference, few.equivalence) == (0, 0)
    assert min(enough.difference, enough.equivalence) > 0.9


def test_a_spread_that_no_units_overcome_is_said_to_be_so():
    assert power.seeds_for([Stratum(50.0)], 0.01, most=8) is None


@pytest.mark.parametrize(("strata", "units"), [([], 6), ([Stratum(1.0)], 1)])
def test_what_cannot_be_simulated_is_refused(strata, units):
    with pytest.raises(ValueError, match="two units"):
        power.simulate(strata, units, 0.1)


def test_subsets_that_differ_take_power_that_no_seeds_give_back():
    plain, drawn = (Stratum(0.1, between, 6) for between in (0.0, 1.0))
    assert power.simulate([plain], 10, 1.0, draws=100).difference == 1.0
    found = power.simulate([drawn], 10, 1.0, draws=600).difference
    assert found == pytest.approx(known(6, 1.0, 1.0), abs=0.06)
    assert power.seeds_for([drawn], 1.0, power=0.9, most=16) is None


def test_tasks_that_differ_by_more_than_the_margin_are_not_equivalent():
    apart = [Stratum(0.01, shift=shift) for shift in (-0.3, 0.3)]
    assert power.simulate(apart, 6, 0.5, draws=20).equivalence == 0.0
    assert power.simulate(apart, 6, 0.7, draws=20) == power.Power(
        1.0, 1.0, power.simulate(apart, 6, 0.7, draws=20).false
    )


def test_a_pilots_strata_are_those_it_was_drawn_from():
    truth = [Stratum(0.5, 1.0, 400, -2.0), Stratum(1.0, 0.0, 1, 2.0)]
    random = np.random.default_rng(0)
    first, second = strata_of([truth[0].draw(random, 4, 7.0), truth[1].draw(random, 500, 7.0)])
    assert (first.within, first.between, first.shift) == pytest.approx((0.5, 1.0, -2.0), rel=0.1)
    assert (second.within, second.between, second.shift) == pytest.approx((1.0, 0.0, 2.0), rel=0.1)
    assert (first.subsets, second.subsets) == (400, 1)


def test_a_pilot_of_single_seeds_is_refused():
    with pytest.raises(ValueError, match="two seeds"):
        strata_of([[np.array([0.1])], [np.array([0.3])]])


def test_the_same_seed_gives_the_same_power():
    first, second = (power.simulate([Stratum(1.0)], 8, 0.5, draws=50, seed=3) for _ in range(2))
    assert first == second
    assert np.isfinite([first.difference, first.equivalence, first.false]).all()
