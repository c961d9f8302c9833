"""Questions of a study: effects beside naive ones, the correction, and verdicts."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analyses.studies.effects import Question, differences, effects, units
from prunekit.support.errors import DataError


def table(question, first, second, task="t", subset=0, model="m"):
    """Rows of two arms; `first` and `second` are their values by seed."""
    rows = [(question, model, task, subset, seed, arm, value) for arm, values in (("a", first), ("b", second))
            for seed, value in enumerate(values)]  # fmt: skip
    return pd.DataFrame(rows, columns=["question", "model", "task", "subset", "seed", "arm", "value"])


def asked(name="q", margin=0.1, direction=1, measure="share"):
    return Question(name, "a is larger", "someone", "a", "b", margin, direction, measure)


def test_a_clear_difference_holds_with_the_numbers_of_a_paired_t_test():
    noise = np.random.default_rng(0).normal(0, 0.05, 10)
    (row,) = effects([asked()], table("q", 0.8 + noise, [0.5] * 10)).to_dict("records")
    low, high = stats.ttest_1samp(0.3 + noise, 0).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert row["p"] == 2 / 2**10
    assert (row["verdict"], row["family"], row["spread"]) == ("holds", "primary", "seeds")
    assert row["first"] - row["second"] == pytest.approx(row["difference"])


def test_a_difference_against_the_claim_goes_the_other_way():
    rows = table("q", np.linspace(0.2, 0.3, 8), np.linspace(0.7, 0.9, 8))
    assert effects([asked()], rows)["verdict"].item() == "other way"
    assert effects([asked(direction=-1)], rows)["verdict"].item() == "holds"


def test_a_sure_difference_of_no_size_is_no_support():
    noise = np.random.default_rng(1).normal(0, 0.001, 12)
    (row,) = effects([asked()], table("q", 0.51 + noise, [0.5] * 12)).to_dict("records")
    assert row["p"] < 0.05
    assert row["verdict"] == f"equivalent within {row['margin']:g}"


@pytest.mark.parametrize("measure", ["accuracy", "share"])
@pytest.mark.parametrize("margin", [0.01, 0.1])
def test_accuracy_has_a_verdict_at_one_point_or_none(measure, margin):
    (row,) = effects([asked(margin=margin, measure=measure)], table("q", [0.9] * 8, [0.5] * 8)).to_dict("records")
    assert row["measure"] == measure
    assert row["verdict"] == ("no verdict" if (measure, margin) == ("accuracy", 0.1) else "holds")


def test_what_has_no_verdict_counts_in_the_correction():
    rows = pd.concat([table(name, [0.9] * 8, [0.5] * 8) for name in ("first", "x", "y")])
    found = effects([asked("first"), asked("x"), asked("y", measure="accuracy")], rows)
    assert list(found["verdict"]) == ["holds", "holds", "no verdict"]
    assert found["p_corrected"].iloc[1] == pytest.approx(2 * found["p"].iloc[1])


def test_five_units_decide_nothing():
    rows = table("q", [0.9, 0.91, 0.92, 0.93, 0.94], [0.1] * 5)
    assert effects([asked()], rows)["verdict"].item() == "inconclusive"


def test_all_but_the_primary_are_corrected_together():
    random = np.random.default_rng(2)
    names = ["first", "x", "y", "z"]
    rows = pd.concat([table(name, 0.6 + random.normal(0, 0.2, 9), [0.5] * 9) for name in names])
    found = effects([asked(name) for name in names], rows)
    p = found["p"].to_numpy()
    order = np.argsort(p[1:])
    naive = np.empty(3)
    running = 0.0
    for turn, place in enumerate(order):
        running = max(running, min(1.0, p[1:][place] * (3 - turn)))
        naive[place] = running
    assert np.isnan(found["p_corrected"][0])
    assert found["p_corrected"][1:].to_numpy() == pytest.approx(naive)


def test_tasks_count_alike_whatever_their_number_of_seeds():
    rows = pd.concat([table("q", [1.0] * 6, [0.0] * 6, "few"), table("q", [0.0] * 12, [0.0] * 12, "many")])
    (row,) = effects([asked()], rows).to_dict("records")
    assert (row["difference"], row["units"], row["tasks"]) == (0.5, 18, "few, many")


def test_tasks_that_differ_by_more_than_the_margin_are_not_called_equivalent():
    apart = pd.concat([table("q", value + np.linspace(-0.01, 0.01, 6), [0.0] * 6, str(value)) for value in (-0.3, 0.3)])
    (row,) = effects([asked()], apart).to_dict("records")
    assert (row["p_equivalence"] < 0.001, row["verdict"]) == (True, "inconclusive")
    assert effects([asked(margin=0.7)], apart)["verdict"].item() == "equivalent within 0.7"
    assert (row["least"], row["most"]) == pytest.approx((-0.3, 0.3))


def test_training_subsets_are_draws():
    means = [0.1, 0.3, 0.2, 0.6]
    rows = pd.concat([table("q", mean + np.linspace(-0.01, 0.01, 6), [0.0] * 6, subset=place)
                      for place, mean in enumerate(means)])  # fmt: skip
    (row,) = effects([asked()], rows).to_dict("records")
    expected = stats.ttest_1samp(means, 0)
    assert row["p"] == pytest.approx(expected.pvalue)
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert (row["spread"], row["subsets"], row["units"], row["verdict"]) == ("subsets", 4, 24, "inconclusive")
    assert (row["least"], row["most"]) == pytest.approx((0.1, 0.6))


def test_each_model_is_answered_apart_and_real_ones_first():
    of = {"testbed": -0.3, "real": 0.3, "another": 0.0}
    rows = pd.concat([table(name, 0.5 + shift + np.linspace(-0.01, 0.01, 9), [0.5] * 9, model=model)
                      for model, shift in of.items() for name in ("first", "x")])  # fmt: skip
    found = effects([asked("first"), asked("x")], rows)
    assert list(found["model"]) == ["real", "real", "another", "another", "testbed", "testbed"]
    assert list(found["verdict"][::2]) == ["holds", "equivalent within 0.1", "other way"]
    assert list(found["family"]) == ["primary", *["corrected"] * 5]
    assert found["p_corrected"][4] == pytest.approx(5 * found["p"][4])  # the testbed's primary is one of five


def test_an_interval_ends_where_its_measure_does():
    rows = table("q", [1.0] * 5 + [-1.0], [0.0] * 6)
    (row,) = effects([asked()], rows).to_dict("records")
    assert row["high"] == 1.0
    (row,) = effects([asked(measure="a size")], rows).to_dict("records")
    assert row["high"] > 1.0


def test_units_without_a_partner_are_left_out():
    rows = table("q", np.linspace(0.5, 0.9, 8), np.linspace(0.1, 0.2, 8)).iloc[:-1]
    assert effects([asked()], rows)["units"].item() == 7


def test_a_question_without_any_unit_is_inconclusive():
    (row,) = effects([asked()], table("another", [1.0], [0.0])).to_dict("records")
    assert (row["units"], row["verdict"]) == (0, "inconclusive")


def test_differences_are_those_of_each_task_and_subset():
    rows = pd.concat([table("q", [0.1, 0.4], [0.2, 0.2], "t", subset) for subset in (3, 4)])
    of_model = differences(asked(), rows)
    assert list(of_model) == ["m"]
    assert [[list(seeds) for seeds in task] for task in of_model["m"]] == [[[-0.1, 0.2]] * 2]


def test_units_are_made_of_a_table_of_runs_and_values_that_are_not_finite_left_out():
    names = ["t (4)", "t (4)", "t"]
    runs = pd.DataFrame(
        {"task": names, "model": ["m"] * 3, "seed": [0, 1, 2], "kind": ["a"] * 3, "test": [0.5, np.nan, 0.7]}
    )
    made = units("q", runs, "kind")
    assert made.to_dict("list") == {
        "question": ["q", "q"], "model": ["m", "m"], "task": ["t", "t"], "subset": [4, 0], "seed": [0, 2],
        "arm": ["a", "a"], "value": [0.5, 0.7],
    }  # fmt: skip


def test_a_unit_that_comes_twice_is_refused():
    runs = pd.DataFrame(
        {"task": ["t", "t"], "model": ["m", "m"], "seed": [0, 0], "kind": ["a", "a"], "test": [0.5, 0.6]}
    )
    with pytest.raises(DataError, match="two values for seed 0"):
        units("q", runs, "kind")
