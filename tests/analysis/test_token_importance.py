import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from prunekit.analysis.token_importance import confirm, negative

COLUMNS = ["unit", "cost", "low", "high", "p", "p_corrected", "negative"]
REPORT = ["unit", "test_cost", "test_low", "test_high", "test_p", "test_p_corrected", "confirmed"]


def noise(units, examples, seed=0):
    return np.random.default_rng(seed).normal(size=(units, examples))


def planted(seed=0):
    """20 units on 200 examples: leaving out unit 7 lowers the loss, unit 3 raises it, the others do nothing."""
    costs = noise(20, 200, seed)
    costs[7] -= 0.5
    costs[3] += 0.5
    return costs


def test_the_columns_are_these():
    table = negative(planted())
    assert list(table.columns) == COLUMNS
    assert table["negative"].dtype == bool
    assert table["unit"].tolist() == list(range(20))
    assert list(confirm(planted(1)[[7]], table).columns) == REPORT


def test_a_planted_unit_is_found_and_no_other():
    table = negative(planted())
    assert table.loc[table["negative"], "unit"].tolist() == [7]
    assert table.loc[3, "p"] > 0.99  # what is needed is not negative, however clear its effect


def test_costs_and_intervals_are_those_of_a_t_test():
    costs = planted()
    table = negative(costs)
    wanted = stats.ttest_1samp(costs, 0, axis=1)
    assert np.allclose(table["cost"], costs.mean(axis=1))
    assert np.allclose(table[["low", "high"]].T, list(wanted.confidence_interval(0.95)))


@pytest.mark.parametrize("draw", ["normal", "exponential", "integers"])
def test_p_is_that_of_scipy(draw):
    rng = np.random.default_rng(1)
    costs = {
        "normal": lambda: rng.normal(-0.2, 1, (4, 30)),
        "exponential": lambda: rng.exponential(1, (4, 30)) - 1.2,
        "integers": lambda: rng.integers(-2, 2, (4, 30)).astype(float),  # ties and zeros
    }[draw]()
    found = negative(costs, resamples=20_000)["p"]
    for row, p in zip(costs, found, strict=True):
        wanted = stats.permutation_test(
            (row,), np.mean, permutation_type="samples", alternative="less", vectorized=True, n_resamples=20_000,
            rng=np.random.default_rng(2),
        ).pvalue  # fmt: skip
        assert p == pytest.approx(wanted, abs=0.015)


def test_p_by_hand_counts_the_observed_signs_and_ties():
    # of the signs of (-1, -1, -1), one in eight makes a sum as low; of (-1, 1), three in four
    table = negative([[-1.0, -1.0, -1.0]], resamples=80_000)
    assert table["p"][0] == pytest.approx(1 / 8, abs=0.005)
    assert negative([[-1.0, 1.0]], resamples=80_000)["p"][0] == pytest.approx(3 / 4, abs=0.005)
    sure = negative(-np.ones((1, 100)), resamples=99)
    assert sure["p"][0] == 1 / 100  # never 0


def test_all_zero_costs_show_nothing():
    table = negative(np.zeros((3, 10)))
    assert table["p"].tolist() == table["p_corrected"].tolist() == [1.0] * 3
    assert not table["negative"].any()
    assert (table[["cost", "low", "high"]] == 0).all(axis=None)


def test_under_the_null_few_families_name_any_unit():
    families, units = 300, 10
    tables = [negative(noise(units, 40, seed), resamples=499, seed=seed) for seed in range(families)]
    p = np.concatenate([table["p"] for table in tables])
    assert 0.04 < (p < 0.05).mean() < 0.06
    assert np.mean([table["negative"].any() for table in tables]) <= 0.05
    assert np.mean([(table["p"] < 0.05).any() for table in tables]) > 0.3  # what goes uncorrected


def test_confirmation_undoes_the_winners_curse():
    # of 400 units that do nothing, those chosen without correction look harmful; on other examples they do not
    costs = noise(400, 50)
    table = negative(costs, alpha=0.05)
    lucky = table.assign(negative=table["p"] < 0.02)
    chosen = lucky["negative"].to_numpy()
    assert 2 <= chosen.sum() <= 20
    assert (table.loc[chosen, "high"] < 0).all()
    assert not confirm(noise(400, 50, seed=1)[chosen], lucky)["confirmed"].any()


def test_only_the_chosen_are_confirmed_and_corrected_for():
    table = negative(planted(), units=[f"token {place}" for place in range(20)])
    test = planted(1)
    found = confirm(test[[7]], table)
    assert found["unit"].tolist() == ["token 7"]
    assert found["test_cost"].tolist() == pytest.approx([test[7].mean()])
    assert found["test_p_corrected"].tolist() == found["test_p"].tolist()  # a family of one
    assert found["confirmed"].tolist() == [True]
    with pytest.raises(ValueError, match="1 units were chosen, costs have 20 rows"):
        confirm(test, table)


def test_where_none_is_chosen_the_confirmation_is_empty():
    table = negative(noise(5, 30))
    assert not table["negative"].any()
    found = confirm(np.zeros((0, 30)), table)
    assert (list(found.columns), len(found)) == (REPORT, 0)
    assert list(negative(np.zeros((0, 30))).columns) == COLUMNS


def test_many_units_get_the_resamples_that_their_correction_needs():
    costs = noise(1000, 60)
    costs[10] -= 2
    table = negative(costs, resamples=99)  # 1 / 100 times 1000 could never be below 0.05
    assert table.loc[table["negative"], "unit"].tolist() == [10]


def test_the_seed_fixes_the_flips():
    one, same, other = (negative(planted(), resamples=199, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert not one["p"].equals(other["p"])


def test_tensors_names_and_right_changes_are_taken():
    costs = torch.from_numpy(planted()).float()
    changes = torch.zeros(20, 200, dtype=torch.long)
    changes[7, :50] = 1
    names = [(place // 4, place % 4) for place in range(20)]  # pieces of tokens
    table = negative(costs, changes, units=names)
    assert table["unit"].tolist() == names
    assert table["right_change"].tolist() == [0.25 if place == 7 else 0 for place in range(20)]
    assert table.loc[table["negative"], "unit"].tolist() == [(1, 3)]
    assert confirm(costs[7:8], table)["unit"].tolist() == [(1, 3)]


@pytest.mark.parametrize(
    ("costs", "more", "told"),
    [
        (np.zeros(3), {}, r"\[3\]"),
        (np.zeros((3, 1)), {}, "two examples"),
        (np.full((2, 3), np.nan), {}, "label"),
        (np.zeros((2, 3)), {"units": ["a"]}, "1 names for 2 units"),
        (np.zeros((2, 3)), {"right_changes": np.zeros((2, 4))}, r"\[2, 4\].*\[2, 3\]"),
    ],
)
def test_what_does_not_fit_is_refused(costs, more, told):
    with pytest.raises(ValueError, match=told):
        negative(costs, **more)
