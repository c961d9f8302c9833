"""What the tasks of a study come to without a trained prompt: beside a verdict, what training is worth at all.

Measured on the rows that its prompts are judged on, test rows included, and looked at once, as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.studies.performing import Budget, Part, filled
from analyses.studies.subsets import by_subset, plain
from prunekit.experiment.baselines import BASE_LINES
from prunekit.experiment.prepare import Prepared, model_of, prepare
from prunekit.experiment.settings import Experiment
from prunekit.experiment.sweep.sweep import read_grid
from prunekit.runs import round_record
from prunekit.support import terminal

#: Its table, among the results of a study.
BASE_LINES_TABLE = "base_lines"
_SHARED = "{shared}"
# how a part names what another part left
_OF_RUNS = ("{run ", "{stage ")
# settings that a base line of words or of frozen states depends on
_DECIDES = ("name", "data", "train_examples", "validation_examples", "test_examples", "data_seed")


def measured(parts: Sequence[Part], budget: Budget) -> pd.DataFrame:
    """Every base line that applies, of each model, task and training subset that a study has.

    Where parts train on different examples of the same task, as sources of a transfer do, the last part counts.

    Columns:
        task (a training subset by its number), model (last name), name, label, validation, test (primary metric).
    """
    rows: list[dict[str, Any]] = []
    for part in reversed(parts):
        # a task that was measured on its subsets is not measured on one of them once more
        reached = {(name, row["model"]) for row in rows for name in (row["task"], plain(row["task"]))}
        rows += _of_part(part, budget, reached)
    return pd.DataFrame(rows).sort_values(["model", "task"], kind="stable", ignore_index=True)


def _of_part(part: Part, budget: Budget, reached: Collection[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """Those of a part but for tasks and models that are `reached` already."""
    table = filled(dict(part.table), {_SHARED: str(budget.shared)})
    if any(
        start in str(table) for start in _OF_RUNS
    ):  # it starts from runs of another part, on rows that a fresh start has too
        return
    grid = read_grid(table, budget.flags).grid
    for experiment in _distinct(grid.experiments):
        settings = {"task.data_seed": grid.values(experiment).get("task.data_seed")}
        # by the name that it was asked for, as in the tables of runs
        where = pd.DataFrame([{"task": experiment.task.name, "model": Path(experiment.model.name).name}])
        row = by_subset(where, settings).iloc[0]
        place = {"task": row["task"], "model": row["model"]}
        if (place["task"], place["model"]) not in reached:
            terminal.Screen().say(f"base lines: {place['task']} on {place['model']}")
            yield from (place | row for row in _rows(prepare(experiment, model_of(experiment))))


def _distinct(experiments: Sequence[Experiment]) -> list[Experiment]:
    """One experiment of each model and rows, on given labels."""
    by_rows = {
        (experiment.model, *(getattr(experiment.task, name) for name in _DECIDES)): experiment
        for experiment in reversed(experiments)
        if experiment.task.labels == "given"
    }
    return list(reversed(by_rows.values()))


def _rows(prepared: Prepared) -> Iterator[dict[str, Any]]:
    task, splits = prepared.task, prepared.splits
    parts = {"validation": splits.validation, "test": splits.test}
    yield {"name": "majority", "label": "most common answer"} | {
        name: task.majority(examples) for name, examples in parts.items()
    }
    for base_line in BASE_LINES:
        if base_line.applies(prepared):
            answers = base_line.answers(prepared, prepared.experiment.seeds[0])
            yield {"name": base_line.folder(prepared), "label": base_line.label(prepared)} | {
                name: round_record.metrics_of(task, examples, getattr(answers, name))[task.metrics[0]]
                for name, examples in parts.items()
            }


def by_task(table: pd.DataFrame) -> pd.DataFrame:
    """Means over training subsets: a row for each model and task, a column for each base line.

    Args:
        table: of `measured`.

    Columns:
        model, task; the base lines' labels (test, primary metric).
    """
    means = table.assign(task=table["task"].map(plain)).pivot_table(
        index=["model", "task"], columns="label", values="test", sort=False, observed=True
    )
    return means.reset_index().rename_axis(columns=None)


def best(table: pd.DataFrame) -> dict[tuple[str, str], tuple[str, float]]:
    """By model and task the best base line on test, means over training subsets: its label and what it reaches.

    Args:
        table: of `measured`.
    """
    rows = by_task(table).set_index(["model", "task"])
    return {key: (str(row.idxmax()), float(row.max())) for key, row in rows.iterrows()}  # type: ignore[misc]
