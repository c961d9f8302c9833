from pathlib import Path

import pandas as pd
import pytest

from benchmarks.prunebench import tickets_page
from benchmarks.prunebench.entry import Entry, entries
from benchmarks.prunebench.page import page, standing, table_of, verdict
from benchmarks.prunebench.planted import KNOWN_TASKS, PlantedPrompts
from prunekit.experiment.settings import PruningSettings
from prunekit.pruning.scores import SCORES
from prunekit.pruning.scores.better import BETTER
from prunekit.support.errors import ConfigError

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
ENTRIES = [Entry("leave-one-out", "leave-one-out", 4), Entry("random", "random", 4)]
MEASURED = pd.DataFrame(
    [(task, seed, entry, 2, found, passes)
     for task in ("a", "b") for seed in (0, 1)
     for entry, found, passes in (("leave-one-out", 2, 168.0), ("random", seed, 0.0))],
    columns=["task", "seed", "entry", "words", "found", "passes"],
)  # fmt: skip


def test_leave_one_out_finds_the_planted_words_and_its_cost_is_counted():
    table = PlantedPrompts(KNOWN_TASKS[:1], 4).measure(ENTRIES, 0).set_index("entry")
    assert table.loc["leave-one-out", "found"] == table.loc["leave-one-out", "words"] == 2
    assert table.loc["leave-one-out", "passes"] == (20 + 1) * 4
    assert table.loc["random", "passes"] == 0


def test_shares_costs_and_whole_prompts_by_hand():
    table = table_of(MEASURED, ENTRIES).set_index("entry")
    assert list(table.index) == ["leave-one-out", "random"]
    assert list(table["share"]) == [1.0, 0.25]
    assert list(table["whole"]) == [4, 0]
    assert table.loc["leave-one-out", "epochs"] == 168 / 2 / 256
    assert (table.loc["random", "low"], table.loc["random", "high"]) == (0, 1)  # of two seeds, cut to what can be


def test_the_page_names_who_finds_enough_and_what_chance_does():
    table = table_of(MEASURED, ENTRIES)
    assert "cheapest first: leave-one-out (1.000 at 0.33). A random mask finds 0.250." in page(table, ENTRIES, "x", 2)
    assert verdict(table[table["entry"] == "random"]).startswith("No finder reaches 0.917")


def test_every_built_in_score_has_an_entry_but_the_dearest_and_that_of_training():
    assert {entry.score for entry in entries()} == {score.name for score in SCORES} - {"shapley", "movement"}


def test_an_entry_that_lacks_a_key_is_refused(tmp_path):
    (tmp_path / "mine.toml").write_text('score = "absolute"\n')
    with pytest.raises(ConfigError, match="examples"):
        entries(tmp_path)


def test_what_a_pruning_is_told_is_what_the_committed_page_says():
    table = table_of(pd.read_csv(RESULTS / "prunebench.csv"), entries())
    best, default = standing(table).iloc[0], table[table["entry"] == "absolute"].iloc[0]
    told = (BETTER.name, BETTER.examples, BETTER.share, BETTER.than, BETTER.than_share)
    assert told == (best["entry"], best["examples"], round(best["share"], 3), "absolute", round(default["share"], 3))
    assert PruningSettings().score == BETTER.than
    measured = tickets_page.standings(tickets_page.comparisons(pd.read_csv(RESULTS / "prunebench-tickets.csv")))
    assert BETTER.tickets == (BETTER.name in set(tickets_page.passing(measured)["finder"]))
    assert BETTER.sentence in (RESULTS / "prunebench.md").read_text().replace("`", "")
