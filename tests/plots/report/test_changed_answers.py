"""Answers that pruning changed, against a plain count over the predictions."""

import pandas as pd
import pytest
import tiny
from roots import ROOT
from small import SMALL_RUN

from prunekit.analysis.flips import flips
from prunekit.plots.report.changed_answers import changed_answers
from prunekit.plots.report.rows_of_test import rows_of_test
from prunekit.runs.paths import PREDICTIONS, RunKey
from prunekit.runs.run import Run
from prunekit.runs.snapshot import Snapshot

pytestmark = pytest.mark.gate


@pytest.fixture(scope="module")
def run():
    """Two seeds, pruned once."""
    return Snapshot.open(ROOT / "tests" / "golden" / "0.1.0" / "run")


@pytest.fixture(scope="module")
def stage(run):
    return next(stage for stage in run.stages() if stage.verb == "prune")


def right(run, stage, seed, number):
    table = run.table(RunKey(stage, seed, number), PREDICTIONS)
    table = table[table["split"] == "test"]
    pairs = zip(table["choice"], table["gold"], strict=True)
    return pd.Series([choice in gold for choice, gold in pairs], index=table["example"])


def test_lost_and_won_are_those_of_every_seed_counted_by_hand(run, stage):
    table = flips(run, stage, 1).set_index("example")
    lost = sum((right(run, "", seed, 0) & ~right(run, stage, seed, 1)).astype(int) for seed in range(2))
    won = sum((~right(run, "", seed, 0) & right(run, stage, seed, 1)).astype(int) for seed in range(2))
    assert set(table.index) == set(lost.index[(lost + won) > 0]) != set()
    assert table["lost"].to_dict() == lost[table.index].to_dict()
    assert table["won"].to_dict() == won[table.index].to_dict()
    assert (table["lost"] - table["won"]).is_monotonic_decreasing


def test_a_page_shows_the_question_and_both_answers(run, stage):
    rows = tiny.examples(12)
    made = changed_answers(run, stage, 1.0, rows)
    wanted = flips(run, stage, 1)
    assert 0 < len(made.rows) == len(wanted) <= 20
    for cells, row in zip(made.rows, wanted.itertuples(), strict=True):
        example = rows[row.example]
        choices = (*row.gold, row.dense_choice, row.pruned_choice)
        assert [cell.text for cell in cells[:4]] == [example.text, *(example.choices[choice] for choice in choices)]
        assert [cell.key for cell in cells[4:]] == [row.lost, row.won, pytest.approx(row.loss_change)]


def test_without_the_rows_examples_and_answers_have_their_numbers(run, stage):
    made = changed_answers(run, stage, 1.0, ())
    assert all(row[0].text.startswith("example ") and row[1].text.startswith("answer ") for row in made.rows)


def test_rows_that_are_others_now_are_not_shown(tmp_path):
    run = Snapshot.open(SMALL_RUN)
    assert len(rows_of_test(run, from_hub=False)) == run.settings()["examples"]["test"]
    made = Run(tmp_path / "run")
    settings = run.settings()
    made.write_settings(settings | {"content": settings["content"] | {"data": {"test": "64 rows (0123456789abcdef)"}}})
    assert rows_of_test(made, from_hub=False) == ()
