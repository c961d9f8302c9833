"""How often the rule of all verdicts errs: the committed table, and that it is what the simulation gives."""

import numpy as np
import pandas as pd
import pytest

from analyses.studies import catalog, errors, pages

TABLE = pd.read_csv(catalog.HERE / pages.ERROR_TABLE)


def test_each_of_six_shapes_stays_within_the_bound_over_2000_studies():
    rates = errors.rates(TABLE).set_index(["shape", "design"])
    six = rates.loc[[(case.shape, case.design) for case in errors.SHAPES]]
    assert len(six) == 6
    assert (TABLE["studies"] >= 2000).all()
    assert (six[["false_holds", "false_equivalent"]] <= errors.BOUND).all().all()
    assert (six["equivalent_when_equal"] > 0.5).all()  # a rule that says nothing errs in nothing


def test_a_mean_of_strata_that_differ_is_no_longer_called_equivalent():
    apart = errors.apart(TABLE).set_index(["shape", "rule"])
    before, now = (apart.xs(rule, level="rule") for rule in ("before", "now"))
    assert before.loc["tasks apart", ["larger", "equivalent"]].tolist() == pytest.approx([0, 1], abs=0.05)
    assert now.loc["tasks apart", ["larger", "equivalent"]].tolist() == [1.0, 0.0]
    assert before.loc["subsets apart", "equivalent"] > 0.5
    assert now.loc["subsets apart", "equivalent"] < errors.BOUND


@pytest.mark.parametrize("case", errors.SHAPES, ids=lambda case: case.shape)
def test_differences_have_the_mean_that_is_set(case):
    random = np.random.default_rng(0)
    means = [np.mean([values.mean() for values in case.draw(random, 1.0)]) for _ in range(2000)]
    assert np.mean(means) == pytest.approx(1.0, abs=4 * np.std(means) / 2000**0.5)


def test_a_few_simulated_studies_come_to_the_same_in_every_run():
    few = errors.simulated(3)
    pd.testing.assert_frame_equal(few, errors.simulated(3))
    assert list(few["shape"]) == list(TABLE["shape"])
    assert list(errors.rates(few).columns) == list(errors.RATES)


@pytest.mark.slow
def test_the_table_is_what_the_simulation_gives():
    pd.testing.assert_frame_equal(errors.simulated(), TABLE, rtol=1e-5)
