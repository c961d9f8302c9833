"""Metric against density: by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from prunekit.analysis import curves
from prunekit.analysis.tables.rounds import ROUNDS

NAN = float("nan")
DENSITY = {0: 1.0, 1: 0.5, 2: 0.25}


def row(seed, number, test, validation=None, **more):
    stage = "" if number == 0 else "prune-1"
    return dict.fromkeys(ROUNDS, 0) | {
        "run": "r", "task": "t", "model": "m", "method": "direct", "labels": "true", "stage": stage,
        "arm": "ticket" if number else "dense", "seed": seed, "round": number, "metric": "accuracy",
        "tokens": 20 * DENSITY[number], "pieces": 16, "cells": int(320 * DENSITY[number]), "density": DENSITY[number],
        "parameters": 100, "validation": test if validation is None else validation, "test": test,
        "majority_test": 0.5, "seconds": 2.0, "status": "done", "reason": "",
    } | more  # fmt: skip


def rounds(*reports):
    """A run of one seed for each row of reports, a column for each round."""
    made = [row(seed, number, one) for seed, line in enumerate(reports) for number, one in enumerate(line)]
    return pd.DataFrame(made)


def test_density_has_t_intervals_over_seeds_and_begins_with_dense():
    found = curves.density(rounds([0.9, 0.8, 0.6], [0.7, 0.8, 0.4]))
    assert list(found.columns) == list(curves.DENSITY)
    assert found[["stage", "arm", "round", "density", "seeds"]].to_numpy().tolist() == [
        ["prune-1", "ticket", 0, 1.0, 2], ["prune-1", "ticket", 1, 0.5, 2], ["prune-1", "ticket", 2, 0.25, 2],
    ]  # fmt: skip
    assert found["test"].tolist() == pytest.approx([0.8, 0.8, 0.5])
    reach = stats.t.ppf(0.975, 1) * 0.1
    assert reach > 1  # more than an accuracy can be away, so that the interval is cut
    assert found["low"].tolist() == pytest.approx([0, 0.8, 0])
    assert found["high"].tolist() == pytest.approx([1, 0.8, 1])
    near = curves.density(rounds([0.51], [0.5]))
    assert (near["high"] - near["test"]).tolist() == pytest.approx([stats.t.ppf(0.975, 1) * 0.005])
    assert found["validation_low"].tolist() == pytest.approx(found["low"].tolist())
    assert (found["majority_test"] == 0.5).all()


def test_one_seed_has_no_interval_and_dense_alone_is_itself():
    found = curves.density(rounds([0.9]))
    assert found[["stage", "arm"]].to_numpy().tolist() == [["", "dense"]]
    assert found[["low", "high", "validation_low"]].isna().all(axis=None)


def test_what_did_not_end_and_cells_are_left_out_and_other_arms_stay():
    table = pd.concat([
        rounds([0.9, 0.8], [0.7, 0.8]),
        pd.DataFrame([
            row(0, 1, 0.1, arm="random"),
            row(0, 1, NAN, arm="grid/tokens=2-pieces=1"),
            row(1, 2, NAN, status="diverged"),
            row(0, 0, 0.4, stage="untrained", arm="untrained"),
        ]),
    ])  # fmt: skip
    found = curves.density(table)
    assert set(found["arm"]) == {"ticket", "random", "untrained"}
    assert found["round"].max() == 1
    assert curves.density(table.iloc[:0]).empty


def test_each_trial_of_a_search_is_a_mean_over_its_seeds_without_test():
    names = ("grid/tokens=5-pieces=1", "grid/tokens=10-pieces=2")
    trials = [
        row(seed, 1, NAN, 0.5 + 0.1 * seed + 0.2 * place, arm=name)
        for seed in range(2)
        for place, name in enumerate(names)
    ]
    table = pd.concat(
        [rounds([0.9, 0.8]), pd.DataFrame([*trials, trials[0] | {"seed": 2, "status": "dropped at step 4"}])]
    )
    found = curves.tried(table).set_index("arm")
    assert list(found.index) == list(names)
    assert found["validation"].tolist() == pytest.approx([0.55, 0.75])
    assert found["seeds"].tolist() == [2, 2]
    assert found["test"].isna().all()
    assert curves.tried(rounds([0.9, 0.8])).empty


def test_two_prunings_of_a_run_each_begin_with_dense():
    table = pd.concat([rounds([0.9, 0.8]), pd.DataFrame([row(0, 1, 0.7, stage="prune-2")])])
    found = curves.density(table)
    assert found.groupby("stage")["round"].apply(list).to_dict() == {"prune-1": [0, 1], "prune-2": [0, 1]}


# ---- area


def test_the_area_is_the_mean_metric_over_densities():
    found = curves.area(rounds([0.9, 0.8, 0.6], [0.7, 0.8, 0.4]))
    assert list(found.columns) == list(curves.AREA)
    one = found.iloc[0]
    by_hand = [(0.25 * 0.7 + 0.5 * 0.85) / 0.75, (0.25 * 0.6 + 0.5 * 0.75) / 0.75]
    assert one["area"] == pytest.approx(np.mean(by_hand))
    assert (one["seeds"], one["from_density"], one["dense"]) == (2, 0.25, pytest.approx(0.8))
    assert one["difference"] == pytest.approx(np.mean(by_hand) - 0.8)
    assert one["low"] < one["area"] < one["high"]


def test_a_flat_curve_loses_nothing_and_seeds_that_ended_early_stay_out():
    table = rounds([0.9, 0.9, 0.9], [0.8, 0.8, 0.8], [0.1, 0.1])
    one = curves.area(table).iloc[0]
    assert (one["seeds"], one["difference"]) == (2, pytest.approx(0))
    assert one["area"] == pytest.approx(0.85)
    assert curves.area(rounds([0.9])).empty
    assert curves.area(rounds([0.9, 0.8]).assign(density=1.0)).empty


def test_dense_is_round_0_also_where_another_round_kept_everything():
    table = rounds([0.9, 0.7, 0.6], [0.91, 0.71, 0.61])
    one = curves.area(table.assign(density=table["round"].map({0: 1.0, 1: 1.0, 2: 0.5}))).iloc[0]
    assert one["dense"] == pytest.approx(table.loc[table["round"] == 0, "test"].mean())
    assert one["difference"] < 0


# ---- the smallest ticket


def test_the_smallest_ticket_within_the_tolerance_is_the_best():
    found = curves.smallest(rounds([0.9, 0.895, 0.6], [0.8, 0.805, 0.5], [0.7, 0.71, 0.4]), tolerance=0.01)
    assert list(found.columns) == list(curves.SMALLEST)
    assert found["round"].tolist() == [0, 1, 2]
    assert found["within"].tolist() == [True, True, False]
    assert found["best"].tolist() == [False, True, False]
    one = found.iloc[1]
    differences = np.array([-0.005, 0.005, 0.01])
    assert one["difference"] == pytest.approx(differences.mean())
    lower = differences.mean() - stats.t.ppf(0.95, 2) * differences.std(ddof=1) / 3**0.5
    assert one["lower"] == pytest.approx(lower)
    assert one["non_inferior"] == (lower >= -0.01)


def test_validation_chooses_and_report_takes_no_part():
    table = pd.DataFrame([row(0, 0, 0.5, 0.9), row(0, 1, 0.0, 0.9), row(0, 2, 0.9, 0.1)])
    found = curves.smallest(table)
    assert found["best"].tolist() == [False, True, False]
    assert found["test"].tolist() == [0.5, 0.0, 0.9]


def test_one_seed_is_within_but_nothing_is_shown():
    found = curves.smallest(rounds([0.9, 0.9]))
    assert found["within"].tolist() == [True, True]
    assert found["non_inferior"].tolist() == [True, False]
    assert np.isnan(found["lower"].iloc[1])


def test_equal_differences_are_no_certainty_with_few_seeds():
    few, many = (curves.smallest(rounds(*[[0.9, 0.9]] * seeds)) for seeds in (4, 5))
    assert (few["non_inferior"].tolist(), many["non_inferior"].tolist()) == ([True, False], [True, True])


def test_a_round_that_lost_a_seed_is_not_the_best():
    found = curves.smallest(rounds([0.9, 0.9], [0.9]))
    assert found["seeds"].tolist() == [2, 1]
    assert found["best"].tolist() == [True, False]


def test_a_difference_of_exactly_the_tolerance_is_within_it():
    assert curves.smallest(rounds([0.9, 0.8]), tolerance=0.1)["within"].all()
    assert curves.smallest(rounds([0.9])).empty
