"""Rows that a caller holds in memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from prunekit.support.errors import DataError
from prunekit.tasks.folders import of_any_dataset
from prunekit.tasks.rows import Source, by_split, of_cells

#: What a run's settings say of data that was in memory.
IN_MEMORY = "in memory"
_KINDS = "a datasets.Dataset or DatasetDict, a pandas DataFrame, a list of dicts, or a dict of these by split"


class InMemory:
    """Rows in memory; a run writes down that they were, and not where they lie.

    Attributes:
        rows: a `datasets.Dataset` or `DatasetDict`, a pandas DataFrame, a list of dicts, or a dict of these by split.
    """

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __str__(self) -> str:
        return IN_MEMORY

    def sources(self) -> dict[str, Source]:
        """The splits by name; rows without splits are train.

        Raises:
            DataError: where they are of another kind, or there are none.
        """
        if _is_dataset(self.rows):
            return of_any_dataset(self.rows, "data", "data")
        if not isinstance(self.rows, Mapping):
            return {"train": source_of(self.rows, "data")}
        splits = by_split(list(self.rows), "data")
        if not splits:
            raise DataError(f"data: a dict must hold rows by split (train, validation, test), not {_names(self.rows)}")
        return {split: source_of(self.rows[name], f"data {name}") for split, name in splits.items()}


def source_of(rows: Any, name: str, prefix: str | None = None) -> Source:
    """The rows of a `datasets.Dataset`, a pandas DataFrame or a list of dicts.

    Args:
        name: what errors call them.
        prefix: what stands before "row 7" in the name of a row; default: the name and a blank.

    Raises:
        DataError: where they are of another kind, or there are none.
    """
    if _is_dataset(rows) and not isinstance(rows, dict):
        return of_any_dataset(rows, name, name)["train"]
    if _is_instance(rows, "pandas", "DataFrame"):
        rows = _of_frame(rows)
    if not isinstance(rows, list | tuple) or not all(isinstance(row, Mapping) for row in rows):
        raise DataError(f"{name}: give {_KINDS}, not a {type(rows).__name__}")
    if not rows:
        raise DataError(f"{name}: holds no rows")
    prefix = f"{name} " if prefix is None else prefix
    return Source(name, [dict(row) for row in rows], [f"{prefix}row {number}" for number in range(len(rows))])


def _of_frame(frame: Any) -> list[dict[str, Any]]:
    """The rows of a table with plain Python values, None where one is missing."""
    plain = frame.astype(object).where(frame.notna(), None)
    names = [str(name) for name in plain.columns]
    return [of_cells(names, cells) for cells in plain.itertuples(index=False, name=None)]


def _is_dataset(value: Any) -> bool:
    return _is_instance(value, "datasets", "Dataset") or _is_instance(value, "datasets", "DatasetDict")


def _is_instance(value: Any, module: str, name: str) -> bool:
    """Whether it is of a class of a package, which is imported where there is such a value."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def _names(rows: Mapping[Any, Any]) -> str:
    return ", ".join(str(name)[:30] for name in list(rows)[:6]) or "nothing"
