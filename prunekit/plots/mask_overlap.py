"""Whether seeds keep the same tokens and cells, against what as large masks share by chance."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from prunekit.analysis import overlap, tables
from prunekit.plots import naming, style
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.run_choice import one_stage_of_cells
from prunekit.runs.reader import RunReader

_TITLES = {"token": "tokens", "cell": "cells"}


def table_of(runs: Sequence[RunReader], stage: str | None = None) -> pd.DataFrame:
    """How much the masks of all seeds share in each round of a pruning or search.

    Columns:
        those of `prunekit.analysis.overlap.agreement`.

    Raises:
        LackingError: where a run has fewer than two seeds with a pruned ticket, or several prunings.
        ConfigError: where `stage` is not there.
    """
    agreements = []
    for run in runs:
        prompts = tables.subjects(run, one_stage_of_cells(run, stage))
        if len({prompt.keys["seed"] for prompt in prompts}) < 2:
            raise LackingError(
                f"{run.path}: fewer than two seeds have a pruned ticket; repeat the command that made it with --seeds 6"
            )
        if len({prompt.keys["round"] for prompt in prompts}) < 2:
            raise LackingError(
                f"{run.path}: one round of masks is one point; prune in rounds: prunekit prune --rounds 3"
            )
        agreements.append(overlap.agreement(prompts))
    return pd.concat(agreements, ignore_index=True)


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """A line for tokens and one for cells; the bands hold 95 % of what chance gives."""
    for number, (name, part) in enumerate(naming.parts(table, ["level"])):
        color, marker, dash = style.series(number)
        line = part.sort_values("round")
        ax.fill_between(line["round"], line["low"], line["high"], color=color, alpha=0.2, linewidth=0)
        level, _, which = name.partition(", ")
        title = ", ".join(filter(None, (_TITLES.get(level, level), which)))
        ax.plot(line["round"], line["jaccard"], color=color, marker=marker, linestyle=dash, label=title)
    ax.fill_between([], [], [], color=style.QUIET, alpha=0.3, linewidth=0, label="95 % of chance")
    style.whole(ax.xaxis)
    ax.set_ylim(0, min(1.02, ax.get_ylim()[1]))
    ax.set_title(naming.title(table, table["seeds"].max()), color=style.QUIET)
    ax.set_xlabel("round")
    ax.set_ylabel("shared of two seeds (Jaccard)")
    style.legend_above(ax)
    return ax


FIGURE = Figure(
    "mask_overlap",
    "The share of kept tokens and cells that two seeds have in common, round by round, over the band of as large "
    "masks drawn at random.",
    table_of,
    draw,
)
