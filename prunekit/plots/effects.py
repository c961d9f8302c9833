"""The comparisons of a study as a picture: each difference with its interval, beside the smallest that it can tell."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from prunekit.plots import style

# towards what is claimed: a larger or a smaller value
_SIDES = {1: ">", -1: "<"}
_COLORS = {"holds": style.BLUE, "does not hold": style.RED, "cannot be said": style.QUIET, "no verdict": style.INK}


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """A row per question, in margins: between -1 and 1 lies what is too small, beyond one of them what is claimed.

    Thick: the interval of the mean; thin: from the least to the most of the strata's own means.

    Args:
        table: of `analyses.studies.effects`.
    """
    ax.axvspan(-1, 1, color=style.FAINT, linewidth=0)
    ax.axvline(0, color=style.INK, linewidth=0.6)
    seen: set[str] = set()
    for place, row in enumerate(table.to_dict("records")):
        side = row["direction"]
        towards = None if place else "claimed side"
        ax.plot(side, place, _SIDES[side], color=style.INK, fillstyle="none", markeredgewidth=0.6, label=towards)
        number = list(_COLORS).index(row["verdict"])
        label = row["verdict"] if row["verdict"] not in seen else None
        seen.add(row["verdict"])
        names = ("least", "low", "difference", "high", "most")
        least, low, middle, high, most = (row[name] / row["margin"] for name in names)
        color = _COLORS[row["verdict"]]
        ax.hlines(place, least, most, color=style.QUIET, linewidth=0.6, label=None if place else "single strata")
        ax.hlines(place, low, high, color=color, linewidth=1.4)
        ax.plot(middle, place, style.MARKERS[number], color=color, linestyle="none", label=label)
    style.ticks(ax.yaxis, [f"{row.question}: {row.compared}" for row in table.itertuples()], most=60)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlabel("difference, over the smallest that the study was planned to tell (95 % interval)")
    style.legend_above(ax)
    return ax


def render(table: pd.DataFrame, salt: str) -> bytes:
    """The picture as SVG; `salt` sets its inner names apart from those of other pictures on a page."""
    return style.render(draw, table, "svg", columns=2, height=0.8 + 0.2 * len(table), salt=salt)
