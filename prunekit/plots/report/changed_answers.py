"""The answers to test that pruning changed: what the dense prompt had right and the ticket has not, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prunekit.analysis.flips import flips
from prunekit.plots.report.page_parts import Cell, Column, Table, number
from prunekit.plots.report.round_of_stage import round_of_stage
from prunekit.runs.paths import Stage
from prunekit.runs.reader import RunReader
from prunekit.tasks import Example

# rows of a page, and characters of an input there: its end, where the question stands
_MOST, _INPUT = 20, 400
_SIGNED = number(3, "+z")
_COLUMNS = ("input", "right answer", "whole prompt", "pruned", "lost by seeds", "won by", "loss added")


def changed_answers(run: RunReader, stage: Stage, tolerance: float, rows: Sequence[Example]) -> Table | None:
    """The examples that flip, lost ones first; None where no ticket is finished.

    Args:
        run: whose answers are chosen.
        stage: of the pruned ticket: the smallest good one of a pruning, the chosen one of a search.
        tolerance: how far below dense, on validation, a ticket may be.
        rows: of the test split, for their texts; may be empty.
    """
    number = round_of_stage(run, stage, tolerance)
    if not number:
        return None
    table = flips(run, stage, number)
    by_index = {example.index: example for example in rows}
    first = [_row(row, by_index.get(row["example"])) for row in table.head(_MOST).to_dict("records")]
    lost, won = int(table["lost"].sum()), int(table["won"].sum())
    caption = (
        f"Answers to test that round {number} changed: {lost} that only the whole prompt has right, {won} that only "
        "the pruned one has, all seeds together; lost ones first"
    )
    numeric = [False] * 4 + [True] * 3
    return Table(caption, [Column(name) for name in _COLUMNS], first, numeric, len(table) - len(first), texts=True)


def _row(row: dict[Any, Any], example: Example | None) -> list[Cell]:
    text = f"example {row['example']}" if example is None else example.text
    shown = text if len(text) <= _INPUT else f"… {text[-_INPUT:]}"
    right = " | ".join(_answer(choice, example) for choice in row["gold"])
    answers = [_answer(row[name], example) for name in ("dense_choice", "pruned_choice")]
    texts = [Cell(words, words) for words in (shown, right, *answers)]
    counts = [Cell(str(row[name]), row[name]) for name in ("lost", "won")]
    change = float(row["loss_change"])
    return [*texts, *counts, Cell(_SIGNED(change), change)]


def _answer(choice: int, example: Example | None) -> str:
    return f"answer {choice}" if example is None else example.choices[choice]
