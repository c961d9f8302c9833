"""Bundles of lines: a thin one per prompt, a thick one for the median of all, a band of what chance gives."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
from matplotlib.axes import Axes

from prunekit.plots import naming, style

#: Matrices of a prompt, as a reader calls them; in every figure each has the same colour.
MATRICES = {
    "values": "prompt",
    "change": "change from start",
    "values centred": "prompt, centred",
    "start": "start",
    "change centred": "change, centred",
    "start centred": "start, centred",
}
# what one thin line is: a prompt, or a draw beside it
_LINE = ("run", "stage", "arm", "seed", "round", "draw")
# marks along a line: more would hide it
_MARKS = 10


def bundles(table: pd.DataFrame, ax: Axes, x: str, y: str, first: str, *, plain: Collection[str] = ()) -> None:
    """A bundle for each part of the table; its columns `low` and `high`, where there are any, are its band.

    Args:
        first: the column that tells parts apart before all others, such as "matrix".
        plain: values of it that get no thin lines.
    """
    order = {name: place for place, name in enumerate(dict.fromkeys([*MATRICES, *table[first]]))}
    table = table.sort_values(first, key=lambda names: names.map(order), kind="stable")
    for number, (name, part) in enumerate(naming.parts(table, [first])):
        kind = str(part[first].iloc[0])
        title = MATRICES.get(kind, kind) + name.removeprefix(kind)
        _bundle(part, ax, (x, y), number, title, thin=kind not in plain)
    if _banded(table):
        ax.fill_between([], [], [], color=style.QUIET, alpha=0.3, linewidth=0, label="95 % of random matrices")


def _bundle(part: pd.DataFrame, ax: Axes, columns: tuple[str, str], number: int, title: str, thin: bool) -> None:
    x, y = columns
    color, marker, dash = style.series(number)
    lines = [line for _, line in part.groupby([name for name in _LINE if name in part], dropna=False)]
    middle = part.pivot_table(index=x, values=[y, *(("low", "high") if _banded(part) else ())], aggfunc="median")
    # of all prompts or of none: who stopped earlier would make it jump
    middle = middle[part.groupby(x).size() == len(lines)]
    if _banded(part):
        ax.fill_between(middle.index, middle["low"], middle["high"], color=color, alpha=0.3, linewidth=0)
    for line in lines if thin and len(lines) > 1 else ():
        ax.plot(line[x], line[y], color=color, linewidth=0.4, alpha=0.55)
    every = -(-len(middle) // _MARKS)
    ax.plot(
        middle.index, middle[y], color=color, linestyle=dash, marker=marker, markevery=every, label=title,
        markeredgecolor="white", markeredgewidth=0.3,
    )  # fmt: skip


def _banded(table: pd.DataFrame) -> bool:
    return "low" in table and bool(table["low"].notna().any())


def height(table: pd.DataFrame, columns: int) -> float:
    """Inches of a figure of lines, whatever its table, one or two paper columns wide."""
    return 2.5 if columns == 1 else 3.0
