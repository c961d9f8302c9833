"""What a page says was found, and what it warns of, from tables of results that were made for it."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest

from prunekit.plots.report.caveats import ENOUGH_SEEDS, caveats
from prunekit.plots.report.findings import findings
from prunekit.runs.baselines import BaseLineRecord, BaseLines, Comparison
from prunekit.runs.paths import Stage

NAN = float("nan")


def row(stage="", number=0, seed=0, **more):
    """A row of `Run.results`."""
    dense = stage in ("", "untrained")
    facts = {"stage": stage, "arm": "", "round": number, "seed": seed, "status": "done", "reason": None}
    facts |= {"tokens": 20 if dense else 5, "pieces": 16 if dense else 8, "cells": 320 if dense else 40}
    facts |= {"density": 1.0 if dense else 0.125, "head_parameters": 0, "majority_validation": 0.5}
    facts |= {"majority_test": 0.48, "validation_accuracy": 0.9, "test_accuracy": 0.88}
    return facts | more


def run(*stages, seeds=6, validation=1000, test=1000):
    """What of a run is asked."""
    settings = {"metric": "accuracy", "seeds": list(range(seeds))}
    settings |= {"examples": {"train": 64, "validation": validation, "test": test}}
    return SimpleNamespace(settings=lambda: settings, stages=lambda: [Stage(), *map(Stage, stages)])


def table(*rows):
    return pd.DataFrame(rows)


def both(stage="prune-ab12", seeds=6, **last):
    """Six seeds of a dense round and a last one."""
    rows = [row(seed=seed, test_accuracy=0.86 + 0.01 * seed) for seed in range(seeds)]
    return table(*rows, *(row(stage, 3, seed, **last) for seed in range(seeds)), row("untrained", test_accuracy=0.55))


def base_lines(*, beats=True):
    """Two of them, which the dense prompt of the tables here beats or does not."""
    majority = BaseLineRecord("majority", "most common answer", "base line", False, {0: 0.5}, {0: 0.48}, {})
    head = BaseLineRecord("untrained", "untrained prompt, trained head", "base line", True, {0: 0.6}, {0: 0.55}, {})
    compared = Comparison(head, 0.9, 0.6, "6 seeds", 0.03 if beats else 0.5, beats)
    return BaseLines("accuracy", (majority, head), (compared,))


def said(results, *stages, tolerance=0.01, beats=True, **more):
    return findings(run(*stages, **more), results, base_lines(beats=beats), tolerance)


def warned(results, *stages, gaps=(), tolerance=0.01, **more):
    return caveats(run(*stages, **more), results, tolerance, list(gaps))


def test_the_dense_prompt_stands_beside_its_base_lines():
    (line,) = said(both())
    assert line == (
        "The dense prompt (20 tokens) reaches test accuracy 0.885 [0.865, 0.905] (mean of 6 seeds, 95 % interval); "
        "most common answer 0.480, untrained prompt, trained head 0.550."
    )


def test_where_a_base_line_is_not_beaten_no_ticket_is_called_the_smallest():
    _, nothing, last = said(both(), "prune-ab12", beats=False)
    assert nothing.startswith(
        "Nothing to prune yet: on validation the dense prompt (accuracy 0.900) does not beat untrained prompt, trained "
        "head (0.600; p = 0.5, 6 seeds). Try more --validation-examples or --seeds to be sure; else "
    )
    assert last.startswith("prune-ab12: the last ticket, of 5 tokens x 8 pieces, reaches test accuracy 0.880")


def test_without_a_dense_round_nothing_is_found():
    assert said(table(row(status="diverged"))) == ["No dense round came to its end: nothing is found."]


def test_the_smallest_good_ticket_is_named():
    line = said(both(), "prune-ab12")[1]
    assert line.startswith(
        "prune-ab12: the smallest ticket within 0.01 of dense on validation is that of round 3, 5 tokens x 8 pieces, "
        "12.5% of the dense prompt; it reaches test accuracy 0.880 against 0.885 [0.865, 0.905]"
    )


def test_where_no_ticket_is_good_the_last_is_shown():
    line = said(both(validation_accuracy=0.7, test_accuracy=0.6), "prune-ab12")[1]
    assert "no pruned ticket stayed within 0.01 of dense on validation" in line
    assert "reaches test accuracy 0.600" in line


def test_a_pruning_without_a_finished_round_says_so():
    assert said(both(), "prune-cd34")[1] == "prune-cd34: no round is finished."


def test_a_search_says_what_was_chosen():
    rows = table(*[row(seed=seed) for seed in range(2)], row("search-ab12", 1, 0, tokens=3), row("search-ab12", 1, 1))
    line = said(rows, "search-ab12")[1]
    assert line.startswith("search-ab12: the tickets chosen on validation keep 3 to 5 tokens, 12.5% of the cells")
    assert "test accuracy 0.880" in line
    assert said(rows, "search-cd34")[1] == "search-cd34: nothing is chosen yet."


# ---- warnings


def test_a_sound_run_has_none():
    assert warned(both()) == []


def test_what_is_not_finished_comes_first():
    assert warned(both(seeds=2), seeds=2, gaps=["seed 1 stops after round 1"])[0] == (
        "This run is not finished: seed 1 stops after round 1"
    )


def test_few_seeds():
    assert "with 5 the sign-flip test cannot go below p = 0.062; 6 are needed" in warned(both(seeds=5), seeds=5)[0]
    assert "with 1 the sign-flip test says nothing" in warned(both(seeds=1), seeds=1)[0]


def test_a_prompt_that_learned_nothing():
    (line,) = warned(table(*[row(seed=seed, validation_accuracy=0.5, test_accuracy=0.5) for seed in range(6)]))
    assert line.startswith("Not learning: dense validation accuracy 0.500 is no better than")


def test_a_training_that_diverged():
    rows = table(*[row(seed=seed) for seed in range(6)], row(number=1, seed=3, status="diverged", reason="loss is nan"))
    assert "1 training(s) diverged" in warned(rows)[0]
    assert "seed 3 in round 1: loss is nan" in warned(rows)[0]


def test_a_ticket_that_only_validation_likes():
    (line,) = warned(both(test_accuracy=0.8), "prune-ab12", tolerance=0.05, validation=100, test=100)
    assert line.startswith("Validation and test disagree in prune-ab12: round 3 is within 0.05 of dense on validation")
    assert "0.085 lower on test (0.800 against 0.885)" in line


def test_a_validation_split_that_flatters():
    rows = table(*[row(seed=seed, test_accuracy=0.8) for seed in range(6)])
    (line,) = warned(rows)
    assert "its accuracy is 0.900 and that of test 0.800" in line
    assert warned(rows, validation=50, test=50, tolerance=0.02) == []  # so few differ by as much by chance


def test_a_tolerance_below_one_example_is_said():
    rows = table(*[row(seed=seed, test_accuracy=0.9) for seed in range(6)])
    (line,) = warned(rows, validation=16)
    assert line.startswith("A tolerance of 0.01 is below one of the 16 validation examples (0.062): use more ")


def test_a_metric_that_is_no_share_is_left_alone():
    assert warned(table(*[row(seed=seed, test_accuracy=-0.2) for seed in range(6)])) == []


@pytest.mark.parametrize("value", [NAN, None])
def test_cells_without_a_look_at_report_count_for_nothing(value):
    rows = both()
    cells = table(*[row("search-ab12", 1, seed, arm="grid/x", test_accuracy=value) for seed in range(6)])
    assert warned(pd.concat([rows, cells]), "search-ab12") == []


def test_enough_seeds_is_what_the_test_needs():
    assert ENOUGH_SEEDS == 6
    assert math.isclose(2.0 ** (1 - ENOUGH_SEEDS), 0.03125)
