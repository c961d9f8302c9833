"""Which cells of one prompt are kept, and their scores: tokens x pieces, dropped cells in grey."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from prunekit.analysis import tables
from prunekit.plots import cells, naming, style
from prunekit.plots.figure import Figure
from prunekit.plots.run_choice import check_several, one_run, one_seed, one_stage_of_cells
from prunekit.runs.reader import RunReader

_MOST_TICKS = 25


def table_of(runs: Sequence[RunReader], seed: int | None = None, stage: str | None = None) -> pd.DataFrame:
    """The cells of the last ticket of a seed, with the scores of their last round.

    Columns:
        those of `prunekit.analysis.tables.scores`, at level "piece", of one prompt and one kind: that which pruned it.

    Raises:
        LackingError: where no token or piece was pruned, the prompt is a single cell, or runs and prunings are several.
        ConfigError: where `seed` or `stage` is not there.
    """
    run = one_run(runs)
    scores = tables.scores([run], one_stage_of_cells(run, stage))
    pruning = scores[(scores["level"] == "piece") & scores["pruned_by"] & (scores["arm"] == "ticket")]
    of_seed = one_seed(pruning, run, seed)
    last: pd.DataFrame = of_seed[of_seed["round"] == of_seed["round"].max()].reset_index(drop=True)
    check_several(len(last), run, "cells")
    return last


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """Rows are tokens, columns pieces; the greys tell in which round a cell was dropped."""
    kept = table["kept"].astype(bool)
    score = table.assign(score=table["score"].where(kept)).pivot(index="token", columns="piece", values="score")
    round_of = table.assign(left=table["dropped_in"].where(~kept)).pivot(index="token", columns="piece", values="left")
    rounds = sorted({int(number) for number in table.loc[~kept, "dropped_in"]})
    greys = [style.GREYS[min(place, len(style.GREYS) - 1)] for place in range(len(rounds))]
    scale = cells.Scale.of(table.loc[kept, "score"])
    cells.draw(score, ax, scale)
    for number, grey in zip(rounds, greys, strict=True):
        cells.fill(ax, (round_of == number).to_numpy(), grey)
    style.counts(ax.yaxis, [int(token) for token in score.index], _MOST_TICKS, middle=True)
    most = 12 if ax.figure.get_figwidth() < 5 else 40
    style.counts(ax.xaxis, [int(piece) for piece in score.columns], most, middle=True)
    ax.set(xlabel="piece", ylabel="token")
    ax.set_title(naming.of_ticket(table.iloc[0]), color=style.QUIET)
    cells.color_bar(ax, scale, f"score ({table['kind'].iloc[0]})")
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
