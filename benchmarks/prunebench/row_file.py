"""The rows of a benchmark as they are measured: a CSV file that only grows, from which a stopped command goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class RowFile:
    """A CSV file of rows; several processes may add to it.

    Attributes:
        path: of the file.
        columns: of every row.
    """

    path: Path
    columns: tuple[str, ...]

    def begin(self) -> None:
        """Write the header of a new file; one that is there stays as it is."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            self.path.write_text(",".join(self.columns) + "\n", encoding="utf-8")

    def rows(self, **equal: Any) -> pd.DataFrame:
        """The rows that have these values, in the order in which they were added."""
        table = pd.read_csv(self.path)
        for column, value in equal.items():
            table = table[table[column] == value]
        return table

    def has(self, seeds: Sequence[int], **equal: Any) -> bool:
        """Whether each of the seeds has a row with these values."""
        return set(seeds) <= set(self.rows(**equal)["seed"])

    def add(self, rows: pd.DataFrame) -> None:
        """Append rows in a single write, so that those of two processes do not mix."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(rows[list(self.columns)].to_csv(header=False, index=False))
