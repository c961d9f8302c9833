"""What the arms of a stage answered to each example of the test split."""

from __future__ import annotations

import math

import pandas as pd

from prunekit.analysis.tables.arms import task_name
from prunekit.analysis.tables.run_columns import arm_of
from prunekit.runs.paths import PREDICTIONS, RunKey
from prunekit.runs.reader import RunReader

COLUMNS = ("task", "seed", "arm", "example", "right", "loss")


def predictions(run: RunReader, stage: str) -> pd.DataFrame:
    """What each arm of a stage answered to each example of the test split, in its last round, where it came to it.

    Columns:
        task (str), seed (int), arm (as in `arms`), example (int), right (bool; of written answers what the row adds to
        the primary metric, NaN where that is no mean over rows), loss (nats).
    """
    last = {}
    for key in run.tickets():
        if key.stage.is_dense or (key.stage.top == stage and not key.stage.is_trial):
            last[arm_of(key.stage), key.seed] = key
    end = max((key.round for key in last.values()), default=0)
    ended = [
        key for key in last.values() if run.result(key)["status"] == "done" and (key.stage.is_dense or key.round == end)
    ]
    task = task_name(run.settings())
    tables = [_answers(run, key).assign(task=task, seed=key.seed, arm=arm_of(key.stage)) for key in ended]
    table: pd.DataFrame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return table.reindex(columns=list(COLUMNS))


def _answers(run: RunReader, key: RunKey) -> pd.DataFrame:
    table = run.table(key, PREDICTIONS)
    table = table[table["split"] == "test"]
    if "answer" in table:
        rows = table[str(run.settings()["metric"])]
        return table[["example", "loss"]].assign(right=[row[0] if len(row) == 1 else math.nan for row in rows])
    right = [choice in set(gold) for choice, gold in zip(table["choice"], table["gold"], strict=True)]
    return table[["example", "loss"]].assign(right=right)
