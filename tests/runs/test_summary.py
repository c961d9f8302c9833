import pandas as pd
import pytest
from scipy import stats

from prunekit.runs import summary
from prunekit.runs.paths import Stage


def table(rows):
    """(stage, round, seed, cells, validation, test, status) rows as a results table."""
    columns = ["stage", "round", "seed", "cells", "validation_accuracy", "test_accuracy", "status"]
    made = pd.DataFrame(rows, columns=columns)
    made = made.assign(arm="")
    return made.assign(tokens=made["cells"] // 2, pieces=2, density=made["cells"] / 16, majority_validation=0.5)


DENSE = [("", 0, seed, 16, 0.8, 0.7 + seed / 10, "done") for seed in (0, 1)]


def test_means_and_the_t_interval_over_seeds():
    (dense,) = summary.summarise(table(DENSE), "accuracy")
    assert (dense.seeds, dense.validation, dense.test) == (2, 0.8, pytest.approx(0.75))
    # two seeds, one degree of freedom: mean +- 12.706 x standard error, and that is 0.05; no accuracy is above 1
    assert dense.test - dense.low == pytest.approx(stats.t.ppf(0.975, 1) * 0.05)
    assert dense.test - dense.low == pytest.approx(12.706 * 0.05, rel=1e-4)
    assert dense.high == 1


def test_the_interval_of_a_correlation_ends_at_minus_one():
    rows = table(DENSE).rename(columns=lambda name: name.replace("_accuracy", "_matthews"))
    rows["test_matthews"] -= 1.4
    (dense,) = summary.summarise(rows, "matthews")
    assert dense.low == -1
    assert dense.high - dense.test > 0


def test_one_seed_has_no_interval():
    (dense,) = summary.summarise(table(DENSE[:1]), "accuracy")
    assert dense.low is None


@pytest.mark.parametrize(("tolerance", "found"), [(0.0, 1), (0.02, 2), (0.5, 3)])
def test_the_smallest_ticket_within_the_tolerance_on_validation(tolerance, found):
    rows = [
        ("prune-a", 1, 0, 8, 0.9, 0.1, "done"),
        ("prune-a", 2, 0, 4, 0.79, 0.1, "done"),
        ("prune-a", 3, 0, 2, 0.4, 0.99, "done"),
    ]
    rounds = summary.summarise(table([DENSE[0], *rows]), "accuracy")
    assert summary.smallest(rounds, tolerance).round == found


def test_where_nothing_pruned_is_good_enough_dense_stays_and_the_sentence_says_so():
    rounds = summary.summarise(table([DENSE[0], ("prune-a", 1, 0, 8, 0.3, 0.9, "done")]), "accuracy")
    best = summary.smallest(rounds, 0.01)
    assert best.round == 0
    assert summary.sentence(best, rounds[0], "accuracy", 0.01).startswith("No pruned ticket stayed within 0.01")


def test_a_round_that_lost_a_seed_is_not_the_best():
    rows = [
        *DENSE,
        ("prune-a", 1, 0, 8, 0.9, 0.9, "done"),
        ("prune-a", 1, 1, 8, float("nan"), float("nan"), "diverged"),
    ]
    rounds = summary.summarise(table(rows), "accuracy")
    assert summary.smallest(rounds, 0.01).round == 0


def test_a_seed_that_was_added_to_the_dense_round_alone_takes_no_ticket_away():
    pruned = [("prune-a", 1, 0, 8, 0.9, 0.9, "done"), ("prune-a", 2, 0, 4, 0.79, 0.6, "done")]
    for later in ("done", "diverged"):
        rows = table([*DENSE, ("", 0, 2, 16, 0.99, 0.99, later), *pruned])
        rounds = summary.of_stage(rows, "accuracy", Stage("prune-a"))
        assert [entry.seeds for entry in rounds] == [1, 1, 1]
        best = summary.smallest(rounds, 0.02)
        assert (best.round, rounds[0].validation) == (2, 0.8)  # beside the dense prompt of its own seed
    lost = table([*DENSE, *pruned, ("prune-a", 1, 1, 8, float("nan"), float("nan"), "diverged")])
    rounds = summary.of_stage(lost[lost["round"] < 2], "accuracy", Stage("prune-a"))
    assert summary.smallest(rounds, 0.02).round == 0


def test_rounds_of_a_stage_are_not_those_of_another():
    rows = table([*DENSE, ("prune-a", 1, 0, 8, 0.9, 0.9, "done"), ("prune-b", 1, 1, 8, 0.9, 0.9, "done")])
    assert [entry.stage for entry in summary.of_stage(rows, "accuracy", Stage("prune-b"))] == ["", "prune-b"]
    assert summary.of_stage(pd.DataFrame(), "accuracy", Stage("prune-b")) == []


def test_the_sentence_names_counts_metrics_and_controls():
    rounds = summary.summarise(table([DENSE[0], ("prune-a", 1, 0, 2, 0.8, 0.69, "done")]), "accuracy")
    said = summary.sentence(rounds[1], rounds[0], "accuracy", 0.01)
    assert "round 1, 1 tokens x 2 pieces, 12.5% of the dense prompt" in said
    assert "test accuracy 0.690 against dense 0.700 (mean of 1 seed)" in said
    assert "--controls" in said


@pytest.mark.parametrize(("reached", "warned"), [(0.5, True), (0.51, False)])
def test_a_run_that_is_not_learning_says_so(reached, warned):
    made = summary.not_learning(table([("", 0, 0, 16, reached, 0.5, "done")]), "accuracy")
    assert (made is not None and "not learning" in made) is warned


def test_an_empty_run_has_no_rounds():
    assert summary.summarise(pd.DataFrame(), "accuracy") == []
    assert summary.smallest([], 0.1) is None
