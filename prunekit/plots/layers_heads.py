"""Which layers and heads carry a prefix of keys and values: scores by layer and head, and what was dropped of each."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from prunekit.analysis import tables
from prunekit.plots import cells, naming, style
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.run_choice import check_several, one_run, one_seed
from prunekit.runs.reader import RunReader

_USUAL = "absolute"
_LETTERS = {"": "", "key": "k", "value": "v"}
_MOST_TICKS = 25
# area of a mark, in points, where a head was dropped for every token
_LARGEST = 30


def table_of(runs: Sequence[RunReader], seed: int | None = None, stage: str | None = None) -> pd.DataFrame:
    """What each layer and head of one dense prefix is worth, and for how many of its tokens pruning dropped it.

    Columns:
        `KEYS` without arm; kind (of the scores: the one that pruned, or absolute); layer, head (-1 where pieces are
            whole layers), part ("key", "value", or "" where pieces are both); score (mean over tokens); tokens (P);
            dropped (share of them whose piece the last round has no more, in [0, 1]).

    Raises:
        LackingError: where prompts are no prefixes of keys and values, or runs are several.
        ConfigError: where `seed` is not there.
    """
    run = one_run(runs)
    if tables.parts_of(run) is None:
        raise LackingError(f"{run.path}: its prompts are input vectors; layers and heads have those of prefix-kv alone")
    scores = one_seed(tables.heads([run], stage), run, seed)
    dense = scores[scores["round"] == 0]
    chosen = dense[dense["pruned_by"]] if dense["pruned_by"].any() else dense[dense["kind"] == _USUAL]
    groups = chosen.assign(dropped=chosen["dropped_in"] >= 0).groupby(
        ["run", "task", "model", "method", "labels", "stage", "seed", "round", "kind", "layer", "head", "part"],
        sort=False,
    )
    check_several(groups.ngroups, run, "layers and heads")
    worth = groups.agg(score=("score", "mean"), tokens=("token", "nunique"), dropped=("dropped", "mean"))
    return worth.reset_index()


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """Rows are layers, columns heads; a white mark is the larger, the more tokens lost that head."""
    columns = table["head"].astype(str).where(table["head"] >= 0, "all") + table["part"].map(_LETTERS)
    named = table.assign(column=columns)
    order = list(dict.fromkeys(named["column"]))
    score = named.pivot(index="layer", columns="column", values="score")[order]
    scale = cells.Scale.of([0.0, *table["score"]])
    cells.draw(score, ax, scale)
    dropped, layers = named[named["dropped"] > 0], [int(layer) for layer in score.index]
    across = [order.index(column) + 0.5 for column in dropped["column"]]
    down = [layers.index(layer) + 0.5 for layer in dropped["layer"]]
    look = {"marker": "s", "color": "white", "edgecolors": style.INK, "linewidths": 0.5}
    ax.scatter(across, down, s=_LARGEST * dropped["dropped"], **look)
    for share in (0.5, 1.0) if len(dropped) else ():
        ax.scatter([], [], s=_LARGEST * share, label=f"dropped for {share:.0%} of tokens", **look)
    style.counts(ax.yaxis, layers, _MOST_TICKS, middle=True)
    ax.set_xticks([place + 0.5 for place in range(len(order))], order, fontsize=7 if len(order) <= 12 else 6)
    ax.set(xlabel="key-value head", ylabel="layer")
    ax.set_title(naming.of_ticket(table.iloc[0]), color=style.QUIET)
    cells.color_bar(ax, scale, f"score ({table['kind'].iloc[0]}),\nmean over tokens")
    style.legend_above(ax)
    return ax


FIGURE = Figure(
    "layers_heads",
    "The score of each layer and key-value head of a prefix, mean over its tokens; marks tell for how many of them "
    "pruning dropped it.",
    table_of,
    draw,
    height=lambda table, columns: min(8.5, 1.4 + 0.11 * table["layer"].nunique()),
    applies=lambda runs: any(tables.parts_of(run) is not None for run in runs),
)
