"""What density saves: trained parameters, and the seconds of a round."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from prunekit.plots import density_curve, naming, style
from prunekit.plots.figure import Figure
from prunekit.runs.reader import RunReader

_MEASURES = {"parameters": "trained parameters", "seconds": "seconds of a round"}


def table_of(runs: Sequence[RunReader]) -> pd.DataFrame:
    """The table of `prunekit.plots.density_curve`, with its columns and without its base lines.

    Raises:
        LackingError: where a run has no pruned ticket.
    """
    table = density_curve.table_of(runs)
    return table[table["arm"] == "ticket"].reset_index(drop=True)


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """Parameters on the left axis, seconds on the right, both from 0: equal heights are equal savings."""
    both = dict(zip(_MEASURES, (ax, ax.twinx()), strict=True))
    named = list(naming.parts(table))
    for look, (measure, axes) in enumerate(both.items()):
        color, _, dash = style.series(look)
        for number, (_, part) in enumerate(named):
            line = part.sort_values("density")
            axes.plot(line["density"], line[measure], color=color, linestyle=dash, marker=style.MARKERS[number])
        axes.set_ylim(0, 1.06 * table[measure].max() if table[measure].max() > 0 else None)
        axes.set_ylabel(_MEASURES[measure], color=color)
        axes.tick_params(axis="y", colors=color)
        ax.plot([], [], color=color, linestyle=dash, label=_MEASURES[measure])
    for number, (name, _) in enumerate(named):
        if name:
            ax.plot([], [], style.MARKERS[number], color=style.QUIET, label=name)
    both["seconds"].spines["right"].set_visible(True)
    ax.set_xlim(left=0)
    ax.set_xlabel("density (kept cells)")
    style.legend_above(ax)
    return ax


FIGURE = Figure(
    "cost",
    "Trained parameters of a prompt, and the seconds that a round of its whole cohort took, against density.",
    table_of,
    draw,
)
