"""What tells the parts of a table apart: as little of its key columns as will do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from prunekit.plots import style

#: Key columns in the order in which a reader wants them in a name.
NAMING = ("task", "model", "method", "labels", "stage", "run")


def parts(table: pd.DataFrame, more: Sequence[str] = ()) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each part of a table that `NAMING` tells apart, with its name; one part without a name where nothing does.

    Args:
        more: columns that stand in every name, before those of `NAMING`.
    """
    chosen = list(more)
    for key in (name for name in NAMING if name in table):
        if table.groupby([*chosen, key], dropna=False).ngroups > (_groups(table, chosen) if chosen else 1):
            chosen.append(key)
    if not chosen:
        yield "", table
        return
    for values, part in table.groupby(chosen, sort=False, dropna=False):
        yield ", ".join(_word(key, value) for key, value in zip(chosen, values, strict=True)), part


def title(table: pd.DataFrame, seeds: int | None = None) -> str:
    """Task, model and how many seeds, as far as the whole table shares them.

    Args:
        table: with the columns task, model and, where `seeds` is not given, seed.
        seeds: how many its numbers are means of.
    """
    words = [last_part(str(table[key].iloc[0])) for key in ("task", "model") if table[key].nunique() == 1]
    number = table["seed"].nunique() if seeds is None else int(seeds)
    return ", ".join([*(style.short(word, 22) for word in words), f"n = {number}"])


def in_two_lines(words: str) -> str:
    """A title over axes that long names at their side leave little room: the task stands over the rest."""
    return words.replace(", ", ",\n", 1)


def last_part(name: str) -> str:
    """Of a path its last folder, of all else the whole: a task is called after its folder too."""
    return name.rstrip("/").rpartition("/")[2] or name


def of_ticket(row: pd.Series) -> str:
    """Which prompt a figure of one prompt shows, from the key columns of a row of its table."""
    where = "dense round" if row["stage"] == "" else f"round {row['round']}"
    names = [style.short(last_part(str(row[key])), 16) for key in ("task", "model")]
    return f"{', '.join(names)}, n = 1: seed {row['seed']}, {where}"


def _groups(table: pd.DataFrame, keys: list[str]) -> int:
    return int(table.groupby(keys, dropna=False).ngroups)


def _word(key: str, value: object) -> str:
    return style.short(f"{value} labels" if key == "labels" else str(value), 30)
