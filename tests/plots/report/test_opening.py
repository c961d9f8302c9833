"""The first screen: the verdict, its numbers, and what it does not say."""

import pytest
from small import SMALL_RUN

from prunekit.plots.report.opening import opening
from prunekit.runs.baselines import BaseLines
from prunekit.runs.run import Run

pytestmark = pytest.mark.gate


@pytest.fixture(scope="module")
def run():
    return Run(SMALL_RUN)


def shown(run, tolerance=0.01, **changed):
    results = run.results().assign(**changed)
    return opening(run, results, BaseLines(str(run.settings()["metric"]), (), ()), tolerance)


def test_the_numbers_are_those_of_the_results_table(run):
    results = run.results()
    dense = results[(results["stage"] == "") & (results["round"] == 0)]
    numbers = {number.label: number for number in shown(run).numbers}
    assert numbers["Whole prompt"].value == f"{dense['test_accuracy'].mean():.3f}"
    assert len(numbers) == 4


def test_a_tolerance_that_allows_everything_finds_the_smallest_ticket_good(run):
    made = shown(run, tolerance=1.0)
    results = run.results()
    smallest = results[results["stage"].str.startswith("prune-")]["tokens"].min()
    assert f"{smallest} of " in made.verdict and "are enough" in made.verdict
    assert "Best pruned prompt" in [number.label for number in made.numbers]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"dropped_as": "remove"}, "positions fewer in every request"),
        ({"dropped_as": "hide"}, "the input stays as long as it was"),
        ({"dropped_as": "zero"}, "the input stays as long as it was"),
        ({"dropped_as": "hide", "cache_bytes": 64}, "positions fewer in every request"),
        ({"dropped_as": "zero", "cache_bytes": 64}, "the input stays as long as it was"),
    ],
)
def test_only_tokens_that_are_gone_shorten_a_request(run, changed, words):
    saved = {number.label: number for number in shown(run, tolerance=1.0, **changed).numbers}["What it saves"]
    assert words in saved.detail


def test_a_run_without_a_finished_training_says_so(run):
    made = shown(run, status="diverged")
    assert made.verdict.startswith("No training came to its end")
    assert made.numbers == []


def test_what_the_verdict_leaves_open_stands_under_it(run):
    assert "--controls" in shown(run).doubt
    assert "not proof" in shown(run).doubt


def test_a_dense_prompt_that_beats_no_base_line_is_not_called_pruned_well(run):
    base_lines = BaseLines.of(run)
    made = opening(run, run.results(), base_lines, 1.0)
    assert made.verdict.startswith("There is nothing to prune yet") == bool(base_lines.nothing_to_prune)
    assert len(made.base_lines) == len(base_lines.table)
