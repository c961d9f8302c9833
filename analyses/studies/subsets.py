"""How a training subset of a task is named in tables: the task, then the subset's number, such as "sst2 (0)"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

_NAMED = r"^(?P<task>.*?)(?: \((?P<subset>\d+)\))?$"


def by_subset(table: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of one experiment, their task by its subset's name where experiments differ in `task.data_seed`.

    Args:
        table: with the column task.
        settings: what sets that experiment apart.

    Columns:
        those of the table.
    """
    subset = settings.get("task.data_seed")
    return table if subset is None else table.assign(task=table["task"] + f" ({subset})")


def parted(names: pd.Series[str]) -> pd.DataFrame:
    """Names apart again.

    Columns:
        task; subset (its number; 0 of a task that has one alone).
    """
    return names.astype(str).str.extract(_NAMED).fillna({"subset": "0"}).astype({"subset": int})


def plain(name: str) -> str:
    """The task alone of a name that may be of one of its subsets."""
    return str(parted(pd.Series([name]))["task"].item())
