"""A figure: which table it takes from runs, how it is drawn, and how large."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from prunekit.plots import style
from prunekit.runs.reader import RunReader
from prunekit.support.errors import ArtifactError


class LackingError(ArtifactError):
    """A sound run that does not hold what a figure shows; the text names the command that would make it."""


def usual_height(table: pd.DataFrame, columns: int) -> float:
    """Inches of a figure whose height does not hang on its table."""
    return 2.4 if columns == 1 else 2.9


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: of its module and of its files.
        shows: one sentence, for captions and help.
        table_of: runs -> the table that is drawn and saved; raises LackingError where the runs do not hold it. It may
            take `seed` and `stage`, None for what there is.
        draw: (table, axes) -> axes.
        columns: paper columns, 1 or 2, that suit it.
        height: (table, columns) -> inches.
        applies: runs -> whether they are of a kind that has what it shows; of others nobody is told that it lacks.
    """

    name: str
    shows: str
    table_of: Callable[..., pd.DataFrame]
    draw: Callable[[pd.DataFrame, Axes], Axes]
    columns: int = 1
    height: Callable[[pd.DataFrame, int], float] = usual_height
    applies: Callable[[Sequence[RunReader]], bool] = lambda runs: True

    @property
    def choices(self) -> tuple[str, ...]:
        """What of runs it can be told to show: "seed", "stage", or nothing."""
        return tuple(name for name in ("seed", "stage") if name in inspect.signature(self.table_of).parameters)

    def table(self, runs: Sequence[RunReader], **chosen: Any) -> pd.DataFrame:
        """The table of runs; `seed` and `stage` count where the figure shows one of several."""
        return self.table_of(runs, **{name: chosen[name] for name in self.choices if name in chosen})

    def render(self, table: pd.DataFrame, suffix: str, columns: int | None = None, note: str = "") -> bytes:
        """The bytes of the figure of a table.

        Args:
            note: what a reader must know, such as that the run is unfinished; it stands in the picture.
        """
        width = columns or self.columns
        height = self.height(table, width)
        return style.render(self.draw, table, suffix, columns=width, height=height, salt=self.name, note=note)
