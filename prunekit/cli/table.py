"""A table of the library on the screen: which of its columns are shown, under which titles, in how many digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from prunekit.support import terminal

if TYPE_CHECKING:
    import pandas as pd

Format = Callable[[Any], str]


def digits(count: int) -> Format:
    """So many digits behind the point; empty where there is no value."""
    return lambda value: "" if _missing(value) else f"{value:.{count}f}"


def words(value: Any) -> str:
    """Yes or no, numbers of four significant digits, all else as it is; empty where there is no value."""
    if _missing(value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class Column(NamedTuple):
    """How a column is shown."""

    title: str
    format: Format = words


def print_table(
    table: pd.DataFrame, columns: Mapping[Any, Column], title: str | None = None, gap: int | None = None
) -> None:
    """The columns that the table has, in this order, a line for each row.

    Args:
        gap: rows after which a line is drawn.
    """
    names = [name for name in columns if name in table]
    rows = [[columns[name].format(_plain(row[name])) for name in names] for row in table.to_dict("records")]
    if gap is not None:
        rows.insert(gap, [""])
    terminal.show([columns[name].title for name in names], rows, title=title)


def _plain(value: Any) -> Any:
    """Numbers of numpy as Python's."""
    return value.item() if hasattr(value, "item") else value


def _missing(value: Any) -> bool:
    import pandas as pd

    return value is None or (not isinstance(value, list | tuple | dict) and bool(pd.isna(value)))
