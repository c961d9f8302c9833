"""How the scores of a dense prompt's tokens are spread, and what pruning made of those tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes

from prunekit.analysis import tables
from prunekit.plots import naming, style
from prunekit.plots.figure import Figure
from prunekit.plots.run_choice import check_several, one_stage_of_cells
from prunekit.runs.reader import RunReader

_KEPT = "kept to the end"
_BINS = 16
# rounds that a legend has room for
_MOST_ROUNDS = 6


def table_of(runs: Sequence[RunReader], stage: str | None = None) -> pd.DataFrame:
    """The scores of all tokens in the dense round, of the kind that pruned, all seeds together.

    Columns:
        those of `prunekit.analysis.tables.scores`, at level "token", of one kind; fate (str): "kept to the end" or the
            round in which the token was dropped.

    Raises:
        LackingError: where no token was pruned, or prunings are several.
        ConfigError: where `stage` is not there.
    """
    scores = pd.concat([tables.scores([run], one_stage_of_cells(run, stage)) for run in runs], ignore_index=True)
    dense = (scores["level"] == "token") & (scores["round"] == 0)
    pruning = scores[dense & scores["pruned_by"]].reset_index(drop=True)
    check_several(len(pruning), runs[0], "tokens")
    left = pruning["dropped_in"].astype(int)
    return pruning.assign(fate=("dropped in round " + left.astype(str)).where(left > 0, _KEPT))


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """Bars stacked by fate: grey for what was dropped, the earlier the lighter, blue for what was kept.

    Args:
        table: of `table_of`; rounds are joined where they are many, since a legend has no room for them.
        ax: a subplot.
    """
    table = table.assign(fate=_joined(table["fate"]))
    dropped = sorted(set(table["fate"]) - {_KEPT}, key=_last_round)
    order = [*dropped, _KEPT]
    greys = {fate: style.GREYS[min(place, len(style.GREYS) - 1)] for place, fate in enumerate(dropped)}
    seaborn.histplot(
        table, x="score", hue="fate", hue_order=order[::-1], palette=greys | {_KEPT: style.BLUE}, multiple="stack",
        bins=_BINS, log_scale=bool((table["score"] > 0).all()), edgecolor=style.QUIET, linewidth=0.4, alpha=1, ax=ax,
        legend=False,
    )  # fmt: skip
    for place, fate in enumerate(order):
        label = fate if place == 0 else fate.removeprefix("dropped in ")
        ax.fill_between([], [], [], color=(greys | {_KEPT: style.BLUE})[fate], label=label)
    style.plain(ax.xaxis)
    style.whole(ax.yaxis)
    ax.set_xlabel(f"score in the dense round ({table['kind'].iloc[0]})")
    ax.set_ylabel("tokens")
    ax.set_title(naming.title(table), color=style.QUIET)
    style.legend_above(ax)
    return ax


def _joined(fates: pd.Series) -> pd.Series:
    """The fates, the rounds of many joined to as many spans as there are greys."""
    rounds = sorted({_last_round(fate) for fate in set(fates) - {_KEPT}})
    if len(rounds) <= _MOST_ROUNDS:
        return fates
    spans = np.array_split(rounds, len(style.GREYS))
    names = {number: f"dropped in rounds {span[0]} to {span[-1]}" for span in spans for number in span}
    return fates.map(lambda fate: fate if fate == _KEPT else names[_last_round(fate)])


def _last_round(fate: str) -> int:
    return int(fate.rsplit(" ", 1)[1])


FIGURE = Figure(
    "score_histogram",
    "How the scores of tokens are spread in the dense round, and which tokens pruning kept.",
    table_of,
    draw,
)
