"""Whether a dense prompt beats its base lines: runs written by hand, against counts and tests made here."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from prunekit.runs.baselines import BaseLineRecord, BaseLines, Comparison
from prunekit.runs.paths import RunKey
from prunekit.runs.run import Files, Run
from prunekit.runs.summary import coarse_tolerance
from prunekit.support import atomic

ROWS = 40


def answers(right):
    """Predictions on validation of which the first `right` are right; gold alternates, so that a constant has half."""
    gold = [number % 2 for number in range(ROWS)]
    rows = [
        {"split": "validation", "example": number, "choice": one if number < right else 1 - one, "gold": [one]}
        for number, one in enumerate(gold)
    ]
    return atomic.as_parquet(pd.DataFrame(rows).assign(loss=0.0, score=0.0))


class Made:
    """A run written by hand."""

    def __init__(self, path):
        self.run = Run(path)
        self.run.write_settings({"id": "abcd1234", "metric": "accuracy", "task": {"name": "a"}, "model": {"name": "m"}})

    def ticket(self, stage, seed, right):
        """A finished round 0 that has so many rows right."""
        result = {
            "seed": seed, "round": 0, "status": "done", "head_parameters": 0, "validation": {"accuracy": right / ROWS},
            "test": {"accuracy": right / ROWS}, "majority": {"validation": 0.5, "test": 0.5},
        }  # fmt: skip
        content = {"result.json": atomic.as_json(result), "predictions.parquet": answers(right)}
        self.run.commit([Files(RunKey(stage, seed, 0), content, {})])
        return self

    def base_line(self, name, *rights, seeded=False, kind="base line"):
        for seed, right in enumerate(rights):
            reached = {split: {"accuracy": right / ROWS} for split in ("validation", "test")}
            facts = {"label": name.replace("-", " "), "kind": kind, "seeded": seeded} | reached
            content = {"facts.json": atomic.as_json(facts), "predictions.parquet": answers(right)}
            self.run.commit([Files(RunKey(f"baselines/{name}", seed, 0), content, {})])
        return self

    @property
    def beaten(self):
        return {one.record.name: one.beats for one in BaseLines.of(self.run).comparisons}


def test_a_run_without_base_lines_of_its_own_is_compared_with_what_it_has(tmp_path):
    made = Made(tmp_path).ticket("", 0, 40).ticket("untrained", 0, 20)
    assert made.beaten == {"majority": True, "untrained": True}
    assert BaseLines.of(made.run).nothing_to_prune is None


@pytest.mark.parametrize("right", [24, 30, 36, 40])
def test_rows_of_one_seed_are_paired_by_mcnemar(tmp_path, right):
    base_lines = BaseLines.of(Made(tmp_path).ticket("", 0, right).base_line("no-prompt", 22).run)
    (majority, compared) = base_lines.comparisons
    only_dense = right - 22  # the first rows are right on both sides
    assert compared.p == pytest.approx(stats.binomtest(only_dense, only_dense).pvalue)
    assert compared.beats == (compared.p < 0.05)
    of_majority = [number < right for number in range(ROWS)], [number % 2 == 0 for number in range(ROWS)]
    alone = [sum(a and not b for a, b in zip(x, y, strict=True)) for x, y in (of_majority, of_majority[::-1])]
    assert majority.p == pytest.approx(stats.binomtest(alone[0], sum(alone)).pvalue)


def test_a_base_line_that_is_better_is_never_beaten(tmp_path):
    made = Made(tmp_path).ticket("", 0, 28).base_line("no-prompt", 40)
    assert made.beaten == {"majority": False, "no-prompt": False}
    sentence = BaseLines.of(made.run).nothing_to_prune
    assert "the dense prompt (accuracy 0.700) does not beat most common answer (0.500; p = " in sentence
    assert "no prompt (1.000; p = 0.00049, 40 rows)" in sentence


def test_rows_of_a_few_seeds_are_resampled_together(tmp_path):
    made = Made(tmp_path)
    for seed, right in enumerate((34, 35, 36)):
        made.ticket("", seed, right)
    made.base_line("no-prompt", 22).base_line("shots=4", 34, 34, 35, seeded=True)
    assert made.beaten == {"majority": True, "no-prompt": True, "shots=4": False}
    units = {one.record.name: (one.units, one.p) for one in BaseLines.of(made.run).comparisons}
    assert units["no-prompt"] == ("40 rows x 3 seeds", None)


def test_from_six_seeds_on_seeds_are_the_units(tmp_path):
    made, dense, other = Made(tmp_path), (30, 31, 30, 32, 30, 31), (29, 29, 29, 33, 29, 30)
    for seed, right in enumerate(dense):
        made.ticket("", seed, right)
    compared = BaseLines.of(made.base_line("shots=4", *other, seeded=True).base_line("no-prompt", 28).run).comparisons
    by_name = {one.record.name: one for one in compared}
    differences = np.array(dense) - other
    sums = [abs(np.dot(signs, differences)) for signs in product((1, -1), repeat=6)]
    assert by_name["shots=4"].p == pytest.approx(np.mean(np.array(sums) >= abs(differences.sum())))
    assert {name: one.beats for name, one in by_name.items()} == {"majority": True, "shots=4": False, "no-prompt": True}


def test_a_ceiling_is_shown_and_not_to_be_beaten(tmp_path):
    made = (
        Made(tmp_path).ticket("", 0, 36).base_line("no-prompt", 20).base_line("lora", 40, seeded=True, kind="ceiling")
    )
    assert made.beaten == {"majority": True, "no-prompt": True}
    table = BaseLines.of(made.run).table.set_index("name")
    assert table.loc["lora", "test"] == 1.0
    assert table.loc["lora", "beaten"] is None
    assert table.loc["no-prompt", "difference"] == pytest.approx(0.4)
    assert made.run.snapshot().verify() == 6


def test_a_run_whose_dense_round_did_not_end_compares_nothing(tmp_path):
    made = Made(tmp_path).ticket("untrained", 0, 20)
    assert made.beaten == {}
    assert BaseLines.of(made.run).table["name"].tolist() == ["majority", "untrained"]


@pytest.mark.parametrize(
    ("tolerance", "examples", "said"), [(0.01, 16, True), (0.01, 100, False), (0.0, 16, False), (0.1, 16, False)]
)
def test_a_tolerance_below_one_example_is_said(tolerance, examples, said):
    assert (coarse_tolerance(tolerance, examples) is not None) == said


def test_where_a_base_line_is_always_right_too_harder_rows_are_what_to_try():
    record = BaseLineRecord("probe-cls", "linear probe on [CLS]", "base line", False, {0: 1.0}, {0: 1.0}, {0: None})
    base_lines = BaseLines("accuracy", (record,), (Comparison(record, 1.0, 1.0, "64 rows", 1.0, beats=False),))
    assert base_lines.nothing_to_prune == (
        "Nothing to prune yet: every row of validation is answered right by linear probe on [CLS] (1.000; p = 1, "
        "64 rows), as by the dense prompt. Try harder rows."
    )
