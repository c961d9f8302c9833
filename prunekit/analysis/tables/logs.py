"""How training came on."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from prunekit.analysis.subjects import KEYS
from prunekit.analysis.tables.run_columns import key_columns, run_columns
from prunekit.runs.paths import LOG
from prunekit.runs.reader import RunReader

LOGS = (*KEYS, "step", "split", "metric", "value")


def logs(runs: Sequence[RunReader]) -> pd.DataFrame:
    """How training came on in every finished round but the trials of searches.

    Columns:
        `KEYS`; step (int, updates); split ("train", "validation"); metric ("loss" in nats, or a metric's name); value.
    """
    tables = []
    for run in runs:
        columns = run_columns(run)
        keys = [key for key in run.tickets() if not key.stage.is_trial]
        tables += [run.table(key, LOG).assign(**key_columns(columns, key)) for key in keys]
    tables = [table for table in tables if len(table)]
    whole: pd.DataFrame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return whole.reindex(columns=list(LOGS))
