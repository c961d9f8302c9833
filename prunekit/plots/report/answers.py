"""What a model wrote to the test split: how good over its rows, and the worst answers beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from prunekit.analysis import written_answers
from prunekit.plots.report.differences import marked
from prunekit.plots.report.page_parts import Cell, Column, Table, number, table_of
from prunekit.plots.report.round_of_stage import round_of_stage
from prunekit.runs.paths import Stage
from prunekit.runs.reader import RunReader
from prunekit.tasks.text_metrics import judge_of

# answers of a page, and characters of an input there: its end, where the question stands
_MOST, _INPUT = 20, 400
_NOTHING = "(nothing)"

_THREE = number(3)
_SIGNED = number(3, "+z")
_OVER_ROWS = {
    "label": Column("prompt"),
    "seeds": Column("seeds"),
    "metric": Column("metric", _THREE),
    "low": Column("95 % low", _THREE),
    "high": Column("high", _THREE),
    "loss": Column("loss", _THREE),
    "less_loss": Column("loss less that of no prompt", _SIGNED),
    "less_low": Column("95 % low", _SIGNED),
    "less_high": Column("high", _SIGNED),
}


def over_rows(table: pd.DataFrame, metric: str) -> Table:
    """Base lines, the dense prompt and a stage's rounds.

    Args:
        table: of `written_answers.over_rows`.
        metric: the primary one.
    """
    columns = _OVER_ROWS | {"metric": Column(metric, _THREE)}
    rows = table["rows"].iloc[0]
    return table_of(table, columns, f"On test, 95 % intervals over its {rows} rows; loss in nats a token")


def all_metrics(run: RunReader, stage: Stage) -> Table | None:
    """The same rows by every metric of the task; None where there is a single one."""
    names = written_answers.metrics_of(run)
    if len(names) < 2:
        return None
    by_metric = [written_answers.over_rows(run, stage, name) for name in names]
    labels = [Cell(label, label) for label in by_metric[0]["label"]]
    columns = [[_with_interval(row) for row in table.to_dict("records")] for table in by_metric]
    heads = [Column("prompt"), *(Column(name) for name in names)]
    caption = "Every metric of the task on test, 95 % intervals over its rows in brackets"
    return Table(caption, heads, list(zip(labels, *columns, strict=True)), [False] + [True] * len(names))


def _with_interval(row: dict[Any, Any]) -> Cell:
    value = float(row["metric"])
    return Cell(f"{value:.3f} [{row['low']:.3f}, {row['high']:.3f}]", value)


def side_by_side(run: RunReader, stage: Stage, tolerance: float) -> Table | None:
    """The worst answers, the differences of dense and pruned marked; None where there is nothing to set side by side.

    Args:
        stage: of the pruned ticket: the smallest good one of a pruning, the chosen one of a search; `DENSE` for none.
        tolerance: how far below dense, on validation, a ticket may be.
    """
    round_number = round_of_stage(run, stage, tolerance)
    table = written_answers.side_by_side(run, stage, round_number, _MOST)
    if table.empty:
        return None
    pruned = f"round {round_number}" if round_number else ""
    metric = str(run.settings()["metric"])
    by_loss = not judge_of(metric).mean  # a row alone has no metric, so that the worst are told by their loss
    sign = -1 if by_loss else 1
    rows = [_row(row | {"value": sign * row["value"]}, bool(pruned)) for row in table.to_dict("records")]
    heads = ["input", "right answers", "no prompt", "dense", *([pruned] if pruned else [])]
    columns = [Column(head) for head in (*heads, "loss" if by_loss else metric)]
    differences = "; struck out: only dense has it, underlined: only the pruned prompt" if pruned else ""
    caption = f"Answers to test, the {len(rows)} worst of {pruned or 'dense'} first, one seed{differences}"
    return Table(caption, columns, rows, [False] * len(heads) + [True], texts=True)


def _row(row: dict[Any, Any], with_pruned: bool) -> Sequence[Cell]:
    """The cells of one answer."""
    shown = _end(str(row["text"]))
    answers = [_cell(str(row[name])) for name in ("no_prompt", "dense", *(["ticket"] if with_pruned else []))]
    if with_pruned and row["dense"] != row["ticket"]:
        pieces = marked(*(cell.text for cell in answers[1:]))
        answers[1:] = [replace(cell, pieces=part) for cell, part in zip(answers[1:], pieces, strict=True)]
    references = " | ".join(row["references"])
    value = float(row["value"])
    return [Cell(shown, shown), Cell(references, references), *answers, Cell(_THREE(value), value)]


def _cell(answer: str) -> Cell:
    return Cell(answer or _NOTHING, answer)


def _end(text: str) -> str:
    return text if len(text) <= _INPUT else f"… {text[-_INPUT:]}"
