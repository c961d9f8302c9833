"""Tables and sentences about a ticket and its controls; the statistics themselves are in test_statistics.py."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from prunekit.analysis import controls
from prunekit.analysis.control_conclusions import conclusions
from prunekit.pruning.controls import CONTROLS
from prunekit.support import statistics
from prunekit.support.errors import ConfigError, DataError
from prunekit.support.inference import infer

NAN = float("nan")
OF_DIRECTIONS = {control.name for control in CONTROLS if "cells" not in control.units}
ARMS = tuple(name for name in controls.LABELS if name not in OF_DIRECTIONS)


def table(reports):
    """An arms table of {(task, arm): test of each seed}; NaN for a seed that diverged."""
    rows = [
        {"task": task, "seed": seed, "arm": arm, "test": test, "validation": test - 0.1}
        for (task, arm), values in reports.items()
        for seed, test in enumerate(values)
    ]
    columns = ["task", "seed", "arm", "test", "validation"]
    return pd.DataFrame(rows, columns=columns).assign(tokens=5, density=0.125, updates=300)


def drawn(seeds=6, tasks=("x", "y"), arms=ARMS, shifts=None, seed=0, spread=0.02):
    generator = np.random.default_rng(seed)
    return table({
        (task, arm): 0.7 + (shifts or {}).get(arm, 0.0) + spread * generator.normal(size=seeds)
        for task in tasks
        for arm in arms
    })  # fmt: skip


def row(found, scope, against):
    (one,) = found[(found["scope"] == scope) & (found["against"] == against)].to_dict("records")
    return one


def compared(ticket, other, **more):
    """A ticket against dense continued, on one task."""
    reports = {("a", "ticket"): ticket, ("a", "dense-continued"): other}
    return row(controls.compare(table(reports), **more), "a", "dense-continued")


# a: six seeds, all up by 0.1 to 0.6; b: two seeds
PAIR = {
    ("a", "ticket"): [0.2, 0.4, 0.6, 0.8, 1.0, 1.2],
    ("a", "dense-continued"): [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    ("b", "ticket"): [0.5, 0.5],
    ("b", "dense-continued"): [0.3, 0.9],
}


def test_describe_one_task():
    found = controls.describe(table({("a", "ticket"): [0.7, 0.8], ("a", "majority"): [0.5], ("a", "dense"): [NAN]}))
    assert list(found.columns) == list(controls.DESCRIBED)
    assert list(found["scope"]) == ["a"] * 3
    assert list(found["arm"]) == ["majority", "dense", "ticket"]  # the order of LABELS
    majority, dense, ticket = found.to_dict("records")
    assert (ticket["units"], ticket["test"]) == (2, pytest.approx(0.75))
    # two seeds, one degree of freedom: mean +- 12.706 x standard error, and that is 0.05
    assert ticket["high"] - ticket["test"] == pytest.approx(12.706 * 0.05, rel=1e-4)
    assert [ticket[name] for name in controls.MEANS] == pytest.approx([0.65, 5, 0.125, 300])
    assert (majority["units"], majority["test"]) == (1, 0.5)
    assert np.isnan([majority["low"], majority["high"]]).all()
    assert dense["units"] == 0
    assert np.isnan([dense["test"], dense["low"], dense["validation"]]).all()


def test_describe_all_tasks_is_the_mean_of_task_means():
    found = controls.describe(table(PAIR), confidence=0.9)
    assert list(found["scope"]) == ["all tasks"] * 2 + ["a"] * 2 + ["b"] * 2
    ticket = found[(found["scope"] == "all tasks") & (found["arm"] == "ticket")].iloc[0]
    assert (ticket["units"], ticket["test"]) == (8, pytest.approx((0.7 + 0.5) / 2))
    # the tickets of b do not differ, so all variance is that of a, with its five degrees of freedom
    reach = stats.t.ppf(0.95, 5) * stats.sem(PAIR["a", "ticket"]) / 2
    assert (ticket["low"], ticket["high"]) == pytest.approx((0.6 - reach, 0.6 + reach))


def test_describe_gives_no_mean_over_all_tasks_to_an_arm_that_misses_one():
    found = controls.describe(table(PAIR | {("a", "complement"): [0.5, 0.6], ("b", "reinit"): [0.4, NAN]}))
    assert list(found[found["scope"] == "all tasks"]["arm"]) == ["dense-continued", "ticket", "complement", "reinit"]
    reversed_, fresh = found[found["scope"] == "all tasks"].tail(2).to_dict("records")
    assert (reversed_["units"], fresh["units"]) == (2, 1)
    assert np.isnan([reversed_[name] for name in ("test", "low", "high", *controls.MEANS)]).all()
    assert "complement" not in set(found[found["scope"] == "b"]["arm"])


def test_describe_allows_base_lines_without_density_and_identical_seeds():
    arms = table({("a", "majority"): [0.5, 0.5]}).assign(tokens=0, density=NAN)
    (majority,) = controls.describe(arms).to_dict("records")
    assert (majority["test"], majority["low"], majority["high"], majority["tokens"]) == (0.5, 0.5, 0.5, 0)
    assert np.isnan(majority["density"])


def test_compare_by_hand():
    found = controls.compare(table(PAIR))
    assert list(found.columns) == list(controls.COMPARED)
    one = row(found, "a", "dense-continued")
    assert (one["family"], one["units"], one["difference"]) == ("primary", 6, pytest.approx(0.35))
    assert (one["p"], one["smallest_p"], one["units_needed"], one["margin"]) == (2 / 64, 2 / 64, 6, 0.01)
    assert np.isnan(one["p_corrected"])
    expected = stats.ttest_1samp(np.arange(1, 7) / 10, 0).confidence_interval(0.95)
    assert (one["low"], one["high"]) == pytest.approx((expected.low, expected.high))
    assert (one["p_equivalence"] > 0.9, one["verdict"]) == (True, "holds")
    two = row(found, "b", "dense-continued")
    assert (two["units"], two["difference"], two["p"]) == (2, pytest.approx(-0.1), 1.0)


def test_compare_over_tasks_counts_every_task_alike_and_takes_their_difference_for_no_spread():
    one = row(controls.compare(table(PAIR)), "all tasks", "dense-continued")
    assert (one["units"], one["difference"]) == (8, pytest.approx((0.35 - 0.1) / 2))
    strata = [np.arange(1, 7) / 10, np.array([0.2, -0.4])]
    inference = infer([[values] for values in strata])
    assert (one["p"], one["p_equivalence"]) == pytest.approx((inference.p, inference.equivalence(0.01)))
    assert (one["low"], one["high"]) == pytest.approx(inference.interval())
    assert (np.isnan(one["smallest_p"]), one["units_needed"]) == (True, 6)


def test_scopes_and_families():
    found = controls.compare(drawn())
    family = ["dense-continued", "dense", "token-only", "piece-only", "random", "complement", "reinit", "short-prompt"]
    assert list(found["against"]) == family * 3  # base lines stay out
    assert list(found["scope"].unique()) == ["all tasks", "x", "y"]
    assert set(found["family"][found["against"] == "dense-continued"]) == {"primary"}
    of_x = found[(found["scope"] == "x") & (found["family"] == "corrected")]
    assert set(of_x["units_needed"]) == {9}  # 7 comparisons: 1 + log2(140)
    assert list(of_x["p_corrected"]) == list(statistics.holm(of_x["p"].to_numpy()))
    assert list(controls.compare(drawn(tasks=("x",)))["scope"].unique()) == ["x"]


def test_a_scope_does_not_depend_on_the_others_nor_a_pair_on_other_arms():
    arms = drawn()
    whole = controls.compare(arms)
    alone = controls.compare(arms[arms["task"] == "y"])
    pd.testing.assert_frame_equal(whole[whole["scope"] == "y"].reset_index(drop=True), alone)
    few = controls.compare(arms[arms["arm"].isin(["ticket", "random", "dense-continued"])].sample(frac=1))
    for name in ("difference", "low", "high", "p", "p_equivalence"):
        assert row(few, "all tasks", "random")[name] == row(whole, "all tasks", "random")[name]
    assert row(few, "x", "random")["units_needed"] == 6


def test_diverged_and_missing_seeds_drop_out_pair_by_pair():
    reports = PAIR | {("a", "random"): [0.1, NAN, 0.3], ("a", "ticket"): [0.2, 0.4, float("inf"), 0.8, NAN, 1.2]}
    found = controls.compare(table(reports))
    assert row(found, "a", "dense-continued")["units"] == 4
    one = row(found, "a", "random")
    assert (one["units"], one["difference"], one["p"]) == (1, pytest.approx(0.1), 1.0)


def test_an_arm_that_one_task_lacks_is_compared_on_the_others_and_the_sentence_says_so():
    found = controls.compare(table(PAIR | {("a", "complement"): [0.1] * 6}))
    assert row(found, "all tasks", "complement")["difference"] == row(found, "a", "complement")["difference"]
    assert row(found, "all tasks", "complement")["units"] == 6
    assert "complement" not in set(found["against"][found["scope"] == "b"])
    said = conclusions(found)
    assert any("better than complement mask (on 1 of 2 tasks)" in line for line in said if line.startswith("all tasks"))
    assert not any("of 2 tasks" in line for line in said if not line.startswith("all tasks"))


@pytest.mark.parametrize("units", [2, 6, 20])
def test_arms_that_agree_on_every_unit(units):
    same = list(np.linspace(0.5, 0.9, units))
    one = compared(same, same)
    assert (one["difference"], one["p"]) == (0.0, 1.0)
    assert np.isnan([one["low"], one["high"]]).all()  # units that agree are no certainty
    assert one["p_equivalence"] == 2.0**-units
    assert one["verdict"] == f"all {units} equal"  # whatever so many units can show
    assert compared(same, [*same[1:], 0.899])["verdict"] != f"all {units} equal"


def test_a_constant_difference_has_no_spread_whatever_the_rounding():
    ticket = [0.3, 0.7, 0.8, 0.9, 0.2, 0.6]
    other = [one - 0.1 for one in ticket]
    assert len({a - b for a, b in zip(ticket, other, strict=True)}) > 1
    one = compared(ticket, other)
    assert (one["difference"], one["p"], one["p_equivalence"]) == pytest.approx((0.1, 2 / 64, 1.0))
    assert np.isnan([one["low"], one["high"]]).all()


def test_one_unit():
    one = compared([0.9], [0.1])
    assert (one["units"], one["difference"], one["p"], one["smallest_p"]) == (1, pytest.approx(0.8), 1.0, 1.0)
    assert (one["p_equivalence"], one["verdict"]) == (1.0, "inconclusive")
    assert np.isnan([one["low"], one["high"]]).all()


@pytest.mark.parametrize("arms", [{("a", "ticket"): [0.9]}, {("a", "random"): [0.9]}, {("a", "dense"): [NAN]}])
def test_no_unit_still_names_the_primary_comparison(arms):
    found = controls.compare(table(arms))
    one = row(found, "a", "dense-continued")
    assert (one["units"], one["p"], one["smallest_p"], one["p_equivalence"]) == (0, 1.0, 1.0, 1.0)
    assert (np.isnan(one["difference"]), one["verdict"]) == (True, "inconclusive")
    assert conclusions(found)[0] == (
        "a: ticket better than dense continued (primary): "
        "no unit has both, so the ticket cannot be called better."
    )  # fmt: skip


def test_empty_tables():
    nothing = controls.compare(table({}))
    assert (len(nothing), list(nothing.columns)) == (0, list(controls.COMPARED))
    assert conclusions(nothing) == []
    assert list(controls.describe(table({})).columns) == list(controls.DESCRIBED)
    assert list(controls.per_example(answers({})).columns) == list(controls.PER_EXAMPLE)


def test_a_unit_or_an_example_that_comes_twice_is_refused():
    for act in (controls.describe, controls.compare):
        with pytest.raises(DataError, match="two rows for task a, seed 0, arm ticket"):
            act(pd.concat([table(PAIR), table({("a", "ticket"): [0.2]})]))
    with pytest.raises(DataError, match="two rows for task a, seed 0, arm ticket, example 10"):
        controls.per_example(pd.concat([answers(ANSWERS), answers(ANSWERS)]))


def test_another_ticket_and_primary_may_be_named_but_not_the_same():
    with pytest.raises(ConfigError, match='"ticket" against itself'):
        controls.compare(table(PAIR), primary="ticket")
    found = controls.compare(drawn(tasks=("x",)), ticket="piece-only", primary="random")
    assert "ticket" in set(found["against"]) and "piece-only" not in set(found["against"])
    assert list(found["against"][found["family"] == "primary"]) == ["random"]
    said = conclusions(found, ticket="piece-only")
    assert said[0].startswith("x: piece only better than random mask (primary): ")


def test_verdicts():
    shifts = {"random": -0.2, "reinit": 0.2, "short-prompt": 0.0}
    found = controls.compare(drawn(20, ("x",), ("ticket", *shifts), shifts, spread=0.005)).set_index("against")
    assert list(found.loc[list(shifts), "verdict"]) == ["holds", "other way", "equivalent within 0.01"]
    assert found.loc["random", "p_corrected"] == pytest.approx(3e-5)
    # what is sure, and sure to be too small to matter, is no support
    one = compared(np.linspace(0.701, 0.702, 8), [0.7] * 8)
    assert (one["p"] < 0.05, one["verdict"]) == (True, "equivalent within 0.01")


def test_the_corrected_p_decides_for_controls_and_alpha_for_all():
    six = {("x", "ticket"): [0.8, 0.82, 0.84, 0.86, 0.88, 0.9]}
    others = {("x", arm): [0.5] * 6 for arm in ("dense-continued", "random", "reinit")}
    found = controls.compare(table(six | others))
    assert list(found["p"]) == [2 / 64] * 3
    assert list(found["verdict"]) == ["holds", "inconclusive", "inconclusive"]
    assert list(found["p_corrected"])[1:] == [4 / 64] * 2
    assert list(controls.compare(table(six | others), alpha=0.07)["verdict"]) == ["holds"] * 3
    assert list(controls.compare(table(six | others), alpha=0.03)["verdict"]) == ["inconclusive"] * 3


def test_the_margin_decides_equivalence():
    near = [0.71, 0.72, 0.73] * 2, [0.711, 0.719, 0.73] * 2
    assert compared(*near)["verdict"] == "equivalent within 0.01"
    assert compared(*near, margin=0.0005)["verdict"] == "inconclusive"


@pytest.mark.slow
def test_false_verdicts_are_rare_through_the_tables():
    cases = 60
    wrong = 0
    for case in range(cases):
        arms = drawn(5, ("x", "y"), ("ticket", "random", "reinit", "short-prompt", "dense"), seed=case)
        found = controls.compare(arms[(arms["seed"] < 4) | (arms["task"] == "y")])
        of_all = found[(found["scope"] == "all tasks") & (found["family"] == "corrected")]
        wrong += of_all["verdict"].isin(["holds", "other way"]).any()
    assert wrong <= stats.binom.ppf(0.99, cases, 0.05)


def test_what_three_seeds_cannot_say():
    reports = {("x", "ticket"): [0.7, 0.72, 0.81], ("x", "dense-continued"): [0.6, 0.7, 0.8]}
    reports |= {("x", "random"): [0.5, 0.5, 0.5], ("x", "reinit"): [0.5, 0.52, 0.5]}
    found = controls.compare(table(reports))
    low, high = found["low"].iloc[0], found["high"].iloc[0]
    assert conclusions(found) == [
        "x: ticket better than dense continued (primary): "
        f"inconclusive (+0.043 [{low:.3f}, {high:.3f}], p = 0.25).",
        "x: with 3 units the sign-flip test cannot go below p = 0.25; 6 units are needed "
        "to show a difference from dense continued.",
        "x: with 3 units the sign-flip test cannot go below p = 0.25; 7 units are needed in a family of 2 "
        "to show a difference from random mask; same mask, new values.",
        "Where p shows no difference, an interval without 0 shows none either: it is of one comparison, not corrected, "
        "and takes differences to be normal.",
    ]  # fmt: skip


def test_what_enough_seeds_say():
    shifts = {"random": -0.2, "dense-continued": 0.0}
    found = controls.compare(
        drawn(10, ("x",), ("ticket", "dense-continued", "random", "short-prompt"), shifts, spread=0.05)
    )
    said = conclusions(found)
    assert len(said) == 4
    assert said[0].startswith("x: ticket better than dense continued (primary): inconclusive (")
    assert said[1].startswith("x: ticket better than random mask: holds (+0.2")
    assert said[1].endswith("], corrected p = 0.0039).")
    assert said[2] == (
        "x: neither a difference nor equivalence within 0.01 is shown for dense continued; new prompt, as short."
    )
    assert said[3] == "x: better than controls, yet inconclusive against dense continued."


def test_what_is_said_of_equal_arms_and_of_arms_that_never_meet():
    reports = {("x", "ticket"): [0.7] * 10, ("x", "dense-continued"): [0.7] * 10, ("x", "random"): [NAN]}
    assert conclusions(controls.compare(table(reports))) == [
        "x: ticket better than dense continued (primary): all 10 equal (equivalent within 0.01: p = 0.00098).",
        "x: no unit has both ticket and random mask: nothing can be concluded.",
    ]


def answers(right):
    """A predictions table of {(seed, arm): right or wrong per example}."""
    rows = [
        {"task": "a", "seed": seed, "arm": arm, "example": 10 + number, "right": bool(one), "loss": 0.5}
        for (seed, arm), values in right.items()
        for number, one in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["task", "seed", "arm", "example", "right", "loss"])


ANSWERS = {
    (0, "ticket"): [1, 1, 1, 1, 0, 0, 1, 0],
    (0, "random"): [0, 0, 0, 1, 0, 1, 1, 0],
    (1, "ticket"): [1, 1, 0, 1, 0, 0, 1, 0],
    (1, "random"): [0, 1, 0, 1, 0, 0, 1, 0],
}


def test_per_example_by_hand():
    found = controls.per_example(answers(ANSWERS | {(0, "majority"): [1] * 8}))
    assert list(found.columns) == list(controls.PER_EXAMPLE)
    assert list(zip(found["task"], found["seed"], found["against"], strict=True)) == [
        ("a", 0, "random"), ("a", 1, "random"), ("a", controls.POOLED, "random"),
    ]  # fmt: skip
    assert list(found["examples"]) == [8, 8, 8]
    assert list(found["only_ticket"]) == [3, 1, 4]
    assert list(found["only_other"]) == [1, 0, 1]
    assert list(found["difference"]) == pytest.approx([2 / 8, 1 / 8, 3 / 16])
    assert list(found["p_mcnemar"][:2]) == pytest.approx([stats.binomtest(3, 4).pvalue, 1.0])
    assert np.isnan(found["p_mcnemar"][2])


def test_the_pooled_row_draws_an_example_with_all_its_seeds():
    generator = np.random.default_rng(0)
    easy = generator.random(50) < 0.4
    right = {(seed, "ticket"): easy | (generator.random(50) < 0.1) for seed in range(4)}
    right |= {(seed, "short-prompt"): ~easy & (generator.random(50) < 0.9) for seed in range(4)}
    table_ = answers(right)
    pooled = controls.per_example(table_, confidence=0.9, seed=3).set_index("seed").loc[controls.POOLED]
    wide = table_.pivot(index="example", columns=["arm", "seed"], values="right").astype(float)
    differences = (wide["ticket"] - wide["short-prompt"]).mean(axis=1).to_numpy()
    means = [differences[generator.integers(0, 50, 50)].mean() for _ in range(10_000)]
    assert pooled["difference"] == pytest.approx(differences.mean())
    assert (pooled["low"], pooled["high"]) == pytest.approx(tuple(np.quantile(means, [0.05, 0.95])), abs=0.015)


def test_per_example_leaves_out_seeds_and_examples_that_have_no_pair():
    table_ = answers(ANSWERS | {(2, "ticket"): [1] * 8, (0, "reinit"): [1] * 8})
    table_ = table_[~((table_["seed"] == 1) & (table_["arm"] == "random") & (table_["example"] == 10))]
    found = controls.per_example(table_).set_index(["against", "seed"])
    assert list(found.index) == [("random", 0), ("random", 1), ("random", -1), ("reinit", 0), ("reinit", -1)]
    assert list(found.loc["random", "examples"]) == [8, 7, 7]
    assert found.loc[("random", -1), "difference"] == pytest.approx((2 - 1 + 0) / 14)
    assert found.loc[("reinit", -1), "low"] == found.loc[("reinit", 0), "low"]


def test_per_example_of_seeds_without_a_common_example_and_without_a_ticket():
    table_ = answers(ANSWERS)
    apart = table_[(table_["seed"] == 0) == (table_["example"] < 14)]
    pooled = controls.per_example(apart).iloc[2]
    assert (pooled["seed"], pooled["examples"]) == (-1, 0)
    assert np.isnan([pooled["difference"], pooled["low"], pooled["high"]]).all()
    assert controls.per_example(table_[table_["arm"] != "ticket"]).empty


def test_per_example_of_arms_that_answer_alike():
    found = controls.per_example(answers({(0, "ticket"): [1, 0, 1], (0, "random"): [1, 0, 1]}))
    assert list(found["low"]) == list(found["high"]) == list(found["difference"]) == [0.0, 0.0]
    assert found["p_mcnemar"][0] == 1.0


def test_inputs_are_left_as_they_are():
    arms, predictions = drawn(3), answers(ANSWERS)
    kept = arms.copy(), predictions.copy()
    controls.describe(arms), conclusions(controls.compare(arms)), controls.per_example(predictions)
    pd.testing.assert_frame_equal(arms, kept[0])
    pd.testing.assert_frame_equal(predictions, kept[1])


def test_a_study_takes_no_time():
    arms = drawn(6, ("x", "y"))
    started = time.process_time()
    controls.compare(arms)
    assert time.process_time() - started < 1


def test_the_interval_of_a_metric_ends_where_the_metric_does():
    arms = table({("a", "ticket"): [0.99, 1.0, 0.9], ("a", "random"): [0.0, 0.1, 0.02]})
    plain, cut = controls.describe(arms), controls.describe(arms, bounds=(0.0, 1.0))
    assert plain["high"].max() > 1
    assert plain["low"].min() < 0
    assert cut["high"].max() == 1
    assert cut["low"].min() == 0
    assert list(cut["test"]) == list(plain["test"])
    within = (plain["low"] > 0) & (plain["high"] < 1)
    assert list(cut.loc[within, "low"]) == list(plain.loc[within, "low"])
