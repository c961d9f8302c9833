"""Which cells of one prompt are kept, and their scores: tokens x pieces, dropped cells in grey."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap

from prunekit.analysis import tables
from prunekit.plots import naming, style
from prunekit.plots.figure import Figure
from prunekit.plots.run_choice import one_run, one_seed, one_stage
from prunekit.runs.reader import RunReader

# dark enough that no kept cell looks like a dropped one, in grey too
_KEPT = LinearSegmentedColormap.from_list("kept", ["#5aa2d4", "#2171b5", "#06224d"])
_DROPPED = ("#f3f3f3", "#e0e0e0", "#cccccc")
_MOST_TICKS = 25


def table_of(runs: Sequence[RunReader], seed: int | None = None, stage: str | None = None) -> pd.DataFrame:
    """The cells of the last ticket of a seed, with the scores of their last round.

    Columns:
        those of `prunekit.analysis.tables.scores`, at level "piece", of one prompt and one kind: that which pruned it.

    Raises:
        LackingError: where nothing was pruned, or runs and prunings are several.
        ConfigError: where `seed` or `stage` is not there.
    """
    run = one_run(runs)
    scores = tables.scores([run], one_stage(run, stage))
    pruning = scores[(scores["level"] == "piece") & scores["pruned_by"] & (scores["arm"] == "ticket")]
    cells = one_seed(pruning, run, seed)
    last: pd.DataFrame = cells[cells["round"] == cells["round"].max()].reset_index(drop=True)
    return last


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """Rows are tokens, columns pieces; the greys tell in which round a cell was dropped."""
    kept = table["kept"].astype(bool)
    score = table.assign(score=table["score"].where(kept)).pivot(index="token", columns="piece", values="score")
    round_of = table.assign(left=table["dropped_in"].where(~kept)).pivot(index="token", columns="piece", values="left")
    rounds = sorted({int(number) for number in table.loc[~kept, "dropped_in"]})
    greys = [_DROPPED[min(number, len(_DROPPED) - 1)] for number in range(len(rounds))]
    # a picture of one dot per cell: a path for each would make the file of a long prompt large
    tokens, pieces = score.shape
    flat = {"extent": (0, pieces, tokens, 0), "interpolation": "none", "aspect": "auto"}
    if rounds:
        places = round_of.map(lambda number: np.nan if pd.isna(number) else rounds.index(int(number)))
        ax.imshow(places, cmap=ListedColormap(greys), vmin=-0.5, vmax=len(rounds) - 0.5, **flat)
    mesh = ax.imshow(score, cmap=_KEPT, **flat)
    ax.hlines(range(tokens + 1), 0, pieces, color="white", linewidth=0.5)
    ax.vlines(range(pieces + 1), 0, tokens, color="white", linewidth=0.5)
    style.counts(ax.yaxis, [int(token) for token in score.index], _MOST_TICKS, middle=True)
    most = 12 if ax.figure.get_figwidth() < 5 else 40
    style.counts(ax.xaxis, [int(piece) for piece in score.columns], most, middle=True)
    ax.set(xlabel="piece", ylabel="token")
    ax.set_title(naming.of_ticket(table.iloc[0]), color=style.QUIET)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    bar = ax.figure.colorbar(mesh, ax=ax, fraction=0.06, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    style.plain(bar.ax.yaxis)
    bar.set_label(f"score ({table['kind'].iloc[0]})")
    for place, grey in enumerate(greys):
        label = f"round {rounds[place]}" if place else f"dropped in round {rounds[place]}"
        ax.fill_between([], [], [], color=grey, label=label)
    style.legend_above(ax)
    return ax


FIGURE = Figure(
    "token_map",
    "The cells of a pruned prompt, one row per token and one column per piece: the score of those that are kept, the "
    "round in which the others were dropped.",
    table_of,
    draw,
    height=lambda table, columns: min(8.5, 1.0 + (0.11 if columns == 1 else 0.13) * table["token"].nunique()),
)
