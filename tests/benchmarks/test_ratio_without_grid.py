"""The page of the ratio without the grid: its arithmetic by hand."""

from itertools import combinations

import pandas as pd
import pytest

from benchmarks.ratio_without_grid import by_chance, cells, summary, verdict

MEASURED = pd.DataFrame(
    [("scores and spectrum", "a", 0, 0.79, 0.00, 0.1), ("scores and spectrum", "b", 0, 0.81, 0.03, 0.3),
     ("successive halving", "a", 0, 0.60, 0.00, None), ("successive halving", "b", 0, 0.60, 0.01, None),
     ("five at random", "a", 0, 0.79, 0.005, None),
     ("five at random", "b", 0, 0.79, 0.035, None)],
    columns=["way", "task", "seed", "saving", "regret", "error"],
).assign(tokens=2, pieces=4, full_tokens=3, full_pieces=1, updates=20, full_updates=100)  # fmt: skip


def test_a_way_has_its_means_and_its_largest_regret():
    rows = summary(MEASURED).splitlines()[2:]
    assert rows[0] == "| scores and spectrum | 80% | 1.5 | 3.0 | 2.7 | 20.0 |"
    assert rows[1] == "| successive halving | 60% | 0.5 | 1.0 | 2.7 |  |"
    assert cells(MEASURED).splitlines()[-1] == "| b | 0 | 3 x 1 | 2 x 4 | 3.0 | 20 of 100 |"


def test_the_bar_of_one_point_is_judged():
    assert verdict(MEASURED).startswith(
        "At most 1 point of regret on average does not hold: 1.5 points over 2 cells, at 20%"
    )
    assert "average holds: 0.0 points over 1 cells" in verdict(MEASURED[MEASURED["task"] == "a"])


def test_chance_is_the_mean_best_of_five():
    validation = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9]
    row = by_chance(pd.DataFrame({"validation": validation})).iloc[0]
    every = [max(five) for five in combinations(validation, 5)]
    assert row["regret"] == pytest.approx(0.9 - sum(every) / len(every), abs=0.01)
    assert row["saving"] == pytest.approx(2 / 7)
