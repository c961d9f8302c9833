"""The bench of tickets: its arithmetic by hand, and a measurement of the smallest kind that resumes."""

from math import comb
from pathlib import Path

import pandas as pd
import pytest
import torch

import prunekit
from benchmarks.prunebench import tickets, tickets_page
from benchmarks.prunebench.agreement import agreement
from benchmarks.prunebench.entry import Entry, chosen, entries
from benchmarks.prunebench.row_file import RowFile
from benchmarks.prunebench.tickets import COLUMNS, TicketPlan
from prunekit.prompts.mask import Mask
from prunekit.pruning.schedule import Keep
from prunekit.support.errors import ConfigError
from tests import tiny

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
ENTRIES = tuple(Entry(name, name, 8) for name in ("absolute", "leave-one-out", "random"))


def measured(tests: dict[str, list[float]], task: str) -> pd.DataFrame:
    """Rows of one task at one size, of accuracies by finder."""
    rows = [
        (task, 4, "1/8 of the tokens", finder, 8, seed, test, 0.5, 0.75, 0.6, 0.2, 64.0)
        for finder, values in tests.items()
        for seed, test in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


EQUAL = [0.5, 0.6, 0.7, 0.5, 0.6, 0.7]
MEASURED = pd.concat([
    measured({"absolute": EQUAL, "leave-one-out": [value + 0.2 + value / 10 for value in EQUAL], "random": EQUAL}, "a"),
    measured({"absolute": EQUAL, "leave-one-out": [value + 0.1 + value / 10 for value in EQUAL],
              "random": [value - 0.1 - value / 10 for value in EQUAL]}, "b"),
])  # fmt: skip


def test_rows_beyond_the_interval_are_counted_task_by_task():
    table = tickets_page.standings(tickets_page.comparisons(MEASURED)).set_index("finder")
    assert table.loc["leave-one-out"].tolist() == [2, 2, 0]
    assert table.loc["random"].tolist() == [2, 0, 1]  # on the first task it equals the default
    assert "absolute" not in table.index


def test_the_page_says_whose_tickets_are_better_or_that_none_is():
    page = tickets_page.page(MEASURED, ENTRIES, "x")
    assert "Tickets of leave-one-out are better than absolute on at least 2 rows and worse on none." in page
    assert (
        "of up to 2 rows (a task at a size each): leave-one-out better on 2, worse on 0; random better on 0, worse on 1"
        in page
    )
    assert "| b | 1/8 of the tokens | 0.750 | 0.600 | 0.760 (+) | 0.440 (-) |" in page
    assert "| random | 0.500 [0.500, 0.500] | 8 | 0.12 |  |" in page  # (0.6 - 0.2) / (1 - 0.2), 64 / 2 / 256
    alike = MEASURED[MEASURED["task"] == "a"]
    assert "No finder's tickets are better" in tickets_page.page(alike, ENTRIES, "x")


def test_agreement_is_that_of_random_masks_by_chance():
    masks = [tiny.masked([number in kept for number in range(8)]) for kept in ((0, 1), (1, 2))]
    share = {shared: comb(2, shared) * comb(6, 2 - shared) / comb(8, 2) for shared in range(3)}
    jaccard, expected = agreement(*masks)
    assert jaccard == pytest.approx(1 / 3)
    assert expected == pytest.approx(share[1] / 3 + share[2], abs=0.02)


def test_cells_are_compared_where_pieces_were_dropped():
    piece = torch.zeros(4, 4, dtype=torch.bool)
    piece[0, :2] = True
    other = piece.roll(1, dims=1)
    assert agreement(*(Mask(cells.any(dim=1), cells) for cells in (piece, other)))[0] == pytest.approx(1 / 3)


def test_a_plan_without_the_default_or_with_too_many_finders_or_examples_is_refused(tmp_path):
    file = RowFile(tmp_path / "rows.csv", COLUMNS)
    greedy = (*ENTRIES, Entry("greedy", "absolute", 200))
    for finders in (ENTRIES[:2], tuple(entries()), greedy):
        with pytest.raises(ConfigError, match=r"at most 6|two draws of 200"):
            TicketPlan(finders, tickets.TASKS, 6, 1, tmp_path, file)
    with pytest.raises(ConfigError, match='did you mean "absolute"'):
        chosen(ENTRIES, "absolut")


@pytest.fixture
def small(monkeypatch):
    for name in ("TRAIN_EXAMPLES", "VALIDATION_EXAMPLES", "TEST_EXAMPLES"):
        monkeypatch.setattr(tickets, name, 16)
    monkeypatch.setattr(tickets, "SIZES", {"1/8 of the cells": Keep(4, 8)})


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_stopped_measurement_trains_nothing_twice(tmp_path, monkeypatch):
    file = RowFile(tmp_path / "rows.csv", COLUMNS)
    finders = (ENTRIES[0], Entry("attention", "attention", 4), ENTRIES[2])
    plan = TicketPlan(finders, ("alike-kind",), 2, 1, tmp_path / "runs", file)
    rows = plan.measure()
    assert list(rows["finder"]) == ["absolute"] * 2 + ["random"] * 2  # attention tells no pieces apart
    assert rows[rows["seed"] == 0]["dense"].nunique() == 1  # all tickets are of one dense prompt
    assert set(rows[rows["finder"] == "absolute"]["passes"]) == {2 * 8}
    monkeypatch.setattr(prunekit, "prune", tiny.refuse)
    assert plan.measure().equals(rows)


def test_the_committed_page_is_made_of_the_committed_rows():
    page = (RESULTS / "prunebench-tickets.md").read_text()
    file = RowFile(RESULTS / "prunebench-tickets.csv", COLUMNS)
    finders = chosen(entries(), ",".join(tickets.FINDERS))
    rows = TicketPlan(finders, tickets.TASKS, 6, tickets.UPDATES, Path(), file).rows()
    assert page == tickets_page.page(rows, finders, page.splitlines()[2])
